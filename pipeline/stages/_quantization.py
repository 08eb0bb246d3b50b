"""Which way each layer goes through quantization-aware training, and the model that follows from it.

TFMOT refuses a whole model for one layer that it does not know. Here each layer goes one of four ways: TFMOT's own
config where it has one; a config of ours; none, where a layer only moves values; or no training at all, and then the
converter measures the layer's ranges on calibration data, as it does after training.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import filterfalse
from typing import TYPE_CHECKING, Any, Literal

from pipeline.errors import ModelError
from pipeline.quantize_configs import KERNELS, kernel_config_of, moving_config, output_config

if TYPE_CHECKING:
    from collections.abc import Collection

Way = Literal["trained", "trained_output", "same_range", "post_training"]

TFMOT_ACTIVATIONS = frozenset({"linear", "relu", "swish", "gelu", "softmax", "sigmoid", "tanh"})
"""Activation functions that TFMOT quantizes inside a layer with a kernel."""

SIMPLE = frozenset({"Multiply", "Subtract"})
"""One operator in TensorFlow Lite: with the range of its output it is trained whole."""

COMPOUND = frozenset({"AdditiveAttention", "Attention", "Average", "BatchNormalization", "Dot", "ELU"}) | {
    *(
        "GroupNormalization",
        "LayerNormalization",
        "Maximum",
        "Minimum",
        "Normalization",
        "PReLU",
        "Rescaling",
        "UnitNormalization",
    ),
}
"""Several operators: the range of what comes out is trained, those in between are measured after training."""

MOVING = frozenset({"AlphaDropout", "AveragePooling1D", "AveragePooling2D", "Cropping1D", "Cropping2D", "Dropout"}) | {
    *("GaussianNoise", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "MaxPooling1D", "MaxPooling2D", "Permute"),
    *("RepeatVector", "Reshape", "SpatialDropout1D", "SpatialDropout2D", "UpSampling1D", "ZeroPadding1D"),
    *("ActivityRegularization", "Flatten", "GaussianDropout", "UpSampling2D", "ZeroPadding2D"),
}
"""They choose, move or average values, or change them only while training.

TensorFlow Lite gives what goes in and what comes out one range. With two of its own, as TFMOT trains for averages, the
converter squeezes what goes in into the narrower one.
"""


@dataclass(frozen=True)
class Choice:
    """The way of one layer: `config` is ours, or None for TFMOT's own or for no training; `why` for the report."""

    way: Way
    config: Any = None
    why: str = ""


@dataclass(frozen=True)
class Ways:
    """Which layer went which way, for the report: names, and for those left to calibration the reason."""

    choices: dict[str, Choice] = field(default_factory=dict)

    def notes(self) -> dict[str, Any]:
        """JSON-ready: `trained`, `trained_output` and `same_range` are lists of names, `post_training` has reasons."""
        found: dict[str, Any] = {
            way: [name for name, choice in self.choices.items() if choice.way == way]
            for way in ("trained", "trained_output", "same_range")
        }
        left = {name: choice.why for name, choice in self.choices.items() if choice.way == "post_training"}
        return {**found, "post_training": left}


def quantization_aware(model: Any, scheme: Any, skipped: Collection[str] = ()) -> tuple[Any, Ways]:
    """The model with int8 rounding in its graph, and which way each layer went.

    Args:
        model: a flat tf_keras model.
        scheme: TFMOT's quantize scheme; it says which layers TFMOT knows.
        skipped: names of layers that are left to calibration, and with each what is fused with it.

    Raises:
        ModelError: the model is nested, or none of its layers can be trained so.
    """
    from pipeline._tf import keras, quantize_scope, tfmot

    quantization = tfmot().quantization.keras
    registry = scheme.get_quantize_registry()
    found = {layer.name: _choice(layer, registry) for layer in filterfalse(_is_input, model.layers)}
    ways = Ways(found | _left(model, skipped))
    if not any(choice.way.startswith("trained") for choice in ways.choices.values()):
        raise ModelError(
            "None of the model's layers can be trained with int8 rounding: "
            + "; ".join(f"{name}: {choice.why}" for name, choice in ways.choices.items() if choice.why)
            + ".",
            expected="at least one layer such as a dense or convolutional one",
            mend="drop the stage 'qat': the model is then quantized after training",
        )

    def annotated(layer: Any) -> Any:
        choice = ways.choices[layer.name]
        return layer if choice.way == "post_training" else quantization.quantize_annotate_layer(layer, choice.config)

    with quantize_scope():
        aware = quantization.quantize_apply(keras.models.clone_model(model, clone_function=annotated), scheme)
    return aware, ways


