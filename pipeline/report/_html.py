"""report.html: one file that loads nothing, to be attached to a pull request or opened years later."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from edge_targets._measurement import TIMED
from pipeline.report import (
    _advised,
    _charts,
    _device_charts,
    _devices,
    _error_charts,
    _npu,
    _profile,
    _runs,
    _task_charts,
    _task_tables,
)
from pipeline.report import _format as fmt
from pipeline.report import _summary as summary
from pipeline.report._json import JsonObject
from pipeline.report._models import shown
from pipeline.report._templates import environment, facts_of

_HERE = Path(__file__).parent

MOST_IN_LINE = 12
"""Longer lists of facts are folded: the names of 150 layers would push all else off the screen."""

MANY_FROM = 8
"""From more devices on, the page is not laid out as a whole before it is shown."""

_SENTENCE = 60
"""Letters from which on a fact is a sentence and wants a line of its own."""

_UNTIMED = {
    "emulated": "Real software on an emulated processor: outputs mean something, latency does not.",
    "simulated": "From an analytical model, not from a run: an estimate that decides nothing.",
}


def html_page(document: JsonObject) -> str:
    """The page of a report.

    Args:
        document: what `Report.to_json` gives.

    Returns:
        The whole HTML, with style, script and drawings inside.
    """
    return _rendered(
        "report.html",
        **facts_of(document),
        setups=summary.setups(document),
        figures=_task_tables.figures(document),
        task_notes=_task_tables.notes(document),
        task_charts=_task_charts.task_charts(document),
        confusion=_task_tables.confusion(document),
        confused=_task_tables.confused_pairs(document),
        row_tables=_task_tables.row_tables(document),
        comparison=_charts.comparison_charts(document),
        tradeoffs=_device_charts.tradeoff_charts([document]),
        latencies=_device_charts.many_latencies_chart(document),
        curves=_charts.curve_charts(document),
        profiles=_profile.profiles(document),
        errors=_error_charts.error_views(document),
        kept=_advised.sentences(document["mixed_precision"]) if document["mixed_precision"] else [],
        alone_in=_advised.alone_in(document),
        shown=lambda model: shown(model, document),
    )


def html_page_of_several(documents: list[JsonObject]) -> str:
    """The page of several reports side by side; their names must be apart."""
    return _rendered(
        "runs.html",
        documents=documents,
        sides=_runs.side_by_side(documents),
        tradeoffs=_device_charts.tradeoff_charts(documents),
    )


def _rendered(template: str, **values: object) -> str:
    # Our own files, never a user's.
    style, script = (Markup(_HERE.joinpath(name).read_text(encoding="utf-8")) for name in ("report.css", "report.js"))  # noqa: S704
    page: str = (
        _templates()
        .get_template(template)
        .render(
            marks=summary.MARKS,
            timed=TIMED,
            untimed=_UNTIMED,
            most_in_line=MOST_IN_LINE,
            many_from=MANY_FROM,
            style=style,
            script=script,
            script_hash=_csp_hash(script),
            **values,
        )
    )
    return page


def _templates() -> Any:
    templates = environment(_shown)
    templates.globals.update(npu_headings=_npu.HEADINGS)
    templates.filters.update(
        step_figures=summary.step_figures,
        conditions=_devices.conditions,
        energy=_devices.energy,
        memory=_npu.memory,
        npu_rows=_npu.npu_rows,
        settings=_settings,
        breakable=_breakable,
        needs_lines=_needs_lines,
        points=_advised.points,
    )
    return templates


def _shown(value: object) -> object:
    """Every value on its way into the page: a dash for what is not there, and no control or direction characters."""
    if isinstance(value, Markup):
        return value
    return fmt.DASH if value is None else "\n".join(map(fmt.printable, str(value).split("\n")))


def _breakable(name: object) -> Markup:
    """A name that may break after its `_`, `.` and `/`, where a reader would break it, on a narrow screen."""
    parts = re.split(r"(?<=[_./])", fmt.printable(name))
    return Markup("<wbr>").join(parts)


def _needs_lines(values: list[object]) -> bool:
    """Whether the items of a list of facts are too large to stand in one line with commas."""
    return any(isinstance(value, Mapping | list) or len(str(value)) > _SENTENCE for value in values)


def _csp_hash(script: str) -> str:
    """The page allows this one script by its hash: any other, however it got in, is not run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def _settings(values: Mapping[str, object]) -> str:
    """The settings of a stage that are set; what is off or empty would drown them."""
    return ", ".join(f"{name} {_words(value)}" for name, value in _set(values).items())


def _set(values: Mapping[str, object]) -> dict[str, object]:
    """What is set of a group, and of the groups in it."""
    inner = {name: _set(value) if isinstance(value, Mapping) else value for name, value in values.items()}
    return {name: value for name, value in inner.items() if value not in (None, False, [], {})}


def _words(value: object) -> str:
    """A fact of any shape in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    return fmt.number(value)
