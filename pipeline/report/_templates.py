"""The templates of this folder, as the page and the Markdown both fill them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.report import _cascade, _devices
from pipeline.report import _format as fmt
from pipeline.report import _summary as summary
from pipeline.report._json import JsonObject


def environment(shown: Callable[[object], object]) -> Any:
    """A jinja2 environment that knows the words for figures.

    Args:
        shown: every value goes through it on its way into the text.
    """
    import jinja2  # commands that draw nothing need not wait for it

    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = (fmt.size, fmt.latency, fmt.interval, fmt.duration, fmt.percent, fmt.number, fmt.quantity, summary.figures)
    found.filters.update({word.__name__: word for word in words})
    return found


def facts_of(document: JsonObject) -> dict[str, Any]:
    """What every form of one report shows: the outcome, the figures before and after, the checks, the devices."""
    return {
        "report": document,
        "verdict": summary.verdict(document),
        "headlines": summary.headlines(document),
        "checks": summary.checks(document),
        "device_rows": _devices.device_rows(document),
        "stages": _cascade.stage_table(document),
    }
