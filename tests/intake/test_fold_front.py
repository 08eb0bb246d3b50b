"""Scaling in front moves into the weights at conversion, where that is exact; while a model is trained it stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.draft import Draft
from pipeline.intake import ModelSource, fold_front, take_in
from pipeline.progress import Progress

pytestmark = [pytest.mark.tf]


def scaled() -> Draft:
    from pipeline._tf import keras

    layers = keras.layers
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(image)
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    return Draft.of(keras.Model(image, layers.Dense(2, name="logits")(layers.Flatten(name="flat")(x))))


def test_the_scaling_is_gone_and_the_outputs_stay() -> None:
    draft = scaled()
    folded, said = fold_front(draft)
    x = np.random.default_rng(0).uniform(0, 255, (5, 8, 8, 3)).astype(np.float32)
    before, after = (each.restore().predict(x, verbose=0) for each in (draft, folded))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
    assert "Rescaling" not in folded.architecture
    assert len(said) == 1
    assert "conv" in said[0]


@pytest.mark.parametrize("trait", ["qat", "clustered"])
def test_trained_ranges_and_clusters_are_left_alone(trait: str) -> None:
    draft = replace(scaled(), traits=frozenset({trait}))
    assert fold_front(draft) == (draft, ())


def test_a_model_without_scaling_is_not_touched() -> None:
    from pipeline._tf import keras

    draft = Draft.of(keras.Sequential([keras.layers.InputLayer((3,)), keras.layers.Dense(2, name="only")]))
    assert fold_front(draft) == (draft, ())


def test_intake_keeps_the_scaling_for_training(tmp_path: Path) -> None:
    path = tmp_path / "scaled.keras"
    scaled().restore().save(path)
    taken = take_in(ModelSource(path), None, seed=0, progress=Progress())
    assert "Rescaling" in taken.architecture
    assert taken.steps[0].notes["folded"] == []
