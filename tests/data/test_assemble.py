"""From examples to a Dataset: splits that share no content and no group, whatever the source."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.data._assemble import Examples, Parts, SplitSource, cut_test, require_classes
from pipeline.data._spool import Spool
from pipeline.dataset import Dataset, Split
from pipeline.errors import DataError
from pipeline.progress import Progress
from pipeline.task import Task
from pipeline.tasks.classification import Classification
from tests.data.files import load


class Given(SplitSource):
    """A source of numbers that a test gives: each is the content of an example, and what it is modulo 2 its class."""

    train: tuple[int, ...]
    test: tuple[int, ...]
    validation: tuple[int, ...] | None = None
    groups: tuple[str, ...] = ()

    def load(self, task: Task, *, seed: int, progress: Progress) -> Dataset:
        validation = None if self.validation is None else examples(self.validation)
        parts = Parts(examples(self.train, self.groups), examples(self.test), (1,), "given", validation=validation)
        return self.dataset(parts, task, seed=seed)


def examples(numbers: tuple[int, ...], groups: tuple[str, ...] = ()) -> Examples:
    spool = Spool((1,), np.int32)
    for place, number in enumerate(numbers):
        spool.add(np.array([number]), number % 2, group=groups[place] if groups else "", source="a test")
    return Examples.of(spool)


def numbers(split: Split) -> list[int]:
    return [int(x[0]) for batch, _ in split.batches(7) for x in batch]


def test_every_example_lies_in_one_split_with_its_own_target() -> None:
    data = load(Given(train=tuple(range(40)), test=tuple(range(100, 110)), validation_fraction=0.25))
    splits = [numbers(each) for each in (data.train, data.validation, data.test)]
    assert sorted(splits[0] + splits[1]) == list(range(40))
    assert [len(each) for each in splits] == [30, 10, 10]
    for split in (data.train, data.validation, data.test):
        assert [number % 2 for number in numbers(split)] == split.targets().tolist()


def test_the_seed_decides_which_are_held_out() -> None:
    source = Given(train=tuple(range(40)), test=(100, 101))
    held = [numbers(load(source, seed).validation) for seed in (1, 1, 2)]
    assert held[0] == held[1] != held[2]


def test_copies_of_test_examples_leave_training_and_validation() -> None:
    data = load(Given(train=(*range(20), 100, 101, 100), test=(100, 101, 102), validation_fraction=0.5))
    seen = numbers(data.train) + numbers(data.validation)
    assert sorted(seen) == list(range(20))
    assert numbers(data.test) == [100, 101, 102]
    assert sum(int(note.split()[0]) for note in data.notes) == 3
    assert all("also lie in a later split" in note for note in data.notes)


def test_copies_within_training_never_lie_on_both_sides_of_validation() -> None:
    data = load(Given(train=tuple(range(20)) * 3, test=(100, 101), validation_fraction=0.2))
    assert not set(numbers(data.train)) & set(numbers(data.validation))


def test_a_given_validation_split_is_kept_apart_too() -> None:
    data = load(Given(train=tuple(range(20)), validation=(5, 6, 30, 100), test=(100, 101)))
    assert numbers(data.validation) == [5, 6, 30]
    assert set(numbers(data.train)) == set(range(20)) - {5, 6}


def test_overlap_can_be_refused() -> None:
    with pytest.raises(DataError, match="1 training and 0 validation examples") as caught:
        load(Given(train=tuple(range(20)), validation=(30, 31), test=(7, 101), overlap="refuse"))
    assert "overlap: drop" in caught.value.mend
    load(Given(train=tuple(range(20)), validation=(30, 31), test=(100, 101), overlap="refuse"))


def test_training_on_nothing_but_copies_is_refused() -> None:
    with pytest.raises(DataError, match="No example of the training split is left"):
        load(Given(train=(0, 1, 2, 3), validation=(8, 9), test=(0, 1, 2, 3)))


def test_groups_are_held_out_whole() -> None:
    groups = tuple("abcdefghij"[place // 4] for place in range(40))
    data = load(Given(train=tuple(range(40)), test=(100, 101), groups=groups, validation_fraction=0.3))
    sides = [{groups[number] for number in numbers(each)} for each in (data.train, data.validation)]
    assert not sides[0] & sides[1]
    assert (len(sides[0]), len(sides[1]), data.validation.size) == (7, 3, 12)


def test_one_group_cannot_be_held_out_of_itself() -> None:
    with pytest.raises(DataError, match="leave none to train on"):
        load(Given(train=(0, 1, 2, 3), test=(100, 101), groups=("a",) * 4))


def test_calibration_is_balanced_over_the_classes() -> None:
    few_odd = tuple(number for number in range(200) if number % 2 == 0 or number % 20 == 1)
    chosen = load(Given(train=few_odd, test=(1000, 1001))).calibration(12, seed=3)
    assert int((chosen % 2 == 1).sum()) == 6


def test_a_test_split_is_cut_by_content_with_each_class_in_its_share() -> None:
    found = examples(tuple(range(50)))
    rest, test = cut_test(found, 0.2)
    assert np.bincount(test.split.targets()).tolist() == [5, 5]
    assert sorted(numbers(rest.split) + numbers(test.split)) == list(range(50))
    backwards = cut_test(examples(tuple(reversed(range(50)))), 0.2)[1]
    assert set(numbers(backwards.split)) == set(numbers(test.split))


def test_a_test_split_takes_groups_whole() -> None:
    groups = tuple("abcde"[place // 10] for place in range(50))
    rest, test = cut_test(examples(tuple(range(50)), groups), 0.2)
    assert (len(set(test.groups)), test.split.size) == (1, 10)
    assert not set(rest.groups) & set(test.groups)


CHANGES: dict[str, dict[str, Any]] = {
    "an example": {"train": (0, 1, 2, 3, 4, 6)},
    "the order": {"train": (1, 0, 2, 3, 4, 5)},
    "a test example": {"test": (100, 103)},
    "a setting": {"validation_fraction": 0.3},
    "groups": {"groups": tuple("aabbcc")},
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_fingerprint_follows(name: str) -> None:
    given: dict[str, Any] = {"train": (0, 1, 2, 3, 4, 5), "test": (100, 101)}
    assert load(Given(**given)).fingerprint == load(Given(**given)).fingerprint
    assert load(Given(**given)).fingerprint != load(Given(**{**given, **CHANGES[name]})).fingerprint


def test_targets_are_part_of_the_fingerprint() -> None:
    def fingerprint(y: NDArray[np.int64]) -> str:
        spool = Spool((1,), np.int32)
        spool.extend(np.arange(6)[:, None], y)
        parts = Parts(Examples.of(spool), examples((100, 101)), (1,), "given")
        return Given(train=(), test=()).dataset(parts, Classification(), seed=0).fingerprint

    assert fingerprint(np.array([0, 1, 0, 1, 0, 1])) != fingerprint(np.array([0, 1, 0, 1, 1, 0]))


def test_empty_splits_are_named() -> None:
    with pytest.raises(DataError, match="The test split is empty"):
        load(Given(train=(0, 1), test=()))


def test_one_class_is_none() -> None:
    assert require_classes(["a", "b"], "here") == ("a", "b")
    with pytest.raises(DataError, match="here has 1 classes: a"):
        require_classes(["a"], "here")
