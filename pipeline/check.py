"""What was found in the final bytes: `Check` (a promise and its outcome), `Layer` (a row of the layer table), and
`Advice` (what to do about one)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_targets._noise import ErrorDetails

Status = Literal["pass", "fail", "not measured"]


@dataclass(frozen=True)
class Check:
    """One promise, the value that was measured for it, and whether it was kept.

    `value` and `limit` are in `unit`. A check without a limit only reports; it cannot fail.
    """

    name: str
    value: float | int | None
    limit: float | int | None
    unit: str
    status: Status
    why: str = ""

    @classmethod
    def at_most(cls, name: str, value: float, limit: float, unit: str, why: str = "") -> Check:
        """Passes when `value` is no more than `limit`."""
        return cls(name, value, limit, unit, "pass" if value <= limit else "fail", why)

    @classmethod
    def at_least(cls, name: str, value: float, limit: float, unit: str, why: str = "") -> Check:
        """Passes when `value` is no less than `limit`."""
        return cls(name, value, limit, unit, "pass" if value >= limit else "fail", why)

    @classmethod
    def not_measured(cls, name: str, limit: float | None, unit: str, why: str) -> Check:
        """A promise that nobody could measure here. It is never a pass."""
        return cls(name, None, limit, unit, "not measured", why)


@dataclass(frozen=True)
class Layer:
    """One operator with weights, as it stands in the final `.tflite`.

    Attributes:
        name: the Keras layer's name as far as the file still tells it.
        kind: the operator, `CONV_2D`.
        weights: how many numbers its weight tensor holds (the bias is not counted).
        sparsity: share of them that stand for zero (equal to the zero point of their channel), 0 to 1.
        distinct: how many different stored values they take.
        bits: bits a stored weight takes (8 for int8).
        sqnr_db: signal to quantization noise of the layer's output against float, in dB, where measured; infinite where
            nothing differs.
        macs: multiply-accumulates with these weights in one inference.
        macs_share: its share of the model's, 0 to 1.
        bytes: of the weights, their scales, and the bias, as they are stored.
        bytes_share: its share of the whole file, 0 to 1.
        error: how the layer's output errs against float, where measured.
    """

    name: str
    kind: str
    weights: int
    sparsity: float
    distinct: int
    bits: int
    sqnr_db: float | None = None
    macs: int = 0
    macs_share: float = 0.0
    bytes: int = 0
    bytes_share: float = 0.0
    error: ErrorDetails | None = None


@dataclass(frozen=True)
class Advice:
    """What to do about a layer that int8 harms, and why.

    Attributes:
        layer: its name in the layer table.
        sqnr_db: signal to quantization noise of its output, in dB.
        gain: by how much the task's metric rises on the validation split with this layer alone in float, where known.
        reason: what was measured there, in words.
        remedy: what to do, in words.
        setting: the part of a recipe that does it, as YAML; "" where nothing has to be done.
    """

    layer: str
    sqnr_db: float | None
    gain: float | None
    reason: str
    remedy: str
    setting: str
