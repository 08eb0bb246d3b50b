"""What a model card says that no other report does: the metadata of the Hub, limits, and how to use the model.

The fields are those of https://huggingface.co/docs/hub/model-cards, the headings those of the annotated template there.
What only the author can know (licence, intended use, people) is left open, in the template's own words.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml
from markupsafe import Markup

from pipeline.report import _format as fmt
from pipeline.report import _summary as summary
from pipeline.report._json import JsonObject

_METRICS = {"accuracy": "accuracy", "r2": "r_squared", "auc": "roc_auc"}
"""The Hub's names of metrics that it knows by another or the same name."""

_WORST = 3
"""Classes that are named as the weakest."""


@dataclass(frozen=True)
class Card:
    """The parts of a card that are more than a report's.

    Attributes:
        metadata: the front matter.
        task: the task's name in words.
        limits: sentences on where the model is weak, and on what nobody measured.
        usage: Python that runs the model.
        training_seconds: what all stages took when they ran.
    """

    metadata: JsonObject
    task: str
    limits: list[str]
    usage: str
    training_seconds: float | None


def card(document: JsonObject) -> Card:
    """The card of a report."""
    seconds = [step["seconds"] for step in document["steps"] if step["seconds"] is not None]
    return Card(
        _metadata(document),
        fmt.printable(_task(document)).replace("_", " "),
        _limits(document),
        _usage_of_two(document) if document.get("cascade") else _usage(document["artifact"]),
        sum(seconds) if seconds else None,
    )


def yaml_text(values: JsonObject) -> Markup:
    """Front matter. A line is never broken: one that began with `---` would end it."""
    text = yaml.safe_dump(_printable(values), sort_keys=False, allow_unicode=True, width=float("inf"))
    return Markup(text.rstrip("\n"))  # noqa: S704 - YAML's own quoting, without control characters


def _metadata(document: JsonObject) -> JsonObject:
    pipeline_tag, precision = _pipeline_tag(document), document["artifact"]["precision"]
    metric = _metric(document)
    known = {
        "license": "unknown",
        "library_name": "tflite",
        "tags": ["tflite", "litert", precision, "quantized", "edge", "edgesmith", *_stages(document)],
        "pipeline_tag": pipeline_tag,
        "metrics": [metric],
        "model-index": [{"name": document["recipe"], "results": _results(document, pipeline_tag or "other", metric)}],
    }
    return {name: value for name, value in known.items() if value}


def _results(document: JsonObject, task: str, metric: str) -> list[JsonObject]:
    artifact = document["artifact"]
    if artifact["value"] is None:
        return []
    dataset = {"name": document["data"].get("origin") or "unknown", "type": "custom", "split": "test"}
    name = f"{summary.title(artifact['metric'])}, {artifact['precision']}"
    measured = {"type": metric, "value": artifact["value"], "name": name}
    return [{"task": {"type": task, "name": _task(document)}, "dataset": dataset, "metrics": [measured]}]


def _metric(document: JsonObject) -> str:
    metric: str = document["artifact"]["metric"]
    return _METRICS.get(metric, metric)


def _stages(document: JsonObject) -> list[str]:
    return list(dict.fromkeys(step["stage"] for step in document["steps"] if step["stage"] != "train"))


def _task(document: JsonObject) -> str:
    named = document["data"].get("task")
    return next(iter(named), "classification") if isinstance(named, dict) else "classification"


def _pipeline_tag(document: JsonObject) -> str:
    """The Hub's word for what the model does, where it surely has one."""
    inputs = document["artifact"]["inputs"]
    axes = len(inputs[0]["shape"]) if inputs else 0
    audible = any(
        word in json.dumps(document["data"].get("preprocessing", {})) for word in ("mel", "mfcc", "sample_rate")
    )
    tags = {
        ("classification", True, 4): "audio-classification",
        ("classification", True, 3): "audio-classification",
        ("classification", False, 4): "image-classification",
        ("multi_label", False, 4): "image-classification",
        ("classification", False, 2): "tabular-classification",
        ("regression", False, 2): "tabular-regression",
    }
    return tags.get((_task(document), audible, axes), "")


def _limits(document: JsonObject) -> list[str]:
    checks = summary.checks(document)
    failed = [
        f"The check {row.name} failed: {row.value}, limit {row.limit}. {row.why}"
        for row in checks
        if row.status == "fail"
    ]
    unknown = [f"{row.name} was not measured: {row.why}" for row in checks if row.status == "not measured"]
    timed = summary.headline_setup(document)
    return [
        *failed,
        *unknown,
        *_weak_classes(document),
        *map(str, document["data"].get("notes") or []),
        *([] if timed else ["No latency was measured on a device or on the machine of the run."]),
    ]


def _weak_classes(document: JsonObject) -> list[str]:
    rows = document["artifact"]["details"].get("per_class") or []
    found = sorted((row for row in rows if row.get("recall") is not None), key=lambda row: row["recall"])[:_WORST]
    if len(rows) < 2 or not found:
        return []
    names = [f"{summary.output_name(document, row['class'])} {fmt.percent(row['recall'], 1)}" for row in found]
    return [f"The classes that are found least often (recall on the test split): {', '.join(names)}."]


def _usage(artifact: JsonObject) -> str:
    """Python that runs the model on one example with nothing but numpy and an interpreter."""
    path = json.dumps(fmt.printable(artifact["path"]))
    return f"""\
import numpy as np
from ai_edge_litert.interpreter import Interpreter  # pip install ai-edge-litert

interpreter = Interpreter(model_path={path})
interpreter.allocate_tensors()
entry, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

x = np.zeros(entry["shape"], np.float32)  # one example, preprocessed as manifest.json says
scale, zero_point = entry["quantization"]
if scale:
    kind = np.iinfo(entry["dtype"])
    x = np.clip(np.round(x / scale) + zero_point, kind.min, kind.max)
interpreter.set_tensor(entry["index"], x.astype(entry["dtype"]))
interpreter.invoke()

y = interpreter.get_tensor(result["index"])
scale, zero_point = result["quantization"]
print((y.astype(np.float32) - zero_point) * scale if scale else y)"""


def _usage_of_two(document: JsonObject) -> str:
    """Of a model in two files, which the script beside them runs."""
    files = ", ".join(fmt.printable(stage["path"]) for stage in document["cascade"]["stages"])
    return f"""\
# {files}, cascade.json and run_cascade.py lie in one folder; examples.npy holds examples, (n, ...), real numbers
# preprocessed as manifest.json says. It prints the class of each, and which stage decided.
import subprocess, sys

subprocess.run([sys.executable, "run_cascade.py", "cascade.json", "examples.npy"], check=True)"""


def _printable(value: Any) -> Any:
    if isinstance(value, dict):
        return {fmt.printable(name): _printable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_printable(inner) for inner in value]
    return fmt.printable(value) if isinstance(value, str) else value
