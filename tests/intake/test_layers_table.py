"""Every layer that both Keras know is replayed with equal outputs; docs/layers.md says which, and is made from this."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline._intake._flatten import flatten
from pipeline._intake._front import AUGMENTATION
from pipeline._intake._layers import UNSUPPORTED
from pipeline._intake._ops import REPLAYS
from pipeline._intake._prove import TOLERANCE, largest_difference
from pipeline.errors import ModelError
from tests.intake.layer_table import LAYERS, OPERATIONS, SPECIAL, Case
from tests.intake.live import of_case

pytestmark = pytest.mark.tf

DOCS = Path(__file__).resolve().parents[2] / "docs" / "layers.md"
CASES = [pytest.param(case, id=f"{name}-{index}") for name, cases in LAYERS.items() for index, case in enumerate(cases)]


def layer_names(keras: Any) -> set[str]:
    """The layers of a Keras by the names of their classes: MaxPool2D is MaxPooling2D once more."""
    found = [getattr(keras.layers, name) for name in dir(keras.layers)]
    return {cls.__name__ for cls in found if isinstance(cls, type) and issubclass(cls, keras.layers.Layer)}


@pytest.mark.parametrize("case", CASES)
def test_outputs_are_equal(case: Case) -> None:
    model = of_case(case)
    assert largest_difference(model, flatten(model, fold=False).model, seed=7) <= TOLERANCE


def test_every_shared_layer_is_spoken_for() -> None:
    from pipeline._tf import keras, keras3

    shared = layer_names(keras3()) & layer_names(keras)
    spoken_for = set(LAYERS) | set(UNSUPPORTED) | AUGMENTATION | set(SPECIAL)
    assert not shared - spoken_for, "layers that are neither in the table nor refused with a reason"
    assert set(LAYERS) <= shared, "layers in the table that one Keras does not have"
    assert not set(LAYERS) & (set(UNSUPPORTED) | AUGMENTATION | set(SPECIAL))


def test_augmentation_does_nothing_at_inference() -> None:
    """What `AUGMENTATION` says, asked of Keras 3 itself; those of two inputs take images with labels."""
    import numpy as np

    from pipeline._tf import keras3

    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3)).astype("float32")
    needed: dict[str, dict[str, Any]] = {
        "RandomPosterization": {"factor": 4},
        "RandomErasing": {},
        "RandomFlip": {},
        "RandomCrop": {"height": 4, "width": 4},
        "RandomGaussianBlur": {},
        "RandomElasticTransform": {},
        "RandomTranslation": {"height_factor": 0.5, "width_factor": 0.5},
        "RandomZoom": {"height_factor": 0.5},
        "RandomColorJitter": {"brightness_factor": 0.5},
    }
    without_factor = {
        "AugMix",
        "CutMix",
        "MixUp",
        "RandAugment",
        "RandomGrayscale",
        "RandomInvert",
        "RandomPerspective",
    }
    without_factor |= {"RandomShear"}
    for name in sorted(AUGMENTATION & layer_names(keras3())):
        settings = needed.get(name, {} if name in without_factor else {"factor": 0.5})
        layer = getattr(keras3().layers, name)(**settings)
        given = {"images": images, "labels": np.eye(2, dtype="float32")} if name in ("CutMix", "MixUp") else images
        out = layer(given, training=False)
        np.testing.assert_array_equal(np.asarray(out["images"] if isinstance(out, dict) else out), images, err_msg=name)


@pytest.mark.parametrize("name", sorted(set(UNSUPPORTED) & {"RandomCrop", "Hashing", "HashedCrossing"}))
def test_an_unsupported_layer_is_refused_with_its_reason(name: str) -> None:
    from pipeline._tf import keras3

    keras = keras3()
    settings: dict[str, Any] = {"RandomCrop": {"height": 4, "width": 4}}.get(name, {"num_bins": 3})
    if name == "HashedCrossing":
        inputs = [keras.Input((1,), dtype="int32"), keras.Input((1,), dtype="int32")]
        model = keras.Model(inputs, keras.layers.HashedCrossing(**settings)(inputs))
    else:
        x = keras.Input((8, 8, 3), dtype="float32" if name == "RandomCrop" else "int32")
        model = keras.Model(x, getattr(keras.layers, name)(**settings)(x))
    with pytest.raises(ModelError, match=re.escape(UNSUPPORTED[name])):
        flatten(model)


def test_every_operation_is_described() -> None:
    assert set(OPERATIONS) == set(REPLAYS)


def test_the_page_of_layers_says_what_is_tested() -> None:
    from pipeline._tf import keras, keras3

    wanted = page(layer_names(keras3()) & layer_names(keras), layer_names(keras3()))
    begin, end = "<!-- intake -->\n", "<!-- /intake -->"
    text = DOCS.read_text("utf-8") if DOCS.exists() else f"# Layers\n\n{begin}{end}\n"
    before, rest = text.split(begin)
    written, after = rest.split(end)
    if os.environ.get("EDGESMITH_REGENERATE"):
        written = wanted
        DOCS.write_text(f"{before}{begin}{wanted}{end}{after}", "utf-8")
    assert written == wanted


def page(shared: set[str], of_keras3: set[str]) -> str:
    """The part of docs/layers.md that is about reading models."""
    refused = {name: why for name, why in UNSUPPORTED.items() if name in of_keras3}
    others = sorted(of_keras3 - shared - set(refused) - AUGMENTATION)
    return "\n".join(
        [
            "## What a model may be made of",
            "",
            "A Keras 3 model is replayed on tf_keras layers with the same weights. The first list is of those tested:",
            f"outputs of both agree to {TOLERANCE:g}, in as many ways of building it as the second column says.",
            "",
            "| layer | ways tested |",
            "|---|---|",
            *(f"| `{name}` | {len(cases)} |" for name, cases in sorted(LAYERS.items())),
            "",
            "| handled in a way of their own | |",
            "|---|---|",
            *(f"| `{name}` | {how} |" for name, how in sorted(SPECIAL.items())),
            f"| {', '.join(f'`{name}`' for name in sorted(AUGMENTATION))} | left out: they do nothing at inference |",
            "",
            "| refused | because |",
            "|---|---|",
            *(f"| `{name}` | {why} |" for name, why in sorted(refused.items())),
            f"| {', '.join(f'`{name}`' for name in others)} | tf_keras has no such layer |",
            "",
            "### Operations",
            "",
            "`x + y`, `keras.ops.mean(x)` and their like in the graph of a Keras 3 model become layers where a layer",
            "computes exactly the same; every other operation is refused by name. In a tf_keras model such operations",
            "are layers already (`TFOpLambda`, `SlicingOpLambda`): they stay as they are.",
            "",
            "| operation | becomes |",
            "|---|---|",
            *(f"| `{name}` | {becomes} |" for name, becomes in sorted(OPERATIONS.items())),
            "",
        ]
    )
