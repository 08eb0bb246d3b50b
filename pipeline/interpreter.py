"""The interpreter of this machine, and examples as it takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_targets._base import Target
from pipeline.artifact import quantize
from pipeline.plugins import plugin_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pipeline.artifact import TensorSpec
    from pipeline.dataset import Split

BATCH = 500
"""Examples that are sent to the interpreter at once."""


def interpreter() -> Target:
    """The interpreter of this machine, in child processes of its own."""
    return plugin_class("edge_targets", "host", Target)()  # type: ignore[type-abstract]


def stored_batches(split: Split, spec: TensorSpec, advance: Callable[[int], None]) -> Iterator[NDArray[Any]]:
    """A split's examples as an input stores them, (batch, ...), read as they are asked for.

    Args:
        split: real examples.
        spec: the input.
        advance: told how many examples were read.
    """
    for x, _ in split.batches(BATCH):
        yield quantize(x, spec)
        advance(len(x))
