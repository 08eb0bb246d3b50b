"""Post-training quantization in two steps: a float `.tflite` that carries the range of every tensor, then its int8.

Between the two, ranges are measured and edited, and operators chosen that stay in float: that is what calibration and
mixed precision need. The converter's own way does both at once, with ranges that are too wide.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

from pipeline._convert._converter import converted, integer_converter
from pipeline._convert._extremes import with_extremes
from pipeline._convert._int16x8 import as_far_as_int16_goes, to_int16x8, without_int16
from pipeline._convert._kept import with_kept
from pipeline._convert._repairs import repaired

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy as np
    from numpy.typing import NDArray

    from pipeline.draft import Draft


def calibrated(draft: Draft, examples: NDArray[np.float32]) -> bytes:
    """The draft as a float32 `.tflite` whose tensors carry their least and largest value over the examples.

    They stand in each tensor's `quantization.min` and `.max`, as `edge_targets.tflite_graph` does not read them:
    `tensorflow.lite.tools.flatbuffer_utils` does.

    Args:
        draft: the model.
        examples: representative inputs, (n, ...) float32, in the units that the model sees.

    Raises:
        ModelError: TensorFlow Lite cannot express the model in int8.
    """
    # One example shows the converter which tensors take a range; what the ranges are is measured here.
    converter = integer_converter(draft, examples[:1])
    converter._experimental_calibrate_only = True
    return with_extremes(converted(converter.convert), examples)


def quantized(
    calibrated: bytes,
    *,
    precision: Literal["int8", "int16x8"] = "int8",
    per_channel: bool = True,
    kept: Collection[str] = (),
    kept_in: Literal["float32", "int16"] = "float32",
    halves: bool = True,
) -> bytes:
    """A calibrated float `.tflite` in int8 or int16x8, from border to border but for the operators that are kept out.

    Args:
        calibrated: a float `.tflite` with ranges, as `calibrated` gives it.
        precision: int8, or int16 activations with int8 weights (which takes `per_channel`, and keeps nothing).
        per_channel: whether a weight has a scale for each output channel or one for all.
        kept: operators that are not to be int8, each by the whole name of its first output's tensor.
        kept_in: what they are: in float, or with int16 activations.
        halves: with int16, whether weights of convolutions and dense layers have 16 bits, or 8.

    Raises:
        ModelError: TensorFlow Lite cannot express the model in this precision.
    """
    if precision == "int16x8":
        return repaired(to_int16x8(calibrated))
    return Quantizer(calibrated, per_channel=per_channel).model(kept, kept_in, halves=halves)


class Quantizer:
    """Makes int8 models of one calibrated float `.tflite`, each with other operators kept out of it.

    What those are put together from is made once, for a search asks for many.

    Args:
        calibrated: a float `.tflite` with ranges, as `calibrated` gives it.
        per_channel: whether a weight has a scale for each output channel or one for all.
    """

    def __init__(self, calibrated: bytes, *, per_channel: bool = True) -> None:
        self._calibrated, self._per_channel = calibrated, per_channel

    def model(
        self, kept: Collection[str] = (), kept_in: Literal["float32", "int16"] = "float32", *, halves: bool = True
    ) -> bytes:
        """As `quantized`, in int8 but for what is kept."""
        if not kept:
            return self._int8
        in_int16 = self._in_int16 if kept_in == "int16" else None
        return with_kept(self._int8, self._calibrated, kept, in_int16, halves=halves)

    def without_int16(self) -> frozenset[str]:
        """The operators without an int16 kernel to rely on, by the names of their first outputs.

        Raises:
            ModelError: the quantizer cannot read the model, or rewrote it.
        """
        return without_int16(self._calibrated, self._in_int16)

    @functools.cached_property
    def _int8(self) -> bytes:
        return repaired(converted(lambda: _by_newer_quantizer(self._calibrated, self._per_channel)))

    @functools.cached_property
    def _in_int16(self) -> bytes:
        return as_far_as_int16_goes(self._calibrated)


def _by_newer_quantizer(calibrated: bytes, per_channel: bool) -> bytes:
    from tensorflow.lite.python.convert import deduplicate_readonly_buffers, mlir_quantize

    from pipeline._tf import tf

    model = mlir_quantize(
        calibrated,
        disable_per_channel=not per_channel,
        fully_quantize=True,
        input_data_type=tf.int8,
        output_data_type=tf.int8,
    )
    return bytes(deduplicate_readonly_buffers(model))
