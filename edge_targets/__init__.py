"""Devices: given a `.tflite`, prepare it, run it there, measure it. Knows nothing of recipes or TensorFlow."""

from edge_targets._base import (
    BenchmarkPlan,
    Capabilities,
    DeviceError,
    DeviceInfo,
    Measurement,
    Provenance,
    Runtime,
    Target,
    TargetError,
    Timeout,
    ToolMissing,
    Unsupported,
    UnusableModel,
    WrongInput,
)
from edge_targets._transport import Completed, Local, Recording, Transport

__all__ = [
    "BenchmarkPlan",
    "Capabilities",
    "Completed",
    "DeviceError",
    "DeviceInfo",
    "Local",
    "Measurement",
    "Provenance",
    "Recording",
    "Runtime",
    "Target",
    "TargetError",
    "Timeout",
    "ToolMissing",
    "Transport",
    "Unsupported",
    "UnusableModel",
    "WrongInput",
]
