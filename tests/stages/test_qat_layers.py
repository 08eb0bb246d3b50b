"""Quantization-aware training of every kind of layer: which way it goes, and that the bytes then agree with Keras.

docs/layers.md is made from the table, by EDGESMITH_REGENERATE=1.
"""

from __future__ import annotations

import importlib
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_targets.tflite_graph import Graph, Tensor, parse_graph, weight_tensors
from pipeline import convert, verify
from pipeline.artifact import FLOATS
from pipeline.dataset import ArraySplit, Dataset
from pipeline.draft import Draft
from pipeline.errors import ModelError
from pipeline.stages.prune import Prune
from pipeline.stages.qat import Qat
from pipeline.tasks.classification import Classification
from tests.stages.qat_table import CASES, LEFT, OUTPUT, SAME, TRAINED, Case, model_of
from tests.stages.tiny import apply

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

DOCS = Path(__file__).resolve().parents[2] / "docs" / "layers.md"
FIXED: dict[str, Any] = {"epochs": 1, "batch_size": 64, "optimizer": "sgd", "learning_rate": 1e-9}
"""Ranges are trained, weights hardly move: what comes out can be held against the model from before."""


def data_of(shape: tuple[int, ...], classes: int = 4) -> Dataset:
    """Random inputs."""
    rng = np.random.default_rng(0)
    part = ArraySplit(rng.normal(size=(64, *shape)).astype(np.float32), np.arange(64) % classes)
    return Dataset(
        task=Classification(),
        train=part,
        validation=part,
        test=part,
        input_shape=shape,
        num_outputs=classes,
        class_names=(),
        fingerprint="print",
        origin="made up",
    )


