"""The charts of a task: ROC curve, predicted against true, and what normal and anomalous examples err.

Each is drawn where `details` holds its data: the report knows no task by its name.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.report import _format as fmt
from pipeline.report import _summary as summary
from pipeline.report._drawing import INK, MUTED, TRAINING, VALIDATION, Chart, draw
from pipeline.report._json import JsonObject
from pipeline.report._models import ARTIFACT, BASELINE, Model, models, shown

SQUARE_PX = (330, 300)


def task_charts(document: JsonObject) -> list[Chart]:
    """Every chart that the details of the two models give data for."""
    found = (_roc_chart(document), *_scatter_charts(document), _error_chart(document))
    return [chart for chart in found if chart is not None]


def _roc_chart(document: JsonObject) -> Chart | None:
    curves = [(model, roc) for model, roc in _of_both(document, "roc") if roc]
    if not curves:
        return None
    legend = [f"{model.name}: AUC {fmt.number(_area(document[model.part]))}" for model, _ in curves]
    lines = [_line(_points(roc), model.colour, 4.5 if model.key == BASELINE else 1.8) for model, roc in curves]
    axes = {"x": _share_axis("x", "false positive rate"), "y": _share_axis("y", "true positive rate")}
    chance = [{"x": 0, "y": 0, "place": 0}, {"x": 1, "y": 1, "place": 1}]
    spec = {
        "encoding": axes,
        "layer": [
            _line(chance, MUTED, 1, [3, 4]),
            *lines,
            *_legend(legend, [model.colour for model, _ in curves], lowest=0.06),
        ],
    }
    words = f"{'; '.join(legend)}. {_read_off(curves[-1])}"
    return draw(f"ROC curve, {curves[-1][1]['of']}", words, spec, SQUARE_PX)


def _area(facts: JsonObject) -> float | None:
    """The area under a model's ROC curve: a detail, or the headline itself."""
    area: float | None = facts["value"] if facts["metric"] == "auc" else facts["details"].get("roc_auc")
    return area


def _read_off(curve: tuple[Model, JsonObject]) -> str:
    """Where the curve passes a false positive rate that people ask for, in words."""
    model, roc = curve
    pairs = zip(roc["false_positive_rate"], roc["true_positive_rate"], strict=True)
    reached = max((rate for alarm, rate in pairs if alarm <= 0.05), default=0.0)
    return f"{model.name} finds {fmt.percent(reached, 1)} at no more than 5 % false positives"


def _points(roc: JsonObject) -> list[JsonObject]:
    pairs = zip(roc["false_positive_rate"], roc["true_positive_rate"], strict=True)
    return [{"x": x, "y": y, "place": place} for place, (x, y) in enumerate(pairs)]


def _share_axis(field: str, title: str) -> JsonObject:
    axis = {"title": title, "format": "~p", "tickCount": 5}
    return {"field": field, "type": "quantitative", "scale": {"domain": [0, 1], "nice": False}, "axis": axis}


def _line(points: list[JsonObject], colour: str, width: float, dash: list[int] | None = None) -> JsonObject:
    mark: JsonObject = {"type": "line", "color": colour, "strokeWidth": width, "strokeJoin": "round"}
    if dash:
        mark["strokeDash"] = dash
    # A curve that rises straight up has several points at one x: their own order is the right one.
    return {"data": {"values": points}, "mark": mark, "encoding": {"order": {"field": "place"}}}


def _legend(texts: list[str], colours: list[str], *, lowest: float) -> Iterator[JsonObject]:
    """Lines of text at the right edge, each with a dot in its colour; the last is this share of the height above it."""
    for place, (text, colour) in enumerate(zip(texts, colours, strict=True)):
        from_top = 1 - lowest - 0.075 * (len(texts) - 1 - place)
        at = {"x": {"value": {"expr": "width - 8"}}, "y": {"value": {"expr": f"height * {from_top}"}}}
        mark = {"type": "text", "align": "right", "color": INK, "fontSize": 12, "text": text}
        dot = {
            "type": "point",
            "filled": True,
            "opacity": 1,
            "color": colour,
            "size": 70,
            "xOffset": -(len(text) * 6.4 + 12),
        }
        one: JsonObject = {"values": [{}]}
        yield {"data": one, "mark": mark, "encoding": at}
        yield {"data": one, "mark": dot, "encoding": at}


def _scatter_charts(document: JsonObject) -> list[Chart]:
    plots = [(model, found or []) for model, found in _of_both(document, "scatter")]
    both_have = min(len(found) for _, found in plots)
    each = ([(model, found[k]) for model, found in plots] for k in range(both_have))
    return [_scatter_chart(document, plot) for plot in each]


