"""What goes wrong in real life: killed, interrupted, out of disk, raced, or given nonsense. Nothing is lost."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from tests.disks import small_disk
from tests.small import Command, report_of, write_tiny

pytestmark = [pytest.mark.e2e]

# A line of stderr that tells that a part of the run has begun; "" is the start of the process.
INSTANTS = ["", "train:", "prune:", "qat:", "convert:", "verify:", "benchmark:"]
LONGEST_S = {"": 4.0, "train:": 2.0, "prune:": 4.0, "qat:": 3.0, "convert:": 0.8, "verify:": 0.6, "benchmark:": 1.2}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the model that a run nobody disturbs gives."""
    home = tmp_path_factory.mktemp("undisturbed")
    done = Command(home)("run", write_tiny(home), "--out", "out", "--no-cache")
    assert done.returncode == 0, done.stderr
    return str(report_of(home / "out")["artifact"]["sha256"])


def wait_for(process: subprocess.Popen[str], line: str) -> None:
    """Read stderr up to the line that begins so. What follows fits into the pipe until `communicate` reads it."""
    assert process.stderr is not None
    for text in iter(process.stderr.readline, ""):
        if line and text.startswith(line):
            return


@pytest.mark.parametrize("instant", INSTANTS, ids=lambda line: line.rstrip(":") or "start")
@pytest.mark.parametrize("draw", [0, 1, 2])
def test_killed_at_any_instant_the_rerun_is_as_if_nothing_had_been(
    instant: str, draw: int, edgesmith: Command, tiny: Path, undisturbed: str
) -> None:
    delay_s = random.Random(f"{instant} {draw}").uniform(0, LONGEST_S[instant])
    process = edgesmith.start("run", tiny, "--out", "out", "--cache", "cache")
    if instant:
        wait_for(process, instant)
    time.sleep(delay_s)  # the instant itself is what is drawn
    process.kill()
    process.communicate()
    out = edgesmith.home / "out"
    if out.joinpath("report.json").exists():
        assert report_of(out)["artifact"]["sha256"] == undisturbed
    done = edgesmith("run", tiny, "--out", "out", "--cache", "cache")
    assert done.returncode == 0, done.stderr
    assert report_of(out)["artifact"]["sha256"] == undisturbed
    assert not out.joinpath(".work").exists()


def test_ctrl_c_is_130_and_one_line(edgesmith: Command, tiny: Path) -> None:
    process = edgesmith.start("run", tiny, "--out", "out", "--set", "stages.train.epochs=500")
    wait_for(process, "train:")
    time.sleep(1.0)  # into the training itself
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not edgesmith.home.joinpath("out", "report.json").exists()


def test_two_runs_at_once_on_one_cache(edgesmith: Command, tiny: Path, undisturbed: str) -> None:
    runs = [edgesmith.start("run", tiny, "--out", name, "--cache", "cache") for name in ("a", "b")]
    for run in runs:
        _, stderr = run.communicate(timeout=300)
        assert run.returncode == 0, stderr
    assert {report_of(edgesmith.home / name)["artifact"]["sha256"] for name in ("a", "b")} == {undisturbed}


def test_two_runs_in_one_folder_is_one_too_many(edgesmith: Command, tiny: Path) -> None:
    first = edgesmith.start("run", tiny, "--out", "out")
    wait_for(first, "train:")
    second = edgesmith("run", tiny, "--out", "out")
    first.communicate(timeout=300)
    assert (second.returncode, first.returncode) == (2, 0)
    assert "Another run is at work" in second.stderr


def test_a_full_disk_for_results_is_exit_3_and_the_stages_stay_cached(edgesmith: Command, tiny: Path) -> None:
    with small_disk(edgesmith.home / "small", "size=64k") as small:
        full = edgesmith("run", tiny, "--out", small / "out", "--cache", "cache")
        assert full.returncode == 3
        assert "no space left" in full.stderr
        assert "Traceback" not in full.stderr
        assert not small.joinpath("out", "report.json").exists()
    done = edgesmith("run", tiny, "--out", "out", "--cache", "cache", "--json")
    assert [step["cached"] for step in json.loads(done.stdout)["steps"]] == [True, True, True]


def test_a_full_disk_for_the_cache_does_not_cost_the_result(edgesmith: Command, tiny: Path, undisturbed: str) -> None:
    with small_disk(edgesmith.home / "small", "size=64k") as small:
        done = edgesmith("run", tiny, "--out", "out", "--cache", small)
    assert done.returncode == 0, done.stderr
    assert "not cached" in done.stderr
    assert report_of(edgesmith.home / "out")["artifact"]["sha256"] == undisturbed


def test_a_read_only_folder_is_refused_before_any_work(edgesmith: Command, tiny: Path) -> None:
    with small_disk(edgesmith.home / "fixed", "ro") as fixed:
        done = edgesmith("run", tiny, "--out", fixed / "out")
    assert done.returncode == 3
    assert "read-only" in done.stderr
    assert "train" not in done.stderr


def test_diverging_training_stops_and_leaves_its_log(edgesmith: Command, tiny: Path) -> None:
    done = edgesmith("run", tiny, "--out", "out", "--set", "stages.train.learning_rate=1e38")
    assert done.returncode == 1
    assert "Training diverged in stage 'train'" in done.stderr
    assert "Traceback" not in done.stderr
    events = [json.loads(line) for line in edgesmith.home.joinpath("out", "training.jsonl").read_text().splitlines()]
    assert events[-1]["event"] == "diverged"


@pytest.mark.parametrize("nonsense", ["missing", "nan", "objects"])
def test_bad_data_is_exit_2_and_a_sentence(nonsense: str, edgesmith: Command, tiny: Path) -> None:
    path = tiny.with_name("tiny.npz")
    with np.load(path) as archive:
        arrays = dict(archive)
    if nonsense == "missing":
        path.unlink()
    else:
        bad = {"nan": np.full(arrays["x_train"].shape, np.nan), "objects": np.array([{}] * 320, dtype=object)}
        np.savez(path, **{**arrays, "x_train": bad[nonsense]})
    done = edgesmith("run", tiny, "--out", "out")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "tiny.npz" in done.stderr or "training split" in done.stderr


def test_a_model_that_does_not_fit_the_data_is_exit_3(edgesmith: Command, tiny: Path) -> None:
    with np.load(tiny.with_name("tiny.npz")) as archive:
        arrays = dict(archive)
    small = {name: value[:, :6, :6] if value.ndim == 3 else value for name, value in arrays.items()}
    np.savez(tiny.with_name("tiny.npz"), **small)
    done = edgesmith("run", tiny, "--out", "out")
    assert done.returncode == 3
    assert "cannot be built for inputs of shape (6, 6, 1)" in done.stderr
