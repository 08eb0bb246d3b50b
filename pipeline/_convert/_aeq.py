"""The second way to quantize: Google's `ai-edge-quantizer`, by its own recipes (extra `aeq`).

It works on a float `.tflite`. The converter writes that one, so both ways begin at the same operators and names.
Its documentation: https://github.com/google-ai-edge/ai-edge-quantizer
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pipeline._convert._ranges import Ranges
from pipeline._convert._repairs import repaired
from pipeline.errors import ModelError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SIGNATURE = "serving_default"

INT4_KINDS = ("CONV_2D", "FULLY_CONNECTED")
"""Operators with int4 kernels; LiteRT 2.3 and TensorFlow 2.21 run both, tflite-runtime 2.14 the convolution alone."""


class _Bits(NamedTuple):
    activations: int | None
    weights: int


BITS = {"int8": _Bits(8, 8), "int16x8": _Bits(16, 8), "int4": _Bits(8, 4), "dynamic": _Bits(None, 8)}
"""Of activations (None: they stay float) and weights, by precision."""


def refuse_missing() -> None:
    """A UsageError where the package is not installed."""
    if importlib.util.find_spec("ai_edge_quantizer") is None:
        raise UsageError(
            "The setting 'backend: ai_edge_quantizer' takes the package ai-edge-quantizer, which is not installed.",
            mend="pip install 'edgesmith[aeq]', or leave the setting out",
        )


def by_ai_edge_quantizer(
    calibrated: bytes,
    examples: NDArray[np.float32],
    *,
    precision: str,
    per_channel: bool = True,
    own_calibration: bool = False,
) -> bytes:
    """A float `.tflite` quantized by `ai-edge-quantizer`.

    Args:
        calibrated: a float `.tflite`; its ranges are read where the calibration is not the quantizer's own.
        examples: for the calibration, (n, ...) float32.
        precision: "int8", "int16x8", "int4" or "dynamic".
        per_channel: whether a weight has a scale for each output channel or one for all.
        own_calibration: whether the quantizer measures the ranges itself: a moving average of each example's least and
            largest value, in which the last examples count most.

    Raises:
        UsageError: the package is not installed.
        ModelError: it cannot quantize the model.
    """
    refuse_missing()
    with _quiet():
        try:
            return repaired(_quantized(calibrated, examples, precision, per_channel, own_calibration))
        # The package raises what it likes, from KeyError on.
        except Exception as error:
            raise ModelError(
                f"ai-edge-quantizer cannot quantize the model: {_one_line(error)}",
                expected=f"operators that it has in {precision}",
                mend="leave 'backend' out: TensorFlow's converter may take them; `--debug` shows where it failed",
            ) from error


def _quantized(
    calibrated: bytes, examples: NDArray[np.float32], precision: str, per_channel: bool, own_calibration: bool
) -> bytes:
    from ai_edge_quantizer import quantizer

    made = quantizer.Quantizer(bytearray(_float_model(calibrated)))
    _set_recipe(made, BITS[precision], per_channel)
    found = None
    if made.need_calibration:
        found = made.calibrate({SIGNATURE: _named(examples)}, num_threads=1)
        if not own_calibration:
            ours = Ranges(calibrated).by_name()
            found |= {name: _as_theirs(found[name], limits) for name, limits in ours.items() if name in found}
    return bytes(made.quantize(found, enable_progress_bar=False, enable_progress_report=False).quantized_model)


def _set_recipe(made: Any, bits: _Bits, per_channel: bool) -> None:
    """What the package's own recipes say (`static_wi8_ai8` and the like), with the granularity chosen."""
    from ai_edge_quantizer import qtyping

    names, granularities = qtyping.TFLOperationName, qtyping.QuantGranularity
    granularity = granularities.CHANNELWISE if per_channel else granularities.TENSORWISE
    if bits.activations is None:
        made.add_dynamic_config(".*", names.ALL_SUPPORTED, bits.weights, granularity=granularity)
        return
    made.add_static_config(".*", names.ALL_SUPPORTED, bits.activations, 8, weight_granularity=granularity)
    if bits.weights == 4:
        for kind in INT4_KINDS:
            made.add_static_config(".*", names[kind], bits.activations, 4, weight_granularity=granularity)


def _float_model(calibrated: bytes) -> bytes:
    """The model without ranges, and with the signature by which the package feeds it."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    tree = flatbuffer_utils.convert_bytearray_to_object(calibrated)
    graph = tree.subgraphs[0]
    for tensor in graph.tensors:
        tensor.quantization = None
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE.encode(), 0
    signature.inputs, signature.outputs = _ends(graph.inputs, "input"), _ends(graph.outputs, "output")
    tree.signatureDefs = [signature]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))


def _ends(indices: Any, name: str) -> list[Any]:
    from tensorflow.lite.python import schema_py_generated as schema

    found = []
    for place, index in enumerate(indices):
        end = schema.TensorMapT()
        end.name, end.tensorIndex = f"{name}_{place}".encode(), int(index)
        found.append(end)
    return found


def _named(examples: NDArray[np.float32]) -> list[dict[str, NDArray[np.float32]]]:
    return [{"input_0": example[None]} for example in examples]


def _as_theirs(measured: Any, limits: tuple[float, float]) -> dict[str, Any]:
    """Our range in the shape of theirs."""
    low, high = (np.full_like(measured[key], value) for key, value in zip(("min", "max"), limits, strict=True))
    return {**measured, "min": low, "max": high}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    from pipeline._tf import quiet_stderr

    with quiet_stderr(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
        yield


def _one_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip()[:300]}" if lines else type(error).__name__
