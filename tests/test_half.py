"""One of two files of a model, named in the place of the whole: it is told so, and never deployed alone."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from edge_targets import BenchmarkPlan, Unsupported, UnusableModel
from edge_targets._cascade_file import CASCADE, FIRST, REST
from edge_targets.tflite_graph import read_graph
from pipeline import benchmark, evaluation
from pipeline.bundle import make_bundle
from pipeline.comparison import compare_models, compare_targets
from pipeline.errors import DataError, UsageError
from pipeline.half import half_of
from pipeline.progress import Progress
from tests.edge_targets.stages import run_of_two_files
from tests.edge_targets.test_cascade import OneStage


class Notes(Progress):
    """Keeps what people are told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_of_two_files(tmp_path / "run")


def test_either_file_is_known_by_its_bytes(run: Path) -> None:
    assert (half_of(run / FIRST), half_of(run / REST)) == ("first", "second")
    assert half_of(run / CASCADE) is None
    assert half_of(run / "nothing.tflite") is None
    run.joinpath(FIRST).write_bytes(run.joinpath(REST).read_bytes())
    assert half_of(run / FIRST) is None, "a later run left another model beside an old cascade.json"


def test_what_is_no_cascade_file_says_nothing(run: Path) -> None:
    run.joinpath(CASCADE).write_text("{}")
    assert half_of(run / FIRST) is None
    run.joinpath(CASCADE).unlink()
    assert half_of(run / FIRST) is None
    os.mkfifo(run / CASCADE)
    assert half_of(run / FIRST) is None


@pytest.mark.parametrize(("name", "words"), [(FIRST, "the first of a model"), (REST, "the second of a model")])
def test_half_a_model_is_not_deployed(name: str, words: str, run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words) as told:
        make_bundle(run / name, tmp_path / "bundle")
    assert told.value.mend == f"deploy {run}"


def test_who_measures_half_a_model_is_told(run: Path, tmp_path: Path) -> None:
    progress, data = Notes(), tmp_path / "pictures.npz"
    np.savez(data, x=np.zeros((2, 8, 8, 1), np.float32), y=np.zeros(2, np.int64))
    # Pictures are not for the second file: the note stands above the error, and explains it.
    with pytest.raises(DataError):
        evaluation.evaluate(run / REST, data, evaluation.task_of("classification"), [], progress)
    with pytest.raises(DataError):
        benchmark.benchmark(run / REST, [], benchmark.Options(BenchmarkPlan(), data), progress)
    with pytest.raises(Unsupported):
        compare_models([run / REST, tmp_path / "other.tflite"], OneStage(), BenchmarkPlan(), 8, progress)
    with pytest.raises(Unsupported):
        compare_targets(run / REST, [OneStage(), OneStage()], BenchmarkPlan(), progress)
    assert progress.notes == 4 * [
        f"{REST} is the second of a model in two files (takes the features of the first); the run's report tells of "
        "both together"
    ]


def test_a_folder_in_the_place_of_a_model_is_told(run: Path) -> None:
    with pytest.raises(UnusableModel, match="run is a folder") as told:
        read_graph(run)
    assert told.value.mend == "name the .tflite in it"
