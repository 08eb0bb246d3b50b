"""edgesmith deploy: a model onto devices, to stay; back to the one before; or what is there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import _devices as on_devices
from pipeline.commands import _shared as shared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.devices import Device
    from pipeline.progress import Progress


@click.command()
@click.argument("source", metavar="MODEL|RUN_FOLDER|BUNDLE", required=False, type=click.Path(path_type=Path))
@click.option("--target", "targets", multiple=True, required=True, metavar="NAME", help="A device; repeatable.")
@on_devices.profiles
@click.option("--name", help="What it is deployed as; default: the recipe's name, or the file's.")
@click.option("--packed", is_flag=True, help="Send the model compressed, to devices with Python.")
@click.option("--data", type=click.Path(path_type=Path), help="An .npz of real inputs for the self-test.")
@click.option("--benchmark", "measured", is_flag=True, help="Then measure it on every device that took it.")
@click.option("--rollback", is_flag=True, help="Switch back to the version before.")
@click.option("--status", is_flag=True, help="Tell what is in use, and change nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@shared.debug
def command(
    source: Path | None,
    targets: tuple[str, ...],
    profiles: Path | None,
    name: str | None,
    packed: bool,
    data: Path | None,
    measured: bool,
    rollback: bool,
    status: bool,
    as_json: bool,
) -> None:
    """Put a model on devices: checked and tried there, then switched to in one step.

    A model with an early exit is two files, which come and go together. A device that fails keeps the model that it
    had. The version before stays there for --rollback.
    """
    if (rollback or status) and (packed or measured or data is not None or (rollback and status)):
        raise click.UsageError("--rollback and --status each stand with MODEL or --name and --target alone.")
    if source is None and not (rollback or status):
        raise click.UsageError("Missing argument 'MODEL|RUN_FOLDER|BUNDLE'.")
    from pipeline import deployment
    from pipeline.console import ConsoleProgress
    from pipeline.devices import devices

    named = devices(targets, profiles)
    with ConsoleProgress() as progress:
        if source is not None and not (rollback or status):
            document = deployment.deploy(source, named, deployment.Options(name, packed, data), progress)
            if measured:
                document = _measured(document, source, named, data, progress)
        else:
            act = deployment.rollback if rollback else deployment.status
            document = act(deployment.name_of(source, name), named, progress)
    if as_json:
        shared.print_json(document)
    else:
        for row in document["devices"]:
            _tell(row)
        for measurements in filter(None, map(document.get, ("benchmark", "benchmark_rest"))):
            _draw(measurements)
    sys.exit(0 if document["ok"] else 3)


def _measured(
    document: dict[str, Any], source: Path, named: Sequence[Device], data: Path | None, progress: Progress
) -> dict[str, Any]:
    """The document with what `edgesmith benchmark` finds on the devices that took the model, under `benchmark`.

    Of a model in two files, what it finds of the second is under `benchmark_rest`.
    """
    from edge_targets import BenchmarkPlan
    from pipeline import benchmark

    took = [device for device, row in zip(named, document["devices"], strict=True) if row["error"] is None]
    if not took:
        return {**document, "benchmark": None}
    files = [source] if source.is_file() else [source / name for name in document["model"]["files"]]
    # The examples are for the first of two files: the second takes features.
    asked = (benchmark.Options(BenchmarkPlan(), inputs) for inputs in (data, None))
    found = [benchmark.benchmark(model, took, each, progress) for model, each in zip(files, asked, strict=False)]
    by_file = dict(zip(("benchmark", "benchmark_rest"), found, strict=False))
    return {**document, **by_file, "ok": document["ok"] and all(each["ok"] for each in found)}


def _draw(measurements: dict[str, Any]) -> None:
    from pipeline.report import render_benchmark

    shared.draw(lambda console: render_benchmark(measurements, console))


def _tell(row: dict[str, Any]) -> None:
    """One device: a line on what is there, or what went wrong."""
    label = click.style(row["label"], bold=True)
    error = row["error"]
    if error is not None:
        rest = [f"  {word}: {error[key]}" for word, key in _WORDS if error[key]]
        shared.print_out("\n".join([f"{label}  {click.style(row['status'], fg='red')}: {error['what']}", *rest]))
        return
    if row["sha256"] is None:
        shared.print_out(f"{label}  nothing deployed under this name")
        return
    tried = row["self_test"]
    facts = [
        f"{row['status']} {row['sha256'][:12]}",
        f"self-test: {tried['why']}" if tried else "",
        f"before it: {row['previous_sha256'][:12]}" if row["previous_sha256"] else "",
        row["path"],
    ]
    shared.print_out(f"{label}  {' · '.join(fact for fact in facts if fact)}")


_WORDS = (("expected", "expected"), ("to mend it", "mend"))
