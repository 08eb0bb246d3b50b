"""What an operator must keep to on the Edge TPU: a small function a rule. Which holds for which, `_edgetpu_table` says.

After Coral's "TensorFlow models on the Edge TPU" (the known limitations of its table of supported operations). Where
that page says only that something "might not be mapped", the limit here lies between what is known to be mapped and
what is known not to be, and `why` says "probably".
"""

from __future__ import annotations

import math
from collections.abc import Callable

from edge_targets._edgetpu_node import Node, Refusal, Status, inner_shape, told
from edge_targets._edgetpu_remedies import remedy_for_type
from edge_targets.tflite_graph import Tensor

Rule = Callable[[Node], Refusal | None]

BYTES = ("int8", "uint8")
PARAMETER_TYPES = (*BYTES, "int32")
MOST_DIMENSIONS = 3
MOST_SOFTMAX = 16_000
SUM_LANES = 4
"""A mean over the channels is taken four at a time."""
MOST_RESHAPED = 2**18
"""Values. Known to be mapped: 28×28×255; known not to be: 48×48×255."""
MOST_RESIZED = 2**20
"""Values of the result. Known to be mapped: 80×80×128; known not to be: 513×513×19."""
MOST_STEPS = 128
"""A bilinear weight is a multiple of 1/(steps down × steps across), and must fit into eight bits. Known not to be
mapped: 16×16 and 33×33."""
OLD_SQUEEZE_RUNTIME = 12


# ---- rules for every operator ----


def eight_bits(node: Node) -> Refusal | None:
    """Data is int8 or uint8; parameters may be int32."""
    # A state from step to step lives on the chip in a format of its own.
    wrong = [tensor for tensor in node.operands() if not tensor.is_variable and tensor.dtype not in BYTES]
    wrong += [tensor for tensor in node.parameters() if tensor.dtype not in PARAMETER_TYPES]
    if not wrong:
        return None
    at_border = node.operator.kind == "QUANTIZE" and wrong[0].index in node.graph.inputs
    remedy = remedy_for_type(wrong[0].dtype)
    if at_border:
        remedy = "convert with inference_input_type int8; what follows can run on the Edge TPU even so"
    # The compiler's own word for a float border, as its logs have it.
    status = Status.LIMITED if node.operator.kind == "QUANTIZE" else Status.DATA_TYPE
    return Refusal(status, f"it works on {wrong[0].dtype}, and the Edge TPU on int8 and uint8 only", remedy)


def known_sizes(node: Node) -> Refusal | None:
    """No size is open, but that of the batch."""
    # An open batch alone becomes 1 when the compiler allocates.
    opened = [tensor for tensor in node.operands() if any(place > 0 for place in tensor.open_dimensions)]
    if not opened:
        return None
    return Refusal(
        Status.LIMITED,
        f"the size of '{opened[0].name}' is open, and the Edge TPU needs every size when the model is compiled",
        "give every size in keras.Input(shape=…), with no None in it, and batch_size=1",
    )


def three_dimensions(node: Node) -> Refusal | None:
    """Tensors are 1- to 3-D, or only their 3 innermost dimensions are above 1."""
    deep = [tensor for tensor in node.operands() if len(inner_shape(tensor)) > MOST_DIMENSIONS]
    if not deep:
        return None
    what = f"'{deep[0].name}' is {told(deep[0].shape)}, and only the 3 innermost dimensions may be above 1"
    if len(deep[0].shape) == MOST_DIMENSIONS + 1:
        what += f": its batch is {deep[0].shape[0]}"
        return Refusal(Status.LIMITED, what, "convert with batch 1: keras.Input(shape=…, batch_size=1)")
    return Refusal(Status.LIMITED, what, "use fewer dimensions: reshape so that no more than three are above 1")


def constant_parameters(node: Node) -> Refusal | None:
    """Weights, biases, axes and sizes are constant."""
    computed = [tensor for tensor in node.parameters() if tensor.data is None]
    if not computed:
        return None
    return Refusal(
        Status.LIMITED,
        f"its parameter '{computed[0].name}' is computed, and the Edge TPU needs it when the model is compiled",
        "make it a constant: weights of a layer, and fixed sizes and axes in place of those computed from tf.shape",
    )


