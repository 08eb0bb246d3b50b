"""Golden vectors: inputs, and what the reference gives for them with each kind of kernels."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from edge_targets._errors import TargetError
from edge_targets._parity import Outputs
from edge_targets.tflite_graph import read_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

INPUTS = "golden-inputs.npy"
# Kernels, interpreter, its version, processor architecture.
_OUTPUTS = re.compile(r"golden-outputs-([a-z+]{1,20})-([a-z_]{1,40})-([A-Za-z0-9.+_]{1,60})-([A-Za-z0-9_]{1,20})\.npy")
# What travels with a model is a few examples, not a data set.
MOST_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Golden:
    """Inputs with the outputs that belong to them.

    Attributes:
        inputs: as the model takes them, raw, (n, ...).
        outputs: what the reference gave for them with each kind of kernels, at least one.
    """

    inputs: NDArray[Any]
    outputs: tuple[Outputs, ...]

    def save(self, folder: Path) -> None:
        """Write `golden-inputs.npy` and `golden-outputs-KERNELS-RUNTIME-VERSION-MACHINE.npy` into a folder."""
        np.save(folder / INPUTS, self.inputs, allow_pickle=False)
        for each in self.outputs:
            facts = (each.kernels, each.runtime, each.runtime_version, each.machine)
            np.save(folder / f"golden-outputs-{'-'.join(facts)}.npy", each.values, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            TargetError: a file is missing, is no `.npy` of numbers, or they do not belong together.
        """
        inputs = _array(folder / INPUTS)
        found = [(_OUTPUTS.fullmatch(path.name), path) for path in sorted(folder.iterdir())]
        outputs = tuple(Outputs(match[1], match[2], match[3], match[4], _array(path)) for match, path in found if match)
        if not outputs or any(len(each.values) != len(inputs) for each in outputs):
            raise TargetError(
                f"The golden vectors in {folder} are not whole.",
                expected=f"{INPUTS}, and as many outputs in files golden-outputs-KERNELS-….npy",
                mend="make the bundle again",
            )
        return cls(inputs, outputs)


def output_step(model: Path, values: NDArray[Any]) -> float:
    """One step of the grid that a model's first output lies on.

    Integers: 1. Floats: the scale where the last operator turns integers into floats; else a share of the largest
    value, 2⁻⁷ where the model has integers inside and 2⁻¹⁶ where it has none.
    """
    if values.dtype.kind in "iub":
        return 1.0
    graph = read_graph(model)
    tensors = graph.tensors
    made_by = [each for each in graph.operators if graph.outputs[0] in each.outputs and each.kind == "DEQUANTIZE"]
    if made_by and tensors[made_by[0].inputs[0]].scales:
        return tensors[made_by[0].inputs[0]].scales[0]
    whole = any(each.dtype in ("int8", "uint8", "int16", "int4") for each in tensors)
    finite = np.abs(values[np.isfinite(values)].astype(np.float64))
    return max(float(finite.max(initial=0)), 1e-30) * 2.0 ** (-7 if whole else -16)


def _array(path: Path) -> NDArray[Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise TargetError(f"{path} is larger than {MOST_BYTES} bytes.", expected="a few golden examples")
        found: NDArray[Any] = np.load(path, allow_pickle=False)
    except TargetError:
        raise
    # The header is Python source to numpy, whose parser ends in a dozen kinds of errors.
    except Exception as error:
        raise TargetError(f"{path} is no .npy file of numbers.", mend="make the bundle again") from error
    if not isinstance(found, np.ndarray) or found.ndim == 0 or found.dtype.kind not in "biuf":
        raise TargetError(f"{path} holds no list of numbers.", mend="make the bundle again")
    return found
