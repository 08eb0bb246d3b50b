"""Where a device would run each operator of a model: what `edgesmith inspect MODEL --target T` asks a target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable


@dataclass(frozen=True)
class Placement:
    """Where one operator runs.

    Attributes:
        subgraph: which of the graph's subgraphs it is in; 0 is the main one.
        index: its place there.
        runs_on: `cpu`, or the accelerator's name.
        why: what decides that, as a sentence; "" where there is nothing to say.
        remedy: what would bring it onto the accelerator, for someone who has the Keras model; "" where it is there.
    """

    subgraph: int
    index: int
    runs_on: str
    why: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Placements:
    """Where all of them run.

    Attributes:
        operators: in the order of execution, those of loops' and branches' bodies last.
        notes: what holds for the model as a whole: open sizes, what does not fit into memory, ….
        facts: figures of the target's own, JSON-ready; units are in their names.
    """

    operators: tuple[Placement, ...]
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """How many operators run where."""
        return dict(Counter(placement.runs_on for placement in self.operators))


@runtime_checkable
class PlacesOperators(Protocol):
    """A target that can tell of a model, without running it, where its operators would run."""

    name: ClassVar[str]

    def places(self, model: Path) -> Placements:
        """Where each operator of a `.tflite` would run.

        Raises:
            UnusableModel: it is not one.
        """
