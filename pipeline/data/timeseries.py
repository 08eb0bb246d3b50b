"""timeseries: windows of sensor recordings (CSV, .npz or one's own generator), split by the people they stem from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from pipeline.data._assemble import Examples, Parts, SplitSource, cut_test
from pipeline.data._csv_recordings import CsvRecordings
from pipeline.data._labels import as_classes, from_text
from pipeline.data._npz_recordings import NpzRecordings
from pipeline.data._recordings import Piece, python_pieces
from pipeline.data._sampling import Clock, GapRule
from pipeline.data._scaling import normalised
from pipeline.data._windows import LabelRule, Windows
from pipeline.errors import DataError
from pipeline.user_code import UserFunction

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from pipeline.progress import Progress
    from pipeline.task import Task

LEAST_SUBJECTS = 3


class TimeSeries(SplitSource):
    """Windows (time, channels) of recordings. Nobody is in two splits: windows of one person are too much alike."""

    path: Path = Field(
        description="A CSV file or a folder of them, an .npz with the array x (n, time, channels), or (time, channels) "
        "beside lengths (n,); or file.py:function, which yields (series, label, subject)."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="What the function is called with by keyword.")
    window: int = Field(ge=1, description="Samples of a window.")
    hop: int | None = Field(None, ge=1, description="Samples from one window to the next; default: the window.")
    label: str = Field("label", description="The column, or the array, of the labels.")
    subject: str | None = Field(
        "subject",
        description="The column, or the array, that says whom a recording stems from; null: every recording stands "
        "for itself.",
    )
    series: str | None = Field(None, description="The column that tells the recordings of a CSV file apart.")
    channels: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="The columns that are the inputs; default: all others. Other files' channels are called so.",
    )
    label_rule: LabelRule = Field(
        "same",
        description="Label of a window: 'same' leaves out windows in which it changes, 'majority' takes the most "
        "frequent one.",
    )
    normalise: Literal["per_channel"] | None = Field(
        None,
        description="per_channel: (x - mean) / deviation of each channel, both measured on the training split and "
        "written into the manifest; the device does the same before it quantizes.",
    )
    test_subjects: tuple[str | int, ...] | None = Field(
        None, min_length=1, description="Who is held out for the test; default: a share of all."
    )
    test_subject_fraction: float = Field(
        0.2, gt=0, lt=1, description="Share of the subjects that is held out for the test where none are named."
    )
    time: str | None = Field(None, description="The CSV column of the times; steps between rows are checked with it.")
    interval: float | None = Field(
        None, gt=0, description="The right step of time, in its unit; default: the median of the first ones."
    )
    time_tolerance: float = Field(0.5, gt=0, lt=1, description="Share of the interval that a step may differ from it.")
    gaps: GapRule = Field("refuse", description="What a larger difference is: refused, or the end of a recording.")
    delimiter: str | None = Field(
        None, min_length=1, max_length=1, description="Between the cells of a CSV file; default: as its first row has."
    )
    decimal: Literal[".", ","] = Field(".", description="What stands before the fraction of a number in a CSV file.")

    @model_validator(mode="after")
    def _columns_differ(self) -> Self:
        channels = self.channels or ()
        others = (self.label, self.subject, self.series, self.time)
        for name in channels:
            if name in others or channels.count(name) > 1:
                raise ValueError(f"channels names '{name}', which is named before as another column or as a channel")
        if self.delimiter is not None and self.delimiter in f'{self.decimal}"\r\n':
            raise ValueError(f"the delimiter cannot be {self.delimiter!r}, which has another meaning in the file")
        return self

    def load(self, task: Task, *, seed: int, progress: Progress) -> Dataset:
        clock = Clock(self.time_tolerance, self.gaps, self.interval)
        windows = Windows(self.window, self.hop or self.window, self.label_rule)
        progress.note(f"cutting {self.path.name} into windows of {self.window} samples")
        spool = windows.cut(self._pieces(clock))
        examples, names = self._labelled(Examples.of(spool))
        train, test = self._split(examples)
        parts = Parts(
            train,
            test,
            spool.shape,
            f"{self.path.name} (timeseries)",
            class_names=names,
            preprocessing=self._preprocessing(windows.channels, spool.shape[1], clock.interval),
            notes=(*windows.notes(), *_note_on(clock)),
        )
        data = self.dataset(parts, task, seed=seed)
        return normalised(data) if self.normalise else data

    def _pieces(self, clock: Clock) -> Iterator[Piece]:
        function = UserFunction.parse(self.path, **self.options)
        if function is not None:
            return python_pieces(function)
        if not self.path.exists():
            raise DataError(
                f"There is no file {self.path}.",
                expected="a CSV file, a folder of them, an .npz, or file.py:function",
                mend="set data.timeseries.path; it is relative to the recipe",
            )
        if self.path.suffix.lower() == ".npz":
            return NpzRecordings(self.path, self.label, self.subject).pieces()
        return CsvRecordings(
            self.path,
            self.label,
            self.subject,
            self.series,
            self.time,
            self.channels,
            self.delimiter,
            self.decimal,
            clock,
        ).pieces()

    def _labelled(self, examples: Examples) -> tuple[Examples, tuple[str, ...]]:
        y = examples.split.targets()
        is_csv = UserFunction.parse(self.path) is None and self.path.suffix.lower() != ".npz"
        labels, names = as_classes(from_text(y) if is_csv else y)
        return replace(examples, split=examples.split.with_targets(labels)), names

    def _split(self, examples: Examples) -> tuple[Examples, Examples]:
        """Training and test examples, of different people."""
        people = sorted(set(examples.groups))
        if len(people) < LEAST_SUBJECTS:
            raise DataError(
                f"{self.path} has windows of {len(people)} subjects only: {', '.join(people)}.",
                expected="at least three: to train on, to choose by and to test with",
                mend="name the column or array of the subjects with subject, or set subject: null, by which every "
                "recording stands for itself",
            )
        if self.test_subjects is None:
            return cut_test(examples, self.test_subject_fraction)
        asked = {str(each) for each in self.test_subjects}
        unknown = sorted(asked - set(people))
        if unknown or not set(people) - asked:
            raise DataError(
                f"The test subjects {'name ' + unknown[0] + ', of whom there is no window' if unknown else 'are all'}.",
                expected=f"some of: {', '.join(people)}",
                mend="set data.timeseries.test_subjects",
            )
        held = np.isin(np.asarray(examples.groups), sorted(asked))
        return examples.take(np.flatnonzero(~held)), examples.take(np.flatnonzero(held))

    def _preprocessing(self, found: tuple[str, ...], channels: int, interval: float | None) -> dict[str, Any]:
        names = found or self.channels or ()
        if names and len(names) != channels:
            raise DataError(
                f"The recordings have {channels} channels, and {len(names)} are named.",
                expected="a name for each",
                mend="set data.timeseries.channels",
            )
        return {
            "window": self.window,
            "hop": self.hop or self.window,
            "channels": list(names),
            "interval": interval,
        }


def _note_on(clock: Clock) -> list[str]:
    return [f"at {clock.gaps} gaps in time a new recording begins"] if clock.gaps else []
