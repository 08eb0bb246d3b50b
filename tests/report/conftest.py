"""A report with something in every place: what a run of the demo gives, with a budget that nobody could measure."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest

from edge_targets._noise import ErrorDetails
from pipeline.artifact import LayerGain, MixedPrecision, TensorSpec
from pipeline.check import Advice, Check, Layer
from pipeline.draft import Step
from pipeline.report import ModelFacts, Report, StepRecord

RECIPE = """\
name: mnist_demo
seed: 7
model:
  lenet5:
    variant: caffe
data:
  npz:
    path: examples/data/mnist_small.npz
stages:
  - train: {epochs: 8}
  - prune: {epochs: 6, sparsity: 0.85}
  - qat: {epochs: 3}
targets: [host]
budgets:
  max_accuracy_drop: 0.005
  min_sparsity: 0.8
  max_ota_bytes: 140000
  max_median_us: {raspberry_pi: 2000}
"""

IMAGE = TensorSpec("input", (1, 28, 28, 1), "int8", 0.003921569, -128)
LOGITS = TensorSpec("logits", (1, 10), "int8", 0.1724, 11)


CLASSES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]

# 200 examples of each digit: how many of a row's were taken for which other digit.
WRONG_FLOAT = {
    (2, 7): 3,
    (3, 5): 4,
    (4, 9): 5,
    (5, 3): 2,
    (5, 6): 1,
    (7, 2): 3,
    (8, 3): 2,
    (8, 0): 1,
    (9, 4): 6,
    (9, 7): 2,
}
WRONG_INT8 = {**WRONG_FLOAT, (3, 5): 6, (9, 4): 5, (6, 0): 1, (8, 0): 2}


def classified(wrong: dict[tuple[int, int], int], roc_auc: float) -> dict[str, Any]:
    """What the task classification says of a model, with figures that are rounded alike on every machine."""
    matrix = [[wrong.get((i, j), 0) for j in range(10)] for i in range(10)]
    for k, row in enumerate(matrix):
        row[k] = 200 - sum(row)
    rows = [_class_row(matrix, k) for k in range(10)]
    means = {name: round(sum(row[name] for row in rows) / 10, 5) for name in ("precision", "recall", "f1")}
    return {
        "f1_macro": means["f1"],
        "roc_auc": roc_auc,
        "top_3_accuracy": 0.9985,
        "precision_macro": means["precision"],
        "recall_macro": means["recall"],
        "examples": 2000,
        "correct": 2000 - sum(wrong.values()),
        "wrong": sum(wrong.values()),
        "per_class": rows,
        "confusion_matrix": matrix,
        "roc": {
            "of": "mean over the classes",
            "false_positive_rate": [0.0, 0.0, 0.001, 0.004, 0.02, 0.1, 0.4, 1.0],
            "true_positive_rate": [0.0, round(roc_auc - 0.12, 5), 0.955, 0.98, 0.9925, 0.998, 1.0, 1.0],
        },
    }


def _class_row(matrix: list[list[int]], k: int) -> dict[str, Any]:
    precision, recall = matrix[k][k] / sum(row[k] for row in matrix), matrix[k][k] / 200
    figures = {"precision": precision, "recall": recall, "f1": 2 * precision * recall / (precision + recall)}
    return {
        "class": k,
        "examples": 200,
        **{name: round(figure, 5) for name, figure in figures.items()},
        "roc_auc": round(0.999 + recall / 2000, 5),
    }


def baseline() -> ModelFacts:
    return ModelFacts(
        path="model_float32.tflite",
        sha256="6c9d0a1f52c84e6bb0a4b7f3f0c1d2e39485a6b7c8d9e0f1a2b3c4d5e6f70819",
        size_bytes=1_729_344,
        ota_bytes=1_601_220,
        ota_codec="xz",
        metric="accuracy",
        value=0.9855,
        details=classified(WRONG_FLOAT, 0.99956),
        inputs=(dataclasses.replace(IMAGE, dtype="float32", scale=0.0, zero_point=0),),
        outputs=(dataclasses.replace(LOGITS, dtype="float32", scale=0.0, zero_point=0),),
    )


def artifact() -> ModelFacts:
    return ModelFacts(
        path="model_int8.tflite",
        sha256="0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0",
        size_bytes=441_872,
        ota_bytes=118_304,
        ota_codec="xz",
        metric="accuracy",
        value=0.984,
        details=classified(WRONG_INT8, 0.99948),
        inputs=(IMAGE,),
        outputs=(LOGITS,),
    )


def _falling(start: float, end: float, epochs: int) -> list[float]:
    return [round(end + (start - end) * math.exp(-0.9 * epoch), 5) for epoch in range(epochs)]


def _curves(epochs: int, loss: tuple[float, float], accuracy: tuple[float, float]) -> dict[str, list[float]]:
    return {
        "loss": _falling(*loss, epochs),
        "accuracy": _falling(*accuracy, epochs),
        "val_loss": _falling(loss[0] * 0.62, loss[1] * 1.9, epochs),
        "val_accuracy": _falling(accuracy[0] + (accuracy[1] - accuracy[0]) * 0.3, accuracy[1] - 0.011, epochs),
    }


def steps() -> tuple[StepRecord, ...]:
    train = Step(
        "train",
        {"epochs": 8, "batch_size": 64, "learning_rate": 0.001, "learning_rate_schedule": "cosine"},
        41.23,
        {"loss": 0.0213, "accuracy": 0.9938, "val_loss": 0.0491, "val_accuracy": 0.9855},
        _curves(8, (0.412, 0.0203), (0.871, 0.9944)),
    )
    prune = Step(
        "prune",
        {"epochs": 6, "batch_size": 64, "sparsity": 0.85, "ramp": "polynomial"},
        35.7,
        {"val_loss": 0.0523, "val_accuracy": 0.9845, "sparsity": 0.85},
        _curves(6, (0.131, 0.0141), (0.958, 0.9962)),
        {"min_sparsity": 0.85},
    )
    qat = Step(
        "qat",
        {"epochs": 3, "batch_size": 64, "learning_rate": 0.0003},
        29.04,
        {"val_loss": 0.0531, "val_accuracy": 0.984},
        _curves(3, (0.048, 0.0178), (0.986, 0.9951)),
        {"min_sparsity": 0.85},
        {
            "trained": ["conv1", "conv2", "dense1"],
            "post_training": {"logits_softmax": "TFMOT knows no ranges for it"},
        },
    )
    return StepRecord(train, cached=True), StepRecord(prune, cached=True), StepRecord(qat, cached=False)


def checks() -> tuple[Check, ...]:
    return (
        Check("int8_only", 0, 0, "float tensors", "pass"),
        Check.at_most("max_accuracy_drop", 0.0015, 0.005, "share"),
        Check.at_least("min_sparsity", 0.8503, 0.8, "share"),
        Check.at_most("max_ota_bytes", 118_304, 140_000, "bytes"),
        Check("agreement", 0.9975, None, "share", "pass", "top-1, int8 against float32"),
        Check.not_measured(
            "max_median_us.raspberry_pi",
            2000,
            "us",
            "the recipe's targets do not name 'raspberry_pi', and only device or host numbers of a target count",
        ),
    )


ERROR = ErrorDetails(
    mean=-0.0125,
    worst=0.61,
    bin_width=0.0625,
    bins=(0,) * 6 + (2, 0, 5, 9, 31, 64, 120, 380, 900, 2410, 2080, 700, 305, 98, 40, 22, 7, 3, 1, 1) + (0,) * 6,
    range=(0.0, 44.1),
    usual=(0.0, 9.5),
    channels=480,
    lost_channels=0,
    channel_spread=61.2,
    channel_noise=0.0021,
    shift=0.12,
)


def advice() -> tuple[Advice, ...]:
    return (
        Advice(
            "dense1",
            29.4,
            0.0012,
            "int8 covers −0 … 44.1, and 99.9 % of the values lie within 0 … 9.5",
            "choose the range without the few values far out",
            "convert: {calibration: percentile}",
        ),
        Advice("conv2", 31.87, None, "int8 leaves 31.9 dB, and nothing else was found", "nothing has to be done", ""),
    )


def mixed() -> MixedPrecision:
    return MixedPrecision(
        kept_in="float32",
        kept=("conv2",),
        riders=("pool2",),
        gains=(LayerGain("conv2", 0.0021, 31.2), LayerGain("dense1", 0.0012, 28.8), LayerGain("conv1", 0.0, 35.0)),
        metric="accuracy",
        float_value=0.9855,
        int8_value=0.9792,
        value=0.984,
        max_accuracy_drop=0.005,
        evaluations=9,
        most_evaluations=14,
        int8_size_bytes=416_200,
        size_bytes=441_872,
        int8_median_us=58.2,
        median_us=61.2,
    )


def layers() -> tuple[Layer, ...]:
    return (
        Layer("conv1", "CONV_2D", 500, 0.85, 71, 8, 34.21, 288_000, 0.1256, 740, 0.0017),
        Layer("conv2", "CONV_2D", 25_000, 0.85, 168, 8, 31.87, 1_600_000, 0.6977, 25_600, 0.0579),
        Layer("dense1", "FULLY_CONNECTED", 400_000, 0.8504, 183, 8, 29.4, 400_000, 0.1744, 402_012, 0.9098, ERROR),
        Layer("logits", "FULLY_CONNECTED", 5_000, 0.846, 131, 8, None, 5_000, 0.0022, 5_052, 0.0114),
    )


def measurement(model: str, median_us: float, **changed: Any) -> dict[str, Any]:
    return {
        "target": "host",
        "model": model,
        "provenance": "host",
        "runtime": "ai_edge_litert",
        "runtime_version": "2.3.0",
        "kernels": "xnnpack",
        "threads": 1,
        "delegate": None,
        "warmup_runs": 20,
        "runs": 4_000,
        "median_us": median_us,
        "p90_us": median_us * 1.08,
        "p99_us": median_us * 1.31,
        "p90_ci_us": [median_us * 1.07, median_us * 1.09],
        "p99_ci_us": None,
        "median_ci_us": [median_us * 0.993, median_us * 1.006],
        "min_us": median_us * 0.96,
        "mean_us": median_us * 1.02,
        "peak_rss_bytes": 38_412_288 if model == "float32" else 33_169_408,
        "load_us": 1_812.4 if model == "float32" else 640.1,
        "first_us": median_us * 3.1,
        "device": {
            "machine": "x86_64",
            "cpu_model": "Intel(R) Xeon(R) Processor @ 2.60GHz",
            "cores": 2,
            "memory_bytes": 8_221_000_000,
            "os": "Linux 6.1.0",
            "python": "3.11.2",
        },
        **changed,
    }


@pytest.fixture
def report() -> Report:
    """The sample, the same each time."""
    return sample()


def sample() -> Report:
    return Report(
        recipe="mnist_demo",
        recipe_text=RECIPE,
        created="2026-01-31T12:00:00Z",
        versions={
            "edgesmith": "0.1.0",
            "python": "3.11.2",
            "tensorflow": "2.21.0",
            "tf_keras": "2.21.0",
            "numpy": "1.26.4",
        },
        data={
            "origin": "MNIST, 8,000 + 2,000 images (examples/data/mnist_small.npz)",
            "splits": {"train": 7_200, "validation": 800, "test": 2_000},
            "fingerprint": "b5e1c7d2a9f04836b5e1c7d2a9f04836b5e1c7d2a9f04836b5e1c7d2a9f04836",
            "class_names": CLASSES,
            "preprocessing": {"divide_by": 255, "resize": {"height_px": 28, "width_px": 28, "method": "bilinear"}},
            "notes": ["3 examples of the training split also lie in a later split; they were dropped from it"],
        },
        baseline=baseline(),
        artifact=artifact(),
        steps=steps(),
        checks=checks(),
        layers=layers(),
        measurements=(measurement("float32", 312.4), measurement("int8", 61.27)),
        seconds=48.9,
        command="edgesmith run examples/mnist_demo.yaml",
        advice=advice(),
        mixed=mixed(),
    )
