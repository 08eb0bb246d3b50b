"""What the Edge TPU estimate is worth: predicted milliseconds beside those that Coral publishes.

    .venv/bin/python benchmarks/edgetpu_table.py [--all]

Builds the models of Coral's table (coral.ai/docs/edgetpu/benchmarks, desktop with USB accelerator) that the zoo has,
and a ResNet-50 of the Keras applications; `--all` adds three more of those, which take minutes to convert. Weights are
random: no time depends on them. Nothing is run, every predicted figure is simulated. Exit 1 where the mean error of the
first four is above 25 %.

What was fitted and what was not: SqueezeNet gave the speed of the memory, the MobileNets that of depthwise kernels,
VGG's pair (19 against 16) that of the link. ResNet and DenseNet gave nothing.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_targets._edgetpu_estimate import Estimate, estimate
from edge_targets._edgetpu_map import CPU, predict
from edge_targets.tflite_graph import parse_graph
from pipeline.convert import to_int8
from pipeline.draft import Draft

LIMIT = 0.25


@dataclass(frozen=True)
class Published:
    """A line of Coral's table.

    Attributes:
        size: of the square image.
        edgetpu_ms: desktop with USB accelerator.
        source: a model of the zoo, or a Keras application.
    """

    name: str
    size: int
    edgetpu_ms: float
    source: str


TABLE = (
    Published("MobileNet v1", 224, 2.4, "models.mobilenet_v1"),
    Published("MobileNet v2", 224, 2.6, "models.mobilenet_v2"),
    Published("SqueezeNet", 224, 2.1, "models.squeezenet"),
    Published("ResNet-50 v1", 299, 49, "ResNet50"),
)
MORE = (
    Published("DenseNet", 224, 20, "DenseNet121"),
    Published("ResNet-152 v2", 299, 128, "ResNet152V2"),
    Published("VGG16", 224, 296, "VGG16"),
)


def build(line: Published) -> Any:
    """The Keras model, with random weights and 1000 classes."""
    from pipeline._tf import keras

    shape = (line.size, line.size, 3)
    if line.source.startswith("models."):
        return importlib.import_module(line.source).build(shape, 1000)
    return getattr(keras.applications, line.source)(weights=None, input_shape=shape)


def predicted(line: Published) -> tuple[Estimate, int]:
    """The estimate, and how many operators stay on the CPU."""
    example = np.random.default_rng(0).random((1, line.size, line.size, 3), np.float32)
    graph = parse_graph(to_int8(Draft.of(build(line)), example))
    mapped = predict(graph)
    return estimate(graph, mapped), sum(one.runs_on == CPU for one in mapped.placements)


def compare(lines: tuple[Published, ...]) -> float:
    """Print a line each; returns the mean of the errors, without their signs."""
    errors = []
    for line in lines:
        found, on_cpu = predicted(line)
        milliseconds = found.total_us / 1e3
        errors.append(milliseconds / line.edgetpu_ms - 1)
        print(
            f"{line.name:<14} {line.size:>4}  {milliseconds:8.2f} ms simulated  {line.edgetpu_ms:8.1f} ms published  "
            f"{errors[-1]:+7.1%}   {found.streamed_bytes / 1e6:6.1f} MB streamed  {on_cpu} on the CPU",
            flush=True,
        )
    return float(np.mean(np.abs(errors)))


def main(arguments: list[str]) -> int:
    mean = compare(TABLE)
    print(f"mean error {mean:.1%}, at most {LIMIT:.0%}")
    if "--all" in arguments:
        print(f"mean error of others {compare(MORE):.1%}")
    return 0 if mean <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
