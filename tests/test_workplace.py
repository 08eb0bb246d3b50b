"""The output folder: a result appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import StorageError, UsageError
from pipeline.storage import atomic_write_bytes
from pipeline.workplace import publish, workplace


def test_a_finished_result_moves_out_and_the_workplace_goes(tmp_path: Path) -> None:
    with workplace(tmp_path / "out") as work:
        for name in ("report.json", "model.tflite"):
            atomic_write_bytes(work / name, b"new")
        publish(work, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "model.tflite", "report.json"]


def test_a_run_that_fails_leaves_the_earlier_result(tmp_path: Path) -> None:
    tmp_path.joinpath("report.json").write_text("old")
    with pytest.raises(ZeroDivisionError), workplace(tmp_path) as work:
        atomic_write_bytes(work / "report.json", b"half")
        raise ZeroDivisionError
    assert tmp_path.joinpath("report.json").read_text() == "old"
    assert not tmp_path.joinpath(".work").exists()


def test_no_report_stands_beside_a_model_that_it_does_not_speak_of(tmp_path: Path) -> None:
    tmp_path.joinpath("report.json").write_text("old")
    tmp_path.joinpath("model.tflite").mkdir()  # nothing can be moved there: the move stops half-way
    tmp_path.joinpath("model.tflite", "in the way").touch()
    with workplace(tmp_path) as work:
        for name in ("report.json", "model.tflite"):
            atomic_write_bytes(work / name, b"new")
        with pytest.raises(StorageError):
            publish(work, tmp_path)
    assert not tmp_path.joinpath("report.json").exists()


def test_a_model_in_one_file_leaves_nothing_of_an_earlier_one_in_two(tmp_path: Path) -> None:
    second = {"cascade.json", "run_cascade.py", "model.rest.tflite", "model.rest.tflite.xz"}
    for names in ({"report.json", "model.tflite"} | second, {"report.json", "model.tflite", "model.rest.tflite"}):
        with workplace(tmp_path) as work:
            for name in names:
                atomic_write_bytes(work / name, b"new")
            tmp_path.joinpath("notes.txt").touch()
            publish(work, tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {*names, ".lock", "notes.txt"}


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        workplace(tmp_path),
        pytest.raises(UsageError, match="Another run is at work"),
        workplace(tmp_path),
    ):
        raise AssertionError("two runs in one folder")
    with workplace(tmp_path):
        pass


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path: Path) -> None:
    tmp_path.joinpath("out").touch()
    with pytest.raises(StorageError, match="out"), workplace(tmp_path / "out"):
        raise AssertionError
