"""Devices: given a `.tflite`, prepare it, run it there, measure it. Knows nothing of recipes or TensorFlow."""

from edge_targets._base import Capabilities, Target
from edge_targets._errors import (
    DeviceError,
    Disagreement,
    TargetError,
    Timeout,
    ToolMissing,
    Unsupported,
    UnusableModel,
    WrongAddress,
    WrongInput,
)
from edge_targets._golden import Golden
from edge_targets._measurement import BenchmarkPlan, DeviceInfo, Measurement, Provenance, Runtime
from edge_targets._parity import Deployment, Outputs, Parity
from edge_targets._transport import Completed, Local, Recording, Transport

__all__ = [
    "BenchmarkPlan",
    "Capabilities",
    "Completed",
    "Deployment",
    "DeviceError",
    "DeviceInfo",
    "Disagreement",
    "Golden",
    "Local",
    "Measurement",
    "Outputs",
    "Parity",
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
    "WrongAddress",
    "WrongInput",
]
