"""The tables of a task: its figures, the confusion matrix, the pairs that are confused most, a row a class or output.

Everywhere int8 is shown, and beside it what changed against float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.report import _format as fmt
from pipeline.report import _summary as summary
from pipeline.report._json import JsonObject

MOST_CLASSES = 30
"""Beyond so many classes nobody reads a matrix."""

DENSE_FROM = 13
"""From so many classes on, the cells are drawn small."""


@dataclass(frozen=True)
class MatrixCell:
    """How many examples of one class were taken for another: `change` against float32, `share` of the true class."""

    count: int
    change: str
    share: float
    right: bool


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix: a row a true class, a column a predicted one.

    Attributes:
        names: of the classes.
        rows: their cells.
        dense: whether there are so many that they must be small.
        long: whether a name is too long to stand above a narrow column.
    """

    names: list[str]
    rows: list[list[MatrixCell]]
    dense: bool
    long: bool


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what is shown, what changed against float32 (or nothing), and what it is sorted by."""

    text: str
    change: str
    value: object
    is_name: bool = False


@dataclass(frozen=True)
class RowTable:
    """A table with a row a class, label or output."""

    title: str
    headings: list[str]
    rows: list[list[Cell]]


def figures(document: JsonObject) -> list[tuple[str, str, str]]:
    """The task's plain figures in words: name, float32, int8."""
    before, after = (document[part]["details"] for part in ("baseline", "artifact"))
    names = [name for name in dict.fromkeys([*before, *after]) if not _nested(before.get(name) or after.get(name))]
    return [
        (summary.title(name), fmt.score(name, before.get(name)), fmt.score(name, after.get(name))) for name in names
    ]


def notes(document: JsonObject) -> list[str]:
    """The sentences that explain the figures, each once."""
    found = [document[part]["details"].get("notes") for part in ("baseline", "artifact")]
    return list(dict.fromkeys(note for notes in found if isinstance(notes, list) for note in notes))


def confusion(document: JsonObject) -> Matrix | None:
    """The int8 model's confusion matrix, where it has one that can be read."""
    before, after = (document[part]["details"].get("confusion_matrix") for part in ("baseline", "artifact"))
    if not after or len(after) > MOST_CLASSES:
        return None
    names = [summary.output_name(document, k) for k in range(len(after))]
    rows = [
        [_matrix_cell(i, j, after, before if before and len(before) == len(after) else None) for j in range(len(after))]
        for i in range(len(after))
    ]
    return Matrix(names, rows, len(after) >= DENSE_FROM, max(map(len, names)) > 4)


def confused_pairs(document: JsonObject) -> list[tuple[str, str, Any, Any]]:
    """Where there are too many classes for a matrix: true class, predicted class, float32 count, int8 count."""
    before, after = (document[part]["details"] for part in ("baseline", "artifact"))
    if confusion(document) is not None:
        return []
    listed = {(pair["true"], pair["predicted"]): pair["count"] for pair in before.get("most_confused") or []}
    matrix = before.get("confusion_matrix")
    pairs = []
    for pair in after.get("most_confused") or []:
        i, j = pair["true"], pair["predicted"]
        earlier = matrix[i][j] if matrix else listed.get((i, j))
        pairs.append((summary.output_name(document, i), summary.output_name(document, j), earlier, pair["count"]))
    return pairs


def row_tables(document: JsonObject) -> list[RowTable]:
    """A table for each `per_…` of the details."""
    before, after = (document[part]["details"] for part in ("baseline", "artifact"))
    return [
        _row_table(document, name, rows, before.get(name) or [])
        for name, rows in after.items()
        if name.startswith("per_") and isinstance(rows, list) and rows and all(isinstance(row, Mapping) for row in rows)
    ]


def _nested(value: object) -> bool:
    return isinstance(value, Mapping | list)


def _matrix_cell(i: int, j: int, after: list[list[int]], before: list[list[int]] | None) -> MatrixCell:
    count, total = after[i][j], sum(after[i])
    change = count - before[i][j] if before else 0
    return MatrixCell(count, fmt.signed(change, 0) if change else "", count / total if total else 0.0, i == j)


def _row_table(document: JsonObject, name: str, rows: list[JsonObject], before: list[JsonObject]) -> RowTable:
    key, *columns = rows[0]
    earlier = {row.get(key): row for row in before}
    cells = [
        [
            Cell(summary.output_name(document, row[key]), "", row[key], is_name=True),
            *(_cell(column, row.get(column), earlier.get(row[key], {}).get(column)) for column in columns),
        ]
        for row in rows
    ]
    return RowTable(summary.title(name), [summary.title(column) for column in (key, *columns)], cells)


def _cell(name: str, value: Any, before: Any) -> Cell:
    return Cell(fmt.score(name, value), fmt.change(name, before, value), "" if value is None else value)
