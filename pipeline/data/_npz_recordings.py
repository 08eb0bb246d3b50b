"""Recordings out of an .npz: series of one length, or of several lengths one behind the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data._npz_reading import NpzArchive, open_npz
from pipeline.data._recordings import Piece, checked_values
from pipeline.errors import DataError

SERIES, LENGTHS = "x", "lengths"


@dataclass(frozen=True)
class NpzRecordings:
    """The series of an archive: its array `x` is (n, time, channels); or (time, channels) beside `lengths` (n,).

    Attributes:
        path: the .npz file.
        label: name of the array of labels: (n,), or one a sample: (n, time) or (time,).
        subject: name of the array that says whom each series stems from, (n,), or None.
    """

    path: Path
    label: str
    subject: str | None

    def pieces(self) -> Iterator[Piece]:
        """All series in order; no more than a few megabytes of them are in memory.

        Raises:
            DataError: an array is missing or damaged, or does not fit the others.
        """
        with open_npz(self.path) as archive:
            self._check_keys(archive)
            shape = archive.header(SERIES).shape
            lengths = self._lengths(archive, shape)
            labels = self._labels(archive, lengths)
            groups = self._groups(archive, len(lengths))
            for series, first, values in _parts(archive, shape, lengths):
                name = f"Series {series} of {self.path.name}"
                last = first + len(values)
                yield Piece(
                    checked_values(values, name, first), labels.of(series, first, last), groups[series] or name, name
                )

    def _check_keys(self, archive: NpzArchive) -> None:
        own = [name.removesuffix(".npy") for name in archive.archive.namelist()]
        for key in filter(None, (SERIES, self.label, self.subject)):
            if key not in own:
                raise DataError(
                    f"{self.path} has no array '{key}'.",
                    expected=f"'{SERIES}' with the series, '{self.label}' and '{self.subject}'; "
                    f"it has {', '.join(own) or 'none'}",
                    mend=f"name the arrays of labels and subjects with label and subject, and save the series as "
                    f"'{SERIES}'; subject: null says that every series stands for itself",
                )

    def _lengths(self, archive: NpzArchive, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """How many samples each series has, (n,)."""
        if len(shape) == 3:
            return np.full(shape[0], shape[1])
        if len(shape) != 2:
            self._refuse(SERIES, f"has shape {shape}", "(n, time, channels), or (time, channels) beside lengths (n,)")
        if f"{LENGTHS}.npy" not in archive.archive.namelist():
            self._refuse(SERIES, f"has shape {shape}, and there is no array '{LENGTHS}'", "the length of each series")
        lengths = archive.whole(LENGTHS)
        if lengths.ndim != 1 or lengths.dtype.kind not in "iu":
            self._refuse(LENGTHS, f"has shape {lengths.shape} and type {lengths.dtype}", "whole numbers, (n,)")
        # As Python's numbers, for a damaged one must not make the sum wrap around.
        total = sum(map(int, lengths))
        if total != shape[0] or (lengths < 0).any():
            self._refuse(LENGTHS, f"adds up to {total}, and '{SERIES}' has {shape[0]} samples", "the same number")
        return lengths.astype(np.int64)

    def _labels(self, archive: NpzArchive, lengths: NDArray[np.int64]) -> _Labels:
        labels = archive.whole(self.label)
        flat = labels.ravel()
        per_series, per_sample = len(lengths), int(lengths.sum())
        if labels.dtype.kind not in "iufbU" or len(flat) not in (per_series, per_sample):
            self._refuse(
                self.label,
                f"has shape {labels.shape} and type {labels.dtype}",
                f"text or numbers, one for each of the {per_series} series or of the {per_sample} samples",
            )
        return _Labels(flat, None if len(flat) == per_series else np.cumsum(lengths) - lengths)

    def _groups(self, archive: NpzArchive, series: int) -> list[str]:
        if self.subject is None:
            return [""] * series
        groups = archive.whole(self.subject)
        if groups.shape != (series,) or groups.dtype.kind not in "iuU":
            self._refuse(
                self.subject,
                f"has shape {groups.shape} and type {groups.dtype}",
                f"text or whole numbers, one for each of the {series} series",
            )
        return [str(group) for group in groups.tolist()]

    def _refuse(self, key: str, what: str, expected: str) -> None:
        raise DataError(f"The array '{key}' of {self.path} {what}.", expected=expected)


@dataclass(frozen=True)
class _Labels:
    """Labels of the series, (n,); or of the samples, with the place where each series `starts` (n,)."""

    flat: NDArray[Any]
    starts: NDArray[np.int64] | None

    def of(self, series: int, first: int, last: int) -> NDArray[Any]:
        """The labels of some samples of a series, (last - first,)."""
        if self.starts is None:
            return np.broadcast_to(self.flat[series], last - first)
        start = int(self.starts[series])
        return self.flat[start + first : start + last]


def _parts(
    archive: NpzArchive, shape: tuple[int, ...], lengths: NDArray[np.int64]
) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """Samples (t, channels) that follow each other; before them, which series it is, and which sample is the first."""
    ends, place = np.cumsum(lengths), 0
    for chunk in archive.chunks(SERIES):
        samples = chunk.reshape(math.prod(chunk.shape[: len(shape) - 1]), shape[-1])
        inner = ends[(ends > place) & (ends < place + len(samples))]
        for values in np.split(samples, np.unique(inner) - place):
            if len(values):
                series = int(np.searchsorted(ends, place, side="right"))
                yield series, place - int(ends[series] - lengths[series]), values
                place += len(values)
