"""edgesmith inspect: what is in a model file."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands import _shared as shared


@click.command()
@click.argument("model")
@click.option("--data", type=click.Path(path_type=Path), help="An .npz of real inputs: measures each layer's SQNR.")
@click.option("--reference", type=click.Path(path_type=Path), help="The float .tflite to hold the layers against.")
@click.option("--target", metavar="NAME", help="Tell where this target would run each operator, such as coral.")
@click.option("--pack", is_flag=True, help="Find the size over the air of a large model, too; it takes seconds.")
@click.option("--custom-objects", type=click.Path(path_type=Path), help="Python file with the model's own classes.")
@click.option("--trust-code", is_flag=True, help="Let a model file run the code it holds (Lambda layers).")
@click.option(
    "--node-data",
    nargs=2,
    metavar="FIGURE FILE",
    help="Write macs, bytes, sparsity, … of each operator for Model Explorer to colour the graph by.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
@shared.debug
def command(
    model: str,
    data: Path | None,
    reference: Path | None,
    target: str | None,
    pack: bool,
    custom_objects: Path | None,
    trust_code: bool,
    node_data: tuple[str, str] | None,
    as_json: bool,
) -> None:
    """Show what is in a MODEL: a .tflite, any Keras file, or file.py:function."""
    from pipeline import inspection
    from pipeline.console import ConsoleProgress

    with ConsoleProgress() as progress:
        options = inspection.Options(data, reference, pack, custom_objects, trust_code, target)
        document = inspection.inspect(model, options, progress)
    if node_data is not None:
        inspection.write_node_data(document, node_data[0], Path(node_data[1]))
    if as_json:
        shared.print_json(document)
        return
    from pipeline.report import render_inspection

    shared.draw(lambda console: render_inspection(document, console))
