"""The words of `benchmark_model`: its flags, its figures, and every text that holds none."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from edge_targets import BenchmarkPlan, Completed, DeviceError, TargetError, ToolMissing, UnusableModel
from edge_targets import _benchmark_model as tool
from edge_targets._benchmark_flags import Delegate, flags, known_flags
from edge_targets._benchmark_model import Statistics, Told

DATA = Path(__file__).parent / "data/benchmark_model"
# What the tool prints in each version, and with which delegate.
WHOLE: dict[str, Delegate] = {
    "xnnpack": "xnnpack",
    "xnnpack-partly": "xnnpack",
    "profile-xnnpack": "xnnpack",
    "gpu": "gpu",
    "cpu-2.8": "cpu",
}


def text(name: str) -> str:
    return DATA.joinpath(f"{name}.txt").read_text()


def read(said: str, delegate: Delegate = "xnnpack", code: int = 0) -> Told:
    return tool.read(Completed(code, said.encode()), delegate, "the model 'm'")


def test_figures_of_a_version_with_percentiles() -> None:
    told = read(text("xnnpack"))
    assert told.timed == Statistics(243, 4110.27, 4071, 6905, 190, 4078, 4093, 4201)
    assert told.warmup.runs == 5
    assert (told.init_us, told.first_us, told.kernels, told.version) == (11250, 5321, "xnnpack", "")
    assert (told.init_bytes, told.overall_bytes) == (6.25 * 2**20, 9.5 * 2**20)
    assert told.profile == ()


def test_figures_of_a_version_without() -> None:
    told = read("INFO: Tensorflow Version : 2.8.0\n" + text("cpu-2.8"), "cpu")
    assert told.timed == Statistics(50, 2950340, 2727568, 3189954, 109798, None, None, None)
    assert told.warmup == Statistics(1, 3512391, 3512391, 3512391, 0, None, None, None)
    assert (told.kernels, told.version) == ("builtin", "2.8.0")


def test_it_may_print_to_both_pipes_and_end_lines_as_terminals_do() -> None:
    lines = text("xnnpack").splitlines(keepends=True)
    stderr = "".join(line for line in lines if "delegate" in line)
    stdout = "".join(line for line in lines if "delegate" not in line).replace("\n", "\r\n")
    told = tool.read(Completed(0, stdout.encode(), stderr.encode()), "xnnpack", "m")
    assert told == read(text("xnnpack"))


def test_runs_that_all_took_as_long() -> None:
    same = text("xnnpack").replace(
        "count=243 first=4120 curr=4090 min=4071 max=6905 avg=4110.27 std=190 p5=4078 median=4093 p95=4201",
        "count=243 curr=7(all same) p5=7 median=7 p95=7",
    )
    assert read(same.replace("Inference (avg): 4110.27", "Inference (avg): 7")).timed == Statistics(
        243, 7, 7, 7, 0, 7, 7, 7
    )


@pytest.mark.parametrize(
    ("name", "delegate", "kernels"),
    [
        ("xnnpack", "cpu", "builtin"),
        ("xnnpack-partly", "xnnpack", "xnnpack+builtin"),
        ("gpu", "gpu", "gpu"),
        ("cpu-2.8", "xnnpack", "unknown"),
    ],
)
def test_who_ran_the_graph(name: str, delegate: Delegate, kernels: str) -> None:
    assert tool.kernels(text(name), delegate) == kernels


def test_a_delegate_that_ran_a_part() -> None:
    partly = text("gpu").replace(
        "completely executed by the delegate", "partially executed by the delegate w/ 2 delegate kernels"
    )
    assert read(partly, "gpu").kernels == "gpu+cpu"


def test_a_table_of_operators() -> None:
    rows = read(text("profile-xnnpack")).profile
    assert [row.kind for row in rows] == [
        "QUANTIZE",
        "Convolution (NHWC, QC8) IGEMM",
        "Convolution (NHWC, QC8) DWConv",
        "Add (ND, QS8)",
    ]
    assert rows[2].us == pytest.approx(251 * 13)
    assert (rows[2].calls, rows[2].index) == (13, 2)
    assert rows[2].name == "Delegate/Convolution (NHWC, QC8) DWConv:1"
    assert sum(row.share for row in rows) == pytest.approx(1)


def test_a_table_of_operators_of_an_old_version() -> None:
    rows = read(text("cpu-2.8"), "cpu").profile
    assert [(row.kind, row.name) for row in rows] == [
        ("CONV_2D", "[net/conv1/Relu6;net/bn 1/add]:0"),
        ("DEPTHWISE_CONV_2D", "[net/dw]:1"),
        ("AVERAGE_POOL_2D", "[net/pool]:2"),
        ("SOFTMAX", "[Identity]:3"),
    ]
    assert (rows[0].us, rows[0].calls) == (1160957, 1)


@pytest.mark.parametrize(
    ("name", "delegate", "code", "error", "match"),
    [
        ("gpu-refused", "gpu", 1, DeviceError, "GPU delegate cannot run the model 'm'.*Failed to apply GPU delegate"),
        ("nnapi-idle", "nnapi", 0, DeviceError, "NNAPI delegate took no part"),
        ("refused", "xnnpack", 1, UnusableModel, "cannot run the model 'm'.*Failed to allocate tensors"),
        ("refused", "xnnpack", 0, UnusableModel, "Failed to allocate tensors"),
        ("xnnpack", "gpu", 0, DeviceError, "cannot be trusted"),
    ],
)
def test_what_failed_is_a_sentence(
    name: str, delegate: Delegate, code: int, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        read(text(name), delegate, code)


@pytest.mark.parametrize(
    ("said", "code", "error", "match"),
    [
        ("", 0, DeviceError, "timings is missing: it may be cut off"),
        ("\x1b[31mhello\x00", 0, DeviceError, "cannot be trusted"),
        ("", 1, DeviceError, "failed with code 1"),
        ("", 134, UnusableModel, "signal 6"),
        ("", 137, UnusableModel, "signal 9"),
        ('CANNOT LINK EXECUTABLE "benchmark_model": library "x" not found', 1, ToolMissing, "CANNOT LINK.*not found"),
        ("WARN: Unconsumed cmdline flags: --use_xnnpack=true", 0, ToolMissing, "does not know --use_xnnpack=true"),
        ("Failed to load model m.tflite\nBenchmarking failed.", 1, UnusableModel, "Failed to load model"),
    ],
)
def test_another_text_is_a_sentence(said: str, code: int, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match) as caught:
        read(said, code=code)
    assert all(line.isprintable() for line in str(caught.value).splitlines())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Inference (avg): 4110.27", "Inference (avg): 4110.37"),
        ("Inference (avg): 4110.27", "Inference (avg): nan"),
        ("Inference (avg): 4110.27", "Inference (avg): 1e+999"),
        ("min=4071", "min=5000"),
        ("median=4093", "median=9999"),
        ("count=243", "count=0"),
        ("min=4071", "min=oops"),
        ("INFO: count=5 ", "INFO: "),
        ("INFO: Inference timings", "INFO: count=1 curr=4\nINFO: Inference timings"),
    ],
)
def test_figures_that_contradict_each_other_are_refused(old: str, new: str) -> None:
    assert old in text("xnnpack")
    with pytest.raises(DeviceError, match="cannot be trusted"):
        read(text("xnnpack").replace(old, new))


def test_a_text_cut_off_anywhere_is_refused_or_told_right() -> None:
    whole = read(text("profile-xnnpack"))
    said = text("profile-xnnpack")
    figures_end = said.index("INFO: Note")
    for end in range(0, len(said), 7):
        try:
            told = read(said[:end])
        except DeviceError:
            continue
        assert end >= figures_end - 1
        assert told.timed == whole.timed
        assert told.profile in ((), whole.profile)


def test_a_damaged_text_ends_in_a_sentence_or_in_figures() -> None:
    rng = random.Random(5)
    for _ in range(600):
        name, delegate = rng.choice(list(WHOLE.items()))
        said = bytearray(text(name).encode())
        for _ in range(rng.randint(1, 20)):
            place = rng.randrange(len(said))
            said[place : place + rng.choice((0, 1, 1, 40))] = rng.randbytes(rng.choice((0, 1, 1, 30)))
        try:
            told = tool.read(Completed(0, bytes(said)), delegate, "m")
        except TargetError as error:
            assert all(line.isprintable() for line in str(error).splitlines())
        else:
            assert told.timed.min_us <= told.timed.max_us
            assert all(row.name.isprintable() for row in told.profile)


def test_a_row_that_is_none_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"table of operators cannot be read.*oops"):
        read(text("profile-xnnpack").replace("4.900%", "oops", 1))


@pytest.mark.parametrize(
    ("delegate", "flag"),
    [
        ("cpu", "--use_xnnpack=false"),
        ("xnnpack", "--use_xnnpack=true"),
        ("gpu", "--use_gpu=true"),
        ("nnapi", "--use_nnapi=true"),
    ],
)
def test_flags(delegate: Delegate, flag: str) -> None:
    plan = BenchmarkPlan(num_threads=4, warmup_runs=0, num_runs=30, min_secs=0.25, max_secs=5)
    assert flags("/data/m.tflite", plan, delegate) == [
        "--graph=/data/m.tflite",
        "--num_threads=4",
        "--warmup_runs=1",
        "--warmup_min_secs=0",
        "--num_runs=30",
        "--min_secs=0.25",
        "--max_secs=5",
        flag,
    ]
    assert "--enable_op_profiling=true" in flags("m", plan, delegate, profile=True)


def test_the_flags_that_a_version_knows() -> None:
    known = known_flags(text("help"))
    assert {"graph", "use_xnnpack", "output_filepath", "input_layer_value_files"} <= known
    assert known_flags("\x00 garbage --graph=x") == frozenset()
