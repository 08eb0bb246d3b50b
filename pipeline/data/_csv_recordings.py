"""Recordings out of CSV files: a row a sample, read in blocks so that a file may be of any length."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Never

import numpy as np
from numpy.typing import NDArray

from pipeline.data._recordings import Piece, usable
from pipeline.data._sampling import Clock
from pipeline.errors import DataError

ROWS_AT_ONCE = 4096
MOST_LINE_CHARACTERS = 2**20
DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class _Block:
    """Some rows of a file, column by column, and the line that each row ends in."""

    columns: list[tuple[str, ...]]
    lines: list[int]


@dataclass(frozen=True)
class CsvRecordings:
    """The recordings of one CSV file or of all in a folder. Each file has a row of column names.

    Attributes:
        path: the file or folder.
        label: column of the labels.
        subject: column that says whom a row stems from; None makes every recording stand for itself.
        series: column that tells the recordings of a file apart, or None.
        time: column of the times, or None.
        channels: columns that are the inputs; None takes all others that have a name.
        delimiter: between the cells; None takes the one of `DELIMITERS` that the first row has most of.
        decimal: what stands between whole number and fraction.
        clock: what the times are held against.
    """

    path: Path
    label: str
    subject: str | None
    series: str | None
    time: str | None
    channels: tuple[str, ...] | None
    delimiter: str | None
    decimal: str
    clock: Clock

    def pieces(self) -> Iterator[Piece]:
        """All recordings, file by file in the order of their names.

        Raises:
            DataError: a file cannot be read, or a cell is not what it should be: file, row and column are named.
        """
        channels = self.channels
        for file in self._files():
            try:
                with file.open(encoding="utf-8-sig", newline="") as stream:
                    table = _Table.open(self, file, stream, channels)
                    channels = table.channels
                    yield from table.pieces()
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{file} is not UTF-8: {error.reason}.", expected="a CSV file in UTF-8", mend="save it as UTF-8"
                ) from error
            except OSError as error:
                raise DataError(
                    f"{file} cannot be read: {(error.strerror or str(error)).lower()}.", expected="a CSV file"
                ) from error

    def _files(self) -> list[Path]:
        if not self.path.is_dir():
            return [self.path]
        found = sorted(each for each in self.path.iterdir() if each.suffix.lower() == ".csv" and each.name[0] != ".")
        if not found:
            raise DataError(f"{self.path} has no file with a name that ends in .csv.", expected="CSV files")
        return found


@dataclass
class _Table:
    """An open file, and where in its rows things stand."""

    asked: CsvRecordings
    file: Path
    rows: Iterator[tuple[int, list[str]]]
    header: list[str]
    channels: tuple[str, ...]
    recordings: int = 0
    previous: tuple[str, ...] = ()
    previous_time: float = np.nan

    @classmethod
    def open(cls, asked: CsvRecordings, file: Path, stream: IO[str], channels: tuple[str, ...] | None) -> _Table:
        lines = _lines(stream, file)
        first = next(lines, "")
        delimiter = asked.delimiter or max(DELIMITERS, key=first.count)
        rows = _rows(file, itertools.chain([first], lines), delimiter)
        header = [name.strip() for name in next(rows, (0, [""]))[1]]
        if not any(header):
            raise DataError(f"{file} is empty.", expected="a row of column names, and a row for each sample")
        special = {asked.label, asked.subject, asked.series, asked.time}
        found = channels or tuple(name for name in header if name and name not in special)
        table = cls(asked, file, rows, header, found)
        table._check_header(delimiter)
        return table

    def pieces(self) -> Iterator[Piece]:
        blocks = iter(lambda: list(itertools.islice(self.rows, ROWS_AT_ONCE)), [])
        for rows in blocks:
            yield from self._cut(self._block(rows))

    def _check_header(self, delimiter: str) -> None:
        asked = (self.asked.label, self.asked.subject, self.asked.series, self.asked.time, *self.channels)
        for name in filter(None, asked):
            if self.header.count(name) != 1:
                is_missing = name not in self.header
                raise DataError(
                    f"{self.file} has {'no column' if is_missing else 'two columns'} '{name}'.",
                    expected=f"a first row of column names; it is: {', '.join(self.header[:20])} "
                    f"(delimiter {delimiter!r})",
                    mend="name the columns with label, subject, series, time and channels; subject: null says that "
                    "every recording stands for itself; delimiter sets what is between the cells",
                )
        if not self.channels:
            raise DataError(f"{self.file} has no column for a channel.", expected="columns of numbers beside the label")

    def _block(self, rows: list[tuple[int, list[str]]]) -> _Block:
        for line, row in rows:
            if len(row) != len(self.header):
                self._refuse(
                    line,
                    f"has {len(row)} cells",
                    f"{len(self.header)}, as the first row has",
                    "a comma within a number needs another delimiter (';') and decimal: ','",
                )
        return _Block(list(zip(*(row for _, row in rows), strict=True)), [line for line, _ in rows])

    def _cut(self, block: _Block) -> Iterator[Piece]:
        """The block's rows, cut where a recording ends."""
        values = np.stack([self._numbers(block, name) for name in self.channels], axis=1).astype(np.float32)
        labels = self._words(block, self.asked.label)
        keys = [self._words(block, name) for name in (self.asked.subject, self.asked.series) if name]
        starts = self._starts(block, keys)
        places = [*np.unique(np.append(0, np.flatnonzero(starts))).tolist(), len(values)]
        for start, stop in itertools.pairwise(places):
            self.recordings += bool(starts[start])
            yield Piece(
                values[start:stop],
                labels[start:stop],
                self._group([str(key[start]) for key in keys]),
                f"{self.file.name}, recording {self.recordings}",
                self.channels,
            )

    def _starts(self, block: _Block, keys: list[NDArray[np.str_]]) -> NDArray[np.bool_]:
        """Which rows begin a recording, (t,)."""
        count = len(block.lines)
        starts = np.zeros(count, bool)
        for key in keys:
            starts[1:] |= key[1:] != key[:-1]
        starts[0] = self.recordings == 0 or tuple(str(key[0]) for key in keys) != self.previous
        self.previous = tuple(str(key[-1]) for key in keys)
        if self.asked.time:
            times = self._numbers(block, self.asked.time)
            # The last row of the block before goes ahead, so that no step is missed between the two.
            led = np.append(self.previous_time if self.recordings else times[0], times)
            follows = np.append(False, ~starts)
            starts |= self.asked.clock.gaps_before(led, follows, self._where(block.lines[0]))[1:]
            self.previous_time = float(times[-1])
        return starts

    def _group(self, key: list[str]) -> str:
        """The subject; where there is none, the file and the series, however often gaps interrupt it."""
        return key[0] if self.asked.subject else " ".join([self.file.name, *key])

    def _numbers(self, block: _Block, name: str) -> NDArray[np.float64]:
        cells = block.columns[self.header.index(name)]
        if self.asked.decimal != ".":
            cells = tuple(cell.replace(self.asked.decimal, ".") for cell in cells)
        numbers = _parsed(cells)
        if numbers is None:
            self._refuse_cell(block, name, cells)
        return numbers

    def _refuse_cell(self, block: _Block, name: str, cells: tuple[str, ...]) -> Never:
        line, cell = next((line, cell) for line, cell in zip(block.lines, cells, strict=True) if not _is_number(cell))
        is_comma = "," in cell and _is_number(cell.replace(",", "."))
        self._refuse(
            line,
            f"holds {_shown(cell)} in column '{name}'",
            "a finite number",
            "set decimal: ','" if is_comma else "repair or drop the row, or name the channels with channels",
        )

    def _words(self, block: _Block, name: str) -> NDArray[np.str_]:
        cells = [cell.strip() for cell in block.columns[self.header.index(name)]]
        if "" in cells:
            self._refuse(block.lines[cells.index("")], f"has an empty cell in column '{name}'", "a value in each row")
        return np.array(cells)

    def _where(self, line: int) -> str:
        return f"{self.file} (from line {line})"

    def _refuse(self, line: int, what: str, expected: str, mend: str = "") -> Never:
        raise DataError(f"{self.file}, line {line}, {what}.", expected=expected, mend=mend)


def _rows(file: Path, lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, and the line that each ends in."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(
            f"{file}, line {reader.line_num}, is no CSV: {error}.", expected='cells between delimiters, quoted by "'
        ) from error


def _lines(stream: IO[str], file: Path) -> Iterator[str]:
    """The file's lines, none of them longer than memory should hold."""
    while line := stream.readline(MOST_LINE_CHARACTERS):
        if len(line) == MOST_LINE_CHARACTERS:
            raise DataError(f"{file} has a line of more than {len(line)} characters.", expected="a CSV file")
        yield line


def _parsed(cells: Sequence[str]) -> NDArray[np.float64] | None:
    """Cells as numbers, or None where one of them is none that can be used."""
    try:
        numbers = np.array(list(map(float, cells)))
    except ValueError:
        return None
    # Python reads 1_000 as a number; in a file it is a mistake.
    return numbers if usable(numbers).all() and "_" not in "".join(cells) else None


def _is_number(cell: str) -> bool:
    return _parsed([cell]) is not None


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else f"{cell[:40]}…")
