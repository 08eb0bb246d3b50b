"""Which layers can be kept out of int8, and which operators are kept with them. Part of `sensitivity`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_targets.tflite_graph import Graph, Operator, weight_tensors

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pipeline._fewest import Kept


class Layers:
    """The layers of a calibrated float model that may be kept: those with weights, by the layer table's names.

    Args:
        graph: the model.
        unable: operators that must stay in int8, by the names of their first outputs.

    Attributes:
        names: in the order of execution; operators of one name, such as the steps of a recurrent layer, are one layer.
        together: for each, itself and the layers that read its output: a tensor is kept only if both sides are.
    """

    def __init__(self, graph: Graph, unable: Collection[str] = ()) -> None:
        self._graph = graph
        able = [one for one in graph.operators if not one.outputs or graph.tensors[one.outputs[0]].name not in unable]
        self._able = {id(operator) for operator in able}
        with_weights = {id(operator) for operator, _ in weight_tensors(graph)} & self._able
        self._weighted = [operator for operator in graph.operators if id(operator) in with_weights]
        self._computed = {tensor for operator in graph.operators for tensor in operator.outputs}
        self.names = tuple(dict.fromkeys(operator.name for operator in self._weighted))
        self.together = {name: self._with_readers(name) for name in self.names}

    def operators_of(self, kept: Collection[str]) -> list[Operator]:
        """The operators that are kept with these layers: theirs, and those without weights that read nothing else."""
        weighted = {id(operator) for operator in self._weighted}
        kept_tensors: set[int] = set()
        found = []
        for operator in self._graph.operators:
            computed = [tensor for tensor in operator.inputs if tensor in self._computed]
            rides = id(operator) in self._able and bool(computed) and all(tensor in kept_tensors for tensor in computed)
            if operator.name in kept if id(operator) in weighted else rides:
                found.append(operator)
                kept_tensors.update(operator.outputs)
        return found

    def riders_of(self, kept: Collection[str]) -> tuple[str, ...]:
        """The names of those among them that have no weights."""
        names = (operator.name for operator in self.operators_of(kept))
        return tuple(dict.fromkeys(name for name in names if name not in kept))

    def unable(self) -> Iterator[str]:
        """What cannot be kept, in a sentence for each kind of operators."""
        found: dict[str, dict[str, None]] = {}
        for operator in self._graph.operators:
            if id(operator) not in self._able:
                found.setdefault(operator.kind, {})[f"'{operator.name}'"] = None
        for kind, names in found.items():
            told = ", ".join(list(names)[:3]) + (" …" if len(names) > 3 else "")
            yield f"{kind} of {told} has no int16 kernel to rely on, and stays in int8"

    def tensors_of(self, kept: Collection[str]) -> set[str]:
        """The names of their first outputs, as `convert.quantized` wants them."""
        return {self._graph.tensors[operator.outputs[0]].name for operator in self.operators_of(kept)}

    def _with_readers(self, name: str) -> Kept:
        outputs = {tensor for operator in self.operators_of({name}) for tensor in operator.outputs}
        readers = (operator.name for operator in self._weighted if outputs & set(operator.inputs))
        return frozenset((name, *readers))
