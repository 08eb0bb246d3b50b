"""edgesmith report: a finished run once more, in another form."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands import _shared as shared

FORMATS = ("table", "html", "md", "card", "junit", "json")


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: what --out ends in, else a table.")
@click.option("--out", type=click.Path(path_type=Path), help="The file to write; default: stdout.")
@click.option("--open", "opened", is_flag=True, help="Show the page in a browser.")
@shared.debug
def command(runs: tuple[Path, ...], form: str | None, out: Path | None, opened: bool) -> None:
    """Show the report of RUNS: run folders or report.json files; several stand side by side."""
    from pipeline import report as reporting
    from pipeline.storage import atomic_write_text

    form = form or reporting.format_for(out, opened)
    if opened and form != "html":
        raise click.UsageError(f"--open shows a page, and --format {form} makes none.")
    read = reporting.read_reports(runs)
    if out is None and form == "table":
        shared.draw(lambda console: reporting.show_reports(read, console))
        return
    text = reporting.report_text(read, form)
    if out is None and not opened:
        shared.print_out(text.rstrip("\n"))
        return
    where = out or reporting.page_beside(runs)
    atomic_write_text(where, text)
    click.echo(f"{where}", err=True)
    if opened:
        _browse(where)


def _browse(page: Path) -> None:
    """Show a page to people. Where there is no browser, that is a sentence: the page is written all the same."""
    import webbrowser

    if not webbrowser.open(page.absolute().as_uri()):
        click.echo("no browser was found here: open that file in one of yours", err=True)
