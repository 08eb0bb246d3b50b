"""How a chart is drawn: a Vega-Lite specification becomes inline SVG that follows the page's colours.

Vega-Lite knows fixed colours only, and the page has a light and a dark dress. So a chart is drawn in marker colours
that stand for the page's CSS variables, and these take their place afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from pipeline.report import _format as fmt

INK, MUTED, GRID, BAND = "#0a0a01", "#0a0a02", "#0a0a03", "#0a0a04"
FLOAT, INT8, TRAINING, VALIDATION = "#0a0a05", "#0a0a06", "#0a0a07", "#0a0a08"

_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--line",
    BAND: "--band",
    FLOAT: "--float",
    INT8: "--int8",
    TRAINING: "--training",
    VALIDATION: "--validation",
}

_CONFIG = {
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED,
        "titleColor": MUTED,
        "gridColor": GRID,
        "domainColor": GRID,
        "tickColor": GRID,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
    },
}


@dataclass(frozen=True)
class Chart:
    """A drawn chart: its heading, what it shows in words (for those who cannot see it), and the SVG."""

    title: str
    description: str
    svg: Markup


def draw(title: str, description: str, spec: Mapping[str, Any], size_px: tuple[int, int]) -> Chart:
    """Draw a chart.

    Args:
        title: its heading.
        description: what it shows, in words.
        spec: Vega-Lite, in the marker colours of this module.
        size_px: width and height with axes; the page scales it to its place.
    """
    import vl_convert  # takes a moment to load, and only a page needs it

    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "width": size_px[0],
        "height": size_px[1],
        "autosize": {"type": "fit", "contains": "padding"},
        "padding": {"left": 1, "right": 8, "top": 4, "bottom": 2},
        "background": None,
        "config": _CONFIG,
        **_printable(spec),
    }
    title, description = fmt.printable(title), fmt.printable(description)
    drawn = vl_convert.vegalite_to_svg(whole, allowed_base_urls=[])
    return Chart(title, description, _inline(drawn, f"{title}. {description}"))


def _printable(part: Any) -> Any:
    """A part of a specification without control characters, wherever in it a name stands."""
    if isinstance(part, Mapping):
        return {name: _printable(inner) for name, inner in part.items()}
    if isinstance(part, list | tuple):
        return [_printable(inner) for inner in part]
    return fmt.printable(part) if isinstance(part, str) else part


def _inline(drawn: str, words: str) -> Markup:
    """Vega's SVG as a part of the page: in the page's colours, sized by its place, one image to a screen reader."""
    opening, _, body = drawn.partition(">")
    box = opening.partition('viewBox="')[2].partition('"')[0]
    for marker, variable in _VARIABLES.items():
        body = body.replace(f'"{marker}"', f'"var({variable})"')
    # Vega describes each part for screen readers; here the whole is one image with one description.
    body = re.sub(r' (?:role|aria-[a-z]+|font-family)="[^"]*"', "", body)
    # Drawn by Vega, which escapes every text; `words` is escaped here.
    return Markup(f'<svg viewBox="{box}" role="img" aria-label="{escape(words)}">{body}')  # noqa: S704
