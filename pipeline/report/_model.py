"""Report: the noun of one run. Everything that people are shown is drawn from its `to_json()`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.artifact import MixedPrecision, TensorSpec
from pipeline.check import Advice, Check, Layer
from pipeline.draft import Step
from pipeline.report._json import SCHEMA, JsonObject, json_object


@dataclass(frozen=True)
class ModelFacts:
    """One `.tflite` of the run: the float32 baseline or the int8 artifact.

    Attributes:
        path: where it lies, relative to the output folder.
        sha256: hash of its bytes, hex.
        size_bytes: its size.
        ota_bytes: its size under the best of the codecs tried: what must travel.
        ota_codec: that codec's name, `xz`.
        metric: name of the headline figure, `accuracy`.
        value: that figure on the test split, higher is better.
        details: every other figure of the task.
        inputs, outputs: its tensors at the border.
        precision: what it computes in, as `convert.precision` names it; `float32` of the baseline.
    """

    path: str
    sha256: str
    size_bytes: int
    ota_bytes: int
    ota_codec: str
    metric: str
    value: float
    details: dict[str, Any]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    precision: str = "int8"


@dataclass(frozen=True)
class StepRecord:
    """What a stage did, and whether its result came from the cache (`step.seconds` is then what it took at first)."""

    step: Step
    cached: bool

    def to_json(self) -> JsonObject:
        """The step as `report.json` has it."""
        step = self.step
        return {
            "stage": step.stage,
            "settings": step.settings,
            "seconds": step.seconds,
            "cached": self.cached,
            "metrics": step.metrics,
            "curves": step.curves,
            "promises": step.promises,
            "notes": step.notes,
        }


@dataclass(frozen=True)
class Report:
    """All that one run found out.

    Attributes:
        recipe: the recipe's name.
        recipe_text: the recipe as it was run, defaults filled in, as YAML.
        created: when the run ended, UTC, `2026-01-31T12:00:00Z`.
        versions: of every library that shaped the result, name to version.
        data: where the data came from, sizes of its splits, its fingerprint.
        baseline: the float model as a float32 `.tflite`; every factor compares with its raw size.
        artifact: the int8 `.tflite`.
        steps: the stages, in order.
        checks: the promises and their outcomes.
        layers: the operators with weights, as they stand in the artifact.
        measurements: from the targets, JSON-ready (`edge_targets` defines their keys).
        seconds: wall time of the run.
        command: how to run it again.
        advice: what to do about the layers that int8 harms most.
        mixed: which layers were kept out of int8, where the recipe asked for it.
        cascade: of a model with an early exit, both stages and the threshold between them, JSON-ready; else None.
    """

    recipe: str
    recipe_text: str
    created: str
    versions: dict[str, str]
    data: dict[str, Any]
    baseline: ModelFacts
    artifact: ModelFacts
    steps: tuple[StepRecord, ...]
    checks: tuple[Check, ...]
    layers: tuple[Layer, ...]
    measurements: tuple[Mapping[str, Any], ...]
    seconds: float
    command: str
    advice: tuple[Advice, ...] = ()
    mixed: MixedPrecision | None = None
    cascade: Mapping[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """No check failed. What could not be measured is no failure, and no pass either."""
        return all(check.status != "fail" for check in self.checks)

    @property
    def size_factor(self) -> float:
        """How many times smaller the artifact is than the raw float32 baseline."""
        return self.baseline.size_bytes / self.artifact.size_bytes

    @property
    def ota_factor(self) -> float:
        """How many times less must travel than the raw float32 baseline has."""
        return self.baseline.size_bytes / self.artifact.ota_bytes

    def to_json(self) -> JsonObject:
        """`report.json`, schema 1 (`docs/schemas/report.schema.json`). A figure that is no finite number is null."""
        return json_object(
            {
                "schema": SCHEMA,
                "recipe": self.recipe,
                "ok": self.ok,
                "created": self.created,
                "seconds": self.seconds,
                "command": self.command,
                "size_factor": self.size_factor,
                "ota_factor": self.ota_factor,
                "versions": self.versions,
                "data": self.data,
                "baseline": asdict(self.baseline),
                "artifact": asdict(self.artifact),
                "steps": [record.to_json() for record in self.steps],
                "checks": [asdict(check) for check in self.checks],
                "layers": [asdict(layer) for layer in self.layers],
                "advice": [asdict(advice) for advice in self.advice],
                "mixed_precision": asdict(self.mixed) if self.mixed else None,
                "measurements": list(self.measurements),
                "recipe_text": self.recipe_text,
                **({} if self.cascade is None else {"cascade": self.cascade}),
            }
        )
