"""The cache: all of a result or nothing, whatever happened to the files."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from pipeline.cache import Cache, code_version, key_of

KEY = "ab" + "0" * 62
FILES = {"draft.json": b"{}", "weights.npz": bytes(range(256)) * 100}


def test_what_was_stored_comes_back(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert cache.fetch(KEY) is None
    cache.store(KEY, FILES)
    assert cache.fetch(KEY) == FILES


def test_no_folder_keeps_nothing() -> None:
    cache = Cache(None)
    cache.store(KEY, FILES)
    assert cache.fetch(KEY) is None


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "no manifest", "garbage manifest", "list manifest"])
def test_a_damaged_entry_counts_as_absent_and_can_be_stored_anew(damage: str, tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.store(KEY, FILES)
    entry = tmp_path / "ab" / KEY
    weights, manifest = entry / "weights.npz", entry / "manifest.json"
    match damage:
        case "truncate":
            weights.write_bytes(FILES["weights.npz"][:100])
        case "flip":
            weights.write_bytes(b"\xff" + FILES["weights.npz"][1:])
        case "remove":
            weights.unlink()
        case "no manifest":
            manifest.unlink()
        case "garbage manifest":
            manifest.write_bytes(b"\x80{")
        case _:
            manifest.write_text("[1, 2]")
    assert cache.fetch(KEY) is None
    cache.store(KEY, FILES)
    assert cache.fetch(KEY) == FILES


def test_a_half_written_entry_is_never_seen(tmp_path: Path) -> None:
    half = tmp_path / "ab" / ".new-killed"
    half.mkdir(parents=True)
    half.joinpath("draft.json").write_bytes(b"{")
    assert Cache(tmp_path).fetch(KEY) is None


def _store_often(folder: Path) -> None:
    for round_ in range(30):
        Cache(folder).store(f"{round_:064d}", FILES)


def test_two_writers_leave_one_whole_entry_each_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_store_often, args=(tmp_path,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert all(Cache(tmp_path).fetch(f"{round_:064d}") == FILES for round_ in range(30))
    assert not list(tmp_path.rglob(".new-*"))


def test_a_key_names_everything_that_shaped_the_result() -> None:
    parts = {"kind": "stage", "settings": {"epochs": 1}, "seed": 3}
    assert key_of(**parts) == key_of(**dict(reversed(parts.items())))
    assert len({key_of(**parts), key_of(**{**parts, "seed": 4}), key_of(**{**parts, "settings": {"epochs": 2}})}) == 3


def test_the_code_of_a_stage_is_its_own_and_what_stages_share() -> None:
    assert code_version("pipeline.stages.train") != code_version("pipeline.stages.prune")
