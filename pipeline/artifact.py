"""Artifact: the bytes that go to the device, and the facts that name them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from edge_targets.tflite_graph import parse_graph

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edge_targets.tflite_graph import Tensor

FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of the model: `shape` with batch (NHWC for images), `dtype` as numpy names it.

    A stored value q stands for `scale * (q - zero_point)`; float tensors have scale 0.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int

    @classmethod
    def of(cls, tensor: Tensor) -> Self:
        """What a tensor of a `.tflite` is at the border; only its first scale counts, and borders have no more."""
        scale, zero_point = (tensor.scales[0], tensor.zero_points[0]) if tensor.scales else (0.0, 0)
        return cls(tensor.name, tensor.shape, tensor.dtype, scale, zero_point)


@dataclass(frozen=True)
class LayerGain:
    """What it brings to keep one layer out of int8: its output, and what reads that, alone in float or int16.

    Attributes:
        layer: its name in the layer table.
        gain: by how much the metric rises on the validation split; None where that was not tried.
        sqnr_db: signal to quantization noise of its output in full int8, in dB, where measured.
    """

    layer: str
    gain: float | None = None
    sqnr_db: float | None = None


@dataclass(frozen=True)
class MixedPrecision:
    """The search for the fewest layers to keep out of int8: what was found, and what it costs.

    Attributes:
        kept_in: the precision of the layers that are kept: float32, or int16 for int16 activations.
        kept: their names, in the order of execution.
        riders: operators without weights between kept layers, which stay with them.
        gains: what each layer brings alone, most first; empty where full int8 was good enough.
        metric: what was measured on the validation split, higher is better.
        float_value, int8_value, value: of the float model, of full int8, and of what was kept.
        max_accuracy_drop: the most that `value` may lie below `float_value`.
        evaluations: how many models were evaluated; never more than `most_evaluations`.
        int8_size_bytes, size_bytes: the file in full int8, and as it is kept.
        int8_median_us, median_us: the median latency of both on this machine, None where it was not measured.
        weight_bits: of the convolutions and dense layers that are kept: 32, 8, or 16 in two halves of int8.
    """

    kept_in: str
    kept: tuple[str, ...]
    riders: tuple[str, ...]
    gains: tuple[LayerGain, ...]
    metric: str
    float_value: float
    int8_value: float
    value: float
    max_accuracy_drop: float
    evaluations: int
    most_evaluations: int
    int8_size_bytes: int
    size_bytes: int
    int8_median_us: float | None = None
    median_us: float | None = None
    weight_bits: int = 32

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Self:
        """What `dataclasses.asdict` made of one, as JSON gives it back."""
        gains = tuple(LayerGain(**gain) for gain in facts["gains"])
        return cls(**{**facts, "kept": tuple(facts["kept"]), "riders": tuple(facts["riders"]), "gains": gains})

    @property
    def drop(self) -> float:
        """What the metric loses against float, on the validation split."""
        return round(self.float_value - self.value, 9)

    @property
    def met(self) -> bool:
        """Whether that is within the budget."""
        return self.drop <= self.max_accuracy_drop


@dataclass(frozen=True)
class Artifact:
    """A `.tflite` on disk.

    Attributes:
        path: where it lies.
        sha256: hash of its bytes, hex.
        size_bytes: its size.
        ota_bytes: what must travel: its size under the best of the codecs tried.
        ota_codec: that codec's name, `xz`.
        inputs, outputs: its tensors at the border.
        mixed: which layers were kept out of int8 and what that costs, where the recipe asked for it.
        precision: what the recipe asked for, as `convert.precision` names it.
        cascade: where this is the first of two stages, the second; None of most models.
    """

    path: Path
    sha256: str
    size_bytes: int
    ota_bytes: int
    ota_codec: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    mixed: MixedPrecision | None = None
    precision: str = "int8"
    cascade: Cascade | None = None

    @classmethod
    def of(cls, path: Path, model: bytes, ota_bytes: int = 0, ota_codec: str = "") -> Self:
        """The `.tflite` of these bytes that lies at a path; one that never travels has no packed size."""
        graph = parse_graph(model)
        inputs, outputs = (
            tuple(TensorSpec.of(graph.tensors[index]) for index in side) for side in (graph.inputs, graph.outputs)
        )
        return cls(path, sha256_of(model), len(model), ota_bytes, ota_codec, inputs, outputs)

    @property
    def parts(self) -> tuple[Artifact, ...]:
        """The files that the model is made of: this one, and the second stage where there is one."""
        return (self,) if self.cascade is None else (self, self.cascade.rest)

    @property
    def all_bytes(self) -> int:
        """The size of all its files."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def all_ota_bytes(self) -> int:
        """What must travel of all its files."""
        return sum(part.ota_bytes for part in self.parts)


@dataclass(frozen=True)
class Cascade:
    """The second stage of a model with an early exit, and when it is asked.

    Attributes:
        rest: from the features that the first stage gives, its second output, to the final scores.
        threshold: the least confidence (softmax's largest) with which the first stage's scores stand.
        expected_exits: share of the validation examples that left early with it, 0 to 1.
        uncut: the bytes of the one file that both were cut from: no device sees it, but its layers can be looked at.
    """

    rest: Artifact
    threshold: float
    expected_exits: float
    uncut: bytes = field(repr=False)


def quantize(x: NDArray[np.float32], spec: TensorSpec) -> NDArray[Any]:
    """Real numbers as the tensor stores them; they pass unchanged into a float tensor."""
    if spec.dtype in FLOATS:
        return np.asarray(x, spec.dtype)
    limits = np.iinfo(spec.dtype)
    steps = np.rint(x / np.float32(spec.scale)) + spec.zero_point
    stored: NDArray[Any] = np.clip(steps, limits.min, limits.max).astype(spec.dtype)
    return stored


def dequantize(q: NDArray[Any], spec: TensorSpec) -> NDArray[np.float32]:
    """Stored numbers as the real ones that they stand for."""
    if spec.dtype in FLOATS:
        found: NDArray[np.float32] = q.astype(np.float32)
        return found
    real: NDArray[np.float32] = (q.astype(np.float32) - np.float32(spec.zero_point)) * np.float32(spec.scale)
    return real


def sha256_of(data: bytes) -> str:
    """The hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()
