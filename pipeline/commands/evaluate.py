"""edgesmith evaluate: how well a model does on devices."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands import _devices as on_devices
from pipeline.commands import _shared as shared


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="An .npz of inputs x and targets y.")
@on_devices.targets
@on_devices.profiles
@click.option("--task", default="classification", show_default=True, help="A task, or {TASK: {SETTING: VALUE}}.")
@click.option("--limit", type=click.IntRange(min=1), help="Only so many examples, the first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
@shared.debug
def command(
    model: Path,
    data: Path,
    targets: tuple[str, ...],
    profiles: Path | None,
    task: str,
    limit: int | None,
    as_json: bool,
) -> None:
    """Score a .tflite MODEL on devices, side by side, by labelled examples.

    Inputs are what the float model took, or the numbers as the .tflite stores them. A device that fails does not keep
    the others from being scored; the exit code is then 3.
    """
    from pipeline import devices, evaluation
    from pipeline.console import ConsoleProgress
    from pipeline.report import render_evaluation

    chosen, meaning = devices.devices(targets or ("host",), profiles), evaluation.task_of(task)
    with ConsoleProgress() as progress:
        document = evaluation.evaluate(model, data, meaning, chosen, progress, limit=limit)
    on_devices.tell(document, render_evaluation, as_json=as_json)