def _scatter_chart(document: JsonObject, plots: list[tuple[Model, JsonObject]]) -> Chart:
    output = plots[-1][1]["output"]
    clouds = [
        (model.colour, [{"x": x, "y": y} for x, y in zip(plot["true"], plot["predicted"], strict=True)])
        for model, plot in plots
    ]
    numbers = [value for _, cloud in clouds for point in cloud for value in point.values() if value is not None]
    ends = [min(numbers), max(numbers)]
    axis = {"type": "quantitative", "scale": {"domain": ends, "nice": True, "zero": False}}
    encoding = {
        "x": {"field": "x", **axis, "axis": {"title": "true", "tickCount": 5}},
        "y": {"field": "y", **axis, "axis": {"title": "predicted", "tickCount": 5}},
    }
    perfect = [{"x": end, "y": end, "place": place} for place, end in enumerate(ends)]
    marks = [
        {"data": {"values": cloud}, "mark": {"type": "circle", "size": 20, "opacity": 0.7, "color": colour}}
        for colour, cloud in clouds
    ]
    name = summary.output_name(document, output)
    several = len(document["artifact"]["details"]["scatter"]) > 1
    which = f", {name}" if document["data"].get("class_names") else f", output {name}" if several else ""
    spec = {"encoding": encoding, "layer": [_line(perfect, MUTED, 1, [3, 4]), *marks]}
    return draw(f"Predicted against true{which}", _scatter_words(document, output), spec, SQUARE_PX)


def _scatter_words(document: JsonObject, output: int) -> str:
    words = []
    for model, rows in _of_both(document, "per_output"):
        row: JsonObject = next((row for row in rows or [] if row.get("output") == output), {})
        words.append(f"{model.name}: R² {fmt.number(row.get('r2'))}, mean absolute error {fmt.number(row.get('mae'))}")
    return "; ".join(words) + "; on the dashed line every prediction would be right"


def _error_chart(document: JsonObject) -> Chart | None:
    """How normal and anomalous examples spread over the artifact's error, each side as shares of itself."""
    details = document["artifact"]["details"]
    errors = details.get("errors")
    if not errors:
        return None
    edges = errors["edges"]
    # The task made the bins of equal ratio where the errors spread wide.
    even = abs((edges[1] - edges[0]) / ((edges[-1] - edges[0]) or 1) - 1 / (len(edges) - 1)) < 1e-3
    scale = {"type": "linear" if even else "log", "domain": [edges[0], edges[-1]], "nice": False, "zero": False}
    x = {"field": "from", "type": "quantitative", "scale": scale, "axis": _error_axis(even)}
    y = {
        "field": "share",
        "type": "quantitative",
        "axis": {"title": "share of examples", "format": "~p", "tickCount": 5},
    }
    sides = [(side, colour) for side, colour in (("normal", TRAINING), ("anomalous", VALIDATION)) if any(errors[side])]
    bars = [
        {
            "data": {"values": _bars(edges, errors[side])},
            "mark": {"type": "rect", "color": colour, "opacity": 0.6},
            "encoding": {"x": x, "x2": {"field": "to"}, "y": y, "y2": {"datum": 0}},
        }
        for side, colour in sides
    ]
    spec = {"layer": [*bars, *_threshold(details.get("threshold"), edges, x), *_names_above(sides)]}
    return draw(f"Reconstruction error, {shown(ARTIFACT, document)}", _error_words(details), spec, SQUARE_PX)


def _names_above(sides: list[tuple[str, str]]) -> Iterator[JsonObject]:
    """The names of the sides in a row above the plot, where no bar can reach them."""
    for place, (side, colour) in enumerate(sides):
        mark = {"type": "text", "align": "left", "baseline": "bottom", "dy": -3, "color": INK, "fontSize": 12}
        at = {"x": {"value": 14 + 80 * place}, "y": {"value": 0}}
        dot = {
            "type": "point",
            "filled": True,
            "opacity": 1,
            "color": colour,
            "size": 70,
            "xOffset": -8,
            "yOffset": -10,
        }
        one: JsonObject = {"values": [{}]}
        yield {"data": one, "mark": {**mark, "text": side}, "encoding": at}
        yield {"data": one, "mark": dot, "encoding": at}


def _error_axis(even: bool) -> JsonObject:
    return {
        "title": "mean squared error of an example",
        "tickCount": 5,
        "format": "~g" if even else "~e",
        "grid": False,
    }


def _bars(edges: list[float], counts: list[int]) -> list[JsonObject]:
    total = sum(counts)
    return [
        {"from": low, "to": high, "share": count / total}
        for low, high, count in zip(edges, edges[1:], counts, strict=False)
        if count
    ]


def _threshold(threshold: float | None, edges: list[float], x: JsonObject) -> list[JsonObject]:
    if threshold is None or not edges[0] <= threshold <= edges[-1]:
        return []
    at = {"values": [{"from": threshold}]}
    text = {"type": "text", "text": "threshold", "align": "left", "dx": 5, "dy": 8, "color": INK, "fontSize": 12}
    return [
        {"data": at, "mark": {"type": "rule", "color": INK, "strokeDash": [4, 3]}, "encoding": {"x": x}},
        {"data": at, "mark": text, "encoding": {"x": x, "y": {"value": 0}}},
    ]


def _error_words(details: JsonObject) -> str:
    medians = [
        f"{side}: median error {fmt.number(details.get(f'median_error_{side}'))}" for side in ("normal", "anomalous")
    ]
    found = details.get("recall_at_threshold")
    caught = [f"above the threshold {fmt.number(details['threshold'])}: {fmt.percent(found, 1)} of the anomalies"]
    return "; ".join(medians + (caught if found is not None else []))


def _of_both(document: JsonObject, name: str) -> list[tuple[Model, Any]]:
    """A detail of both models."""
    return [(model, document[model.part]["details"].get(name)) for model in models(document)]
