"""The models that post-training quantization is compared on, each on real data that it was made for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks._bench import DIGITS, MNIST, ROOT, Stages

EXAMPLES = ROOT / "examples"
FSDD = ROOT.parent / "shared" / "data" / "fsdd_recordings.zip"


@dataclass(frozen=True)
class Subject:
    """A model, its data and how it is trained.

    Attributes:
        task, data, model: as a recipe has them; paths begin at the folder `examples`.
        train, qat: the settings of the two stages.
    """

    task: str
    data: dict[str, Any]
    model: dict[str, Any]
    train: dict[str, Any]
    qat: dict[str, Any]

    def stages(self, *, aware: bool, quick: bool) -> Stages:
        """Training, with `aware` quantization-aware training behind it; `quick` makes do with a third of the epochs."""
        chosen = [{"train": self.train}, *([{"qat": self.qat}] if aware else [])]
        if quick:
            chosen = [{n: {**s, "epochs": max(1, s["epochs"] // 3)} for n, s in stage.items()} for stage in chosen]
        return chosen


def subjects(*, quick: bool) -> dict[str, Subject]:
    """LeNet-5, ResNet-8 and MobileNetV2 on digits, DS-CNN on spoken ones, an autoencoder and a GRU on a wrist's motion.

    Args:
        quick: takes the 10,000 digits that come along in the place of all of MNIST, and fewer epochs.
    """
    return {
        "lenet5": Subject(
            "classification",
            _digits(quick),
            {"lenet5": {"variant": "caffe"}},
            {"epochs": 6, "batch_size": 128, "learning_rate": 0.002},
            {"epochs": 2, "batch_size": 128},
        ),
        "ds_cnn": Subject(
            "classification",
            _SPOKEN,
            {"ds_cnn": {"variant": "s"}},
            {"epochs": 18, "batch_size": 64, "learning_rate": 0.002},
            {"epochs": 5},
        ),
        "resnet8": Subject(
            "classification",
            _digits(quick),
            {"resnet8": {}},
            {"epochs": 4, "batch_size": 128, "learning_rate": 0.002},
            {"epochs": 2, "batch_size": 128},
        ),
        "mobilenet_v2": Subject(
            "classification",
            _digits(quick),
            {"mobilenet_v2": {"alpha": 0.35}},
            {"epochs": 8, "batch_size": 128, "learning_rate": 0.003},
            {"epochs": 3, "batch_size": 128, "learning_rate": 5e-4},
        ),
        "autoencoder": Subject(
            "anomaly",
            {"timeseries": {"path": "wrist.py:anomalies", "options": {"normal": "PEN"}, "window": 100, **_WRIST}},
            {"autoencoder": {"width": 64, "depth": 2, "bottleneck": 16}},
            {"epochs": 20, "batch_size": 32, "learning_rate": 0.002},
            {"epochs": 5, "batch_size": 32},
        ),
        "gru": Subject(
            "classification",
            {"timeseries": {"path": "wrist.py:exercises", "window": 40, **_WRIST}},
            {"gru": {"units": 16}},
            {"epochs": 15, "batch_size": 64, "learning_rate": 0.004},
            {"epochs": 3, "batch_size": 64},
        ),
    }


def _digits(quick: bool) -> dict[str, Any]:
    path = DIGITS if quick else MNIST
    return {"npz": {"path": str(path), "divide_by": 255, "add_channel": True, "validation_fraction": 0.1}}


_SPOKEN = {
    "audio": {
        "path": str(FSDD),
        "labels": "{label}_{_}_{index}",
        "test_indices_below": 5,
        "sample_rate": 8000,
        "duration_s": 1.0,
        "features": "log_mel",
        "frame_ms": 32,
        "hop_ms": 25,
        "mel_bins": 32,
        "augment": {"shift_height": 0.2, "noise": 0.1},
    }
}

_WRIST = {
    "hop": 25,
    "channels": ["ax", "ay", "az", "wx", "wy", "wz"],
    "normalise": "per_channel",
    "validation_fraction": 0.15,
    "test_subject_fraction": 0.3,
}
