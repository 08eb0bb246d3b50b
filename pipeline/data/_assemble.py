"""From examples to a checked Dataset: what every data source has in common."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pipeline.data._spool import Spool
from pipeline.dataset import Dataset, DataSource, Split
from pipeline.errors import DataError
from pipeline.task import Task


@dataclass(frozen=True)
class Examples:
    """A part of the data before it is checked.

    Attributes:
        split: inputs and raw targets.
        digests: what names the content of each input, n bytes objects.
        groups: who or what each stems from, or empty: splits that are made here never share a group.
    """

    split: Split
    digests: tuple[bytes, ...]
    groups: tuple[str, ...] = ()

    @classmethod
    def of(cls, spool: Spool) -> Examples:
        """All examples of a spool."""
        return cls(spool.split(), tuple(spool.digests), tuple(spool.groups) if any(spool.groups) else ())

    def take(self, places: NDArray[np.int64]) -> Examples:
        """The examples at these places, in this order."""
        return Examples(
            self.split.take(places),
            tuple(self.digests[place] for place in places),
            tuple(self.groups[place] for place in places) if self.groups else (),
        )


@dataclass(frozen=True)
class Parts:
    """What a source found.

    Attributes:
        train: examples to train on; the validation split is cut from them unless it is given.
        test: examples that are held out.
        input_shape: of one example, without batch.
        origin: one line for the report.
        validation: or None.
        class_names: what people call the outputs, or empty.
        preprocessing: what was done to raw recordings; the device must do the same. JSON-ready.
        notes: sentences for the report (files that were skipped).
    """

    train: Examples
    test: Examples
    input_shape: tuple[int, ...]
    origin: str
    validation: Examples | None = None
    class_names: tuple[str, ...] = ()
    preprocessing: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class SplitSource(DataSource):
    """What can be set for every source: how the splits are kept apart.

    Class attributes:
        places: settings that only say where the data lies. What it is decides on what the cache may use again.
    """

    places: ClassVar[frozenset[str]] = frozenset(("path",))

    validation_fraction: float = Field(
        0.1, gt=0, lt=1, description="Share of the training examples that is held out for choices."
    )
    overlap: Literal["drop", "refuse"] = Field(
        "drop",
        description="What happens to training examples whose content also lies in a later split: dropped and counted "
        "in the report, or refused.",
    )

    def dataset(self, parts: Parts, task: Task, *, seed: int) -> Dataset:
        """Check the targets, cut the validation split, keep the splits apart by content, and name it all.

        Raises:
            DataError: what is wrong with which split.
        """
        train, num_outputs = _checked(parts.train, task, "training", None)
        test, _ = _checked(parts.test, task, "test", num_outputs)
        if parts.validation is None:
            train, validation = _held_out(train, self.validation_fraction, seed)
        else:
            validation, _ = _checked(parts.validation, task, "validation", num_outputs)
        train, validation, notes = self._apart(train, validation, test)
        return Dataset(
            task=task,
            train=_seen(train, task, "training").split,
            validation=_seen(validation, task, "validation").split,
            test=test.split,
            input_shape=parts.input_shape,
            num_outputs=num_outputs,
            class_names=parts.class_names,
            fingerprint=self._fingerprint(parts, task, seed),
            origin=parts.origin,
            augment=self.augment,
            preprocessing=parts.preprocessing,
            notes=(*parts.notes, *notes),
        )

    def _apart(self, train: Examples, validation: Examples, test: Examples) -> tuple[Examples, Examples, list[str]]:
        """Training and validation without what a later split holds as well, and sentences on what was dropped."""
        validation, from_validation = _without(validation, set(test.digests))
        train, from_train = _without(train, set(test.digests) | set(validation.digests))
        counts = {"training": from_train, "validation": from_validation}
        notes = [
            f"{count} examples of the {name} split also lie in a later split; they were dropped from it"
            for name, count in counts.items()
            if count
        ]
        if notes and self.overlap == "refuse":
            raise DataError(
                f"The splits overlap: {from_train} training and {from_validation} validation examples have the "
                "content of one in a later split.",
                expected="splits that share no example",
                mend="remove the copies, or set overlap: drop",
            )
        return train, validation, notes

    def _fingerprint(self, parts: Parts, task: Task, seed: int) -> str:
        settings = self.model_dump_json(exclude=set(self.places)) + task.model_dump_json()
        digest = hashlib.sha256(f"{type(self).__module__} {settings} {type(task).__module__} {seed}".encode())
        for part in (parts.train, parts.validation, parts.test):
            if part is not None:
                y = part.split.targets()
                digest.update(f"{y.dtype.str}{y.shape}{part.groups}".encode() + b"".join(part.digests))
                digest.update(np.ascontiguousarray(y).data if y.dtype != object else repr(y.tolist()).encode())
        return digest.hexdigest()


def require_classes(names: Sequence[str], where: str) -> tuple[str, ...]:
    """The class names, once there are at least two.

    Raises:
        DataError: there are fewer.
    """
    if len(names) < 2:
        raise DataError(
            f"{where} has {len(names)} classes{f': {names[0]}' if names else ''}.",
            expected="at least two: a folder or a label of its own for each class",
        )
    return tuple(names)


def cut_test(examples: Examples, fraction: float) -> tuple[Examples, Examples]:
    """Cut a test split where the data has none: (the rest, test).

    Whole groups, or the same share of each class. The content decides, never the seed: runs with other seeds are
    measured on the same examples, and copies come to lie together.

    Args:
        examples: all there are.
        fraction: share of the groups, or of each class.
    """
    if examples.groups:
        names = sorted(set(examples.groups), key=lambda name: hashlib.sha256(name.encode()).digest())
        held = np.isin(np.asarray(examples.groups), names[: max(1, round(len(names) * fraction))])
    else:
        held = np.zeros(examples.split.size, bool)
        for places in _of_each_class(examples.split.targets()):
            by_content = sorted(places, key=lambda place: examples.digests[place])
            held[by_content[: max(1, round(len(places) * fraction))]] = True
    return examples.take(np.flatnonzero(~held)), examples.take(np.flatnonzero(held))


def _of_each_class(y: NDArray[Any]) -> list[NDArray[np.int64]]:
    """The places of each class; all places together where targets are no classes."""
    if y.ndim != 1 or y.dtype.kind not in "iu":
        return [np.arange(len(y))]
    return [np.flatnonzero(y == label) for label in np.unique(y)]


def _checked(part: Examples, task: Task, name: str, num_outputs: int | None) -> tuple[Examples, int]:
    if part.split.size == 0:
        raise DataError(f"The {name} split is empty.", expected="at least one example")
    y = task.check_targets(part.split.targets(), name, num_outputs)
    checked = replace(part, split=part.split.with_targets(y))
    return checked, task.num_outputs(y) if num_outputs is None else num_outputs


def _held_out(train: Examples, fraction: float, seed: int) -> tuple[Examples, Examples]:
    """Training and validation examples. Where there are groups, whole groups are held out."""
    rng = np.random.default_rng(seed)
    held = _held_groups(train.groups, fraction, rng) if train.groups else _held_places(train.split.size, fraction, rng)
    if held.all():
        raise DataError(
            f"{train.split.size} training examples leave none to train on once {int(held.sum())} are held out for "
            "validation.",
            expected="more examples, or a smaller validation_fraction",
        )
    return train.take(np.flatnonzero(~held)), train.take(np.flatnonzero(held))


def _held_places(size: int, fraction: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    held = np.zeros(size, bool)
    held[rng.permutation(size)[: max(1, round(size * fraction))]] = True
    return held


def _held_groups(groups: tuple[str, ...], fraction: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    names = np.unique(np.asarray(groups))
    chosen = rng.permutation(names)[: max(1, round(len(names) * fraction))]
    return np.isin(np.asarray(groups), chosen)


def _without(part: Examples, known: set[bytes]) -> tuple[Examples, int]:
    kept = np.array([digest not in known for digest in part.digests], bool)
    dropped = int((~kept).sum())
    return (part.take(np.flatnonzero(kept)) if dropped else part), dropped


def _seen(part: Examples, task: Task, name: str) -> Examples:
    """What training may see of a split."""
    kept = task.keep_for_training(part.split.targets())
    if not kept.any():
        raise DataError(
            f"No example of the {name} split is left to train with.",
            expected="examples that the task can train on and that no later split holds as well",
            mend="check the split for copies, and the settings of the task",
        )
    return part if kept.all() else part.take(np.flatnonzero(kept))
