"""manifest.json: what a program on the device must know to feed the model and to read what it gives."""

from __future__ import annotations

from typing import Any

from pipeline.report._json import JsonObject

SCHEMA = 1


def manifest(document: JsonObject) -> JsonObject:
    """The manifest of the artifact that a report speaks of.

    A raw recording passes through `preprocessing`, then each real number x becomes the stored
    q = clip(round(x / scale) + zero_point) of `inputs`. An output stands for scale * (q - zero_point).

    Args:
        document: what `Report.to_json` gives.
    """
    artifact, data = document["artifact"], document["data"]
    return {
        "schema": SCHEMA,
        "recipe": document["recipe"],
        "created": document["created"],
        "model": _files({**artifact, **_first_stage(document)}),
        "task": data.get("task", {}),
        "preprocessing": data.get("preprocessing", {}),
        "inputs": artifact["inputs"],
        "outputs": artifact["outputs"],
        "class_names": data.get("class_names", []),
        **_threshold(artifact["details"]),
        **({"cascade": "cascade.json"} if document.get("cascade") else {}),
        "expect": {"metric": artifact["metric"], "value": artifact["value"]},
    }


def _first_stage(document: JsonObject) -> JsonObject:
    """Of a model in two stages, the sizes of the first file alone; the artifact's are those of both."""
    told = document.get("cascade")
    return {name: told["stages"][0][name] for name in ("size_bytes", "ota_bytes")} if told else {}


def _threshold(details: JsonObject) -> dict[str, Any]:
    """For a task that decides by a threshold (anomaly: of the mean squared reconstruction error), that threshold."""
    return {"threshold": details["threshold"]} if "threshold" in details else {}


def _files(artifact: JsonObject) -> dict[str, Any]:
    packed = {"path": f"{artifact['path']}.{artifact['ota_codec']}", "codec": artifact["ota_codec"]}
    return {
        "path": artifact["path"],
        "sha256": artifact["sha256"],
        "size_bytes": artifact["size_bytes"],
        "over_the_air": {**packed, "size_bytes": artifact["ota_bytes"]},
    }
