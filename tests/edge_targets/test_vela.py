"""Vela: the real one on a small model, and a stand-in that says what the real one would never say."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import pytest

from edge_targets import DeviceError, Local, TargetError, Timeout, ToolMissing, UnusableModel
from edge_targets._vela import Compiled, compile_model, version
from edge_targets._vela_csv import check_layers, read_summary
from tests.edge_targets import vela_stand_in as stand_in
from tests.edge_targets.one_operator import Operator, Tensor, model


@pytest.fixture
def relus(tmp_path: Path) -> Path:
    path = tmp_path / "relus.tflite"
    path.write_bytes(stand_in.relus())
    return path


def compile_with(source: Path, program: str, timeout_s: float = 30) -> Compiled:
    with Local() as transport, tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out.tflite")
        return compile_model(source, out, transport, "ethos-u55-128", program=program, timeout_s=timeout_s)


def test_the_real_one_compiles_and_its_tables_agree(int8_model: Path) -> None:
    found = compile_with(int8_model, "vela").estimate
    assert (found.accelerator, found.clock_hz, found.on_cpu) == ("ethos-u55-128", 5e8, 0)
    assert found.cycles > 500
    assert found.inference_us == pytest.approx(found.cycles / 500)
    assert found.sram_bytes > 0
    assert found.flash_bytes > 0


def test_names_of_tensors_do_not_break_its_tables(tmp_path: Path) -> None:
    path = tmp_path / "named.tflite"
    path.write_bytes(
        model(dict.fromkeys(('in,"1', "out\n2,x"), Tensor((1, 16))), [Operator("RELU", ['in,"1'], ["out\n2,x"])])
    )
    assert compile_with(path, "vela").estimate.on_npu == 1


def test_what_it_says_is_read(relus: Path, tmp_path: Path) -> None:
    found = compile_with(relus, stand_in.program(tmp_path)).estimate
    assert (found.cycles, found.inference_us, found.inferences_per_s) == (1500, 3, 333333.3333333333)
    assert (found.sram_bytes, found.flash_bytes, found.dram_bytes) == (22208, 31744, 0)
    assert (found.on_npu, found.on_cpu, found.system) == (2, 0, "Ethos_U55_High_End_Embedded")
    options = (tmp_path / "argv").read_text().splitlines()
    assert options[1:3] == ["--accelerator-config=ethos-u55-128", "--config=Arm/vela.ini"]


def test_what_stays_on_the_processor_is_told_by_the_file_and_why_by_its_words(relus: Path, tmp_path: Path) -> None:
    said = "Warning (supported operators) operator: RELU, ofm: 'c'\nReason: too\x1b[2J wide\n"
    found = compile_with(relus, stand_in.program(tmp_path, said, file=stand_in.compiled(1)))
    assert (found.on_cpu, found.estimate.cpu_kinds) == (frozenset({1}), ("RELU",))
    assert found.reasons == {"c": "Vela: too�[2J wide"}


@pytest.mark.parametrize(
    ("last", "what"),
    [
        ("print('RuntimeError: no networks', file=sys.stderr); sys.exit(1)", r"exit code 1.*no networks"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "signal 11"),
    ],
)
def test_a_compiler_that_gives_up(last: str, what: str, relus: Path, tmp_path: Path) -> None:
    with pytest.raises(UnusableModel, match=what):
        compile_with(relus, stand_in.program(tmp_path, last=last))


def test_a_compiler_that_hangs_is_ended(relus: Path, tmp_path: Path) -> None:
    with pytest.raises(Timeout, match="had not finished after 1 s"):
        compile_with(relus, stand_in.program(tmp_path, last="time.sleep(60)"), timeout_s=1)


def test_a_missing_compiler_names_what_brings_it(relus: Path) -> None:
    with pytest.raises(ToolMissing, match="'no_such_vela'") as caught:
        compile_with(relus, "no_such_vela")
    assert caught.value.mend == "pip install 'edgesmith[mcu]'"


def test_its_version_is_one_or_it_is_not_believed(tmp_path: Path) -> None:
    liar = tmp_path / "liar"
    liar.write_text("#!/bin/sh\necho '5.2.0\x1b[2J'\n")
    liar.chmod(0o755)
    with Local() as transport:
        assert version(transport, stand_in.program(tmp_path)) == "5.2.0"
        with pytest.raises(DeviceError, match="no version"):
            version(transport, str(liar))


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"table": None}, f"left no {stand_in.SUMMARY_NAME}"),
        ({"layers": None}, r"left no model_per-layer\.csv"),
        ({"file": None}, r"left no model_vela\.tflite"),
        ({"file": b"garbage"}, r"is no \.tflite"),
        ({"table": "garbage"}, "summary is empty"),
        ({"table": 'a,b\n"1,2\n'}, "no CSV"),
        ({"table": stand_in.summary() + "1,2\n"}, "lines of several lengths"),
        ({"table": stand_in.summary() + stand_in.summary().splitlines()[1]}, "has 2 lines"),
        ({"table": stand_in.summary(accelerator_configuration="Ethos_U55_64")}, "tells of ethos-u55-64"),
        ({"table": stand_in.summary(core_clock="0")}, "at 0 Hz"),
        ({"table": stand_in.summary(cycles_total="nan")}, "'cycles_total' is nan"),
        ({"table": stand_in.summary(cycles_total="1500.5")}, "no whole number"),
        ({"table": stand_in.summary(cycles_total="3000")}, "are not 3e-06 s"),
        ({"table": stand_in.summary(inferences_per_second="1")}, "do not take"),
        ({"table": stand_in.summary(sram_memory_used="-1")}, "'sram_memory_used' is -1"),
        ({"table": stand_in.summary(system_config="\x1b[2J")}, "no 'system_config'"),
        ({"layers": stand_in.LAYERS.replace("500", "501")}, "1501 cycles together"),
        ({"layers": stand_in.LAYERS.replace("NPU", "GPU")}, "neither NPU nor CPU"),
        # The file is what counts: cycles for a model that stays on the processor are none.
        ({"file": stand_in.compiled(2)}, "1500 cycles are told for 0 operators"),
    ],
)
def test_words_that_do_not_hold_together_are_refused(
    changed: dict[str, Any], what: str, relus: Path, tmp_path: Path
) -> None:
    with pytest.raises(DeviceError, match=what) as caught:
        compile_with(relus, stand_in.program(tmp_path, **changed))
    assert str(caught.value).replace("\n", "").isprintable()


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.tflite"
    path.write_bytes(stand_in.relus(1))
    with pytest.raises(DeviceError, match="1 operators that the model does not have"):
        compile_with(path, stand_in.program(tmp_path, file=stand_in.compiled(1)))


def test_damaged_tables_end_in_a_message_or_in_the_same_figures() -> None:
    rng, refused = random.Random(0), 0
    for _ in range(500):
        table, layers = (list(text) for text in (stand_in.summary(), stand_in.LAYERS))
        for text in (table, layers):
            for _ in range(rng.randint(0, 3)):
                text[rng.randrange(len(text))] = rng.choice('0139 ,"\n\x1b.é\0')
        try:
            found = read_summary("".join(table))
            check_layers("".join(layers), found)
            assert found.cycles == 1500
        except TargetError:
            refused += 1
    assert refused > 100
