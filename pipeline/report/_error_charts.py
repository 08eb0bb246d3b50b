"""The quantization error of each layer, float minus dequantized: a small histogram with its mean and its worst."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.report import _format as fmt
from pipeline.report._drawing import GRID, INK, INT8, Chart, draw
from pipeline.report._json import JsonObject

WIDTH_PX, HEIGHT_PX = 200, 84

MOST_DRAWN = 16
"""Of a deep model the noisiest layers; the figures of all are in report.json."""


@dataclass(frozen=True)
class ErrorView:
    """One layer: its drawing, and the figures beside it in words."""

    chart: Chart
    figures: str


def error_views(document: JsonObject) -> list[ErrorView]:
    """A histogram for each layer whose error was measured, the noisiest first."""
    measured = [layer for layer in document["layers"] if _is_drawable(layer["error"])]
    noisiest = sorted(measured, key=lambda layer: (layer["sqnr_db"] is None, layer["sqnr_db"] or 0.0))
    return [_view(layer) for layer in noisiest[:MOST_DRAWN]]


def _is_drawable(error: JsonObject | None) -> bool:
    """Whether there is anything to be seen; a layer that does not err has no width."""
    if error is None or not error["bins"]:
        return False
    return bool(error["bin_width"]) and error["worst"] is not None and error["mean"] is not None


def _view(layer: JsonObject) -> ErrorView:
    error = layer["error"]
    told = f"mean {fmt.number(error['mean'])}, worst {fmt.number(error['worst'])}"
    bins = _bins(error)
    half = sum(count for at, _, count in bins if abs(at) <= error["worst"] / 2)
    share = fmt.percent(half / (sum(error["bins"]) or 1), 1)
    words = f"Float minus dequantized: {told}; {share} of the values err by no more than half of the worst"
    svg = draw(fmt.printable(layer["name"]), words, _spec(error, bins), (WIDTH_PX, HEIGHT_PX))
    return ErrorView(svg, f"{told}, {fmt.quantity(layer['sqnr_db'], 'dB')}")


def _bins(error: JsonObject) -> list[tuple[float, float, int]]:
    """Both edges of each bin that counts something, and its count."""
    width, counts = error["bin_width"], error["bins"]
    half = len(counts) / 2
    return [((k - half) * width, (k + 1 - half) * width, count) for k, count in enumerate(counts) if count]


def _spec(error: JsonObject, bins: list[tuple[float, float, int]]) -> JsonObject:
    reach = max((max(abs(low), abs(high)) for low, high, _ in bins), default=error["bin_width"])
    axis = {"title": None, "tickCount": 3, "grid": False, "format": ".3~g"}
    x = {"type": "quantitative", "scale": {"domain": [-reach, reach], "nice": False}, "axis": axis}
    # Of a million values most lie in two bins: by their roots, the few that err most are seen as well.
    y = {"field": "count", "type": "quantitative", "stack": None, "scale": {"type": "sqrt"}, "axis": None}
    rule = {"type": "rule", "strokeWidth": 1}
    return {
        "layer": [
            {
                "data": {"values": [{"from": low, "to": high, "count": count} for low, high, count in bins]},
                "mark": {"type": "bar", "color": INT8},
                "encoding": {"x": {"field": "from", **x}, "x2": {"field": "to"}, "y": y, "y2": {"datum": 0}},
            },
            {
                "data": {"values": [{"at": 0.0}]},
                "mark": {**rule, "color": GRID},
                "encoding": {"x": {"field": "at", **x}},
            },
            {
                "data": {"values": [{"at": error["mean"]}]},
                "mark": {**rule, "color": INK, "strokeDash": [3, 2], "strokeWidth": 1.5},
                "encoding": {"x": {"field": "at", **x}},
            },
        ]
    }
