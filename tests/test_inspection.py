"""`inspect`: what a model file holds, as data and in a terminal; nothing of TensorFlow where a `.tflite` is read."""

from __future__ import annotations

import io
import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from edge_targets import TargetError, UnusableModel
from pipeline.errors import DataError, ModelError, UsageError
from pipeline.inspection import Options, inspect
from pipeline.progress import Progress
from pipeline.report import render_inspection

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "inspect.schema.json").read_text("utf-8"))
DATA = ROOT / "tests" / "edge_targets" / "data"
INT8, FLOAT32, LSTM = (DATA / f"tiny_{name}.tflite" for name in ("int8", "float32", "lstm"))


def inspected(model: Path | str, **options: Any) -> dict[str, Any]:
    """The document, held against the schema and against what JSON can hold."""
    document = inspect(str(model), Options(**options), Progress())
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(document, SCHEMA, cls=jsonschema.Draft202012Validator)
    json.dumps(document, allow_nan=False)
    return document


def drawn(document: dict[str, Any], **options: Any) -> str:
    stream = io.StringIO()
    render_inspection(document, Console(file=stream, width=80, **options))
    return "".join(line.rstrip() + "\n" for line in stream.getvalue().splitlines())


def test_operators_that_one_thing_mends_are_told_together() -> None:
    document = inspected(INT8)
    for row, why in zip(document["operators"], ("'a' is open", "'b' is open", "'b' is open"), strict=True):
        row |= {"runs_on": "cpu", "why": why, "remedy": "give every size"}
    document["target"] = {"name": "coral", "runs_on": {"cpu": 3}, "facts": {}, "notes": []}
    text = drawn(document)
    assert re.search(r"0  CONV_2D and 2 more  'a' is open; others for other reasons \(--json\)", text)
    assert text.count("give every size") == 1


def npz(folder: Path, **arrays: Any) -> Path:
    path = folder / "inputs.npz"
    np.savez(path, **arrays)
    return path


def test_an_int8_model_from_its_bytes() -> None:
    document = inspected(INT8)
    model = document["model"]
    assert (model["size_bytes"], model["macs"], model["weights"]) == (INT8.stat().st_size, 1728, 468)
    assert (model["float_tensors"], model["operators"]) == (0, 3)
    assert 0 < model["ota_bytes"] < model["size_bytes"]
    assert [tensor["dtype"] for tensor in (*model["inputs"], *model["outputs"])] == ["int8", "int8"]
    assert [row["kind"] for row in document["operators"]] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    assert [row["name"] for row in document["operators"]] == ["conv", "flatten", "logits"]
    assert {(row["runs_on"], row["why"], row["remedy"]) for row in document["operators"]} == {("cpu", "", "")}
    assert [row["macs_share"] for row in document["operators"]] == [0.75, 0, 0.25]
    conv = document["operators"][0]
    kernel = document["tensors"][conv["inputs"][1]]
    assert (kernel["scale"], kernel["scales"], kernel["quantized_dimension"]) == (None, 4, 0)
    assert (conv["weights"], conv["bits"], conv["sqnr_db"]) == (36, 8, None)


def test_a_float_model_and_a_recurrent_one() -> None:
    assert inspected(FLOAT32)["model"]["float_tensors"] > 0
    [lstm, _, _] = inspected(LSTM)["operators"]
    # Its eight kernels are one row.
    assert (lstm["weights"], lstm["macs"]) == (4 * 4 * (3 + 4), 4 * 4 * (3 + 4) * 4)


@pytest.mark.parametrize("name", ["int8", "float32", "lstm"])
def test_what_people_see_is_what_it_was(name: str, golden: Callable[[str, str], None]) -> None:
    document = inspected(DATA / f"tiny_{name}.tflite")
    # What travels is the codecs' affair, which learn.
    document["model"].update(path=f"tiny_{name}.tflite", ota_bytes=1234, ota_codec="xz")
    text = drawn(document)
    assert max(map(cell_len, text.splitlines())) <= 80
    golden(f"inspect_{name}.txt", text)


