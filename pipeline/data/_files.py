"""Sources of one example a file: which files there are, what they are called, and those that cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.data._archive import Entry, UnreadableError, entries
from pipeline.data._assemble import Examples, Parts, SplitSource, cut_test, require_classes
from pipeline.data._file_names import Said, check_pattern, class_order, has_field, read_name, without_shared_folders
from pipeline.data._spool import Spool
from pipeline.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.progress import Progress

NAMED_IN_MESSAGES = 3


@dataclass(frozen=True)
class Decoding:
    """How a file becomes an input.

    Attributes:
        decode: from the file's bytes to the input; raises UnreadableError.
        new_spool: an empty spool for such inputs.
        preprocessing: the same in words, for the report and the device. JSON-ready.
    """

    decode: Callable[[bytes], NDArray[Any]]
    new_spool: Callable[[], Spool]
    preprocessing: dict[str, Any]


@dataclass
class _Unusable:
    """Files that could not be used, and why."""

    total: int
    why: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{len(self.why)} of {self.total} files cannot be used: {_first(self.why)}"


class FileSource(SplitSource):
    """What can be set for every source of one example a file."""

    suffixes: ClassVar[frozenset[str]]
    """Of the files that are looked at, in small letters with their dot."""

    path: Path = Field(description="A folder, or a .zip that is read without unpacking it; relative to the recipe.")
    labels: str = Field(
        "folder",
        description="Where the class of a file stands: 'folder' for a folder a class, or a pattern for the end of its "
        "path without the suffix, such as '{label}_{group}_{index}' or '{label}/{group}_{_}'. Files of one {group} "
        "never lie in two splits that are cut here; {_} stands for anything.",
    )
    test_indices_below: int | None = Field(
        None, ge=1, description="Files whose {index} is less are the test split, whatever their group."
    )
    test_fraction: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Share of each class (or of the groups) that becomes the test split where the data names none; "
        "which files these are depends on their content alone, not on the seed.",
    )
    unreadable: Literal["refuse", "skip"] = Field(
        "refuse", description="What happens to files that cannot be read: refused, or skipped and named in the report."
    )

    @field_validator("labels")
    @classmethod
    def _is_pattern(cls, labels: str) -> str:
        return labels if labels == "folder" else check_pattern(labels)

    @model_validator(mode="after")
    def _indices_are_named(self) -> Self:
        if self.test_indices_below is not None and not has_field(self.labels, "index"):
            raise ValueError("test_indices_below needs a pattern with {index} in labels")
        return self

    def read(self, decoding: Decoding, progress: Progress) -> Parts:
        """Read every file, one at a time.

        Raises:
            DataError: there are no such files, or some cannot be used and none may be skipped.
        """
        with entries(self.path, self.suffixes) as found:
            files = [entry for entry in found if self._is_ours(entry.name)]
            others = [entry.name for entry in found if not self._is_ours(entry.name)]
            if not files:
                raise DataError(
                    f"{self.path} has no file with a name that ends in {', '.join(sorted(self.suffixes))}.",
                    expected="a folder a class with such files, or what data.*.labels says",
                )
            said = self._said([entry.name for entry in files])
            names = require_classes(class_order([each.label for each in said if each]), str(self.path))
            unusable = _Unusable(len(files))
            spools = _spooled(list(zip(files, said, strict=True)), names, decoding, unusable, progress)
        notes = [str(unusable) + "; they were skipped"] if unusable.why else []
        if unusable.why and self.unreadable == "refuse":
            raise DataError(
                f"In {self.path}, {unusable}.",
                expected="files that can all be used",
                mend="repair or remove them, or set unreadable: skip",
            )
        if others:
            notes.append(f"{len(others)} files of other kinds were left aside: {_first(others)}")
        return self._parts(spools, names, decoding.preprocessing, tuple(notes))

    def _is_ours(self, name: str) -> bool:
        return PurePosixPath(name).suffix.lower() in self.suffixes

    def _said(self, names: Sequence[str]) -> list[Said | None]:
        folders = 1 if self.labels == "folder" else self.labels.count("/")
        shorter, has_splits = without_shared_folders(names, folders)
        return [self._with_split(read_name(name, self.labels, has_splits)) for name in shorter]

    def _with_split(self, said: Said | None) -> Said | None:
        if said is None or self.test_indices_below is None or said.index is None:
            return said
        split = "test" if said.index < self.test_indices_below else said.split
        return Said(split, said.label, said.group, said.index)

    def _parts(
        self, spools: dict[str, Spool], names: tuple[str, ...], preprocessing: dict[str, Any], notes: tuple[str, ...]
    ) -> Parts:
        if not spools.get("train"):
            raise DataError(f"{self.path} has no file to train on.", expected="files outside the test split")
        train = Examples.of(spools["train"])
        train, test = (train, Examples.of(spools["test"])) if "test" in spools else cut_test(train, self.test_fraction)
        return Parts(
            train,
            test,
            spools["train"].shape,
            f"{self.path.name} ({type(self).__module__.rsplit('.', 1)[-1]})",
            validation=Examples.of(spools["validation"]) if "validation" in spools else None,
            class_names=names,
            preprocessing=preprocessing,
            notes=notes,
        )


def _spooled(
    files: list[tuple[Entry, Said | None]],
    names: tuple[str, ...],
    decoding: Decoding,
    unusable: _Unusable,
    progress: Progress,
) -> dict[str, Spool]:
    """A spool for each split that the names speak of; what does not say is for training."""
    spools: dict[str, Spool] = {}
    outputs = {name: place for place, name in enumerate(names)}
    with progress.bar("reading", len(files)) as bar:
        for entry, said in files:
            bar.advance()
            try:
                if said is None:
                    raise UnreadableError("has a name that does not say its class")
                x = decoding.decode(entry.read())
            except UnreadableError as error:
                unusable.why.append(f"{entry.name} {error}")
                continue
            except DataError as error:
                raise DataError(f"{entry.name} {error.what}", expected=error.expected, mend=error.mend) from None
            split = said.split or "train"
            if split not in spools:
                spools[split] = decoding.new_spool()
            spools[split].add(x, outputs[said.label], group=said.group, source=entry.name)
    return spools


def _first(names: Sequence[str]) -> str:
    more = f"; and {len(names) - NAMED_IN_MESSAGES} more" if len(names) > NAMED_IN_MESSAGES else ""
    return "; ".join(names[:NAMED_IN_MESSAGES]) + more
