"""One operator with the tensors around it, as the rules of the Edge TPU ask for them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edge_targets.tflite_graph import MOST_RANK, Graph, Operator, Tensor, weight_places

MOST_NUMBERS = 2 * MOST_RANK
"""Amounts of padding, two a dimension: no list of sizes or axes is longer."""


class Status(StrEnum):
    """What `edgetpu_compiler` says of an operator, in its own words."""

    MAPPED = "Mapped to Edge TPU"
    ONE_SUBGRAPH = "More than one subgraph is not supported"
    LIMITED = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
    DATA_TYPE = "Operation is working on an unsupported data type"
    UNSUPPORTED = "Operation not supported"
    VERSION = "Operation version not supported"


@dataclass(frozen=True)
class Refusal:
    """Why an operator cannot run on the Edge TPU.

    Attributes:
        status: what the compiler would say.
        why: what we can say, as a sentence.
        remedy: what someone can do who has the Keras model, as a sentence.
    """

    status: Status
    why: str
    remedy: str


@dataclass(frozen=True)
class Node:
    """An operator where it stands.

    Attributes:
        operator: the operator.
        graph: the subgraph that it stands in.
        runtime: the version of the Edge TPU runtime that the model is to run on.
    """

    operator: Operator
    graph: Graph
    runtime: int

    def input(self, place: int) -> Tensor | None:
        """An input, or None if it is left out."""
        inputs = self.operator.inputs
        return self.graph.tensors[inputs[place]] if place < len(inputs) and inputs[place] >= 0 else None

    def output(self) -> Tensor | None:
        """The first output."""
        return self.graph.tensors[self.operator.outputs[0]] if self.operator.outputs else None

    def option(self, name: str) -> int:
        """A setting by its name in the schema; 0, which is the schema's default, where the file has none."""
        return self.operator.options.get(name, 0)

    def numbers(self, place: int) -> tuple[int, ...]:
        """A constant input as whole numbers, all of its dimensions in one; () if it is no list of sizes or axes.

        Raises:
            UnusableModel: its bytes do not fit its shape.
        """
        tensor = self.input(place)
        if tensor is None or tensor.data is None or not tensor.dtype.startswith(("int", "uint")):
            return ()
        # A million operators may read one constant of megabytes, if a file is built to keep us busy.
        if tensor.size > MOST_NUMBERS:
            return ()
        return tuple(int(number) for number in tensor.values().reshape(-1))

    def parameters(self) -> list[Tensor]:
        """The inputs that must be constant: weights, biases, axes, sizes."""
        places = PARAMETERS.get(self.operator.kind, ()) + weight_places(self.operator)
        return [tensor for place in sorted(set(places)) if (tensor := self.input(place)) is not None]

    def operands(self) -> list[Tensor]:
        """What flows through: inputs that are no parameters, then outputs."""
        parameters = {tensor.index for tensor in self.parameters()}
        indices = [index for index in self.operator.inputs if index >= 0 and index not in parameters]
        return [self.graph.tensors[index] for index in (*indices, *self.operator.outputs)]


PARAMETERS: dict[str, tuple[int, ...]] = {
    # Biases; the weights themselves are what `weight_places` says.
    "CONV_2D": (2,),
    "DEPTHWISE_CONV_2D": (2,),
    "FULLY_CONNECTED": (2,),
    "TRANSPOSE_CONV": (0, 3),
    **dict.fromkeys(("LSTM", "UNIDIRECTIONAL_SEQUENCE_LSTM"), (12, 13, 14, 15, 17)),
    "PRELU": (1,),
    # Axes, sizes, amounts.
    **dict.fromkeys(("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "EXPAND_DIMS", "PAD", "RESHAPE", "TILE"), (1,)),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "TRANSPOSE"), (1,)),
    "SLICE": (1, 2),
    "SPLIT": (0,),
    "STRIDED_SLICE": (1, 2, 3),
}
"""Which inputs, beside the weights, must be known when the model is compiled."""


def inner_shape(tensor: Tensor) -> tuple[int, ...]:
    """A shape without the ones that lead it, which no rule counts as dimensions: (1, 1, 10) → (10,)."""
    shape = tensor.shape
    while shape and shape[0] == 1:
        shape = shape[1:]
    return shape


def told(shape: tuple[int, ...]) -> str:
    """A shape for people: `1×28×28`."""
    return "×".join(map(str, shape)) or "one number"
