"""Reads the settings of an operator that decide where it can run: dilation, fused activation, masks. Part of
`tflite_graph`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# By operator: the table of TensorFlow Lite's schema that holds its settings, and those of them that are read.
_TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "CONV_2D": ("Conv2DOptions", ("DilationHFactor", "DilationWFactor", "FusedActivationFunction")),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", ("DilationHFactor", "DilationWFactor", "FusedActivationFunction")),
    "AVERAGE_POOL_2D": ("Pool2DOptions", ("FusedActivationFunction",)),
    "MAX_POOL_2D": ("Pool2DOptions", ("FusedActivationFunction",)),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", "FusedActivationFunction")),
    "FULLY_CONNECTED": ("FullyConnectedOptions", ("FusedActivationFunction", "WeightsFormat")),
    "PACK": ("PackOptions", ("Axis",)),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", ("AlignCorners", "HalfPixelCenters")),
    "STRIDED_SLICE": ("StridedSliceOptions", ("EllipsisMask", "NewAxisMask")),
}


def read_options(kind: str, operator: Any) -> Mapping[str, int]:
    """The settings of one operator, by their names in the schema; empty where it has none or others than its kind's.

    Args:
        kind: of the operator, `CONV_2D`.
        operator: its table, as the schema's own code reads it.
    """
    from ai_edge_litert import schema_py_generated as schema

    table, names = _TABLES.get(kind, ("", ()))
    stored = operator.BuiltinOptions()
    if stored is None or not table or operator.BuiltinOptionsType() != getattr(schema.BuiltinOptions, table):
        return {}
    options = getattr(schema, table)()
    options.Init(stored.Bytes, stored.Pos)
    return {name: int(getattr(options, name)()) for name in names}
