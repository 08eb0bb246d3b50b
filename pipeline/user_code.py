"""`file.py:function`: a function of a user's own python file, run in a child process with the user's folder first on
its path and nothing of ours. It builds a model or yields examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.process import ChildError, Limits, answer, frames

_CHILD = "pipeline._children.user_code"


@dataclass(frozen=True)
class Example:
    """One example of a user's generator: input, target, and who or what it stems from (or '')."""

    x: NDArray[Any]
    y: NDArray[Any]
    group: str


@dataclass(frozen=True)
class UserFunction:
    """A function in a python file.

    Attributes:
        path: the file.
        name: the function.
        options: what it is called with by keyword.
        limits: what it may take.
    """

    path: Path
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=lambda: Limits(silence_s=3600.0))

    @classmethod
    def parse(cls, reference: str | Path, **options: Any) -> UserFunction | None:
        """The function that `file.py:function` names, or None where the text is no such reference."""
        file, colon, name = str(reference).rpartition(":")
        if not colon or not file.endswith(".py") or not name.isidentifier():
            return None
        return cls(Path(file), name, options)

    def __str__(self) -> str:
        return f"{self.path.name}:{self.name}"

    def build_model(self, folder: Path, **offered: Any) -> tuple[Path, str]:
        """Have the function build a Keras model.

        Args:
            folder: where the model is saved.
            offered: what it is told of the data (`input_shape`, `num_classes`), each where it has a parameter for it.

        Returns:
            the saved `.keras` file, and the package that wrote it: `keras` or `tf_keras`. Where the function gave a
            path instead of a model, that path, and ''.

        Raises:
            ChildError: there is no such file or function; it failed, crashed, or gave something else.
        """
        found = answer(_CHILD, self._request("model", offered, folder=str(folder)), self.limits).header
        return Path(found["path"]), found["keras"]

    def examples(self, **offered: Any) -> Iterator[Example]:
        """Have the function yield examples; one at a time is in memory.

        Raises:
            ChildError: as `build_model`.
        """
        is_end = False
        for frame in frames(_CHILD, self._request("examples", offered), self.limits):
            is_end = "is_end" in frame.header
            if not is_end:
                x, y = _arrays(frame.header["arrays"], frame.payload)
                yield Example(x, y, frame.header["group"])
        # A process that leaves in the middle says it ended well, too.
        if not is_end:
            raise ChildError("left before its last example", mend="let the generator return instead of ending Python")

    def _request(self, want: str, offered: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        path = self.path.expanduser().absolute()
        if not path.is_file():
            raise ChildError("is not there", expected="a python file", mend="paths are relative to the recipe")
        asked = {"path": str(path), "function": self.name, "options": dict(self.options)}
        return {**asked, "want": want, "offered": dict(offered), **more}


def _arrays(specs: list[dict[str, Any]], payload: bytes) -> Iterator[NDArray[Any]]:
    start = 0
    for spec in specs:
        dtype, shape = np.dtype(spec["dtype"]), tuple(spec["shape"])
        array: NDArray[Any] = np.frombuffer(payload, dtype, int(np.prod(shape)), start).reshape(shape)
        start += array.nbytes
        yield array
