"""A YAML file that people write: read with care for its size and encoding, refused with the line."""

from __future__ import annotations

from pathlib import Path

from pipeline import _yaml
from pipeline.errors import RecipeError


def read_document(path: Path, kind: str, mend: str) -> _yaml.Document:
    """Read a file of plain YAML.

    Args:
        path: the file.
        kind: what it should be, for messages: `recipe`.
        mend: how one finds out what may stand in it.

    Raises:
        RecipeError: it cannot be read, or is more than plain YAML.
    """
    try:
        return _yaml.parse(_text(path, kind, mend))
    except _yaml.YamlError as error:
        where = f"{path}, line {error.line}" if error.line else str(path)
        raise RecipeError(f"{where}: {error.what}.", expected="plain YAML", mend=error.mend) from None


def _text(path: Path, kind: str, mend: str) -> str:
    """The file's text; of a huge file, no more is read than it takes to refuse it."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_yaml.MAX_BYTES + 1)
    except FileNotFoundError:
        raise RecipeError(f"There is no {kind} {path}.", expected="a YAML file") from None
    except OSError as error:
        raise RecipeError(
            f"{path} cannot be read: {(error.strerror or str(error)).lower()}.", expected="a YAML file"
        ) from None
    if len(content) > _yaml.MAX_BYTES:
        raise RecipeError(f"{path} is larger than 1 MiB.", expected=f"a {kind}: a page of YAML", mend=mend)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{path} is not text: byte {error.start} is no UTF-8.", expected="a YAML file in UTF-8", mend=mend
        ) from None
