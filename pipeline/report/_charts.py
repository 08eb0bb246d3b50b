"""The charts of every page: bars that compare the baseline with the artifact, and the curves of training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.report import _format as fmt
from pipeline.report import _summary as summary
from pipeline.report._drawing import BAND, INK, MUTED, TRAINING, VALIDATION, Chart, draw
from pipeline.report._json import JsonObject
from pipeline.report._models import Model, models

BAR_WIDTH_PX, BAR_HEIGHT_PX = 320, 44
CURVE_WIDTH_PX, CURVE_HEIGHT_PX = 420, 230

MOST_LATENCY_CHARTS = 6
"""Of more devices, one chart shows them all (`_device_charts`)."""

MOST_POINTS = 500
"""More points of one curve than this lie on each other."""

_LOG_SPAN = 30
"""A loss that falls by more than this is drawn on a logarithmic scale, or its end would lie flat on the axis."""


@dataclass(frozen=True)
class Bar:
    """A bar: its name, its length, the words behind it, its colour, and the interval that a whisker shows."""

    label: str
    value: float
    shown: str
    colour: str
    bounds: tuple[float, float] | None = None

    @property
    def end(self) -> float:
        """Where the bar ends, or its whisker if that reaches further."""
        return max(self.value, self.bounds[1]) if self.bounds else self.value

    def row(self) -> JsonObject:
        """The bar as a row of Vega-Lite's data."""
        low, high = self.bounds or (None, None)
        return {
            "label": self.label,
            "value": self.value,
            "shown": self.shown,
            "end": self.end,
            "low": low,
            "high": high,
        }


def comparison_charts(document: JsonObject) -> list[Chart]:
    """Bars for size, for the task's metric and, of a few targets, for each latency that means something."""
    timed = [setup for setup in summary.setups(document) if setup.timed]
    few = timed if len(timed) <= MOST_LATENCY_CHARTS else []
    latencies = (_latency_chart(setup, models(document)) for setup in few)
    charts = [_size_chart(document), _score_chart(document), *latencies]
    return [chart for chart in charts if chart is not None]


def curve_charts(document: JsonObject) -> list[Chart]:
    """A chart for each figure that training watched: all epochs in order, the stages side by side."""
    steps = document["steps"]
    names = dict.fromkeys(_base(name) for step in steps for name in step["curves"])
    charts = (_curve_chart(name, steps) for name in names)
    return [chart for chart in charts if chart is not None]


def _size_chart(document: JsonObject) -> Chart | None:
    bars = [
        Bar(model.name + what, size, fmt.size(size), model.colour)
        for model in models(document)
        for what, name in (("", "size_bytes"), (", over the air", "ota_bytes"))
        if (size := document[model.part][name]) is not None
    ]
    return bar_chart("Size", bars)


def _score_chart(document: JsonObject) -> Chart | None:
    metric = document["artifact"]["metric"]
    bars = [
        Bar(model.name, value, fmt.score(metric, value), model.colour)
        for model in models(document)
        if (value := document[model.part]["value"]) is not None
    ]
    return bar_chart(summary.title(metric), bars)


def _latency_chart(setup: summary.Setup, both: Iterable[Model]) -> Chart | None:
    bars = [
        Bar(model.name, median_us, fmt.latency(median_us), model.colour, _bounds(setup.of(model.key)))
        for model in both
        if (median_us := setup.median_us(model.key)) is not None
    ]
    return bar_chart(f"Median latency, {setup.name}", bars)


def _bounds(row: JsonObject | None) -> tuple[float, float] | None:
    low, high = (row or {}).get("median_ci_us") or (None, None)
    return None if low is None or high is None else (low, high)


def bar_chart(title: str, bars: list[Bar]) -> Chart | None:
    """Horizontal bars from zero. A figure that can be below zero has no bar that could be compared, hence no chart."""
    if not bars or min(bar.value for bar in bars) < 0:
        return None
    description = "; ".join(f"{bar.label}: {bar.shown}" for bar in bars)
    return draw(title, description, _bar_spec(bars), (BAR_WIDTH_PX, len(bars) * BAR_HEIGHT_PX))


def _bar_spec(bars: list[Bar]) -> JsonObject:
    # The figure stands behind the bar's end, so the longest bar must leave room for it.
    most = max(bar.end for bar in bars) or 1
    x = {"type": "quantitative", "axis": None, "scale": {"domain": [0, most * 1.28]}}
    y = {"field": "label", "type": "nominal", "sort": None, "axis": None}
    colours = {"domain": [bar.label for bar in bars], "range": [bar.colour for bar in bars]}
    colour = {"field": "label", "type": "nominal", "scale": colours, "legend": None}
    below_label_px = 8
    # Bars that might be stacked are clipped, each with an id of its own; these stand alone.
    length = {"field": "value", "stack": None, **x}
    bar = {"type": "bar", "height": 14, "cornerRadiusEnd": 3, "yOffset": below_label_px}
    rule = {"type": "rule", "color": INK, "strokeWidth": 1.5, "yOffset": below_label_px}
    text = {"type": "text", "align": "left", "color": INK, "fontSize": 12.5}
    return {
        "data": {"values": [bar.row() for bar in bars]},
        "encoding": {"y": y},
        "layer": [
            {"mark": bar, "encoding": {"x": length, "color": colour}},
            {
                "transform": [{"filter": "isValid(datum.low)"}],
                "mark": rule,
                "encoding": {"x": {"field": "low", **x}, "x2": {"field": "high"}},
            },
            {
                "mark": {**text, "dy": -10, "color": MUTED},
                "encoding": {"x": {"value": 0}, "text": {"field": "label", "type": "nominal"}},
            },
            {
                "mark": {**text, "dx": 7, "dy": below_label_px + 1, "fontWeight": 600},
                "encoding": {"x": {"field": "end", **x}, "text": {"field": "shown", "type": "nominal"}},
            },
        ],
    }


