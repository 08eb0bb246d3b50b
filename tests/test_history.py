"""The history: runs are kept whatever else happens, and what became worse is found, like with like."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline import history as module
from pipeline.errors import StorageError, UsageError
from pipeline.history import History, Record
from pipeline.regressions import Series, series
from pipeline.report._past import sparkline

HOST = {
    "target": "host",
    "model": "int8",
    "provenance": "host",
    "runtime": "ai_edge_litert",
    "threads": 1,
    "median_us": 100.0,
    "device": {"machine": "x86_64", "cpu_model": "Some CPU"},
}


def report(recipe: str = "demo", size_bytes: int = 1000, value: float = 0.98, **row: Any) -> dict[str, Any]:
    artifact = {"sha256": "ab", "size_bytes": size_bytes, "ota_bytes": 400, "metric": "accuracy", "value": value}
    facts = {"recipe": recipe, "created": "2026-01-31T12:00:00Z", "ok": True, "artifact": artifact}
    return {**facts, "measurements": [{**HOST, **row}, {**HOST, "model": "float32", "median_us": 900.0}]}


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'runs.db'}"


def figures(folder: Path, *reports: dict[str, Any]) -> dict[str, Series]:
    with History(url(folder)) as history:
        for each in reports:
            history.add(each, folder)
        return {each.figure: each for each in series(history.records())}


def test_what_was_kept_comes_back_in_order(tmp_path: Path) -> None:
    with History(url(tmp_path)) as history:
        assert [history.add(report(name), tmp_path) for name in ("a", "b", "a")] == [1, 2, 3]
    with History(url(tmp_path)) as history:
        found = history.records("a")
        assert [record.id for record in history.records(last=2)] == [2, 3]
    assert [record.id for record in found] == [1, 3]
    expected = Record(
        *(1, "2026-01-31T12:00:00Z", "a", "run", True, str(tmp_path.absolute())),
        *("ab", 1000, 400, "accuracy", 0.98, (HOST,)),
    )
    assert found[0] == expected


def test_a_bare_benchmark_is_kept_too(tmp_path: Path) -> None:
    model = {"path": "model.tflite", "sha256": "ab", "size_bytes": 7}
    devices = [{"measurement": {**HOST, "model": "model"}}, {"measurement": None}]
    with History(url(tmp_path)) as history:
        history.add_benchmark({"ok": False, "model": model, "devices": devices})
        (found,) = history.records("model.tflite")
    assert (found.kind, found.ok, found.size_bytes, found.value) == ("benchmark", False, 7, None)
    assert [row["median_us"] for row in found.measurements] == [100.0]


def test_many_processes_keep_all_their_runs(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from tests.test_history import *\n"
        "for _ in range(5):\n"
        "    with History(sys.argv[1]) as history: history.add(report(), Path('.'))\n"
    )
    root = Path(__file__).parent.parent
    started = [subprocess.Popen([sys.executable, "-c", script, url(tmp_path)], cwd=root) for _ in range(3)]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    with History(url(tmp_path)) as history:
        assert [record.id for record in history.records()] == list(range(1, 16))


def test_a_locked_database_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCKED_S", 0.1)
    with History(url(tmp_path)) as history:
        holder = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match="database is locked") as raised:
            history.add(report(), tmp_path)
        holder.close()
        assert "another process holds it" in raised.value.mend
        assert history.add(report(), tmp_path) == 1


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_database_is_told_and_left_as_it_is(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "runs.db").write_bytes(content)
    with pytest.raises(StorageError, match="cannot be used"), History(url(tmp_path)) as history:
        history.add(report(), tmp_path)
    assert (tmp_path / "runs.db").read_bytes() == content


@pytest.mark.parametrize(
    ("column", "content"),
    [("measurements", "[{"), ("measurements", "[1]"), ("measurements", "7"), ("value", "high"), ("name", None)],
)
def test_a_row_that_is_no_run_is_told(column: str, content: str | None, tmp_path: Path) -> None:
    with History(url(tmp_path)) as history:
        history.add(report(), tmp_path)
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute(f"UPDATE runs SET {column} = ?", (content,))
    connection.close()
    with pytest.raises(StorageError, match="Row 1 of the history is no run"), History(url(tmp_path)) as history:
        history.records()


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    with History(url(tmp_path)):
        pass
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("UPDATE edgesmith SET schema = 2")
    connection.close()
    with pytest.raises(StorageError, match="has schema 2") as raised, History(url(tmp_path)):
        pass
    assert "update edgesmith" in raised.value.mend


@pytest.mark.parametrize("wrong", ["nonsense", "oracle9://a:secret@b/c", "sqlite+nothing:///x"])
def test_a_url_that_is_none_is_refused_without_its_password(wrong: str) -> None:
    with pytest.raises(UsageError, match="none that a database") as raised:
        History(wrong)
    assert "secret" not in str(raised.value)


def test_a_latency_is_worse_beyond_what_runs_differ_by(tmp_path: Path) -> None:
    runs = [report(median_us=value) for value in (100, 103, 98, 101)]
    assert not figures(tmp_path, *runs)["median host"].worse
    assert figures(tmp_path, report(median_us=120))["median host"].worse
    assert not figures(tmp_path, report(median_us=101))["median host"].worse


def test_of_two_files_the_average_and_either_stage_have_a_history(tmp_path: Path) -> None:
    def two_files(exits: float) -> dict[str, Any]:
        rows = [{**HOST, "model": f"int8 {name}", "median_us": us} for name, us in (("early", 20.0), ("rest", 80.0))]
        return {**report(), "measurements": rows, "cascade": {"exits": exits}}

    found = figures(tmp_path, *(two_files(exits) for exits in (0.9, 0.9, 0.9, 0.9, 0.5)))
    assert found["average host"].values == (28, 28, 28, 28, 60)
    assert found["average host"].worse
    assert (found["early host"].values, found["rest host"].values) == ((20,) * 5, (80,) * 5)
    assert not found["early host"].worse
    assert "median host" not in found


def test_a_noisy_machine_needs_more(tmp_path: Path) -> None:
    runs = [report(median_us=value) for value in (100, 140, 80, 125, 90)]
    assert not figures(tmp_path, *runs, report(median_us=130))["median host"].worse
    assert figures(tmp_path, report(median_us=500))["median host"].worse


def test_other_conditions_make_another_series(tmp_path: Path) -> None:
    runs = [report(median_us=value) for value in (100, 101, 99, 100)]
    with_threads = report(median_us=300, threads=2)
    with History(url(tmp_path)) as history:
        for each in (*runs, with_threads, report(median_us=900, unstable="the clock fell")):
            history.add(each, tmp_path)
        latencies = [each for each in series(history.records()) if each.unit == "us"]
    assert sorted(each.values for each in latencies) == [(100, 101, 99, 100), (300,)]
    assert not any(each.worse for each in latencies)


def test_size_and_metric_have_no_noise(tmp_path: Path) -> None:
    found = figures(tmp_path, report(), report(size_bytes=1001, value=0.974))
    assert found["size"].worse
    assert found["accuracy"].worse
    assert not found["ota"].worse


def test_a_single_run_is_never_worse(tmp_path: Path) -> None:
    assert not any(each.worse for each in figures(tmp_path, report()).values())


def test_a_sparkline_goes_from_least_to_most() -> None:
    assert sparkline([1, 2, 3, 8]) == "▁▂▃█"
    assert sparkline([5, 5]) == "▄▄"
