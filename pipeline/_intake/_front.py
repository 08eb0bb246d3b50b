"""What stands between the input and the first real layer: augmentation falls away, scaling is folded where exact.

Augmentation by Random* layers does nothing at inference. Rescaling and Normalization are affine, y = scale · x +
offset, and so is the layer that follows: W(scale · x + offset) + b = (W · scale) x + (b + W offset). The scale may
always move into the weights; the offset only where no padding is added in between, because padded zeros are zeros
behind it, not in front.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline._intake._graph import Call, Graph, Ref, is_layer
from pipeline.errors import ModelError

# Layers of either Keras that hand their input on unchanged at inference. RandomCrop is none of them.
AUGMENTATION = frozenset(
    {"AugMix", "CutMix", "MixUp", "RandAugment", "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter"}
    | {"RandomContrast", "RandomElasticTransform", "RandomErasing", "RandomFlip", "RandomGaussianBlur"}
    | {"RandomGrayscale", "RandomHue", "RandomInvert", "RandomPerspective", "RandomPosterization", "RandomRotation"}
    | {"RandomSaturation", "RandomSharpness", "RandomShear", "RandomTranslation", "RandomZoom"}
)

_INACTIVE_WHEN_FROZEN = frozenset(
    {"AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise"} | {f"SpatialDropout{n}D" for n in (1, 2, 3)}
)

_AFFINE = frozenset({"Normalization", "Rescaling"})

# What changes an image or a feature vector before the network proper, and costs time on the device.
_FRONT = _AFFINE | {"CategoryEncoding", "CenterCrop", "Discretization", "RandomCrop", "Resizing"}

_FOLDABLE = frozenset({"Conv1D", "Conv2D", "Conv3D", "Dense", "DepthwiseConv1D", "DepthwiseConv2D"})


@dataclass(frozen=True)
class Affine:
    """y = scale · x + offset; each a number or one value a channel, float64."""

    scale: NDArray[Any]
    offset: NDArray[Any]

    def then(self, outer: Affine) -> Affine:
        """This one, and `outer` behind it."""
        return Affine(self.scale * outer.scale, self.offset * outer.scale + outer.offset)


@dataclass
class Front:
    """What became of the front end.

    Attributes:
        graph: the graph without the layers that fell away or were folded.
        affine: the affine to fold into a layer, by the layer's id.
        folded: a sentence for each layer that is gone.
        kept: a sentence for each that stays, with the reason.
    """

    graph: Graph
    affine: dict[int, Affine] = field(default_factory=dict)
    folded: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def simplify(graph: Graph, *, fold: bool) -> Front:
    """The front end made as small as it can be with the outputs unchanged.

    Args:
        graph: the flat graph.
        fold: whether scaling may move into weights. Training prefers it not to: weights that swallowed a 1/255 are
            as small as a step of the optimizer.
    """
    front = Front(graph)
    _drop_augmentation(front)
    _drop_inactive(front)
    for _, ref in front.graph.inputs:
        _fold_behind(front, ref, fold)
    return front


def _drop_augmentation(front: Front) -> None:
    calls = [call for call in front.graph.calls if _is(call, AUGMENTATION)]
    for call in calls:
        if call.inputs[0].dtype != call.outputs[0].dtype:
            raise ModelError(
                f"Layer {call.path!r} turns {call.inputs[0].dtype} into {call.outputs[0].dtype} on its way",
                expected=f"an input of type {call.outputs[0].dtype} in front of augmentation",
                mend=f"declare the input with dtype={call.outputs[0].dtype!r}",
            )
        front.folded.append(f"{call.path} ({_kind(call)}) left out: it does nothing at inference")
    front.graph = front.graph.without({call.outputs[0].number: call.inputs[0] for call in calls})


def _drop_inactive(front: Front) -> None:
    """Dropout inside a model that is called with training=False never drops anything."""
    frozen = [call for call in front.graph.calls if call.frozen]
    calls = [call for call in frozen if _is(call, _INACTIVE_WHEN_FROZEN)]
    for call in calls:
        front.folded.append(f"{call.path} ({_kind(call)}) left out: it is called with training=False")
    front.graph = front.graph.without({call.outputs[0].number: call.inputs[0] for call in calls})
    count = sum(_is(call, frozenset({"BatchNormalization"})) for call in frozen)
    if count:
        front.folded.append(f"training=False: {count} BatchNormalization frozen, as it is called")


def _fold_behind(front: Front, source: Ref, fold: bool) -> None:
    """Fold the affine layers behind an input into the one that follows; say which front-end layers stay, and why."""
    chain, last = _affine_chain(front.graph, source)
    if chain:
        why = _obstacle(front, chain, last) if fold else "weights that are yet to be trained take it in badly"
        if not why:
            consumer = front.graph.consumers(last)[0]
            front.affine[id(consumer.layer)] = _composed(chain)
            front.folded.extend(f"{call.path} ({_kind(call)}) folded into {consumer.path}" for call in chain)
            front.graph = front.graph.without({call.outputs[0].number: call.inputs[0] for call in chain})
            return
        front.kept.extend(f"{call.path} ({_kind(call)}) kept: {why}" for call in chain)
    for call in _front_calls(front.graph, last):
        front.kept.append(f"{call.path} ({_kind(call)}) kept: it is no scaling that weights could take in")


def _affine_chain(graph: Graph, source: Ref) -> tuple[list[Call], Ref]:
    """The affine layers in a row behind a tensor, and the tensor behind them."""
    chain: list[Call] = []
    while True:
        consumers = graph.consumers(source)
        if len(consumers) != 1 or not _is(consumers[0], _AFFINE) or source in graph.outputs:
            return chain, source
        chain.append(consumers[0])
        source = consumers[0].outputs[0]


def _front_calls(graph: Graph, source: Ref) -> Iterator[Call]:
    """The front-end layers that follow a tensor, up to the first that is none."""
    for call in graph.consumers(source):
        if _is(call, _FRONT):
            yield call
            yield from _front_calls(graph, call.outputs[0])


def _obstacle(front: Front, chain: list[Call], last: Ref) -> str:
    """Why the affine layers cannot be folded; "" if they can."""
    graph = front.graph
    consumers = graph.consumers(last)
    if len(consumers) != 1 or last in graph.outputs:
        return f"its output is used {len(consumers) + (last in graph.outputs)} times"
    layer = consumers[0].layer
    if not _is(consumers[0], _FOLDABLE):
        return f"{consumers[0].path} ({_kind(consumers[0])}) is no layer whose weights could take it in"
    if any(len(graph.calls_of(item)) > 1 for item in (layer, *(call.layer for call in chain))):
        return "it, or the layer behind it, is shared"
    if not _is_float(chain[0].inputs[0]):
        return f"its input is {chain[0].inputs[0].dtype}, which {consumers[0].path} does not take"
    return _obstacle_in_weights(layer, chain)


def _obstacle_in_weights(layer: Any, chain: list[Call]) -> str:
    affine = _composed(chain)
    if affine is None:
        return "it scales along other axes than the last"
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return "the layer behind it has its channels first"
    if any(getattr(layer, f"{kind}_{what}", None) for kind in ("kernel", "depthwise") for what in _RULES):
        return "the layer behind it has a constraint or regularizer on its weights"
    if np.any(affine.offset) and getattr(layer, "padding", "valid") != "valid":
        return f"its offset is not exact behind the zeros that padding={layer.padding!r} adds"
    return ""


_RULES = ("constraint", "regularizer")


def _composed(chain: list[Call]) -> Any:
    """The affine of the layers in a row; None if one is none along the last axis."""
    result = Affine(np.ones(()), np.zeros(()))
    for call in chain:
        affine = _affine_of(call)
        if affine is None:
            return None
        result = result.then(affine)
    return result


def _affine_of(call: Call) -> Affine | None:
    layer = call.layer
    if _kind(call) == "Rescaling":
        return _per_channel(Affine(np.asarray(layer.scale, np.float64), np.asarray(layer.offset, np.float64)))
    mean, variance = (np.asarray(value, np.float64) for value in (layer.mean, layer.variance))
    # Both Keras divide by the deviation, but never by less than their epsilon.
    deviation = np.maximum(np.sqrt(variance), 1e-7)
    if layer.invert:
        return _per_channel(Affine(deviation, mean))
    return _per_channel(Affine(1 / deviation, -mean / deviation))


def _per_channel(affine: Affine) -> Affine | None:
    """The affine with its values in one row, if they lie along the last axis only."""
    arrays = [affine.scale, affine.offset]
    if any(array.size > 1 and array.size != array.shape[-1] for array in arrays):
        return None
    return Affine(*(array.reshape(-1) if array.size > 1 else array.reshape(()) for array in arrays))


def with_affine(layer: Any, affine: Affine) -> None:
    """Change a tf_keras layer's weights so that it takes what stood in front of the affine; it must have a bias."""
    kernel_variable, bias_variable = _kernel_of(layer), layer.bias
    kernel, bias = (np.asarray(variable, np.float64) for variable in (kernel_variable, bias_variable))
    over_inputs = kernel.ndim - (1 if _is_depthwise(layer) else 2)
    scale, offset = (_along_kernel(layer, kernel, value) for value in (affine.scale, affine.offset))
    # Sum over the window, and over the inputs too except where each filter sees only one channel.
    shift = (kernel * offset).sum(axis=tuple(range(kernel.ndim - 2 if _is_depthwise(layer) else over_inputs + 1)))
    bias_variable.assign((bias + shift.reshape(-1)).astype(bias_variable.dtype.as_numpy_dtype))
    kernel_variable.assign((kernel * scale).astype(kernel_variable.dtype.as_numpy_dtype))


def _along_kernel(layer: Any, kernel: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """Values for each channel of the input, laid along the kernel: (..., inputs, outputs), or (..., inputs, depth)."""
    if values.ndim == 0:
        return values
    groups = getattr(layer, "groups", 1)
    if _is_depthwise(layer) or groups == 1:
        return values[:, np.newaxis]
    # Filters of group g see only its channels: the kernel's axis of inputs is as long as one group.
    return np.repeat(values.reshape(groups, -1).T, kernel.shape[-1] // groups, axis=1)


def _kernel_of(layer: Any) -> Any:
    return layer.depthwise_kernel if _is_depthwise(layer) else layer.kernel


def _is_depthwise(layer: Any) -> bool:
    return type(layer).__name__.startswith("DepthwiseConv")


def _is_float(ref: Ref) -> bool:
    return ref.dtype.startswith(("float", "bfloat"))


def _kind(call: Call) -> str:
    return type(call.layer).__name__


def _is(call: Call, kinds: frozenset[str]) -> bool:
    """Whether a call is of a layer of Keras' own of one of these kinds."""
    own = type(call.layer).__module__.partition(".")[0] in ("keras", "tf_keras")
    return own and is_layer(call.layer) and _kind(call) in kinds
