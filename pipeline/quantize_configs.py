"""Quantize configs for layers that TFMOT leaves out, and the names that reading such a model needs.

TFMOT is another second to import, and its base classes are needed to write ours: so they are made when first asked for.
"""

from __future__ import annotations

from functools import cache
from typing import Any

LEVELS = 127
"""Steps from zero to the largest weight: int8 weights lie in -127..127, so that zero is in the middle."""

KERNELS: dict[str, dict[str, tuple[int, ...]]] = {
    "Conv1D": {"kernel": (2,)},
    "Conv1DTranspose": {"kernel": (1,)},
    "Conv2D": {"kernel": (3,)},
    "Conv2DTranspose": {"kernel": (2,)},
    "Dense": {"kernel": ()},
    "DepthwiseConv1D": {"depthwise_kernel": (1, 2)},
    "DepthwiseConv2D": {"depthwise_kernel": (2, 3)},
    "EinsumDense": {"kernel": ()},
    "SeparableConv1D": {"depthwise_kernel": (1, 2), "pointwise_kernel": (2,)},
    "SeparableConv2D": {"depthwise_kernel": (2, 3), "pointwise_kernel": (3,)},
}
"""Layers with kernels: the kernels' attributes, and the axes along which TensorFlow Lite gives each place a scale."""


def custom_objects() -> dict[str, Any]:
    """Our classes by name, as Keras needs them to read a quantization-aware model's JSON."""
    return {made.__name__: made for made in (kernel_weights(), kernel_config())}


def kernel_config_of(layer: Any, *, quantize_output: bool) -> Any:
    """Our config for a layer of `KERNELS`.

    Args:
        layer: a Keras layer.
        quantize_output: whether its output gets a range; not where it is fused with what comes next.
    """
    return kernel_config()(KERNELS[type(layer).__name__], quantize_output)


def output_config(*, quantize_output: bool = True) -> Any:
    """A config that trains the range of a layer's output, and leaves what is inside alone."""
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import default_8bit_quantize_configs

    return default_8bit_quantize_configs.Default8BitOutputQuantizeConfig(quantize_output)


def moving_config() -> Any:
    """A config for a layer that only moves values: its output has its input's range."""
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import default_8bit_quantize_configs

    return default_8bit_quantize_configs.NoOpQuantizeConfig()


@cache
def kernel_weights() -> type[Any]:
    """The class of our quantizer for kernels."""
    from pipeline._tf import tf, tfmot

    class KernelWeights(tfmot().quantization.keras.quantizers.Quantizer):  # type: ignore[misc]  # TFMOT has no types
        """Rounds a kernel to int8, with a scale for each place along `axes`.

        In plain arithmetic where TFMOT takes the fake-quantization operator: that one knows the last axis only, and the
        converter does not follow it through the transpositions that other axes need. This the converter computes
        beforehand, and then lays its own scales, along its own axis, onto the very same grid.
        """

        def __init__(self, axes: tuple[int, ...]) -> None:
            self.axes = axes

        def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
            return {}  # the scales follow from the kernel: there is nothing to remember

        def __call__(self, inputs: Any, training: bool, weights: dict[str, Any], **kwargs: Any) -> Any:
            others = [axis for axis in range(inputs.shape.rank) if axis not in self.axes]
            step = tf.reduce_max(tf.abs(inputs), others, keepdims=True) / LEVELS
            rounded = tf.round(tf.math.divide_no_nan(inputs, step)) * step
            # The gradient passes as if nothing had been rounded (Bengio et al., 2013).
            return inputs + tf.stop_gradient(rounded - inputs)

        def get_config(self) -> dict[str, Any]:
            return {"axes": self.axes}

    return KernelWeights


@cache
def kernel_config() -> type[Any]:
    """The class of our config for layers with kernels."""
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import default_8bit_quantize_registry

    class KernelConfig(default_8bit_quantize_registry.Default8BitQuantizeConfig):  # type: ignore[misc]  # untyped
        """int8 kernels, and a trained range for what leaves the layer, behind its activation."""

        def __init__(self, kernels: dict[str, tuple[int, ...]], quantize_output: bool) -> None:
            super().__init__(list(kernels), [], quantize_output)
            self._kernels = kernels

        def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
            quantizer = kernel_weights()
            return [(getattr(layer, attribute), quantizer(tuple(axes))) for attribute, axes in self._kernels.items()]

        def get_config(self) -> dict[str, Any]:
            # TFMOT's transform for concatenations switches `quantize_output` off, after the config is made.
            return {"kernels": self._kernels, "quantize_output": self.quantize_output}

    return KernelConfig
