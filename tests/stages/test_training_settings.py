"""Optimizers, schedules, precisions and devices: each trains, what cannot be is refused, defaults are as ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.stages._optimizer import OptimizerSettings, optimizer_for
from pipeline.stages._preserve import after_every_batch
from pipeline.stages._training import TrainingSettings
from pipeline.stages._twin import follow, twin_of
from pipeline.stages.cluster import Cluster
from pipeline.stages.distil import Distil
from pipeline.stages.prune import Prune
from pipeline.stages.qat import Qat
from pipeline.stages.train import Train
from tests.stages.tiny import apply, kernels, tiny_data, tiny_draft

REFUSED: list[tuple[type[TrainingSettings], dict[str, Any], str]] = [
    (Train, {"momentum": 0.5}, "momentum is a setting of sgd and rmsprop"),
    (Train, {"nesterov": True}, "needs optimizer: sgd"),
    (Train, {"optimizer": "sgd", "momentum": 0.0, "nesterov": True}, "a momentum above 0"),
    (Train, {"clip_norm": 1.0, "clip_value": 1.0}, "exclude each other"),
    (Train, {"schedule": {"power": 2.0}}, "schedule.power is no setting of learning_rate_schedule: cosine"),
    (Train, {"learning_rate_schedule": "constant", "schedule": {"end_share": 0.1}}, "which has no settings"),
    (Train, {"learning_rate_schedule": "piecewise"}, "needs schedule.at_epochs and schedule.shares"),
    (
        Train,
        {"learning_rate_schedule": "piecewise", "schedule": {"at_epochs": (2.0, 1.0), "shares": (1.0, 0.5, 0.1)}},
        "must rise",
    ),
    (
        Train,
        {"learning_rate_schedule": "piecewise", "schedule": {"at_epochs": (1.0,), "shares": (1.0,)}},
        "one value more",
    ),
    (Train, {"epochs": 2, "schedule": {"warmup_epochs": 2.0}}, "must be less than epochs"),
    (Qat, {"precision": "mixed_float16"}, "int8 is simulated in float32"),
    (Cluster, {"precision": "mixed_bfloat16"}, "TFMOT clusters in float32"),
    (Cluster, {"distribute": "mirrored"}, "on one device"),
    (Distil, {"distribute": "mirrored"}, "a teacher guides on one device"),
]


@pytest.mark.parametrize(("stage", "settings", "why"), REFUSED)
def test_what_cannot_be_is_refused_as_the_recipe_is_read(
    stage: type[TrainingSettings], settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValidationError, match=why):
        stage.model_validate(settings)


def test_what_is_written_of_the_settings_reads_back_as_the_same() -> None:
    settings = Train(learning_rate_schedule="cosine", schedule={"warmup_epochs": 1.0})  # type: ignore[arg-type]
    assert Train.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.tf
@pytest.mark.xdist_group("tf")
class TestOptimizers:
    """What Keras is asked for."""

    @pytest.mark.parametrize("name", OptimizerSettings.model_fields["optimizer"].annotation.__args__)  # type: ignore[union-attr]
    def test_every_optimizer_has_the_decay_and_the_clipping(self, name: Any) -> None:
        found = optimizer_for(OptimizerSettings(optimizer=name, weight_decay=0.1, clip_norm=2.0), 10, 30)
        assert type(found).__name__.lower() == name
        assert (found.weight_decay, found.clipnorm) == (0.1, 2.0)

    def test_unless_told_otherwise_they_are_those_of_ever(self) -> None:
        config = optimizer_for(OptimizerSettings(), 10, 30).get_config()
        assert config["name"] == "Adam"
        assert config["learning_rate"]["config"]["decay_steps"] == 30
        assert (config["weight_decay"], config["clipnorm"], config["global_clipnorm"]) == (None, None, None)
        assert optimizer_for(OptimizerSettings(optimizer="sgd"), 10, 30).momentum == 0.9

    @pytest.mark.parametrize(
        ("name", "schedule", "rates"),
        [
            # Rates at the start, after one and after two of three epochs, and at the end.
            ("constant", {}, (1, 1, 1, 1)),
            ("cosine", {}, (1, 0.75, 0.25, 0)),
            ("cosine", {"warmup_epochs": 1.0, "end_share": 0.2}, (0, 1, 0.6, 0.2)),
            ("cosine_restarts", {"cycle_epochs": 1.0, "cycle_growth": 1.0, "cycle_share": 0.5}, (1, 0.5, 0.25, 0.125)),
            ("exponential", {"decay_rate": 0.5}, (1, 0.5, 0.25, 0.125)),
            ("exponential", {"decay_rate": 0.5, "decay_epochs": 2.0, "staircase": True}, (1, 1, 0.5, 0.5)),
            ("polynomial", {"end_share": 0.4}, (1, 0.8, 0.6, 0.4)),
            ("piecewise", {"at_epochs": (0.9, 1.9), "shares": (1.0, 0.5, 0.1)}, (1, 0.5, 0.1, 0.1)),
        ],
    )
    def test_schedules_go_where_their_settings_say(self, name: Any, schedule: Any, rates: tuple[float, ...]) -> None:
        settings = OptimizerSettings(learning_rate=2.0, learning_rate_schedule=name, schedule=schedule)
        optimizer = optimizer_for(settings, 10, 30)
        found = []
        for step in (0, 10, 20, 30):
            optimizer.iterations.assign(step)
            found.append(float(optimizer._compute_current_learning_rate() or optimizer.learning_rate))
        assert found == pytest.approx([2 * rate for rate in rates], abs=1e-6)

    def test_a_loss_that_stays_lowers_the_rate(self) -> None:
        # Nothing learned at such a rate: the loss never falls by as much as asked.
        schedule: Any = {"factor": 0.1, "patience": 1, "min_delta": 10.0}
        stage = Train(epochs=4, learning_rate_schedule="reduce_on_plateau", schedule=schedule)
        assert apply(stage, tiny_draft(), tiny_data()).steps[-1].curves["lr"] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])


@pytest.mark.tf
@pytest.mark.xdist_group("tf")
class TestTwins:
    """Another precision, several devices."""

    def test_sixteen_bits_learn_nearly_the_same_and_leave_float32(self) -> None:
        data, draft = tiny_data(), tiny_draft()
        settings: dict[str, Any] = {"epochs": 2, "batch_size": 16, "optimizer": "sgd", "learning_rate": 0.01}
        plain = apply(Train(**settings), draft, data)
        mixed = apply(Train(precision="mixed_float16", **settings), draft, data)
        assert mixed.architecture == draft.architecture
        assert {weight.dtype for weight in mixed.weights} == {np.dtype(np.float32)}
        moved = max(np.abs(a - b).max() for a, b in zip(plain.weights, draft.weights, strict=True))
        apart = max(np.abs(a - b).max() for a, b in zip(plain.weights, mixed.weights, strict=True))
        assert 0 < apart < moved / 3

    def test_masks_are_kept_in_sixteen_bits(self) -> None:
        stage = Prune(epochs=2, batch_size=16, sparsity=0.75, precision="mixed_bfloat16")
        pruned = apply(stage, tiny_draft(), tiny_data())
        for name, kernel in kernels(pruned).items():
            if name != "depthwise":
                assert np.mean(kernel == 0) == pytest.approx(0.75, abs=1 / kernel.size + 1e-9)

    def test_what_callbacks_change_in_the_model_the_twin_trains_on(self) -> None:
        model = tiny_draft().restore()
        twin = twin_of(model, "mixed_bfloat16")
        following = follow(model, twin, [after_every_batch(lambda: model.layers[0].bias.assign(np.full(8, 7.0)))])
        following.on_train_batch_end(0)
        assert (twin.layers[0].bias.read_value().numpy() == 7).all()

    def test_a_teacher_guides_in_sixteen_bits(self) -> None:
        guidance: Any = {"features": {"pointwise": "pointwise"}}
        step = apply(Distil(epochs=1, precision="mixed_float16", guidance=guidance), tiny_draft(), tiny_data()).steps[
            -1
        ]
        assert np.isfinite(step.metrics["loss"])

    def test_two_devices_learn_what_one_does(self) -> None:
        # Devices are chosen before TensorFlow makes the first tensor, so this is a process of its own.
        done = subprocess.run(
            [sys.executable, "-m", "tests.stages.two_devices"],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        devices, apart, moved, sparsity, loss = map(float, done.stdout.split())
        assert devices == 2
        assert apart < 1e-5 < moved
        assert sparsity == pytest.approx(0.5, abs=0.01)
        assert np.isfinite(loss)
