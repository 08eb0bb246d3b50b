"""Layers kept in int16 amid int8: what the bytes hold, and what they compute, wherever integers run."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_targets import Target
from edge_targets.host import HostTarget
from edge_targets.microcontroller import MicrocontrollerTarget
from edge_targets.tflite_graph import Graph, parse_graph
from pipeline import convert
from pipeline._convert._kept import with_kept
from pipeline._keepable import Layers
from pipeline.artifact import FLOATS, TensorSpec, dequantize, quantize
from pipeline.draft import Draft
from pipeline.errors import ModelError

pytestmark = [pytest.mark.tf, pytest.mark.xdist_group("tf")]

X = np.random.default_rng(0).normal(size=(16, 8, 8, 3)).astype(np.float32)
LITERT = HostTarget(runtime="ai_edge_litert")


def drafted(build: Any, shape: tuple[int, ...]) -> Draft:
    from pipeline._tf import fix_seed, keras

    fix_seed(2)
    keras.backend.clear_session()
    inputs = keras.layers.Input(shape)
    return Draft.of(keras.Model(inputs, build(keras.layers, inputs)))


def branched(layers: Any, inputs: Any) -> Any:
    """What one layer makes is read by another and by a concatenation; operators without weights lie between."""
    first = layers.Conv2D(4, 3, activation="relu", name="first")(inputs)
    joined = layers.Concatenate(name="join")([first, layers.DepthwiseConv2D(3, padding="same", name="depth")(first)])
    pooled = layers.MaxPool2D(name="pool")(joined)
    return layers.Dense(4, activation="softmax", name="head")(layers.Flatten(name="flat")(pooled))


@pytest.fixture(scope="module")
def draft() -> Draft:
    return drafted(branched, X.shape[1:])


@pytest.fixture(scope="module")
def ranges(draft: Draft) -> bytes:
    return convert.calibrated(draft, X)


def kept_in_int16(ranges: bytes, names: Collection[str], *, halves: bool = True) -> bytes:
    quantizer = convert.Quantizer(ranges)
    kept = Layers(parse_graph(ranges), quantizer.without_int16()).tensors_of(names)
    return quantizer.model(kept, "int16", halves=halves)


def ran(model: bytes, x: NDArray[np.float32], folder: Path, target: Target = LITERT) -> NDArray[np.float32]:
    path = folder / "model.tflite"
    path.write_bytes(model)
    graph = parse_graph(model)
    first, last = (TensorSpec.of(graph.tensors[index]) for index in (graph.inputs[0], graph.outputs[0]))
    return dequantize(target.evaluate(path, [quantize(x, first)]), last)


def written(graph: Graph) -> dict[str, str]:
    """The type of what each operator that computes makes, by its layer and kind."""
    computing = (operator for operator in graph.operators if operator.kind != "QUANTIZE")
    return {f"{one.name} {one.kind}": graph.tensors[one.outputs[0]].dtype for one in computing}


def borders(graph: Graph) -> list[tuple[str, str]]:
    """The types that each QUANTIZE leads from and to, in the order of execution."""
    ends = ((one.inputs[0], one.outputs[0]) for one in graph.operators if one.kind == "QUANTIZE")
    return [(graph.tensors[before].dtype, graph.tensors[behind].dtype) for before, behind in ends]


@pytest.mark.parametrize("names", [{"first"}, {"depth"}, {"head"}, {"first", "depth", "head"}])
def test_integers_from_border_to_border_that_compute_what_keras_does(
    draft: Draft, ranges: bytes, names: set[str], tmp_path: Path
) -> None:
    model = kept_in_int16(ranges, names)
    graph = parse_graph(model)
    assert FLOATS.isdisjoint(tensor.dtype for tensor in graph.tensors)
    assert [graph.tensors[index].dtype for index in (*graph.inputs, *graph.outputs)] == ["int8", "int8"]
    found = ran(model, X, tmp_path)
    assert np.abs(found - draft.restore()(X).numpy()).max() < 0.02
    # What TensorFlow Lite Micro makes of it may lie one step of the output beside it, as with int8.
    micro = ran(model, X[:4], tmp_path, MicrocontrollerTarget(accelerator="none"))
    assert np.abs(micro - found[:4]).max() <= 1.001 * graph.tensors[graph.outputs[0]].scales[0]


def test_a_tensor_is_int16_between_layers_that_are_kept_and_int8_to_others(ranges: bytes) -> None:
    graph = parse_graph(kept_in_int16(ranges, {"first", "depth"}))
    types = written(graph)
    riders = {name: types[name] for name in ("join CONCATENATION", "pool MAX_POOL_2D", "flat RESHAPE")}
    assert {types["first CONV_2D"], types["depth DEPTHWISE_CONV_2D"], *riders.values()} == {"int16"}
    assert types["head FULLY_CONNECTED"] == "int8"
    # Into the first layer and out of the last; between them only to the one scale that a concatenation takes.
    assert borders(graph) == [("int8", "int16"), ("int16", "int16"), ("int16", "int8")]
    alone = written(parse_graph(kept_in_int16(ranges, {"depth"})))
    assert [kind for kind, dtype in alone.items() if dtype == "int16"] == ["depth DEPTHWISE_CONV_2D"]


def test_small_weights_beside_large_ones_survive_in_two_halves() -> None:
    # Half of the inputs are a thousand times larger, and their weights as much smaller: both count alike.
    large = np.arange(8) % 2 == 1
    spread = np.where(large, 1000, 1).astype(np.float32)
    model = drafted(lambda layers, inputs: layers.Dense(3, name="dense")(inputs), (8,)).restore()
    kernel = np.random.default_rng(1).normal(size=(8, 3)).astype(np.float32) / spread[:, None]
    model.get_layer("dense").set_weights([kernel, np.zeros(3, np.float32)])
    x = np.random.default_rng(2).normal(size=(16, 8)).astype(np.float32) * spread
    ranges = convert.calibrated(Draft.of(model), x)
    plain, both = (parse_graph(kept_in_int16(ranges, {"dense"}, halves=halves)) for halves in (False, True))
    [coarse], [finer] = ([t for t in one.tensors if t.dtype == "int8" and t.data is not None] for one in (plain, both))
    upper, lower = np.split(finer.values().astype(np.float64), 2, axis=1)
    assert (upper == coarse.values()).all()

    def lost(weights: NDArray[np.float64]) -> float:
        """The largest error of the small weights, as a share of the largest of them."""
        errors = weights * np.asarray(coarse.scales)[:, None] - kernel.T
        return float(np.abs(errors[:, large]).max() / np.abs(kernel[large]).max())

    assert lost(upper) > 0.9
    assert lost(upper + lower / 256) < 0.05
    assert [operator.kind for operator in both.operators[1:4]] == ["MUL", "CONCATENATION", "FULLY_CONNECTED"]


def test_layers_and_channels_that_are_all_zero_are_kept_like_others(tmp_path: Path) -> None:
    draft = drafted(lambda layers, x: layers.Dense(3, name="head")(layers.Dense(4, "relu", name="dead")(x)), (6,))
    model = draft.restore()
    model.get_layer("dead").set_weights([np.zeros((6, 4), np.float32), np.full(4, -1, np.float32)])
    kernel, _ = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([kernel * [1, 0, 1], np.array([0.5, 0, -0.5])])
    x = np.random.default_rng(5).normal(size=(8, 6)).astype(np.float32)
    ranges, wanted = convert.calibrated(Draft.of(model), x), model(x).numpy()
    for made in (kept_in_int16(ranges, {"dead", "head"}), convert.quantized(ranges, precision="int16x8")):
        assert np.abs(ran(made, x, tmp_path) - wanted).max() < 0.01


def test_a_recurrent_layer_is_kept_with_all_its_steps_and_each_adds_its_own_bias(tmp_path: Path) -> None:
    draft = drafted(lambda layers, x: layers.Dense(3, name="head")(layers.GRU(4, name="steps")(x)), (6, 5))
    model, rng = draft.restore(), np.random.default_rng(3)
    kernel, recurrent, bias = model.get_layer("steps").get_weights()
    bias = rng.normal(size=bias.shape)
    bias[:, :4] = 1  # of the update gate: the state grows slowly, and its range from step to step
    model.get_layer("steps").set_weights([kernel, recurrent, bias])
    x = rng.normal(size=(16, 6, 5)).astype(np.float32)
    ranges = convert.calibrated(Draft.of(model), x)
    names = Layers(parse_graph(ranges)).names
    kept, wanted = kept_in_int16(ranges, names), model(x).numpy()
    # Moving the input's steps apart is all that stays in int8: it comes before what has weights.
    assert {name for name, dtype in written(parse_graph(kept)).items() if dtype != "int16"} == {
        "steps/transpose RESHAPE",
        "steps/unstack UNPACK",
    }
    in_float = convert.quantized(ranges, kept=Layers(parse_graph(ranges)).tensors_of(names))
    whole = convert.quantized(ranges, precision="int16x8")
    distances = [float(np.abs(ran(made, x, tmp_path) - wanted).max()) for made in (whole, kept, in_float)]
    # TensorFlow scales a bias that the steps share for the first of them: by that alone it is 0.14 off.
    assert distances[0] < 0.01
    assert distances[1] < distances[2] + 0.01
    assert distances[2] < 0.05


def test_a_kind_of_operators_is_declared_once_however_often_layers_border_on_each_other() -> None:
    from tensorflow.lite.tools import flatbuffer_utils

    draft = drafted(lambda layers, x: layers.GRU(4, name="steps")(x), (4, 3))
    ranges = convert.calibrated(draft, np.random.default_rng(4).normal(size=(8, 4, 3)).astype(np.float32))
    model = kept_in_int16(ranges, Layers(parse_graph(ranges)).names)
    codes = flatbuffer_utils.convert_bytearray_to_object(model).operatorCodes
    assert len({(code.builtinCode, code.version) for code in codes}) == len(codes)


def test_operators_of_several_outputs_and_transposed_convolutions_are_kept_in_float_as_well(tmp_path: Path) -> None:
    def build(layers: Any, inputs: Any) -> Any:
        return layers.Conv2D(2, 1, name="out")(layers.Conv2DTranspose(4, 3, name="up")(inputs))

    draft = drafted(build, X.shape[1:])
    ranges = convert.calibrated(draft, X)
    model = convert.quantized(ranges, kept=Layers(parse_graph(ranges)).tensors_of({"up"}))
    types = written(parse_graph(model))
    assert (types["up TRANSPOSE_CONV"], types["out CONV_2D"]) == ("float32", "int8")
    assert np.abs(ran(model, X, tmp_path) - draft.restore()(X).numpy()).max() < 0.05


def test_an_operator_without_int16_stays_in_int8_and_is_named(tmp_path: Path) -> None:
    def build(layers: Any, inputs: Any) -> Any:
        x = layers.PReLU(shared_axes=[1, 2], name="slope")(layers.Conv2D(4, 3, name="first")(inputs))
        return layers.Dense(3, name="head")(layers.GlobalAveragePooling2D()(x))

    draft = drafted(build, X.shape[1:])
    ranges = convert.calibrated(draft, X)
    unable = convert.Quantizer(ranges).without_int16()
    layers = Layers(parse_graph(ranges), unable)
    assert list(layers.unable()) == ["PRELU of 'slope' has no int16 kernel to rely on, and stays in int8"]
    assert layers.names == ("first", "head")
    model = kept_in_int16(ranges, {"first"})
    types = written(parse_graph(model))
    assert (types["first CONV_2D"], types["slope PRELU"]) == ("int16", "int8")
    assert np.abs(ran(model, X, tmp_path) - draft.restore()(X).numpy()).max() < 0.05
    with pytest.raises(ModelError, match="PRELU of 'slope'"):
        convert.quantized(ranges, kept=unable, kept_in="int16")


def test_a_model_that_was_rewritten_on_its_way_to_integers_keeps_nothing(ranges: bytes) -> None:
    other = drafted(lambda layers, inputs: layers.Conv2D(4, 3, name="first")(inputs), X.shape[1:])
    int8 = convert.quantized(convert.calibrated(other, X))
    with pytest.raises(ModelError, match="rewrote the operators"):
        with_kept(int8, ranges, {"any"})
