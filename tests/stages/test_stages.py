"""The stages, with the real TensorFlow on a tiny model: what they promise is there, in the draft and in the bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import convert, verify
from pipeline.dataset import Dataset
from pipeline.draft import Draft
from pipeline.errors import Diverged, ModelError
from pipeline.progress import Progress
from pipeline.stage import Stage
from pipeline.stages.prune import Prune
from pipeline.stages.qat import Qat
from pipeline.stages.train import Train
from tests.stages.tiny import tiny_data

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Four classes of 16x16 images."""
    return tiny_data(256)


@pytest.fixture(scope="module")
def draft() -> Draft:
    """A small LeNet, untrained."""
    from models.lenet5 import build
    from pipeline._tf import fix_seed, keras

    fix_seed(1)
    keras.backend.clear_session()
    return Draft.of(build((16, 16, 1), 4))


def apply(stage: Stage, draft: Draft, data: Dataset, progress: Progress | None = None) -> Draft:
    return stage.apply(draft, data, seed=5, progress=progress or Progress())


def kernels(draft: Draft) -> list[NDArray[Any]]:
    return [weight for weight in draft.weights if weight.ndim > 1]


def test_training_learns_and_leaves_the_draft_alone(draft: Draft, data: Dataset) -> None:
    before = draft.sha256
    after = apply(Train(epochs=4, batch_size=16), draft, data)
    assert draft.sha256 == before != after.sha256
    assert after.steps[-1].metrics["val_accuracy"] > 0.9
    assert len(after.steps[-1].curves["loss"]) == 4


def test_the_same_seed_gives_the_same_bits(draft: Draft, data: Dataset) -> None:
    stage = Train(epochs=1, batch_size=32)
    assert apply(stage, draft, data).sha256 == apply(stage, draft, data).sha256
    assert stage.apply(draft, data, seed=6, progress=Progress()).sha256 != apply(stage, draft, data).sha256


def test_early_stopping_stops_and_goes_back_to_the_best(draft: Draft, data: Dataset) -> None:
    settings: dict[str, Any] = {"epochs": 30, "batch_size": 32, "early_stopping": {"patience": 1, "min_delta": 0.5}}
    step = apply(Train(**settings), draft, data).steps[-1]
    assert len(step.curves["loss"]) < 30
    assert step.metrics["val_loss"] == min(step.curves["val_loss"])


def test_tensorboard_logs_are_a_switch(draft: Draft, data: Dataset, tmp_path: Path) -> None:
    progress = Progress()
    progress.log_folder = tmp_path
    apply(Train(epochs=1), draft, data, progress)
    assert not list(tmp_path.iterdir())
    apply(Train(epochs=1, tensorboard=True), draft, data, progress)
    assert list(tmp_path.rglob("events.out.tfevents.*"))


def test_a_loss_that_is_no_number_stops_the_run_at_once(draft: Draft, data: Dataset) -> None:
    class Log(Progress):
        def __init__(self) -> None:
            self.events: list[str] = []

        def log(self, event: str, **facts: object) -> None:
            self.events.append(event)

    log = Log()
    with pytest.raises(Diverged, match="loss became") as caught:
        apply(Train(epochs=50, optimizer="sgd", learning_rate=1e38), draft, data, log)
    assert caught.value.exit_code == 1
    assert log.events[-1] == "diverged"
    assert len(log.events) < 5


@pytest.mark.parametrize("ramp", ["polynomial", "constant"])
@pytest.mark.parametrize(("epochs", "batch_size"), [(1, 256), (1, 100), (2, 32)])
def test_the_sparsity_is_reached_however_short_the_run(
    ramp: Any, epochs: int, batch_size: int, draft: Draft, data: Dataset
) -> None:
    # One step, three steps, sixteen: TFMOT's own default updates its masks every 100.
    after = apply(Prune(epochs=epochs, batch_size=batch_size, sparsity=0.75, ramp=ramp), draft, data)
    for kernel in kernels(after):
        assert np.mean(kernel == 0) == pytest.approx(0.75, abs=1 / kernel.size + 1e-9)
    assert after.traits == {"sparse"}
    assert after.steps[-1].promises["min_sparsity"] == pytest.approx(0.75, abs=0.01)


def test_skipped_layers_stay_dense(draft: Draft, data: Dataset) -> None:
    after = apply(Prune(epochs=1, sparsity=0.5, skip_layers=("conv[1]", "logits")), draft, data)
    dense = [bool((kernel != 0).all()) for kernel in kernels(after)]
    assert dense == [True, False, False, False, True]


def test_a_layer_that_is_not_there_is_named(draft: Draft, data: Dataset) -> None:
    with pytest.raises(ModelError, match="conv7"):
        apply(Prune(epochs=1, skip_layers=("conv7",)), draft, data)


def test_qat_keeps_the_zeros_in_the_draft_and_in_the_bytes(draft: Draft, data: Dataset) -> None:
    pruned = apply(Prune(epochs=1, sparsity=0.75), draft, data)
    aware = apply(Qat(epochs=2, batch_size=32, learning_rate=0.01), pruned, data)
    assert aware.traits == {"sparse", "qat"}
    for before, after in zip(kernels(pruned), kernels(aware), strict=True):
        assert (after[before == 0] == 0).all()
        assert (after != before).any()
    layers = verify.layer_table(convert.to_int8(aware, data.calibration(8, 0)))
    assert verify.sparsity(layers) >= pruned.steps[-1].promises["min_sparsity"]


def test_qat_refuses_a_second_time_up_front() -> None:
    assert "qat" in Qat.refuses


def test_a_nested_model_is_refused_with_a_mend(data: Dataset) -> None:
    from pipeline._tf import keras

    layers = keras.layers
    inner = keras.Sequential([layers.InputLayer((16, 16, 1)), layers.Flatten(), layers.Dense(4)])
    with pytest.raises(ModelError, match="drop the stage 'qat'"):
        apply(Qat(epochs=1), Draft.of(keras.Sequential([layers.InputLayer((16, 16, 1)), inner])), data)


def test_a_draft_survives_the_cache_bit_for_bit(draft: Draft, data: Dataset) -> None:
    aware = apply(Qat(epochs=1), apply(Prune(epochs=1), draft, data), data)
    again = Draft.from_files(aware.to_files())
    assert again.sha256 == aware.sha256
    assert again.steps == aware.steps
    calibration = data.calibration(8, 0)
    assert convert.to_int8(again, calibration) == convert.to_int8(aware, calibration)
    x = next(data.test.batches(8))[0]
    assert np.array_equal(again.restore()(x), aware.restore()(x))


def test_traits_are_part_of_a_draft_s_name(draft: Draft) -> None:
    assert replace(draft, traits=frozenset({"sparse"})).sha256 != draft.sha256
