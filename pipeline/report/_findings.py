"""What `edgesmith doctor` shows in a terminal. Draws the same document that `--json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from pipeline.report import _format as fmt

_HEADINGS = {
    "python": "Python",
    "package": "Packages",
    "versions": "Versions together",
    "program": "Programs",
    "library": "Libraries",
    "folder": "Folders",
}
_MARKS = {"ok": ("✓", "green"), "missing": ("–", "yellow"), "wrong": ("✗", "bold red")}


def render_findings(document: Mapping[str, Any], console: Console) -> None:
    """Print what was found, each kind under its heading, and what is to be done behind what is not well.

    Args:
        document: what `pipeline.doctor.examine` gives.
        console: where to; it decides on width and colour.
    """
    for kind, heading in _HEADINGS.items():
        findings = [one for one in document["findings"] if one["kind"] == kind]
        if findings:
            console.print(Text(heading, "bold"))
        width = max((len(one["name"]) for one in findings), default=0)
        for finding in findings:
            _print(finding, width, console)
    said = "Everything essential is here." if document["ok"] else "Something essential is missing or does not fit."
    console.print(Text(said, "green" if document["ok"] else "bold red"))


def _print(finding: Mapping[str, Any], width: int, console: Console) -> None:
    """One line a finding, and what is to be done right below."""
    bad = finding["essential"] and finding["status"] != "ok"
    mark, style = ("✗", "bold red") if bad else _MARKS[finding["status"]]
    name, found = fmt.printable(finding["name"]).ljust(width), fmt.printable(finding["found"] or finding["status"])
    console.print(Text.assemble("  ", (mark, style), f"  {name}  {found}"))
    if finding["mend"]:
        enables = f"for {finding['enables']}: " if finding["enables"] else ""
        expected = f"wanted {finding['expected']}; " if finding["status"] == "wrong" else ""
        sentence = Text(fmt.printable(f"{expected}{enables}{finding['mend']}"), "dim")
        console.print(Padding(sentence, (0, 0, 0, len("  ✓  ")), expand=False))
