"""The kernels of a model: the weights that inputs are multiplied with, which is what compression works on."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import ModelError
from pipeline.plugins import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

NAMES = frozenset({"depthwise_kernel", "embeddings", "kernel", "pointwise_kernel", "recurrent_kernel"})
"""What Keras calls them. Biases, norms and whatever else a layer of one's own may hold are left alone."""


@dataclass(frozen=True)
class Kernel:
    """One kernel of a model.

    Attributes:
        layer: the name of its layer.
        name: what the layer calls it, `kernel`.
        variable: the Keras variable.
        stored_axes: its axes in the order in which TensorFlow Lite stores them: outputs first, the inputs of one output
            last. None where an output has no row of inputs (depthwise kernels, tables), or where it is not told which
            axes they are (attention).
    """

    layer: str
    name: str
    variable: Any
    stored_axes: tuple[int, ...] | None

    def values(self) -> NDArray[Any]:
        """Its weights now, in Keras' shape."""
        found: NDArray[Any] = self.variable.numpy()
        return found


def kernels_of(model: Any) -> list[Kernel]:
    """Every kernel of a flat Keras model, in the order of its layers; one that layers share comes once."""
    found: dict[int, Kernel] = {}
    for layer in model.layers:
        for variable in layer.weights:
            if is_kernel(variable):
                name = _short_name(variable)
                axes = _stored_axes(type(layer).__name__, name, variable.shape.rank)
                found.setdefault(id(variable), Kernel(layer.name, name, variable, axes))
    return list(found.values())


def is_kernel(variable: Any) -> bool:
    """Whether a Keras variable is a kernel, in whatever wrapper its layer stands."""
    return _short_name(variable) in NAMES and variable.shape.rank > 1


def layers_named(setting: str, names: Iterable[str], known: list[str]) -> frozenset[str]:
    """The layers that a setting names, in full or by a pattern such as `stage1_*`.

    Args:
        setting: where they are named, `stages.prune.skip_layers`.
        names: names and patterns (`*`, `?` and `[ab]`, as a shell has them).
        known: the layers of the model.

    Raises:
        ModelError: a name or a pattern that no layer goes by.
    """
    found = {name: [name] if name in known else fnmatch.filter(known, name) for name in names}
    refuse_unknown_layers(setting, [name for name, layers in found.items() if not layers], known)
    return frozenset(layer for layers in found.values() for layer in layers)


def refuse_unknown_layers(setting: str, names: Iterable[str], known: list[str]) -> None:
    """Refuse a setting that names layers which the model does not have.

    Args:
        setting: where they are named, `stages.prune.skip_layers`.
        names: the layers that are named.
        known: the layers that may be.

    Raises:
        ModelError: with the layer whose name is nearest.
    """
    unknown = sorted(set(names) - set(known))
    if unknown:
        near = nearest(unknown[0], known)
        raise ModelError(
            f"{setting} names layers that the model does not have: {', '.join(unknown)}.",
            expected=f"some of: {', '.join(known)}",
            mend=f"did you mean '{near}'?" if near else "",
        )


def _short_name(variable: Any) -> str:
    """What its layer calls it: `conv1/kernel:0` is `kernel`."""
    return str(variable.name).split("/")[-1].split(":")[0]


def _stored_axes(kind: str, name: str, rank: int) -> tuple[int, ...] | None:
    """The order of axes of a kernel (TensorFlow Lite's conv.cc and fully_connected.cc read it so)."""
    *window, before_last, last = range(rank)
    if name in ("depthwise_kernel", "embeddings"):
        return None
    if "Conv" in kind and "Transpose" in kind:
        return (before_last, *window, last)
    if rank == 2 or "Conv" in kind:
        return (last, *window, before_last)
    return None
