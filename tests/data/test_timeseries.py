"""The timeseries source: windows of recordings, nobody in two splits, and every bad file an error that says why."""

from __future__ import annotations

import io
import itertools
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.data._npz_reading import CHUNK_BYTES
from pipeline.data.timeseries import TimeSeries
from pipeline.dataset import Dataset, Split
from pipeline.errors import DataError
from pipeline.progress import Progress
from pipeline.recipe import load_recipe
from pipeline.task import Task
from pipeline.tasks.anomaly import Anomaly
from pipeline.tasks.classification import Classification

PEOPLE = ("anna", "ben", "cleo", "dan", "eva", "finn")


def load(path: Path, task: Task | None = None, *, seed: int = 0, **settings: Any) -> Dataset:
    source = TimeSeries(path=path, **{"window": 4, **settings})
    return source.load(task or Classification(), seed=seed, progress=Progress())


def said(path: Path, **settings: Any) -> str:
    """What the error says of data that must not load."""
    with pytest.raises(DataError) as caught:
        load(path, **settings)
    return str(caught.value)


def inputs(split: Split) -> NDArray[Any]:
    return np.concatenate([x for x, _ in split.batches(1000)])


def splits(data: Dataset) -> tuple[Split, Split, Split]:
    return data.train, data.validation, data.test


def rows_of(people: tuple[str, ...] = PEOPLE, samples: int = 12) -> list[list[str]]:
    """Two recordings of each person, walking and then running. Channel a is the number of the person."""
    noise = np.random.default_rng(0)
    return [
        [f"{sample * 0.02:.2f}", str(number), f"{noise.normal():.4f}", label, person]
        for number, person in enumerate(people)
        for label in ("walk", "run")
        for sample in range(samples)
    ]


HEADER = ["t", "a", "b", "label", "subject"]


def write_csv(path: Path, rows: list[list[str]] | None = None, header: list[str] = HEADER, by: str = ",") -> Path:
    path.write_text("\n".join(by.join(row) for row in [header, *(rows or rows_of())]) + "\n", encoding="utf-8")
    return path


def test_windows_of_a_csv_file(tmp_path: Path) -> None:
    data = load(write_csv(tmp_path / "log.csv"), channels=("a", "b"), hop=2)
    # 24 samples a person: of the 11 windows, the one in the middle holds a change of the label.
    assert [split.size for split in splits(data)] == [40, 10, 10]
    assert data.input_shape == (4, 2)
    assert data.class_names == ("run", "walk")
    assert data.preprocessing == {"window": 4, "hop": 2, "channels": ["a", "b"], "interval": None}
    assert data.notes == ("6 windows in which the label changes were left out",)