def _left(model: Any, skipped: Collection[str]) -> dict[str, Choice]:
    """The layers that are left out because they are named, and those that are one operator with them.

    Such a chain is rounded once, behind its last layer: half trained, it would get a range in its middle, and the
    converter could not fuse it.
    """
    left: dict[str, Choice] = {}
    for layer in filterfalse(_is_input, model.layers):
        chain = [layer]
        while _is_fused(chain[-1]):
            chain.append(chain[-1].outbound_nodes[0].layer)
        named = [one.name for one in chain if one.name in skipped]
        for one in chain if named else []:
            why = "skip_layers names it" if one.name in skipped else f"is one operator with '{named[0]}' (skip_layers)"
            left[one.name] = Choice("post_training", why=why)
    return left


def _is_input(layer: Any) -> bool:
    return type(layer).__name__ == "InputLayer"


def _choice(layer: Any, registry: Any) -> Choice:
    from pipeline._tf import keras

    kind = type(layer).__name__
    if isinstance(layer, keras.Model):
        raise ModelError(
            f"'{layer.name}' is a model inside the model, which quantization-aware training cannot work on.",
            expected="a flat Sequential or functional model",
            mend="flatten the model, or drop the stage 'qat': the model is then quantized after training",
        )
    if kind == "Masking" or getattr(layer, "mask_zero", False):
        raise ModelError(
            f"The layer '{layer.name}' hands a mask on, which TFMOT's wrappers around other layers cannot take.",
            expected="inputs of one length, without a mask",
            mend="drop the stage 'qat': the model is then quantized after training",
        )
    if len(layer.inbound_nodes) > 1:
        return Choice(
            "post_training", why=f"{kind} is used {len(layer.inbound_nodes)} times, each with ranges of its own"
        )
    if kind in KERNELS:
        return _kernel_choice(layer, registry)
    if kind in MOVING:
        return Choice("same_range", moving_config())
    if _is_tfmots(layer, registry):
        return Choice("trained")
    if kind in SIMPLE or kind in COMPOUND or kind == "Activation":
        way: Way = "trained" if kind in SIMPLE else "trained_output"
        return Choice(way, output_config(quantize_output=not _is_fused(layer)))
    return Choice("post_training", why=f"there is no quantize config for {kind}")


def _kernel_choice(layer: Any, registry: Any) -> Choice:
    activation = getattr(layer.activation, "__name__", "")
    # TFMOT gives a transposed convolution one scale in all, which TensorFlow Lite does not ask for.
    known = registry.supports(layer) and type(layer).__name__ != "Conv2DTranspose"
    if known and activation in TFMOT_ACTIVATIONS:
        return Choice("trained")
    simple = activation in ("linear", "relu", "relu6") and not type(layer).__name__.startswith("Separable")
    config = kernel_config_of(layer, quantize_output=not _is_fused(layer))
    return Choice("trained" if simple else "trained_output", config)


def _is_tfmots(layer: Any, registry: Any) -> bool:
    """Whether TFMOT itself quantizes the layer, alone or together with the one before."""
    kind = type(layer).__name__
    if kind == "BatchNormalization":
        [before] = layer.inbound_nodes[0].parent_nodes[:1] or [None]
        return before is not None and _takes_normalization(before.layer)
    if kind == "Activation":
        return getattr(layer.activation, "__name__", "") in TFMOT_ACTIVATIONS | {"relu6"}
    return bool(registry.supports(layer)) and kind not in COMPOUND | SIMPLE


def _takes_normalization(layer: Any) -> bool:
    """Whether TFMOT fuses a batch normalization into this layer: then there is no rounding between the two."""
    kind = type(layer).__name__
    linear = getattr(getattr(layer, "activation", None), "__name__", "") == "linear"
    alone = len(layer.inbound_nodes) == 1 and len(layer.outbound_nodes) == 1
    return kind in ("Conv2D", "DepthwiseConv2D", "Dense") and linear and alone


def _is_fused(layer: Any) -> bool:
    """Whether TensorFlow Lite makes one operator of this layer and the one behind it: no range in between then."""
    if len(layer.outbound_nodes) != 1 or getattr(getattr(layer, "activation", None), "__name__", "linear") != "linear":
        return False
    after = layer.outbound_nodes[0].layer
    kind = type(after).__name__
    if kind == "Activation":
        return getattr(after.activation, "__name__", "") in ("relu", "relu6")
    if kind == "BatchNormalization":
        return type(layer).__name__ in KERNELS
    return kind == "ReLU"
