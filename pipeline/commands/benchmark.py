"""edgesmith benchmark: one model on many devices, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands import _devices as on_devices
from pipeline.commands import _keep as keeping
from pipeline.commands import _shared as shared

if TYPE_CHECKING:
    from edge_targets import Runtime

RUNTIMES = ("auto", "ai_edge_litert", "tflite_runtime", "tensorflow")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@on_devices.targets
@on_devices.profiles
@click.option("--num-threads", type=click.IntRange(1, 256), default=1, show_default=True, help="Threads.")
@click.option("--num-runs", type=click.IntRange(min=1), default=200, show_default=True, help="Least runs.")
@click.option("--warmup-runs", type=click.IntRange(min=0), default=20, show_default=True, help="Runs before those.")
@click.option("--min-secs", type=click.FloatRange(min=0), default=0.5, show_default=True, help="Least seconds.")
@click.option("--max-secs", type=click.FloatRange(min=0.001), default=10.0, show_default=True, help="Most seconds.")
@click.option(
    "--cold-starts",
    type=click.IntRange(0, 100),
    default=3,
    show_default=True,
    help="Fresh processes; 0 tells no memory.",
)
@click.option("--runtime", type=click.Choice(RUNTIMES), default="auto", show_default=True, help="The interpreter.")
@click.option("--data", type=click.Path(path_type=Path), help="An .npz of real inputs x for the check of the outputs.")
@click.option("--tune", is_flag=True, help="Find the fastest interpreter, kernels and threads of this machine first.")
@click.option("--profile", is_flag=True, help="Also tell what each operator takes, and what it waits for.")
@keeping.history
@keeping.no_history
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
@shared.debug
def command(
    model: Path,
    targets: tuple[str, ...],
    profiles: Path | None,
    num_threads: int,
    num_runs: int,
    warmup_runs: int,
    min_secs: float,
    max_secs: float,
    cold_starts: int,
    runtime: Runtime,
    data: Path | None,
    tune: bool,
    profile: bool,
    url: str | None,
    no_history: bool,
    as_json: bool,
) -> None:
    """Measure a .tflite MODEL on devices, side by side; each is first held against golden vectors.

    A device that fails, or gives other outputs, does not keep the others from being measured; the exit code is then 3.
    """
    if min_secs > max_secs:
        raise click.UsageError(f"--min-secs {min_secs:g} is more than --max-secs {max_secs:g}.")
    from edge_targets import BenchmarkPlan
    from pipeline import benchmark, devices
    from pipeline.console import ConsoleProgress
    from pipeline.report import render_benchmark

    plan = BenchmarkPlan(
        num_threads=num_threads,
        warmup_runs=warmup_runs,
        num_runs=num_runs,
        min_secs=min_secs,
        max_secs=max_secs,
        runtime=runtime,
        cold_starts=cold_starts,
        profile=profile,
    )
    chosen = devices.devices(targets or ("host",), profiles)
    with ConsoleProgress() as progress:
        document = benchmark.benchmark(model, chosen, benchmark.Options(plan, data, tune), progress)
        if not no_history:
            keeping.keep(lambda history: history.add_benchmark(document), url, progress)
    on_devices.tell(document, render_benchmark, as_json=as_json)
