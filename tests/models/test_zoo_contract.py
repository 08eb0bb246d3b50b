"""What every model of the zoo keeps to, and its whole way to int8."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import plugins
from pipeline.convert import to_int8
from pipeline.draft import Draft

pytestmark = pytest.mark.tf

DrawWeights = Callable[[Any], list[NDArray[Any]]]

NAMES = plugins.names("models")

# A small form of each model: input shape, classes, options; and the operators that its int8 form is made of.
SMALL: dict[str, tuple[tuple[int, ...], int, dict[str, Any], str]] = {
    "autoencoder": ((64,), 64, {}, "FULLY_CONNECTED"),
    "cnn1d": ((50, 6), 7, {}, "RESHAPE CONV_2D MEAN FULLY_CONNECTED"),
    "ds_cnn": ((25, 10), 12, {}, "RESHAPE CONV_2D DEPTHWISE_CONV_2D MEAN FULLY_CONNECTED"),
    "efficientnet_lite0": ((32, 32, 3), 5, {}, "CONV_2D DEPTHWISE_CONV_2D ADD MEAN FULLY_CONNECTED"),
    "gru": (
        (12, 6),
        7,
        {"units": 16, "layers": 2, "dropout": 0.1},
        "ADD FULLY_CONNECTED LOGISTIC MUL PACK RESHAPE SPLIT SPLIT_V SUB TANH UNPACK",
    ),
    "kws_transformer": (
        (25, 10),
        12,
        {"layers": 2, "heads": 2, "dim": 16, "mlp_dim": 64},
        "ADD BATCH_MATMUL FULLY_CONNECTED GELU MEAN MUL PAD RESHAPE RSQRT SOFTMAX SQUARED_DIFFERENCE STRIDED_SLICE SUB"
        " TRANSPOSE",
    ),
    "lenet5": ((28, 28, 1), 10, {}, "CONV_2D TANH AVERAGE_POOL_2D RESHAPE FULLY_CONNECTED"),
    "mobilenet_v1": ((32, 32, 3), 5, {"alpha": 0.25}, "CONV_2D DEPTHWISE_CONV_2D MEAN FULLY_CONNECTED"),
    "mobilenet_v2": ((32, 32, 3), 5, {"alpha": 0.35}, "CONV_2D DEPTHWISE_CONV_2D ADD MEAN FULLY_CONNECTED"),
    "resnet8": ((32, 32, 3), 10, {}, "CONV_2D ADD MEAN FULLY_CONNECTED"),
    "squeezenet": ((32, 32, 3), 5, {}, "CONV_2D MAX_POOL_2D CONCATENATION MEAN"),
}


def test_every_model_has_a_small_form_here() -> None:
    assert sorted(SMALL) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_signature_is_shape_classes_and_options_that_a_recipe_can_write(name: str) -> None:
    build = importlib.import_module(f"models.{name}").build
    shape, classes, *options = inspect.signature(build).parameters.values()
    hints = get_type_hints(build)

    assert (shape.name, classes.name) == ("input_shape", "num_classes")
    for option in options:
        hint = hints[option.name]
        assert option.kind is option.KEYWORD_ONLY
        assert option.default is not option.empty
        assert hint in (int, float, bool) or (get_origin(hint) is not None and option.default in get_args(hint))


@pytest.mark.parametrize("name", NAMES)
def test_docstring_names_the_paper_the_shapes_and_the_parameters(name: str) -> None:
    module = importlib.import_module(f"models.{name}")
    text = inspect.getdoc(module.build) or ""

    assert plugins.summary(module).endswith(".")
    assert all(word in text for word in ("input_shape: ", "num_classes:", "Returns:", "parameters"))
    assert "arXiv" in text or "et al." in text
    assert all(f"{option}:" in text for option in list(inspect.signature(module.build).parameters)[2:])


@pytest.mark.parametrize("name", NAMES)
def test_layers_are_named_by_hand(name: str) -> None:
    # Keras numbers the names that it makes up itself, so that a second model's would differ.
    first, second = _small(name), _small(name)
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]


@pytest.mark.parametrize("name", NAMES)
def test_goes_to_int8_and_still_says_what_the_float_model_says(name: str, draw_weights: DrawWeights) -> None:
    model = _small(name)
    model.set_weights(draw_weights(model))
    examples = _examples(model, count=48)
    quantized = to_int8(Draft.of(model), examples[:32])
    operators, dtypes = _anatomy(quantized)
    expected = model.predict(examples[32:], verbose=0)
    outputs = _run(quantized, examples[32:])

    assert operators == set(SMALL[name][3].split())
    assert dtypes <= {"int8", "int32"}
    assert outputs.shape == expected.shape
    # The MobileNets, deep and of random weights, have the least: 0.92. Outputs with nothing in common have about 0.
    assert _likeness(outputs, expected) > 0.8


def test_gru_starts_with_biases_that_keep_its_first_step_whole() -> None:
    # From biases of zero the converter drops the first step's reset gate, and then now and then, even for one and the
    # same model, leaves that step's SPLIT in float; too seldom to wait for here.
    model = importlib.import_module("models.gru").build((8, 6), 7, layers=2)
    for name in ("gru1", "gru2"):
        assert model.get_layer(name).get_weights()[2].all()


def _small(name: str) -> Any:
    input_shape, num_classes, options, _ = SMALL[name]
    return importlib.import_module(f"models.{name}").build(input_shape, num_classes, **options)


def _examples(model: Any, count: int) -> NDArray[np.float32]:
    """Noise around a level of each example's own, so that examples differ in more than their noise."""
    rng = np.random.default_rng(3)
    shape = model.input_shape[1:]
    levels = rng.normal(size=(count, *(1 for _ in shape[:-1]), shape[-1]))
    return (levels + rng.normal(0, 0.3, size=(count, *shape))).astype(np.float32)


def _anatomy(quantized: bytes) -> tuple[set[str], set[str]]:
    """The operators of a `.tflite`, and the types of its tensors."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = Interpreter(
        model_content=quantized, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    operators = {operator["op_name"] for operator in plain._get_ops_details()}
    return operators, {np.dtype(tensor["dtype"]).name for tensor in plain.get_tensor_details()}


def _run(quantized: bytes, examples: NDArray[np.float32]) -> NDArray[np.float32]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=quantized)
    interpreter.allocate_tensors()
    [given], [got] = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for example in examples:
        interpreter.set_tensor(given["index"], _quantized(example[None], *given["quantization"]))
        interpreter.invoke()
        scale, zero_point = got["quantization"]
        outputs.append((interpreter.get_tensor(got["index"]).astype(np.float32) - zero_point) * np.float32(scale))
    return np.concatenate(outputs)


def _quantized(values: NDArray[np.float32], scale: float, zero_point: int) -> NDArray[np.int8]:
    steps: NDArray[np.float32] = np.round(values / scale) + zero_point
    return steps.clip(-128, 127).astype(np.int8)


def _likeness(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Cosine of the angle between two sets of outputs, after what all examples have in common is taken away."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))