# ---- rules of single operators ----


def no_activation(node: Node) -> Refusal | None:
    """No fused activation."""
    if not node.option("FusedActivationFunction"):
        return None
    return Refusal(
        Status.LIMITED,
        "an activation is fused into it",
        "put the activation before this layer: behind the convolution that feeds it, or as a ReLU layer there",
    )


def zero_constant(node: Node) -> Refusal | None:
    """A constant input is all zeros, and one of two."""
    constants = [tensor for tensor in node.operands()[:-1] if tensor.data is not None]
    if not constants or (len(node.operator.inputs) == 2 and len(constants) == 1 and _stands_for_zero(constants[0])):
        return None
    return Refusal(
        Status.LIMITED,
        "it joins a constant; that works with exactly two inputs, and only if the constant is all zeros",
        "use ZeroPadding2D for zeros; add other constants outside the model",
    )


def _stands_for_zero(tensor: Tensor) -> bool:
    zero = tensor.zero_points[0] if tensor.zero_points else 0
    return bool((tensor.values() == zero).all())


def even_dilation(node: Node) -> Refusal | None:
    """The same dilation down and across."""
    down, across = node.option("DilationHFactor"), node.option("DilationWFactor")
    if down == across:
        return None
    return Refusal(
        Status.LIMITED, f"its dilation is {down} down and {across} across", "use the same dilation_rate both ways"
    )


def default_weights(node: Node) -> Refusal | None:
    """Weights in the default format."""
    if not node.option("WeightsFormat"):
        return None
    return Refusal(Status.LIMITED, "its weights are stored shuffled", "convert again, with the default weight format")


def vector_output(node: Node) -> Refusal | None:
    """The output is 1-D."""
    output = node.output()
    if output is None or len(inner_shape(output)) <= 1:
        return None
    remedy = "use Conv2D or Conv1D with a kernel of 1 in the place of a Dense that keeps other dimensions, and batch 1"
    if len(output.shape) == 2:
        remedy = "convert with batch 1: keras.Input(shape=…, batch_size=1)"
    what = f"its output is {told(output.shape)}, and a dense layer's may have one dimension only"
    return Refusal(Status.LIMITED, what, remedy)


def _axes(node: Node, place: int) -> set[int]:
    """The axes in a constant input, counted from the front."""
    tensor = node.input(0)
    rank = len(tensor.shape) if tensor is not None else 0
    return {axis + rank if axis < 0 else axis for axis in node.numbers(place)}


def batch_stays(node: Node) -> Refusal | None:
    """No reduction over the batch."""
    if 0 not in _axes(node, 1):
        return None
    return Refusal(Status.LIMITED, "it reduces the batch", "leave axis 0 out of the reduction")


def lanes_of_channels(node: Node) -> Refusal | None:
    """A mean over the channels needs a multiple of 4 of them."""
    tensor = node.input(0)
    if tensor is None or not tensor.shape or len(tensor.shape) - 1 not in _axes(node, 1):
        return None
    if tensor.shape[-1] % SUM_LANES == 0:
        return None
    return Refusal(
        Status.LIMITED,
        f"it takes the mean over {tensor.shape[-1]} channels, and that works for multiples of {SUM_LANES} only",
        f"use a multiple of {SUM_LANES} filters in the layer before",
    )


def pack_behind_batch(node: Node) -> Refusal | None:
    """No stacking along the batch."""
    output = node.output()
    if output is None or node.option("Axis") not in (0, -len(output.shape)):
        return None
    return Refusal(Status.LIMITED, "it stacks along the batch", "stack along another axis: tf.stack(…, axis=-1)")


def pad_behind_batch(node: Node) -> Refusal | None:
    """No padding of the batch."""
    if not any(node.numbers(1)[:2]):
        return None
    return Refusal(Status.LIMITED, "it pads the batch", "pad height and width only, with ZeroPadding2D")


