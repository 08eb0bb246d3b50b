"""Writing files: whole or not at all, and a clear word when the disk refuses."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.storage import atomic_write_bytes, atomic_write_text, make_folder

ROOT = Path(__file__).resolve().parents[1]

FILL_THE_DISK = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from pipeline.errors import StorageError
from pipeline.storage import atomic_write_bytes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    atomic_write_bytes(Path(sys.argv[2]), b"new" * 100_000)
except StorageError as error:
    print(error)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_bytes_and_text_arrive_as_they_were(tmp_path: Path) -> None:
    atomic_write_bytes(tmp_path / "deep" / "down" / "a.bin", b"\x00\xff\r\n")
    atomic_write_text(tmp_path / "b.txt", "µs\r\n×\n")
    assert (tmp_path / "deep" / "down" / "a.bin").read_bytes() == b"\x00\xff\r\n"
    assert (tmp_path / "b.txt").read_bytes() == "µs\r\n×\n".encode()
    assert names(tmp_path) == ["b.txt", "deep"]


def test_a_result_has_the_rights_that_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        atomic_write_bytes(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_disk_that_takes_no_more_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: it too refuses in the middle of the write."""
    path = tmp_path / "report.json"
    atomic_write_bytes(path, b"old")
    child = [sys.executable, "-c", FILL_THE_DISK, str(ROOT), str(path)]
    told = subprocess.run(child, capture_output=True, text=True, check=True, timeout=60).stdout
    assert told.startswith(f"Cannot write {path}: file too large.\n  expected: ")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["report.json"]


def test_where_a_file_stands_in_the_way_the_message_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"not a directory|file exists") as told:
        atomic_write_bytes(tmp_path / "file" / "a", b"")
    assert "choose another output folder" in told.value.mend
    with pytest.raises(StorageError, match="file exists"):
        make_folder(tmp_path / "file")


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(StorageError, match="is a directory") as told:
        atomic_write_bytes(tmp_path / "a", b"")
    assert "move it away" in told.value.mend
    assert names(tmp_path) == ["a"]


def test_a_name_that_is_too_long_is_told_from_one_that_just_fits(tmp_path: Path) -> None:
    atomic_write_bytes(tmp_path / ("n" * 255), b"fits")
    assert (tmp_path / ("n" * 255)).read_bytes() == b"fits"
    with pytest.raises(StorageError, match="too long"):
        atomic_write_bytes(tmp_path / ("n" * 256), b"")
    assert names(tmp_path) == ["n" * 255]


def test_a_folder_that_cannot_be_made_is_a_storage_error() -> None:
    with pytest.raises(StorageError, match="Cannot write /proc/edgesmith"):
        make_folder(Path("/proc/edgesmith"))


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path, versions = tmp_path / "a", [bytes([65 + i]) * 300_000 for i in range(2)]
    atomic_write_bytes(path, versions[0])
    done = threading.Event()

    def write() -> None:
        for turn in range(40):
            atomic_write_bytes(path, versions[turn % 2])
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= set(versions)


def test_open_files_do_not_pile_up(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 128), hard))
    try:
        for turn in range(200):
            atomic_write_bytes(tmp_path / "a", str(turn).encode())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (tmp_path / "a").read_bytes() == b"199"
