"""Artifact: the bytes that go to the device, and the facts that name them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from edge_targets.tflite_graph import Tensor


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
class Artifact:
    """A `.tflite` on disk.

    Attributes:
        path: where it lies.
        sha256: hash of its bytes, hex.
        size_bytes: its size.
        ota_bytes: what must travel: its size under the best of the codecs tried.
        ota_codec: that codec's name, `xz`.
        inputs, outputs: its tensors at the border.
    """

    path: Path
    sha256: str
    size_bytes: int
    ota_bytes: int
    ota_codec: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def sha256_of(data: bytes) -> str:
    """The hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()
