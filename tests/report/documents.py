"""Documents that the tests share: one with all there is, one of many devices, one with a text in every place."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from tests.report.conftest import measurement, sample

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "schemas" / "report.schema.json").read_text("utf-8"))

KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "FULLY_CONNECTED", "SOFTMAX")

EVIL = (
    "</script></style></textarea>\"'><script>window.owned = 1</script><img src=x onerror='window.owned = 2'>"
    "{{ 913*7 }}&lt;]]><!--|`tick` ```fence [link](javascript:alert(1)) ![image](http://evil.example/x.png) **bold** "
    "@someone #1 https://evil.example www.evil.example \\ $&"
    "\x00\x07\x1b[31m\x1b]0;title\x07\x7f\x85\u202e\u2028\r\n\n---\n# heading\n\tend"
)
"""Everything that a page, Markdown, XML, YAML or a terminal could take for its own."""


def profile(operators: int) -> list[dict[str, Any]]:
    """So many operators, whose shares add up to one."""
    times = [1.0 + place % 7 for place in range(operators)]
    return [
        {
            "index": place,
            "kind": KINDS[place % len(KINDS)],
            "name": f"block_{place}/conv",
            "us": us,
            "share": us / sum(times),
            "macs": place * 5_000,
            "bytes": 500 + 77 * place,
        }
        for place, us in enumerate(times)
    ]


def full() -> dict[str, Any]:
    """The sample with real hardware, an emulated device, a profile and a figure that does not hold still."""
    document = sample().to_json()
    roofline = {"macs_per_us": 4000.0, "bytes_per_us": 8000.0}
    host = [{**row, "profile": profile(9), "roofline": roofline} for row in document["measurements"]]
    cool = {"clock_mhz": 1800.0, "temperature_c": 51.25, "governor": "ondemand", "load": 0.4, "throttled": "0"}
    hot = {**cool, "clock_mhz": 1200.0, "temperature_c": 80.2, "throttled": "20002"}
    slowed = {"unstable": "the clock fell from 1.8 to 1.2 GHz", "before": cool, "after": hot}
    pi = [measurement("float32", 2210.0), measurement("int8", 790.0, **slowed)]
    board = [measurement("int8", 9000.0, target="pico", provenance="emulated")]
    document["measurements"] = [*host, *({**row, "target": "pi4", "provenance": "device"} for row in pi), *board]
    return document


def in_two_stages() -> dict[str, Any]:
    """The full document of a model with an early exit."""
    document = full()
    border = {"name": "features", "shape": [1, 12, 12, 20], "dtype": "int8", "scale": 0.01, "zero_point": -3}
    files = ("model.tflite", 9_512, 356_400, 0.975, 21.6), ("model.rest.tflite", 447_912, 2_005_000, 0.025, 19.5)
    stages = [
        {
            "path": path,
            "sha256": str(place) * 64,
            "size_bytes": size,
            "ota_bytes": size - 1_000,
            "ota_codec": "xz",
            "inputs": [border],
            "outputs": [border] * (2 - place),
            "macs": macs,
            "decides": share,
            "median_us": {"host": us},
        }
        for place, (path, size, macs, share, us) in enumerate(files)
    ]
    figures = {"value": 0.9912, "early_value": 0.9859, "full_value": 0.9925, "average_macs": 0.1769}
    document["cascade"] = {
        "threshold": 0.7716,
        "expected_exits": 0.9724,
        "exits": 0.975,
        **figures,
        "full_macs": 2_293_000,
        "average_us": {"host": 22.09},
        "features": border,
        "stages": stages,
    }
    rows = [row for row in document["measurements"] if row["model"] == "float32"]
    [row] = [row for row in document["measurements"] if (row["target"], row["model"]) == ("host", "int8")]
    early, rest = ({**row, "model": f"int8 {name}", "median_us": us} for name, us in (("early", 21.6), ("rest", 19.5)))
    document["measurements"] = [*rows, early, rest]
    return document


def many(targets: int, operators: int) -> dict[str, Any]:
    """A report of so many devices, each with a profile, and so many layers."""
    base = sample()
    layers = tuple(dataclasses.replace(base.layers[k % 4], name=f"block_{k}/conv") for k in range(operators))
    rows = [
        measurement(model, us * (1 + place / 10), target=f"pi_{place}", provenance="device", profile=profile(operators))
        for place in range(targets)
        for model, us in (("float32", 300.0), ("int8", 60.0))
    ]
    return dataclasses.replace(base, layers=layers, measurements=tuple(rows)).to_json()


def with_text(text: str, *, patterns: bool) -> dict[str, Any]:
    """A report that has `text` in every string, key and list that its schema leaves open.

    Args:
        text: what stands everywhere.
        patterns: whether the strings that must follow a pattern do; without, `text` stands there too.
    """
    document: dict[str, Any] = _made(SCHEMA, text, patterns)
    document["data"]["task"] = {text: {text: text}}
    for part in ("baseline", "artifact"):
        for name, key in (("per_class", "class"), ("per_label", "label"), ("per_output", "output")):
            document[part]["details"][name] = [{key: 0, "recall": 0.5, text: 0.5}]
    [row] = document["measurements"]
    # Rows of models that nobody knows are drawn in fewer places than these two.
    document["measurements"] = [row, {**row, "model": "float32"}, {**row, "model": "int8"}]
    document["checks"] = [{**document["checks"][0], "status": status} for status in ("pass", "fail", "not measured")]
    return document


def _made(schema: dict[str, Any], text: str, patterns: bool) -> Any:
    if "$ref" in schema:
        return _made(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], text, patterns)
    if "oneOf" in schema:
        return _made(next(one for one in schema["oneOf"] if one != {"type": "null"}), text, patterns)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    kinds = schema.get("type", "object")
    kind = kinds if isinstance(kinds, str) else next(one for one in kinds if one != "null")
    return _MAKERS[kind](schema, text, patterns)


def _string(schema: dict[str, Any], text: str, patterns: bool) -> str:
    if "pattern" not in schema or not patterns:
        return text
    return "2026-01-31T12:00:00Z" if "T" in schema["pattern"] else "0f" * 32


def _object(schema: dict[str, Any], text: str, patterns: bool) -> dict[str, Any]:
    known = {name: _made(inner, text, patterns) for name, inner in schema.get("properties", {}).items()}
    extra = schema.get("additionalProperties")
    if extra:
        return {**known, text: _made(extra, text, patterns)}
    # What the schema leaves open may be of any depth.
    return known or {text: {text: [text, {text: text}]}}


_MAKERS: dict[str, Any] = {
    "string": _string,
    "object": _object,
    "array": lambda schema, text, patterns: [
        _made(schema["items"], text, patterns) for _ in range(schema.get("minItems", 1))
    ],
    "boolean": lambda *_: True,
    "integer": lambda *_: 1,
    "number": lambda *_: 1,
}