def test_values_and_labels_are_those_of_the_rows(tmp_path: Path) -> None:
    rows = [[str(n), f"{n // 6 % 2}", f"p{n // 12}"] for n in range(36)]
    data = load(write_csv(tmp_path / "log.csv", rows, ["v", "label", "subject"]), window=3, hop=3)
    x = np.concatenate([inputs(split) for split in splits(data)])
    y = np.concatenate([split.targets() for split in splits(data)])
    assert np.array_equal(x[:, :, 0], x[:, :1, 0] + np.arange(3))
    assert sorted(x[:, 0, 0].tolist()) == list(range(0, 36, 3))
    assert np.array_equal(y, x[:, 0, 0] // 6 % 2)
    assert data.class_names == ()


@pytest.mark.parametrize("seed", range(5))
def test_nobody_is_in_two_splits_however_windows_overlap(seed: int, tmp_path: Path) -> None:
    data = load(write_csv(tmp_path / "log.csv"), channels=("a", "b"), hop=1, validation_fraction=0.3, seed=seed)
    people = [set(inputs(split)[:, :, 0].ravel().tolist()) for split in splits(data)]
    assert all(people)
    assert not any(one & other for one, other in itertools.combinations(people, 2))
    assert set.union(*people) == set(range(6))


def test_those_who_are_named_are_held_out(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv")
    data = load(path, channels=("a", "b"), test_subjects=("ben", "eva"))
    assert set(inputs(data.test)[:, :, 0].ravel().tolist()) == {1, 4}
    assert "name otto, of whom there is no window" in said(path, test_subjects=("otto",))
    assert "The test subjects are all" in said(path, test_subjects=PEOPLE)


def test_majority_keeps_windows_in_which_the_label_changes(tmp_path: Path) -> None:
    rows = [[str(n), "walk" if n % 12 < 5 else "run", f"p{n // 12}"] for n in range(36)]
    path = write_csv(tmp_path / "log.csv", rows, ["v", "label", "subject"])
    assert sum(split.size for split in splits(load(path))) == 6
    data = load(path, label_rule="majority")
    assert sum(split.size for split in splits(data)) == 9
    assert np.bincount(np.concatenate([split.targets() for split in splits(data)])).tolist() == [6, 3]


def test_channels_are_scaled_by_what_training_sees(tmp_path: Path) -> None:
    data = load(write_csv(tmp_path / "log.csv"), channels=("a", "b"), normalise="per_channel")
    x = inputs(data.train).reshape(-1, 2)
    assert np.allclose(x.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(x.std(axis=0), 1, atol=1e-5)
    raw = load(tmp_path / "log.csv", channels=("a", "b"))
    told = data.preprocessing["normalise"]
    assert np.allclose(inputs(data.test), (inputs(raw.test) - told["mean"]) / told["deviation"], atol=1e-6)
    assert data.fingerprint != raw.fingerprint


def test_anomalies_do_not_shape_the_scale(tmp_path: Path) -> None:
    rows = [[str(1000 * (n % 8 >= 4) + n / 100), str(int(n % 8 >= 4)), f"p{n // 8}"] for n in range(48)]
    path = write_csv(tmp_path / "log.csv", rows, ["v", "label", "subject"])
    data = load(path, Anomaly(), normalise="per_channel")
    assert data.preprocessing["normalise"]["mean"][0] < 3


def test_a_channel_that_never_changes_stays_finite(tmp_path: Path) -> None:
    rows = [[str(n), "7", f"{n // 4 % 2}", f"p{n // 8}"] for n in range(48)]
    path = write_csv(tmp_path / "log.csv", rows, ["v", "w", "label", "subject"])
    assert (inputs(load(path, normalise="per_channel").train)[:, :, 1] == 0).all()


def test_recordings_end_where_the_series_does_and_the_rest_is_counted(tmp_path: Path) -> None:
    lengths = {"s0": 9, "s1": 3, "s2": 5}
    rows = [
        [str(n + 100 * number + 1000 * person), "a" if number else "b", f"p{person}", series]
        for person in range(3)
        for number, (series, length) in enumerate(lengths.items())
        for n in range(length)
    ]
    path = write_csv(tmp_path / "log.csv", rows, ["v", "label", "subject", "id"])
    data = load(path, series="id")
    assert sum(split.size for split in splits(data)) == 9
    assert data.notes[:2] == (
        "3 recordings are shorter than a window of 4 samples and were left out",
        "6 samples at the ends of recordings fill no window and were left out",
    )


def test_a_hop_beyond_the_window_skips_samples(tmp_path: Path) -> None:
    rows = [[str(n), f"{n // 5000 % 2}", f"p{n // 10_000}"] for n in range(30_000)]
    data = load(write_csv(tmp_path / "log.csv", rows, ["v", "label", "subject"]), window=3, hop=11)
    starts = {float(x) for split in splits(data) for x in inputs(split)[:, 0, 0]}
    # Over many blocks of rows; windows across a change of the label are left out.
    within = {10_000 * person + n for person in range(3) for n in range(0, 9998, 11) if not n < 5000 < n + 3}
    assert starts == within


def test_blocks_of_rows_leave_no_seam(tmp_path: Path) -> None:
    rows = [[str(n), f"{n // 5000 % 2}", f"p{n // 10_000}"] for n in range(30_000)]
    path = write_csv(tmp_path / "log.csv", rows, ["v", "label", "subject"])
    data = load(path, window=100, hop=10)
    x = np.concatenate([inputs(split)[:, :, 0] for split in splits(data)])
    assert np.array_equal(x, x[:, :1] + np.arange(100))
    within = [10_000 * person + n for person in range(3) for n in range(0, 9901, 10) if not n < 5000 < n + 100]
    assert sorted(x[:, 0].tolist()) == within


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    rows = rows_of()
    for number, person in enumerate(PEOPLE):
        write_csv(tmp_path / f"{number}.csv", [row for row in rows if row[4] == person])
    data = load(tmp_path, channels=("a", "b"))
    whole = load(write_csv(tmp_path / "all.txt", rows), channels=("a", "b"))
    assert np.array_equal(inputs(data.test), inputs(whole.test))
    alone = load(tmp_path, channels=("a", "b"), subject=None)
    assert [split.size for split in splits(alone)] == [24, 6, 6]


def test_spreadsheets_of_other_countries(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = [[cell.replace(".", ",") for cell in row] for row in rows_of()]
    write_csv(path, rows, by=";")
    assert "set decimal: ','" in said(path)
    data = load(path, decimal=",", channels=("t", "b"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    marked = load(path, decimal=",", channels=("t", "b"))
    plain = load(write_csv(tmp_path / "plain.csv"), channels=("t", "b"))
    assert np.array_equal(inputs(data.train), inputs(plain.train))
    assert np.array_equal(inputs(marked.train), inputs(plain.train))


def test_times_are_checked(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "log.csv")
    good = load(path, time="t", series="label")
    assert good.preprocessing["interval"] == pytest.approx(0.02)
    assert good.preprocessing["channels"] == ["a", "b"]
    # Where nothing else ends a recording, time that begins anew does.
    assert "differ from 0.02" in said(path, time="t")
    assert "differ from 0.04" in said(path, time="t", series="label", interval=0.04)
    rows = [row for place, row in enumerate(rows_of()) if place % 24 not in (3, 4)]
    gapped = write_csv(tmp_path / "gapped.csv", rows)
    assert "the first is 0.06, up to the time 0.1." in said(gapped, time="t", series="label")
    data = load(gapped, time="t", series="label", gaps="split")
    assert "at 6 gaps in time a new recording begins" in data.notes
    assert sum(split.size for split in splits(data)) == 24
    backwards = write_csv(tmp_path / "backwards.csv", rows_of()[::-1])
    assert "time does not increase" in said(backwards, time="t", series="label")


def test_a_gap_between_two_blocks_of_rows_is_seen(tmp_path: Path) -> None:
    times = [n + 50 * (n >= 4096) for n in range(6000)]
    rows = [[str(time), str(n), "ab"[n % 2], "p"] for n, time in enumerate(times)]
    path = write_csv(tmp_path / "log.csv", rows, ["t", "v", "label", "subject"])
    assert "has 1 steps of time" in said(path, time="t")


BAD_CSV: dict[str, tuple[Callable[[list[list[str]]], Any], str]] = {
    "a word": (lambda rows: rows[30].__setitem__(2, "fast"), "line 32, holds 'fast' in column 'b'"),
    "nothing": (lambda rows: rows[7].__setitem__(1, ""), "line 9, holds '' in column 'a'"),
    "NaN": (lambda rows: rows[0].__setitem__(1, "nan"), "line 2, holds 'nan' in column 'a'"),
    "infinite": (lambda rows: rows[0].__setitem__(1, "-inf"), "line 2, holds '-inf' in column 'a'"),
    "too large": (lambda rows: rows[0].__setitem__(1, "1e39"), "line 2, holds '1e39' in column 'a'"),
    "grouped digits": (lambda rows: rows[0].__setitem__(1, "1_0"), "line 2, holds '1_0' in column 'a'"),
    "a short row": (lambda rows: rows[9].pop(), "line 11, has 4 cells"),
    "a long row": (lambda rows: rows[9].append("1"), "line 11, has 6 cells"),
    "no label": (lambda rows: rows[3].__setitem__(3, " "), "line 5, has an empty cell in column 'label'"),
    "no subject": (lambda rows: rows[3].__setitem__(4, ""), "line 5, has an empty cell in column 'subject'"),
    "an open quote": (lambda rows: rows[3].__setitem__(1, '"1'), "is no CSV"),
    "words and numbers": (lambda rows: rows[0].__setitem__(3, "1"), "mix numbers and words: '1' and 'run'"),
    "two people": (lambda rows: rows.__delitem__(slice(48, None)), "windows of 2 subjects only: anna, ben"),
    "too short": (lambda rows: rows.__delitem__(slice(3, None)), "No recording gives a window of 4 samples"),
    "no rows": (lambda rows: rows.clear(), "There is no recording with any sample"),
}


@pytest.mark.parametrize("name", BAD_CSV)
def test_bad_rows_are_named(name: str, tmp_path: Path) -> None:
    change, expected = BAD_CSV[name]
    rows = rows_of()
    change(rows)
    path = tmp_path / "log.csv"
    path.write_text("\n".join(",".join(row) for row in [HEADER, *rows]) + "\n")
    assert expected in said(path, window=1 if name == "words and numbers" else 4)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        ("t,a,label,subject\n1,2,café,x\n".encode("latin-1"), "is not UTF-8"),
        ("a,label,subject\n1,2,3\n".encode("utf-16"), "is not UTF-8"),
        (b"1,2,3\n4,5,6\n", "has no column 'label'"),
        (b"a,a,label,subject\n1,2,3,4\n", "has two columns 'a'"),
        (b"label,subject\nx,y\n", "has no column for a channel"),
        (b"a" * 2_000_000, "has a line of more than"),
        (b"a,label,subject\n" + b"1" * 2_000_000, "has a line of more than"),
        (b"\0\0\0\0", "has no column 'label'"),
    ],
)
def test_what_is_no_table_is_refused(content: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    assert expected in said(path)


def test_files_that_are_not_there_or_differ(tmp_path: Path) -> None:
    assert "There is no file" in said(tmp_path / "nowhere.csv")
    assert "no file with a name that ends in .csv" in said(tmp_path)
    write_csv(tmp_path / "1.csv")
    write_csv(tmp_path / "2.csv", header=["t", "a", "c", "label", "subject"])
    assert "2.csv has no column 'b'" in said(tmp_path)
    (tmp_path / "2.csv").unlink()
    (tmp_path / "3.csv").mkdir()
    assert "3.csv cannot be read: is a directory" in said(tmp_path)


def series_arrays(**changes: Any) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    arrays = {
        "x": rng.normal(size=(12, 8, 3)),
        "label": np.array(["walk", "run"] * 6),
        "subject": np.repeat(np.arange(6), 2),
    }
    return {key: value for key, value in {**arrays, **changes}.items() if value is not None}


def write_npz(path: Path, **changes: Any) -> Path:
    np.savez(path, **series_arrays(**changes))
    return path


def test_an_archive_of_series_of_one_length(tmp_path: Path) -> None:
    data = load(write_npz(tmp_path / "log.npz"), channels=("x", "y", "z"))
    assert [split.size for split in splits(data)] == [16, 4, 4]
    assert data.class_names == ("run", "walk")
    assert data.preprocessing["channels"] == ["x", "y", "z"]


def test_flat_series_with_lengths_are_the_same(tmp_path: Path) -> None:
    x = series_arrays()["x"]
    flat = write_npz(tmp_path / "flat.npz", x=x.reshape(-1, 3), lengths=np.full(12, 8))
    labelled = write_npz(tmp_path / "labelled.npz", label=np.repeat(["walk", "run"] * 6, 8).reshape(12, 8))
    fortran = write_npz(tmp_path / "fortran.npz", x=np.asfortranarray(x))
    found = [load(path) for path in (write_npz(tmp_path / "log.npz"), flat, labelled, fortran)]
    assert len({data.fingerprint for data in found}) == 1
    assert all(np.array_equal(inputs(data.test), inputs(found[0].test)) for data in found)


def test_flat_series_may_have_any_length(tmp_path: Path) -> None:
    lengths = np.array([0, 9, 2, 0, 13, 30, 30, 12, 0])
    subjects, labels = np.array(list("aabbcdeff")), np.arange(9) % 2
    x = np.arange(lengths.sum(), dtype=np.float32)[:, None]
    data = load(write_npz(tmp_path / "log.npz", x=x, lengths=lengths, label=labels, subject=subjects))
    starts = sorted(float(v) for split in splits(data) for v in inputs(split)[:, 0, 0])
    firsts = np.cumsum(lengths) - lengths
    assert starts == [first + 4 * n for first, length in zip(firsts, lengths, strict=True) for n in range(length // 4)]
    assert "1 recordings are shorter" in data.notes[0]


def test_a_series_longer_than_a_chunk_goes_on_in_the_next(tmp_path: Path) -> None:
    samples = CHUNK_BYTES // 4 + 1000
    x = np.zeros((samples, 1), np.float32)
    x[-1] = np.inf
    arrays = {"x": x, "lengths": [samples], "label": [1], "subject": ["anna"]}
    assert f"holds inf at sample {samples - 1}" in said(write_npz(tmp_path / "log.npz", **arrays))


BAD_NPZ: dict[str, tuple[dict[str, Any], str]] = {
    "no series": ({"x": None, "y": np.zeros(3)}, "has no array 'x'"),
    "no labels": ({"label": None}, "has no array 'label'"),
    "no subjects": ({"subject": None}, "has no array 'subject'"),
    "objects": ({"x": np.array([{}, []], object)}, "pickled objects are refused"),
    "pickled labels": ({"label": np.array(["a"] * 12, object)}, "pickled objects are refused"),
    "text": ({"x": np.full((12, 8, 3), "a")}, "expected: numbers"),
    "NaN": ({"x": np.where(np.arange(288) == 40, np.nan, 0.5).reshape(12, 8, 3)}, "Series 1 of log.npz holds nan at"),
    "infinite": ({"x": np.full((12, 8, 3), np.inf)}, "Series 0 of log.npz holds inf at sample 0"),
    "one axis": ({"x": np.zeros(8)}, "has shape (8,)"),
    "four axes": ({"x": np.zeros((3, 3, 3, 3))}, "has shape (3, 3, 3, 3)"),
    "no lengths": ({"x": np.zeros((96, 3))}, "there is no array 'lengths'"),
    "wrong lengths": ({"x": np.zeros((96, 3)), "lengths": np.full(12, 9)}, "adds up to 108"),
    "negative lengths": ({"x": np.zeros((96, 3)), "lengths": np.array([-4, 100] + [0] * 10)}, "adds up to 96"),
    "wrapping lengths": ({"x": np.zeros((96, 3)), "lengths": np.array([2**63 - 1, 2**63 - 1])}, "adds up to 184"),
    "float lengths": ({"x": np.zeros((96, 3)), "lengths": np.full(12, 8.0)}, "expected: whole numbers"),
    "few labels": ({"label": np.arange(11)}, "has shape (11,)"),
    "NaN labels": ({"label": np.full(12, np.nan)}, "is NaN or infinite"),
    "few subjects": ({"subject": np.arange(11)}, "has shape (11,)"),
    "no channels": ({"x": np.zeros((12, 8, 0))}, "expected: numbers, (time, channels)"),
    "empty": ({"x": np.zeros((0, 8, 3)), "label": np.zeros(0, int), "subject": np.zeros(0, int)}, "no recording"),
    "too short": ({"x": np.zeros((12, 3, 3))}, "12 recordings are shorter than a window"),
}


@pytest.mark.parametrize("name", BAD_NPZ)
def test_bad_arrays_are_named(name: str, tmp_path: Path) -> None:
    changes, expected = BAD_NPZ[name]
    assert expected in said(write_npz(tmp_path / "log.npz", **changes))


GENERATOR = """
import numpy as np

def series(people=6, channels=2, labels="str", fail=False):
    for person in range(people):
        for label in ("walk", "run"):
            x = np.random.default_rng(person).normal(size=(10, channels)) + (label == "run")
            if fail and person == 3:
                raise RuntimeError("the sensor is lost")
            if channels < 0:
                x = np.zeros(10)
            y = {"str": label, "each": [label] * 10, "few": [label] * 9, "mixed": label if person else 1}[labels]
            yield (x, y, f"person {person}") if person != 5 else (x[:, :1 + (person < 9)], y, "person 5")
"""


def test_series_of_a_generator(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(GENERATOR)
    data = load(Path(f"{path}:series"))
    assert [split.size for split in splits(data)] == [16, 4, 4]
    assert data.class_names == ("run", "walk")
    assert load(Path(f"{path}:series"), options={"labels": "each"}).fingerprint != data.fingerprint
    assert "mine.py, line 9: RuntimeError: the sensor is lost" in said(Path(f"{path}:series"), options={"fail": True})
    assert "Series 11 of mine.py:series has 2 channels" in said(Path(f"{path}:series"), options={"channels": 3})
    assert "labels of shape (9,)" in said(Path(f"{path}:series"), options={"labels": "few"})
    assert "is text" in said(Path(f"{path}:series"), options={"labels": "mixed"})
    assert "has no function 'nothing'" in said(Path(f"{path}:nothing"))


def test_a_recipe_names_the_file_and_the_function(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    text = (
        "task: classification\nmodel: cnn1d\nstages: [train]\ndata:\n  timeseries: {path: mine.py:series, window: 4}\n"
    )
    recipe.write_text(text)
    assert load_recipe(recipe).data.path == tmp_path / "mine.py:series"  # type: ignore[attr-defined]
    recipe.write_text(text.replace("window: 4", "window: 4, channels: [label]"))
    with pytest.raises(DataError.__mro__[1], match="names 'label'"):
        load_recipe(recipe)


MUTATIONS = 300
TOKENS = (b"nan", b"1e999", b'"', b",", b";", b"\n", b"\0", b"\xff\xfe", b"-", b"\r", b"0" * 400, b"_", b"1", b"walk")


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """The content with a few bytes changed, cut, doubled, or replaced by something that means something."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        start = int(rng.integers(0, max(1, len(changed))))
        length = int(rng.integers(1, 24))
        match rng.integers(0, 5):
            case 0:
                changed[start : start + 1] = rng.bytes(1)
            case 1:
                del changed[start : start + length]
            case 2:
                changed[start:start] = changed[start : start + length]
            case 3:
                changed[start : start + length] = TOKENS[rng.integers(0, len(TOKENS))]
            case 4:
                changed[start : start + 1] = b"0123456789"[start % 10 :][:1]
    return bytes(changed)


def mutated_archive(members: dict[str, bytes], rng: np.random.Generator) -> bytes:
    """An archive whose checksums are right, with one member that is not what it was."""
    found = io.BytesIO()
    victim = rng.choice(list(members))
    with zipfile.ZipFile(found, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, mutated(content, rng) if name == victim else content)
    return found.getvalue() if rng.random() < 0.8 else mutated(found.getvalue(), rng)


@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_whatever_is_in_the_file_is_read_or_refused(kind: str, tmp_path: Path) -> None:
    table = write_csv(tmp_path / "a.csv", rows_of(samples=6)).read_bytes()
    flat = write_npz(tmp_path / "a.npz", x=series_arrays()["x"].reshape(-1, 3), lengths=np.full(12, 8))
    with zipfile.ZipFile(flat) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    rng, path, started, refused = np.random.default_rng(5), tmp_path / f"mutated.{kind}", time.monotonic(), 0
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(table, rng) if kind == "csv" else mutated_archive(members, rng))
        try:
            load(path, channels=("a", "b") if kind == "csv" else None, normalise="per_channel")
        except DataError:
            refused += 1
    # Both ways are taken often: the mutations are neither too coarse nor without effect.
    assert MUTATIONS / 10 < refused < MUTATIONS * 9 / 10
    assert time.monotonic() - started < 15