def run(model: bytes, x: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """What the interpreter gives, as real numbers, and the size of a step of its output."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    [given], [got] = interpreter.get_input_details(), interpreter.get_output_details()
    (scale, zero), (step, zero_out) = given["quantization"], got["quantization"]
    outputs = []
    for q in np.clip(np.rint(x / scale) + zero, -128, 127).astype(np.int8):
        interpreter.set_tensor(given["index"], q[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(got["index"]))
    return (np.concatenate(outputs).astype(np.float32) - zero_out) * np.float32(step), step


def float_tensors(model: bytes) -> list[str]:
    return [one.name for graph in parse_graph(model).subgraphs() for one in graph.tensors if one.dtype in FLOATS]


@pytest.mark.parametrize("name", CASES)
def test_every_layer_goes_its_way_and_the_bytes_agree_with_keras(name: str) -> None:
    case = CASES[name]
    data = data_of(case.input_shape)
    model = model_of(case)
    draft = Draft.of(model)
    x = data.calibration(64, 0)
    floats = np.asarray(model(x))
    aware = Draft.from_files(apply(Qat(**FIXED), draft, data).to_files())
    assert ways(aware) == {"before": TRAINED, **case.ways, "flatten": SAME, "after": TRAINED}
    quantized = convert.to_int8(aware, x)
    assert bool(float_tensors(quantized)) == bool(case.floats), float_tensors(quantized)
    found, step = run(quantized, x)
    assert np.ptp(floats) > 100 * step  # else agreement would mean little
    assert np.abs(found - np.asarray(aware.restore()(x))).max() <= case.steps * step
    assert np.abs(found - floats).max() <= (case.steps + 2) * step


def ways(draft: Draft) -> dict[str, str]:
    """The way of each layer, as the step's notes tell it."""
    return {layer: way for way, layers in draft.steps[-1].notes.items() for layer in layers}


def test_what_is_left_to_calibration_says_why() -> None:
    case = CASES["MultiHeadAttention"]
    notes = apply(Qat(**FIXED), Draft.of(model_of(case)), data_of(case.input_shape)).steps[-1].notes
    assert notes["post_training"] == {"MultiHeadAttention": "there is no quantize config for MultiHeadAttention"}
    assert set(notes) == {TRAINED, OUTPUT, SAME, LEFT}


def test_trained_ranges_stay_and_only_missing_ones_are_measured() -> None:
    case = CASES["LSTM"]
    data = data_of(case.input_shape)
    aware = apply(Qat(**FIXED), Draft.of(model_of(case)), data)
    x = data.calibration(64, 0)
    small, large = (parse_graph(convert.to_int8(aware, factor * x)).subgraphs()[0] for factor in (1, 3))
    # Larger calibration data does not move what was trained: the input, the first layer and the last.
    trained = [graph.inputs[0] for graph in (small, large)], [graph.outputs[0] for graph in (small, large)]
    for one, other in trained:
        assert small.tensors[one].scales == large.tensors[other].scales
    assert scales_of(small, "LOGISTIC") == scales_of(large, "LOGISTIC")
    assert scales_of(small, "MUL") != scales_of(large, "MUL")


def scales_of(graph: Graph, kind: str) -> list[tuple[float, ...]]:
    outputs: list[Tensor] = [graph.tensors[one.outputs[0]] for one in graph.operators if one.kind == kind]
    return [tensor.scales for tensor in outputs]


def test_ranges_start_at_what_the_data_shows() -> None:
    # TFMOT alone would end a short run with ±6, whatever the values are.
    case = Case(CASES["Rescaling"].body, {}, steps=6)
    data = data_of(case.input_shape)
    model = model_of(case)
    model.get_layer("after").set_weights([100 * weight for weight in model.get_layer("after").get_weights()])
    x = data.calibration(64, 0)
    [output] = [
        graph.tensors[graph.outputs[0]]
        for graph in parse_graph(convert.to_int8(apply(Qat(**FIXED), Draft.of(model), data), x)).subgraphs()
    ]
    assert 256 * output.scales[0] == pytest.approx(np.ptp(np.asarray(model(x))), rel=0.05)


def test_the_bytes_hold_the_very_weights_that_training_rounded_to() -> None:
    from pipeline._tf import keras

    layers = keras.layers
    stack = [
        layers.Input((6, 6, 3)),
        layers.Conv2DTranspose(5, 3, name="transposed"),
        layers.SeparableConv2D(4, 3, depth_multiplier=2, name="separable"),
        layers.GlobalAveragePooling2D(name="average"),
    ]
    model = keras.Sequential(stack)
    # Channels of very different size: on a grid along another axis they would come out otherwise.
    for weight in model.trainable_weights:
        if weight.shape.rank > 1:
            weight.assign(weight * np.exp(np.random.default_rng(0).normal(0, 2, weight.shape)))
    data = data_of((6, 6, 3))
    aware = apply(Qat(**FIXED), Draft.of(model), data)
    rounded = [
        quantizer(kernel, False, weights=ranges).numpy()
        for layer in aware.restore().layers
        for kernel, quantizer, ranges in getattr(layer, "_weight_vars", ())
    ]
    stored = [
        (tensor.values() - np.asarray(tensor.zero_points[0])) * scales_along(tensor)
        for _, tensor in weight_tensors(parse_graph(convert.to_int8(aware, data.calibration(8, 0))))
    ]
    for one, other in zip(sorted(rounded, key=np.size), sorted(stored, key=np.size), strict=True):
        assert np.sort(one.ravel()) == pytest.approx(np.sort(other.ravel()), rel=1e-4, abs=1e-7)


def scales_along(tensor: Tensor) -> NDArray[np.float64]:
    """The scales of a tensor in a shape that broadcasts over it."""
    shape = [1] * len(tensor.shape)
    shape[tensor.quantized_dimension] = -1
    return np.asarray(tensor.scales).reshape(shape)


def test_a_first_layer_of_several_operators_makes_no_detour_through_float() -> None:
    from pipeline._tf import keras

    layers = keras.layers
    model = keras.Sequential([layers.Input((6,)), layers.Rescaling(2.0, 0.5, name="rescaled"), layers.Dense(4)])
    data = data_of((6,))
    assert not float_tensors(convert.to_int8(apply(Qat(**FIXED), Draft.of(model), data), data.calibration(64, 0)))


def test_zeros_of_separable_and_transposed_convolutions_stay() -> None:
    def body(x: Any, layers: Any) -> Any:
        y = layers.Conv2DTranspose(8, 3, padding="same", name="transposed")(x)
        x = layers.SeparableConv2D(8, 3, padding="same", name="separable")(x)
        # TFMOT takes the ranges from layers that feed a concatenation, after their configs are made.
        return layers.Concatenate(name="joined")([x, y])

    case = Case(body, {}, (8, 8, 3))
    data = data_of(case.input_shape)
    pruned = apply(Prune(epochs=1, sparsity=0.7), Draft.of(model_of(case)), data)
    aware = apply(Qat(epochs=2, batch_size=16, learning_rate=0.01), pruned, data)
    kept = [weight.numpy() for weight in aware.restore().trainable_weights if weight.shape.rank > 1]
    for before, after in zip([w for w in pruned.weights if w.ndim > 1], kept, strict=True):
        assert (after[before == 0] == 0).all()
        assert (after != before).any()
    bytes_now = convert.to_int8(aware, data.calibration(8, 0))
    assert verify.sparsity(verify.layer_table(bytes_now)) >= pruned.steps[-1].promises["min_sparsity"] - 0.01


@pytest.mark.parametrize(
    ("name", "shape", "classes", "options"),
    [
        ("autoencoder", (32,), 32, {"depth": 2}),
        ("kws_transformer", (12, 8), 4, {"layers": 1, "heads": 2, "dim": 16, "mlp_dim": 32}),
        ("mobilenet_v2", (32, 32, 3), 4, {"alpha": 0.35}),
        ("gru", (10, 6), 4, {"units": 8}),
    ],
)
def test_models_of_the_zoo_have_no_float_left(
    name: str, shape: tuple[int, ...], classes: int, options: dict[str, Any]
) -> None:
    from pipeline._tf import keras

    keras.backend.clear_session()
    draft = Draft.of(importlib.import_module(f"models.{name}").build(shape, classes, **options))
    data = data_of(shape, classes)
    aware = apply(Qat(**FIXED), draft, data)
    assert not float_tensors(convert.to_int8(aware, data.calibration(16, 0)))


def test_a_mask_is_refused_with_the_layer_s_name() -> None:
    from pipeline._tf import keras

    layers = keras.layers
    model = keras.Sequential([layers.Input((8, 4)), layers.Masking(name="skip_zeros"), layers.GRU(4), layers.Dense(4)])
    with pytest.raises(ModelError, match="'skip_zeros' hands a mask on"):
        apply(Qat(epochs=1), Draft.of(model), data_of((8, 4)))


def test_a_model_with_nothing_to_train_so_is_refused() -> None:
    from pipeline._tf import keras

    model = keras.Sequential([keras.layers.Input((8, 4)), keras.layers.LSTM(4, name="memory")])
    with pytest.raises(ModelError, match="memory: there is no quantize config for LSTM"):
        apply(Qat(epochs=1), Draft.of(model), data_of((8, 4)))


def test_the_page_of_layers_says_what_is_tested() -> None:
    begin, end = "<!-- qat -->\n", "<!-- /qat -->"
    text = DOCS.read_text("utf-8") if DOCS.exists() else "# Layers\n"
    if begin not in text:
        text += f"\n{begin}{end}\n"
    before, rest = text.split(begin)
    written, after = rest.split(end)
    if os.environ.get("EDGESMITH_REGENERATE"):
        written = page()
        DOCS.write_text(f"{before}{begin}{written}{end}{after}", "utf-8")
    assert written == page()


@cache
def page() -> str:
    """The part of docs/layers.md that is about quantization-aware training."""
    meanings = {
        TRAINED: "trained whole",
        OUTPUT: "range of the output trained; those inside measured",
        SAME: "has its input's range: nothing to train",
        LEFT: "measured on calibration data",
    }
    rows = sorted(
        {
            (layer, meanings[way], case.floats if layer == name else "")
            for name, case in CASES.items()
            for layer, way in case.ways.items()
            if layer[0].isupper()
        }
    )
    return "\n".join(
        [
            "## How layers go through the stage `qat`",
            "",
            "Layers whose ranges are not trained get them from the calibration data when the model is converted, while",
            "the others keep what was trained; the report names the way of each. A batch normalization right behind a",
            "Conv2D, DepthwiseConv2D or Dense is trained whole, together with it. A layer that is used more than once",
            "is measured. LSTM, GRU and SimpleRNN are measured and unrolled, so their windows must have a fixed length",
            "of at most 128 steps.",
            "",
            "`skip_layers` of the stage leaves more layers to the calibration data, by name or by a pattern such as",
            "`stage1_*`, and with each what TensorFlow Lite makes one operator of with it (batch normalization, ReLU).",
            "",
            "| layer | ranges | not int8 |",
            "|---|---|---|",
            *(f"| {_titled(layer)} | {way} | {floats} |" for layer, way, floats in rows),
            "",
        ]
    )


def _titled(layer: str) -> str:
    kind, _, variant = layer.partition(".")
    return f"`{kind}`" + (f", {variant}" if variant else "")
