"""edgesmith compare: two models, two runs, or one model on two targets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import _devices as on_devices
from pipeline.commands import _shared as shared
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_targets import BenchmarkPlan, Target
    from pipeline.progress import Progress

MODEL = ".tflite"


@click.command()
@click.argument("sides", metavar="A [B]", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--target", "targets", multiple=True, metavar="NAME", help="Where to measure; two of them for one model.")
@on_devices.profiles
@click.option(
    "--launches", type=click.IntRange(min=8), default=10, show_default=True, help="How often both start anew."
)
@click.option("--num-threads", type=click.IntRange(min=1), default=1, show_default=True, help="Threads.")
@click.option("--num-runs", type=click.IntRange(min=1), default=100, show_default=True, help="Least runs a launch.")
@click.option(
    "--min-secs", type=click.FloatRange(min=0), default=0.2, show_default=True, help="Least seconds a launch."
)
@click.option(
    "--max-secs", type=click.FloatRange(min=0.01), default=5.0, show_default=True, help="Most seconds a launch."
)
@click.option("--force", is_flag=True, help="Compare what was measured under different conditions, too.")
@click.option(
    "--fail-if", "limits", multiple=True, metavar="LIMIT", help="'median > 3%', 'size > 0%', 'metric < -0.005'."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
@shared.debug
def command(
    sides: tuple[Path, ...],
    targets: tuple[str, ...],
    profiles: Path | None,
    launches: int,
    num_threads: int,
    num_runs: int,
    min_secs: float,
    max_secs: float,
    force: bool,
    limits: tuple[str, ...],
    as_json: bool,
) -> None:
    """Tell whether B is faster, smaller or better than A.

    A and B are two .tflite files, measured side by side; or two runs (folders or report.json); or A is one .tflite and
    there are two targets.
    """
    from edge_targets import BenchmarkPlan
    from pipeline import comparison
    from pipeline.console import ConsoleProgress
    from pipeline.devices import device

    parsed = [comparison.Limit.parse(limit) for limit in limits]
    plan = BenchmarkPlan(num_threads=num_threads, num_runs=num_runs, min_secs=min_secs, max_secs=max_secs)
    measured_on = [device(name, profiles).target() for name in targets or ("host",)]
    with ConsoleProgress() as progress:
        if len(sides) == 2 and all(side.suffix != MODEL for side in sides):
            document = comparison.compare_reports(_reports(sides), force=force)
        else:
            document = _measured(sides, measured_on, plan, launches, progress)
    document = comparison.judge(document, parsed)
    if as_json:
        shared.print_json(document)
    else:
        from pipeline.report import render_comparison

        shared.draw(lambda console: render_comparison(document, console))
    sys.exit(0 if document["ok"] else 1)


def _reports(sides: Sequence[Path]) -> list[Any]:
    from pipeline.report import read_report

    return [read_report(side) for side in sides]


def _measured(
    sides: Sequence[Path], targets: Sequence[Target], plan: BenchmarkPlan, launches: int, progress: Progress
) -> dict[str, Any]:
    from pipeline import comparison

    if all(side.suffix == MODEL for side in sides):
        if len(sides) == 2 and len(targets) == 1:
            return comparison.compare_models(sides, targets[0], plan, launches, progress)
        if len(sides) == 1 and len(targets) == 2:
            return comparison.compare_targets(sides[0], targets, plan, progress)
    raise UsageError(
        f"{len(sides)} sides and {len(targets)} targets make no comparison.",
        expected="two .tflite and a target, one .tflite and two targets, or two runs",
    )
