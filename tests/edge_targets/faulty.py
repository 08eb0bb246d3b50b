"""A device that computes in its own way: what parity is there to find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_targets import Outputs, Runtime
from edge_targets._first_layer import opened_up
from edge_targets.host import HostTarget
from edge_targets.tflite_graph import parse_graph, read_graph, weight_tensors


class Faulty(HostTarget):
    """A device that computes one layer in its own way: it runs another model than it was given.

    Args:
        model: the one that it runs.
    """

    def __init__(self, model: bytes, folder: Path) -> None:
        super().__init__()
        self._path = folder / "faulty.tflite"
        self._content = model

    def _instead(self, opened: bool) -> Path:
        content = opened_up(self._content, parse_graph(self._content)) if opened else self._content
        self._path.write_bytes(content)
        return self._path

    def _outputs(self, model: Path, inputs: NDArray[Any], runtime: Runtime) -> Outputs:
        return super()._outputs(self._instead(opened=False), inputs, runtime)

    def _tensors(self, model: Path, example: NDArray[Any], runtime: Runtime) -> NDArray[np.uint8]:
        return super()._tensors(self._instead(opened=True), example, runtime)


def with_other_weights(model: Path, layer: str) -> bytes:
    """The model with the weights of one layer turned round."""
    content = model.read_bytes()
    [weights] = [tensor for operator, tensor in weight_tensors(read_graph(model)) if operator.name == layer]
    assert weights.data is not None
    stored = weights.data.tobytes()
    assert content.count(stored) == 1
    return content.replace(stored, stored[::-1])