def tile_behind_batch(node: Node) -> Refusal | None:
    """No repeating of the batch."""
    if node.numbers(1)[:1] in ((), (1,)):
        return None
    return Refusal(Status.LIMITED, "it repeats the batch", "repeat along another axis: UpSampling2D, tf.repeat(axis=1)")


def vector_alpha(node: Node) -> Refusal | None:
    """The alpha is 1-D."""
    alpha = node.input(1)
    if alpha is None or len(inner_shape(alpha)) <= 1:
        return None
    return Refusal(
        Status.LIMITED,
        f"its alpha is {told(alpha.shape)}, and may have one dimension only",
        "use PReLU(shared_axes=[1, 2]): one alpha a channel",
    )


def small_reshape(node: Node) -> Refusal | None:
    """Large ones may not be mapped."""
    output = node.output()
    if output is None or output.size <= MOST_RESHAPED:
        return None
    return Refusal(
        Status.LIMITED,
        f"it reshapes {output.size:,} values, and large ones are probably not mapped (above {MOST_RESHAPED:,})",
        "pool or stride more before it, or end the model before it and reshape outside",
    )


def small_resize(node: Node) -> Refusal | None:
    """Large results may not be mapped."""
    output = node.output()
    if output is None or output.size <= MOST_RESIZED:
        return None
    return Refusal(
        Status.LIMITED,
        f"it makes {output.size:,} values, and so large a resize is probably not mapped (above {MOST_RESIZED:,})",
        "end the model before it and resize outside, or resize fewer channels",
    )


def exact_interpolation(node: Node) -> Refusal | None:
    """Images only; may not be mapped, to avoid loss of precision."""
    source, output = node.input(0), node.output()
    if source is None or output is None or len(source.shape) != 4 or len(output.shape) != 4:
        return Refusal(Status.LIMITED, "it resizes no image", "resize images (batch, height, width, channels)")
    less = node.option("AlignCorners")
    factors = [
        (after - less) / max(before - less, 1)
        for before, after in zip(source.shape[1:3], output.shape[1:3], strict=True)
    ]
    if math.prod(factors) <= MOST_STEPS:
        return None
    return Refusal(
        Status.LIMITED,
        f"it enlarges {factors[0]:.3g}× down and {factors[1]:.3g}× across: probably too fine for eight bits",
        "enlarge in steps of 2 with UpSampling2D, use interpolation='nearest', or end the model before it",
    )


def softmax_vector(node: Node) -> Refusal | None:
    """The input is 1-D, of at most 16,000 elements."""
    tensor = node.input(0)
    if tensor is None or (len(inner_shape(tensor)) <= 1 and tensor.size <= MOST_SOFTMAX):
        return None
    return Refusal(
        Status.LIMITED,
        f"its input is {told(tensor.shape)}; it may have one dimension of up to {MOST_SOFTMAX:,}",
        "end the model in logits and take the softmax outside",
    )


def unit_strides(node: Node) -> Refusal | None:
    """All strides are 1."""
    if set(node.numbers(3)) <= {1}:
        return None
    remedy = "slice with stride 1; MaxPooling2D(pool_size=1, strides=2) takes every other pixel"
    return Refusal(Status.LIMITED, "it slices in strides", remedy)


def plain_masks(node: Node) -> Refusal | None:
    """Ellipsis mask and new-axis mask are 0."""
    if not node.option("EllipsisMask") and not node.option("NewAxisMask"):
        return None
    return Refusal(
        Status.LIMITED,
        "it slices with … or a new axis",
        "write every axis out; add axes with tf.expand_dims or Reshape",
    )


def leading_squeeze(node: Node) -> Refusal | None:
    """On runtimes up to 12, only dimensions that lead are squeezed."""
    source, output = node.input(0), node.output()
    if node.runtime > OLD_SQUEEZE_RUNTIME or source is None or output is None:
        return None
    if inner_shape(source) == inner_shape(output):
        return None
    return Refusal(
        Status.LIMITED,
        f"runtime {node.runtime} squeezes leading dimensions only",
        f"update libedgetpu to runtime {OLD_SQUEEZE_RUNTIME + 1} or later, or use Reshape",
    )
