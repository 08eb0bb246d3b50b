"""The real interpreter of microcontrollers: its outputs, its arena, what it has kernels for, and what it survives."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edge_targets import Local, Recording, ToolMissing, UnusableModel, WrongInput, _tflm
from edge_targets._reference import golden_vectors
from edge_targets._tflm_arena import least_arena_bytes
from edge_targets._tflm_kernels import CUSTOM_KERNELS, KERNELS
from edge_targets._transport import Completed
from edge_targets.microcontroller import MicrocontrollerTarget
from edge_targets.tflite_graph import read_graph
from tests.edge_targets.one_operator import Operator, Tensor, model, one_operator, zeros

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "models"
# Real int8 models, none of them ours, and what the interpreter's arena takes of each.
REAL = {
    "arm_kws/cnn_s_quantized": 12_864,
    "arm_kws/ds_cnn_s_quantized": 24_608,
    "tflm/hello_world_int8": 1_504,
    "tflm/micro_speech_quantized": 7_584,
    "tflm/trained_lstm_int8": 4_208,
    "coral/keras_lstm_mnist_ptq": 4_480,
}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared models are not beside the project")
@pytest.mark.parametrize("name", REAL)
def test_real_models_give_exactly_what_the_plain_kernels_give(name: str) -> None:
    path = SHARED / f"{name}.tflite"
    parity = MicrocontrollerTarget().check(path, golden_vectors(path))
    assert (parity.kernels, parity.exact, parity.ok) == ("tflm", True, True)
    assert "against reference of tflite_runtime" in parity.why
    with Local() as transport:
        arena_bytes = _tflm.load(path, transport).arena_bytes
    # A release may lay its own structures out otherwise, by a little.
    assert arena_bytes == pytest.approx(REAL[name], rel=0.05)
    assert least_arena_bytes(read_graph(path)) <= arena_bytes


def test_ours_too_and_a_float_model(int8_model: Path, float_model: Path) -> None:
    target = MicrocontrollerTarget()
    exact = target.check(int8_model, golden_vectors(int8_model))
    assert (exact.exact, exact.allowed_steps, exact.examples) == (True, 0, 8)
    assert target.check(float_model, golden_vectors(float_model)).ok


def test_other_outputs_by_a_single_step_are_a_fault(int8_model: Path) -> None:
    golden = golden_vectors(int8_model)
    for each in golden.outputs:
        each.values[0, 0] += 1 if each.values[0, 0] < 127 else -1
    parity = MicrocontrollerTarget().check(int8_model, golden)
    assert not parity.ok
    assert "must agree to the bit" in parity.why


def test_many_examples_are_run_each_from_a_fresh_state() -> None:
    lstm = Path(__file__).parent / "data" / "tiny_lstm.tflite"
    examples = np.random.default_rng(0).standard_normal((3, 4, 3)).astype(np.float32)
    found = MicrocontrollerTarget().evaluate(lstm, [examples, examples[:0], examples[:1]])
    assert len(found) == 4
    assert (found[3] == found[0]).all()
    assert not (found[1] == found[0]).any()


def told(content: bytes) -> str:
    """What the interpreter says of a model on stderr, in this process: for files that are known not to crash it."""
    from tflite_micro.python.tflite_micro import runtime

    reading, writing = os.pipe()
    before = os.dup(2)
    os.dup2(writing, 2)
    try:
        runtime.Interpreter.from_bytes(content, arena_size=100_000)
    # The AttributeError is its Python's, over a variable without a name: the kernel is there.
    except (RuntimeError, AttributeError):
        pass
    finally:
        os.dup2(before, 2)
        os.close(writing)
        os.close(before)
    with os.fdopen(reading, "rb") as said:
        return said.read().decode()


def test_the_table_of_kernels_is_what_the_package_has() -> None:
    """It looks every operator up before it prepares any: the second here never has a kernel, so that it stops there."""
    last, found = "HASHTABLE_LOOKUP", set()
    for kind in (name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)):
        said = told(model(dict.fromkeys("abc", Tensor((1, 16))), [Operator(kind, "a", "b"), Operator(last, "b", "c")]))
        if f"opcode '{kind}'" not in said and f"op code {kind}" not in said:
            found.add(kind)
    assert found == KERNELS
    for code in (*CUSTOM_KERNELS, "NoSuchOperator"):
        tensors = dict.fromkeys("abc", Tensor((1, 16)))
        said = told(model(tensors, [Operator("CUSTOM", "a", "b", custom=code), Operator(last, "b", "c")]))
        assert (last in said) == (code in CUSTOM_KERNELS), code


# ---- what can go wrong ----


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_an_operator_without_a_kernel_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "m.tflite", one_operator("RELU_N1_TO_1", [Tensor((1, 4))], [Tensor((1, 4))]))
    with Local() as transport, pytest.raises(UnusableModel, match="RELU_N1_TO_1"):
        _tflm.load(path, transport)


def test_a_model_that_crashes_it_takes_only_the_child_along(crashing_model: Path) -> None:
    with Local() as transport, pytest.raises(UnusableModel):
        _tflm.load(crashing_model, transport)


def test_a_batch_and_wrong_examples_are_refused(tmp_path: Path, int8_model: Path) -> None:
    batch = write(tmp_path / "m.tflite", one_operator("RELU", [Tensor((4, 8))], [Tensor((4, 8))]))
    target = MicrocontrollerTarget()
    with pytest.raises(UnusableModel, match="has batch 4") as caught:
        target.evaluate(batch, [np.zeros((1, 8), np.int8)])
    assert caught.value.mend == "convert it with batch 1"
    with pytest.raises(WrongInput, match=r"takes int8 \(1, 8, 8, 1\)"):
        target.evaluate(int8_model, [np.zeros((1, 8, 8, 1), np.float32)])
    with pytest.raises(WrongInput, match="no examples"):
        target.evaluate(int8_model, [])
    two = write(tmp_path / "two.tflite", one_operator("ADD", [Tensor((1, 8)), Tensor((1, 8))], [Tensor((1, 8))]))
    with pytest.raises(WrongInput, match="has 2 inputs"):
        target.evaluate(two, [np.zeros((1, 8), np.int8)])


def test_tensors_beyond_all_memory_are_not_tried(tmp_path: Path) -> None:
    tensors = [Tensor((1, 2**30))], [Tensor((1, 2**30))]
    path = write(tmp_path / "m.tflite", one_operator("RELU", *tensors))
    with Local() as transport, pytest.raises(UnusableModel, match="2147 MB at the same time"):
        _tflm.load(path, transport)


def test_without_the_package_the_command_is_named_that_brings_it(int8_model: Path, tmp_path: Path) -> None:
    python = tmp_path / "python"
    lines = [
        f"#!{sys.executable}",
        "import runpy, sys",
        "sys.modules['tflite_micro'] = None",
        "runpy.run_path(sys.argv[2], run_name='__main__')",
    ]
    python.write_text("\n".join(lines))
    python.chmod(0o755)
    with Local() as transport, pytest.raises(ToolMissing, match="tflite-micro") as caught:
        _tflm.load(int8_model, transport, python=str(python))
    assert caught.value.mend == "pip install 'edgesmith[mcu]'"


@pytest.mark.parametrize(
    ("stdout", "stderr", "what"),
    [
        (b"garbage", b"", "no JSON"),
        (b"[1]", b"", "no JSON object"),
        (b'{"version": "1", "examples": 0}', b"", "arena's size once"),
        (b'{"version": "\\u001b[2J"}', b"Arena allocation total 12 bytes", "has no version"),
    ],
)
def test_an_answer_that_is_none_is_not_believed(stdout: bytes, stderr: bytes, what: str, int8_model: Path) -> None:
    with pytest.raises(Exception, match=re.escape(what)) as caught:
        _tflm.load(int8_model, Recording([Completed(0, stdout, stderr)]))
    assert str(caught.value).replace("\n", "").isprintable()


# ---- the least that an arena can be ----


def arena_of(tensors: Any, operators: list[Operator], tmp_path: Path) -> int:
    return least_arena_bytes(read_graph(write(tmp_path / "m.tflite", model(tensors, operators))))


def test_the_arena_holds_what_lives_at_the_same_time(tmp_path: Path) -> None:
    chain = [Operator("RELU", "a", "b"), Operator("RELU", "b", "c"), Operator("RELU", "c", "d")]
    assert arena_of(dict.fromkeys("abcd", Tensor((1, 160))), chain, tmp_path) == 320
    # The first stays until the last reads it.
    skip = [*chain[:2], Operator("ADD", ["a", "c"], ["d"])]
    assert arena_of(dict.fromkeys("abcd", Tensor((1, 160))), skip, tmp_path) == 480
    # An output is kept to the end, however early it was made.
    early = [Operator("RELU", "a", "b"), Operator("RELU", "a", "c"), Operator("RELU", "c", "d")]
    assert arena_of(dict.fromkeys("abcd", Tensor((1, 160))), early, tmp_path) == 480
    # Constants lie in flash, and every tensor takes whole blocks of 16.
    weighted = {"a": Tensor((1, 1)), "w": zeros(1, 1000), "b": Tensor((1, 1))}
    assert arena_of(weighted, [Operator("ADD", ["a", "w"], ["b"])], tmp_path) == 32
