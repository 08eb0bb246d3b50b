"""The Edge TPU's compiler, by a stand-in that prints its real words: what it says is held against what it left."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from edge_targets import DeviceError, Local, TargetError, Timeout, ToolMissing, UnusableModel
from edge_targets._edgetpu_compiler import Compiled, compile_model
from edge_targets._edgetpu_log import RUNTIMES, read_compilation
from edge_targets._edgetpu_node import Status
from tests.edge_targets import edgetpu_stand_in as stand_in
from tests.edge_targets.edgetpu_stand_in import MAPPED
from tests.edge_targets.one_operator import Operator, Tensor, model

# RELU, ELU, RELU: one on the chip, two behind the first that it does not have.
PARTIAL = [("RELU", 1, MAPPED), ("RELU", 1, Status.ONE_SUBGRAPH), ("ELU", 1, Status.UNSUPPORTED)]
FULL = [("CONV_2D", 1, MAPPED), ("FULLY_CONNECTED", 1, MAPPED), ("RESHAPE", 1, MAPPED)]


@pytest.fixture
def partial_model(tmp_path: Path) -> Path:
    path = tmp_path / "partial.tflite"
    operators = [Operator("RELU", "a", "b"), Operator("ELU", "b", "c"), Operator("RELU", "c", "d")]
    path.write_bytes(model(dict.fromkeys("abcd", Tensor((1, 16))), operators))
    return path


def compile_with(model_path: Path, folder: Path, *args: Any, timeout_s: int = 10, **changes: Any) -> Compiled:
    program = stand_in.program(folder, *args, **changes)
    with Local() as transport:
        return compile_model(
            model_path, folder / "out.tflite", transport, program=program, timeout_s=timeout_s, grace_s=0
        )


def test_a_full_mapping(int8_model: Path, tmp_path: Path) -> None:
    file = stand_in.compiled(0)
    found = compile_with(int8_model, tmp_path, stand_in.success(FULL), stand_in.log(FULL), file)
    assert (found.kernels, found.differences) == ("edgetpu", ())
    told = found.compilation
    assert (told.version, told.runtime, told.seconds) == ("16.0.384591198", 14, 0.231)
    assert (told.on_edgetpu, told.on_cpu, told.subgraphs, told.operators) == (3, 0, 1, 3)
    assert (told.on_chip_bytes, told.on_chip_free_bytes, told.streamed_bytes) == (4414505, 8042578, 0)
    assert (told.input_bytes, told.output_bytes) == (3103, 3195)
    assert found.path.read_bytes() == file
    assert found.path.with_suffix(".log").read_text() == stand_in.log(FULL)
    options = (tmp_path / "argv").read_text().splitlines()
    assert options[:3] == ["--show_operations", "--timeout_sec", "10"]
    assert options[3].endswith("/model.tflite")


def test_a_partial_mapping_is_never_called_a_full_one(partial_model: Path, tmp_path: Path) -> None:
    found = compile_with(
        partial_model, tmp_path, stand_in.success(PARTIAL), stand_in.log(PARTIAL), stand_in.compiled(2)
    )
    assert (found.kernels, found.differences) == ("edgetpu+cpu", ())
    assert found.compilation.statuses() == {Status.ONE_SUBGRAPH: 1, Status.UNSUPPORTED: 1}


def test_where_the_compiler_did_something_else_than_predicted_is_told(partial_model: Path, tmp_path: Path) -> None:
    rows = [("RELU", 2, MAPPED), ("ELU", 1, MAPPED)]
    found = compile_with(partial_model, tmp_path, stand_in.success(rows), stand_in.log(rows), stand_in.compiled(0))
    assert found.differences == (
        "ELU: 1 on the Edge TPU, 0 were predicted",
        "RELU: 2 on the Edge TPU, 1 were predicted",
    )


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.MAPPED] + ["Some new word"])
def test_every_status_that_is_not_mapped_is_on_the_cpu(status: str, partial_model: Path, tmp_path: Path) -> None:
    rows = [("RELU", 2, MAPPED), ("ELU", 1, status)]
    found = compile_with(partial_model, tmp_path, stand_in.success(rows), stand_in.log(rows), stand_in.compiled(1))
    assert found.kernels == "edgetpu+cpu"
    assert found.compilation.statuses() == {status: 1}


def test_a_model_of_which_nothing_is_mapped_is_refused(partial_model: Path, tmp_path: Path) -> None:
    rows = [("RELU", 2, Status.ONE_SUBGRAPH), ("ELU", 1, Status.UNSUPPORTED)]
    with pytest.raises(UnusableModel, match="maps none of the model's 3 operators") as caught:
        compile_with(partial_model, tmp_path, stand_in.success(rows), stand_in.log(rows), stand_in.compiled(3, 0))
    assert str(Status.UNSUPPORTED) in str(caught.value)
    assert "PReLU" in caught.value.mend
    assert not (tmp_path / "out.tflite").exists()


@pytest.mark.parametrize(("release", "runtime"), RUNTIMES.items())
def test_known_versions_tell_their_runtime(release: str, runtime: int) -> None:
    version = f"{release}.384591198"
    found = read_compilation(stand_in.success(FULL, version), stand_in.log(FULL, version))
    assert found.runtime == runtime


# ---- a compiler that fails ----

HEAD = f"Edge TPU Compiler version {stand_in.VERSION}\n"
NO_OP = (
    "ERROR: Didn't find op for builtin opcode 'CONV_2D' version '6'. An older version of this builtin might be "
    "supported. Are you using an old TFLite binary with a newer model?\n\nERROR: Registration failed.\n\n"
    "Invalid model: model.tflite\nModel could not be parsed\n"
)


@pytest.mark.parametrize(
    ("said", "last", "what", "mend"),
    [
        ("Internal compiler error. Aborting!", "sys.exit(1)", r"Internal compiler error\. Aborting!", "--target coral"),
        ("", "os.kill(os.getpid(), signal.SIGSEGV)", r"ended by signal 11", "--target coral"),
        (NO_OP, "sys.exit(1)", "version '6'", "older TensorFlow"),
        (NO_OP, "", "version '6'", "older TensorFlow"),
        ("Compilation failed due to large activation tensors in model.", "sys.exit(1)", "large act", "smaller input"),
        ("Invalid model: model.tflite\nModel could not be parsed", "sys.exit(1)", "not be parsed", "convert the model"),
        ("Compilation failed!", "", "Compilation failed!", "--target coral"),
    ],
)
def test_a_compiler_that_gives_up(said: str, last: str, what: str, mend: str, int8_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UnusableModel, match=what) as caught:
        compile_with(int8_model, tmp_path, HEAD + said, last=last)
    assert mend in caught.value.mend


def test_a_compiler_that_hangs_is_ended(int8_model: Path, tmp_path: Path) -> None:
    with pytest.raises(Timeout, match="had not finished after 1 s"):
        compile_with(int8_model, tmp_path, HEAD, last="time.sleep(60)", timeout_s=1)


def test_a_missing_compiler_names_what_brings_it(int8_model: Path, tmp_path: Path) -> None:
    with Local() as transport, pytest.raises(ToolMissing, match="'no_such_compiler' is not here") as caught:
        compile_model(int8_model, tmp_path / "out.tflite", transport, program="no_such_compiler")
    assert "apt-get install edgetpu-compiler" in caught.value.mend


def test_a_version_whose_words_are_not_known_is_refused(int8_model: Path, tmp_path: Path) -> None:
    version = "17.3.1"
    said, log = stand_in.success(FULL, version), stand_in.log(FULL, version)
    with pytest.raises(ToolMissing, match=r"of version 17\.3\.1, whose words") as caught:
        compile_with(int8_model, tmp_path, said, log, stand_in.compiled(0))
    assert "16.0" in caught.value.expected


# ---- a compiler that says what cannot be ----

SAID, LOG, FILE = stand_in.success(FULL), stand_in.log(FULL), stand_in.compiled(0)
TWO = [("CONV_2D", 1, MAPPED), ("FULLY_CONNECTED", 1, MAPPED)]
LATER = [("CONV_2D", 1, MAPPED), ("FULLY_CONNECTED", 1, Status.LIMITED), ("RESHAPE", 1, MAPPED)]


@pytest.mark.parametrize(
    ("said", "log", "file", "what"),
    [
        ("hello\x1b[2J\n", LOG, FILE, "names no version"),
        (SAID, "hello", FILE, "has no table of operators"),
        (SAID, LOG + LOG, FILE, "or several"),
        (SAID, LOG + "CONV_2D many Mapped to Edge TPU\n", FILE, "a line of its table"),
        (SAID, stand_in.log(FULL, "15.0.340273435"), FILE, "of another version"),
        (SAID, stand_in.log(TWO), FILE, "2 operators, its output of 3"),
        (SAID.replace("subgraphs: 1", "subgraphs: 0"), LOG, FILE, "0 Edge TPU subgraphs and of 3"),
        (SAID.replace("4.21MiB", "lots"), LOG, FILE, "does not tell 'On-chip memory used"),
        (SAID.replace("operations: 3", "operations: " + "3" * 5000), LOG, FILE, "does not tell 'Total number"),
        # The log is what counts: an output that claims more is not believed.
        (SAID, stand_in.log(LATER), stand_in.compiled(1), "is not the one in its log"),
        (stand_in.success(LATER).replace("CPU: 1", "CPU: 0"), stand_in.log(LATER), FILE, "0 operators run on the CPU"),
        # So does the file.
        (SAID, LOG, stand_in.compiled(3, 0), "its file holds 0 and 3"),
        (SAID, LOG, stand_in.compiled(1), "its file holds 1 and 1"),
        (SAID, None, FILE, r"left no \.log file"),
        (SAID, LOG, None, r"left no \.tflite file"),
        (SAID, LOG + " " * 2**21, FILE, "its log has 2"),
    ],
)
def test_words_that_do_not_hold_together_are_refused(
    said: str, log: str | None, file: bytes | None, what: str, int8_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(DeviceError, match=what) as caught:
        compile_with(int8_model, tmp_path, said, log, file)
    assert str(caught.value).replace("\n", "").isprintable()
    assert not (tmp_path / "out.tflite").exists()


def test_a_log_of_another_model_is_refused(partial_model: Path, tmp_path: Path) -> None:
    rows = [("RELU", 4, MAPPED)]
    with pytest.raises(DeviceError, match="of 4 operators, and the model has 3"):
        compile_with(partial_model, tmp_path, stand_in.success(rows), stand_in.log(rows), FILE)


def test_a_compiled_file_that_is_none_is_refused(int8_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UnusableModel, match=r"model_edgetpu\.tflite is not a usable"):
        compile_with(int8_model, tmp_path, SAID, LOG, b"no model at all")


def test_damaged_words_end_in_a_message_or_in_the_same_counts() -> None:
    rng, refused = random.Random(0), 0
    for _ in range(500):
        said, log = (list(text) for text in (SAID, LOG))
        for text in (said, log):
            for _ in range(rng.randint(0, 3)):
                text[rng.randrange(len(text))] = rng.choice("0139 \n\x1b:.é")
        try:
            found = read_compilation("".join(said), "".join(log))
            assert found.operators == sum(row.count for row in found.rows)
        except TargetError:
            refused += 1
    assert refused > 100