def _base(name: str) -> str:
    return name.removeprefix("val_")


def _curve_chart(name: str, steps: Iterable[JsonObject]) -> Chart | None:
    with_curve = [step for step in steps if name in step["curves"] or f"val_{name}" in step["curves"]]
    points, bands = _laid_end_to_end(name, with_curve)
    if not points:
        return None
    return draw(
        summary.title(name), _told(name, with_curve), _curve_spec(points, bands), (CURVE_WIDTH_PX, CURVE_HEIGHT_PX)
    )


def _laid_end_to_end(name: str, steps: list[JsonObject]) -> tuple[list[JsonObject], list[JsonObject]]:
    """The points of all stages on one axis of epochs, and the band of that axis that each stage has."""
    points: list[JsonObject] = []
    bands: list[JsonObject] = []
    before = 0
    for place, step in enumerate(steps):
        series = {"training": step["curves"].get(name, []), "validation": step["curves"].get(f"val_{name}", [])}
        for label, values in series.items():
            for epoch, value in _thinned(values):
                points.append({"epoch": before + epoch, "value": value, "series": label, "stage": place})
        epochs = max(map(len, series.values()))
        bands.append({"from": before + 0.5, "to": before + epochs + 0.5, "name": step["stage"], "shade": place % 2})
        before += epochs
    return [point for point in points if point["value"] is not None], bands


def _thinned(values: list[float | None]) -> list[tuple[int, float | None]]:
    """Epochs with their values; of a very long training as many as a chart can show, first and last among them."""
    every = max(1, len(values) // MOST_POINTS)
    return [(epoch, value) for epoch, value in enumerate(values, 1) if (len(values) - epoch) % every == 0 or epoch == 1]


def _told(name: str, steps: list[JsonObject]) -> str:
    """The curves in words: where each began and where it ended."""
    parts = []
    for step in steps:
        for label, key in (("training", name), ("validation", f"val_{name}")):
            values = [value for value in step["curves"].get(key, []) if value is not None]
            if values:
                parts.append(f"{step['stage']}, {label}: from {fmt.number(values[0])} to {fmt.number(values[-1])}")
    return "; ".join(parts)


def _curve_spec(points: list[JsonObject], bands: list[JsonObject]) -> JsonObject:
    last = bands[-1]["to"]
    x_axis = {"title": "epoch", "tickMinStep": 1, "format": "d", "grid": False, "tickCount": 8}
    x = {"type": "quantitative", "scale": {"domain": [0.5, last], "nice": False}, "axis": x_axis}
    y = {"field": "value", "type": "quantitative", **_y_scale(points)}
    colours = {"domain": ["training", "validation"], "range": [TRAINING, VALIDATION]}
    dashes = {"domain": ["training", "validation"], "range": [[4, 3], [1, 0]]}
    lines = {
        "x": {"field": "epoch", **x},
        "y": y,
        "color": {"field": "series", "type": "nominal", "scale": colours, "legend": None},
        "strokeDash": {"field": "series", "type": "nominal", "scale": dashes, "legend": None},
        "detail": {"field": "stage"},
    }
    # Points tell single epochs apart, and are all there is of a stage of one epoch; in a long run they would smear.
    point = {"size": 22, "filled": True} if last <= 60 else False
    return {
        "layer": [
            _band_layer(bands, x),
            _band_names(bands, x, last),
            {"data": {"values": points}, "mark": {"type": "line", "strokeWidth": 2, "point": point}, "encoding": lines},
        ],
    }


def _band_layer(bands: list[JsonObject], x: JsonObject) -> JsonObject:
    fill = {"condition": {"test": "datum.shade == 1", "value": BAND}, "value": "transparent"}
    return {
        "data": {"values": bands},
        "mark": {"type": "rect"},
        "encoding": {"x": {"field": "from", **x}, "x2": {"field": "to"}, "color": fill},
    }


def _band_names(bands: list[JsonObject], x: JsonObject, last: float) -> JsonObject:
    room_px = (CURVE_WIDTH_PX - 60) / last
    names = [
        {"at": band["from"], "name": _fitting(band["name"], (band["to"] - band["from"]) * room_px)} for band in bands
    ]
    mark = {"type": "text", "align": "left", "baseline": "bottom", "dx": 3, "dy": -3, "color": MUTED, "fontSize": 11}
    encoding = {"x": {"field": "at", **x}, "y": {"value": 0}, "text": {"field": "name", "type": "nominal"}}
    return {"data": {"values": names}, "mark": mark, "encoding": encoding}


def _fitting(name: str, room_px: float) -> str:
    """A name cut to the room it has, at about 6 px a letter."""
    letters = int(room_px / 6.2)
    return name if len(name) <= letters else name[: letters - 1] + "…" if letters > 2 else ""


def _y_scale(points: list[JsonObject]) -> JsonObject:
    low, high = (side(point["value"] for point in points) for side in (min, max))
    if low <= 0 or high / low <= _LOG_SPAN:
        return {"scale": {"zero": False, "nice": True}, "axis": {"title": None, "tickCount": 5}}
    # Vega would draw a line at every digit of a decade; powers of ten are what people read.
    powers = [10.0**exponent for exponent in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    return {
        "scale": {"type": "log", "domain": [low * 0.8, high * 1.25]},
        "axis": {"title": None, "values": powers, "format": "~g"},
    }
