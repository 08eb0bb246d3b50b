"""What a model costs against what it is worth: the task's metric against size, and against latency on every device."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.report import _format as fmt
from pipeline.report import _summary as summary
from pipeline.report._charts import MOST_LATENCY_CHARTS
from pipeline.report._drawing import FLOAT, INK, INT8, MUTED, Chart, draw
from pipeline.report._json import JsonObject
from pipeline.report._models import ARTIFACT, BASELINE, models, shown

SIZE_PX = (420, 230)
MOST_NAMED = 6
"""More names than these would lie on each other."""

MOST_TOLD = 12
"""Of more points, a description is no longer listened to."""

# By what measurements call them: runs side by side may have artifacts of several precisions, in one colour.
_COLOURS = {BASELINE: FLOAT, ARTIFACT: INT8}


def tradeoff_charts(documents: list[JsonObject]) -> list[Chart]:
    """The metric against size and against latency, a point a model of each run (and a device).

    Runs whose metric is another than the first one's stand on another axis, and are left out.
    """
    metric = documents[0]["artifact"]["metric"]
    alike = [document for document in documents if document["artifact"]["metric"] == metric]
    several = len(alike) > 1
    by_size = [point for document in alike for point in _size_points(document, several)]
    by_latency = [point for document in alike for point in _latency_points(document, several)]
    charts = (
        _scatter(f"{summary.title(metric)} against size", metric, by_size, "bytes of the .tflite"),
        _scatter(f"{summary.title(metric)} against latency", metric, by_latency, "median latency, µs"),
    )
    return [chart for chart in charts if chart is not None]


def many_latencies_chart(document: JsonObject) -> Chart | None:
    """The median latencies of many devices in one picture, a line a device."""
    timed = [setup for setup in summary.setups(document) if setup.timed]
    if len(timed) <= MOST_LATENCY_CHARTS:
        return None
    points: list[JsonObject] = [
        {"device": f"{place + 1} {setup.name}", "model": model, "us": us}
        for place, setup in enumerate(timed)
        for model in _COLOURS
        if (us := setup.median_us(model))
    ]
    if not points:
        return None
    fastest = min(points, key=lambda point: point["us"])
    which = f"{shown(fastest['model'], document)} on {fastest['device']}"
    words = f"{len(timed)} devices; the fastest is {which} with {fmt.latency(fastest['us'])}"
    return draw("Median latency, all devices", words, _dots(points), (SIZE_PX[0] * 2, 40 + 16 * len(timed)))


def _dots(points: list[JsonObject]) -> JsonObject:
    encoding = {
        "y": {
            "field": "device",
            "type": "nominal",
            "sort": None,
            "axis": {"title": None, "grid": True, "ticks": False},
        },
        "x": {"field": "us", "type": "quantitative", **_log_axis("median latency, µs")},
        "color": _colours(),
    }
    mark = {"type": "point", "filled": True, "size": 45, "opacity": 1}
    return {"data": {"values": points}, "mark": mark, "encoding": encoding}


def _size_points(document: JsonObject, several: bool) -> Iterable[JsonObject]:
    run = f"{document['recipe']}, " if several else ""
    for model in models(document):
        facts, name = document[model.part], run + model.name
        if facts["value"] is not None and facts["size_bytes"]:
            told = f"{name}: {fmt.size(facts['size_bytes'])}"
            place = {"x": facts["size_bytes"], "y": facts["value"]}
            yield {**place, "model": model.key, "line": run, "name": name, "told": told}


def _latency_points(document: JsonObject, several: bool) -> Iterable[JsonObject]:
    run = f"{document['recipe']}, " if several else ""
    for setup in filter(lambda setup: setup.timed, summary.setups(document)):
        for model in models(document):
            us, value = setup.median_us(model.key), document[model.part]["value"]
            if us and value is not None:
                told = f"{run}{setup.name}, {model.name}: {fmt.latency(us)}"
                line = f"{run}{setup.name} {setup.how}"
                yield {"x": us, "y": value, "model": model.key, "line": line, "name": run + setup.name, "told": told}


def _scatter(title: str, metric: str, points: list[JsonObject], x_title: str) -> Chart | None:
    if not points:
        return None
    told = [f"{point['told']}, {fmt.score(metric, point['y'])}" for point in points[:MOST_TOLD]]
    more = [f"and {len(points) - MOST_TOLD} more"] if len(points) > MOST_TOLD else []
    return draw(title, "; ".join(told + more), _spec(metric, points, x_title), SIZE_PX)


def _spec(metric: str, points: list[JsonObject], x_title: str) -> JsonObject:
    values = [point["y"] for point in points]
    share = all(fmt.is_share(metric, value) for value in values)
    # A difference of half a point must not look like a cliff: the axis spans five hundredths at least.
    middle, largest = (max(values) + min(values)) / 2, max(map(abs, values))
    half = max((max(values) - min(values)) * 0.7, 0.025 * largest, 1e-9)
    domain = [middle - half, min(middle + half, 1.0) if share else middle + half]
    y_axis = {"title": None, "tickCount": 5, "format": ".1%" if share else "~g"}
    encoding = {
        "x": {"field": "x", "type": "quantitative", **_log_axis(x_title)},
        "y": {
            "field": "y",
            "type": "quantitative",
            "scale": {"domain": domain, "nice": False, "zero": False},
            "axis": y_axis,
        },
    }
    lines = {"mark": {"type": "line", "color": MUTED, "strokeWidth": 1}, "encoding": {"detail": {"field": "line"}}}
    dots = {"mark": {"type": "point", "filled": True, "size": 70, "opacity": 1}, "encoding": {"color": _colours()}}
    return {"data": {"values": points}, "encoding": encoding, "layer": [lines, dots, *_names(points)]}


def _names(points: list[JsonObject]) -> list[JsonObject]:
    """The names of the artifacts' points, above and below in turn: neighbours would lie on each other."""
    named = sorted((point for point in points if point["model"] == ARTIFACT), key=lambda point: point["x"])
    if len(named) > MOST_NAMED:
        return []
    mark = {"type": "text", "align": "left", "dx": 7, "color": INK, "fontSize": 11}
    sides = ((named[::2], -9), (named[1::2], 12))
    text = {"text": {"field": "name", "type": "nominal"}}
    return [{"data": {"values": some}, "mark": {**mark, "dy": dy}, "encoding": text} for some, dy in sides if some]


def _log_axis(title: str) -> JsonObject:
    scale = {"type": "log", "nice": False, "padding": 24}
    return {"scale": scale, "axis": {"title": title, "tickCount": 4, "format": "~s", "grid": False}}


def _colours() -> JsonObject:
    scale = {"domain": list(_COLOURS), "range": list(_COLOURS.values())}
    return {"field": "model", "type": "nominal", "scale": scale, "legend": None}