def test_endless_and_evil_names_fit_into_80_columns() -> None:
    document = inspected(INT8)
    for row in document["operators"]:
        row.update(name="\x1b[31m" + "stage1/" * 30, kind="DEPTHWISE_CONV_2D", weights=9_999_999, sparsity=1.0)
    document["model"]["inputs"][0]["name"] = "\x1b]0;owned\x07" * 20
    text = drawn(document)
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "\x1b" not in text
    assert text.count("9,999,999  100 %") == 3
    assert "\x1b[" in drawn(document, force_terminal=True, color_system="standard", no_color=False)


def test_with_data_each_layer_is_held_against_the_float_model(tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((16, 8, 8, 1), np.float32)
    document = inspected(INT8, data=npz(tmp_path, x=x), reference=FLOAT32)
    found = [row["sqnr_db"] for row in document["operators"]]
    assert found[1] is None
    assert all(25 < row < 60 for row in (found[0], found[2]))
    assert "SQNR" in drawn(document)
    # A model held against itself has no noise at all: infinite, which JSON writes as null.
    same = inspected(FLOAT32, data=npz(tmp_path, x=x), reference=FLOAT32)
    assert [row["sqnr_db"] for row in same["operators"]] == [None] * 3


def test_inputs_beyond_what_int8_has_for_them_are_told_of(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).random((8, 8, 8, 1), np.float32)
    told = [inspected(INT8, data=npz(tmp_path, x=scale * pixels), reference=FLOAT32)["advice"] for scale in (1, 3)]
    assert "the model's input" not in str(told[0])
    conv = next(one for one in told[1] if one["layer"] == "conv")
    assert re.match(r"the model's input reaches to .* … 3, and int8 covers .* … 1 alone", conv["reason"])
    assert conv["setting"] == "convert: {calibration_samples: 1000}"


def test_data_of_another_shape_is_an_error_and_not_silence(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="Each example is 5x5x1"):
        inspected(INT8, data=npz(tmp_path, x=np.zeros((2, 5, 5, 1))), reference=FLOAT32)
    with pytest.raises(UnusableModel, match=r"none\.tflite is not a usable"):
        inspected(INT8, data=npz(tmp_path, x=np.zeros((2, 8, 8, 1))), reference=tmp_path / "none.tflite")


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"a": np.zeros((2, 3)), "b": np.zeros(3)}, "has the arrays a, b"),
        ({"x": np.zeros(3)}, r"of shape \(3,\)"),
        ({"x": np.zeros((0, 8, 8, 1))}, r"of shape \(0, 8, 8, 1\)"),
        ({"x": np.array([{}, {}], dtype=object)}, "pickled objects"),
        ({"x": np.array([["a"], ["b"]])}, "<U1"),
    ],
)
def test_data_that_is_none_is_refused(arrays: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        inspected(INT8, data=npz(tmp_path, **arrays), reference=FLOAT32)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x,y\n1,2\n"])
def test_a_data_file_that_is_no_npz_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "inputs.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"inputs\.npz"):
        inspected(INT8, data=path, reference=FLOAT32)


def test_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes real inputs and the float model"):
        inspected(INT8, data=tmp_path / "x.npz")
    with pytest.raises(UsageError, match=r"are for a \.tflite"):
        inspected("model.keras", data=tmp_path / "x.npz", reference=FLOAT32)
    with pytest.raises(UsageError, match="There is no model file"):
        inspected(tmp_path / "none.tflite")


def test_no_damaged_file_gets_more_than_a_message_out_of_it(tmp_path: Path) -> None:
    whole, path, rng = INT8.read_bytes(), tmp_path / "damaged.tflite", random.Random(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 12)):
            damaged[rng.randrange(8, len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged[: rng.randint(1, len(damaged))] if rng.random() < 0.3 else damaged)
        try:
            drawn(inspected(path))
        except TargetError as error:
            refused += 1
            assert error.exit_code == 3
    assert refused > 20
    path.write_bytes(b"no model")
    with pytest.raises(UnusableModel, match=r"is not a usable \.tflite"):
        inspected(path)


def test_a_model_is_known_by_its_first_bytes_too(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(INT8.read_bytes())
    assert inspected(path)["model"]["format"] == "TensorFlow Lite"


def test_a_tflite_is_read_without_tensorflow_and_at_once(tmp_path: Path) -> None:
    large = tmp_path / "large.tflite"
    large.write_bytes(_four_megabytes())
    code = (
        "import sys; from pipeline.cli import main\n"
        f"sys.argv = ['edgesmith', 'inspect', {str(large)!r}]\n"
        "try:\n    main()\nfinally:\n"
        "    heavy = {'tensorflow', 'tf_keras', 'keras'} & {name.split('.')[0] for name in sys.modules}\n"
        "    print('HEAVY', sorted(heavy))\n"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    seconds = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    assert "HEAVY []" in done.stdout
    assert "not packed" in done.stdout
    # 0.6 s alone on a PC; the bound leaves room for tests beside it, but not for TensorFlow's import.
    assert seconds < 4


def _four_megabytes() -> bytes:
    """The tiny net with a kernel of 4 MB in the place of its last layer's."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    whole = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(INT8.read_bytes()), 0))
    graph = whole.subgraphs[0]
    kernel = graph.tensors[graph.operators[-1].inputs[1]]
    kernel.shape = [27_000, 144]
    values = np.random.default_rng(0).integers(-127, 128, 27_000 * 144)
    whole.buffers[kernel.buffer].data = values.astype(np.int8).view(np.uint8)
    kernel.quantization.scale, kernel.quantization.zeroPoint = kernel.quantization.scale[:1], [0]
    builder = flatbuffers.Builder(0)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.tf
def test_a_keras_model_is_taken_in_and_its_layers_told(tmp_path: Path) -> None:
    from pipeline._tf import keras

    layers = keras.layers
    inner = keras.Sequential([layers.InputLayer((8, 8, 3)), layers.Conv2D(4, 3, name="conv")], name="inner")
    inputs = layers.Input((8, 8, 3), name="image")
    x = layers.Flatten(name="flatten")(inner(inputs))
    keras.Model(inputs, layers.Dense(2, name="logits")(x)).save(tmp_path / "model.keras")
    document = inspected(tmp_path / "model.keras")
    model = document["model"]
    assert "keras" in model["format"].lower()
    assert model["inputs"][0]["shape"] == [None, 8, 8, 3]
    assert model["intake"]["largest_difference"] <= model["intake"]["tolerance"]
    macs = {row["name"]: row["macs"] for row in document["operators"] if row["macs"]}
    assert macs == {"conv": 3 * 3 * 3 * 4 * 36, "logits": 4 * 36 * 2}
    assert model["macs"] == sum(macs.values())
    assert (model["parameters"], model["weights"]) == (112 + 290, 108 + 288)
    assert max(map(cell_len, drawn(document).splitlines())) <= 80


@pytest.mark.tf
def test_a_keras_model_that_holds_code_is_refused_until_it_is_trusted(tmp_path: Path) -> None:
    from pipeline._tf import keras

    inputs = keras.Input((3,))
    x = keras.layers.Lambda(lambda t: t * 2.0, name="twice")(inputs)
    keras.Model(inputs, keras.layers.Dense(2)(x)).save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match="Lambda"):
        inspected(tmp_path / "model.keras")
    trusted = inspected(tmp_path / "model.keras", trust_code=True)
    assert [row["kind"] for row in trusted["operators"]] == ["InputLayer", "TFOpLambda", "Dense"]
