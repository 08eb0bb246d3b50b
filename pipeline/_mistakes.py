"""What is wrong with a recipe, in words: pydantic's findings as sentences that say what, where and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from pipeline import plugins
from pipeline.choice import short, shown
from pipeline.errors import RecipeError

Place = tuple[str | int, ...]

# In the words of YAML, not of Python. Any other finding keeps pydantic's own words.
_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a mapping",
    "path_type": "a path, as text",
    "string_type": "text",
    "tuple_type": "a list",
}


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong: the line it stands on (`line 7`, `--set`, or ''), what, what was expected, the mend."""

    line: str
    what: str
    expected: str = ""
    mend: str = ""


def mistake(found: ErrorDetails, place: Place, line: str, owner: type[BaseModel]) -> Mistake:
    """One finding of pydantic in words.

    Args:
        found: what pydantic says.
        place: the path to it in the recipe as it is written.
        line: where that stands.
        owner: the settings that the last part of `place` is a field of, or should be.
    """
    where, key = dotted(place), str(place[-1]) if place else ""
    if found["type"] == "refusal":
        context = found["ctx"]
        return Mistake(line, f"{where}: {context['what']}", context["expected"], context["mend"])
    if found["type"] == "extra_forbidden":
        return _unknown_key(where, key, line, owner)
    if found["type"] == "missing":
        return Mistake(line, f"{where}: missing", owner.model_fields[key].description or "")
    if found["type"] == "value_error":
        return Mistake(line, f"{where}: {found['msg'].removeprefix('Value error, ')}")
    expected = _EXPECTED.get(found["type"], _plain(found["msg"]))
    return Mistake(line, f"{where}: got {shown(found['input'])}", expected)


def _plain(message: str) -> str:
    """What was expected, out of pydantic's sentence."""
    return message.removeprefix("Input should be ").replace("String should match pattern", "text that matches")


def _unknown_key(where: str, key: str, line: str, owner: type[BaseModel]) -> Mistake:
    known = sorted(owner.model_fields)
    near = plugins.nearest(key, known)
    return Mistake(
        line,
        f"{where}: there is no such setting",
        f"one of: {', '.join(known)}" if known else "no settings: it has none",
        f"did you mean '{near}'?" if near else "",
    )


def recipe_error(name: str, mistakes: list[Mistake]) -> RecipeError:
    """All mistakes of the recipe `name` as one error."""
    if len(mistakes) == 1:
        [only] = mistakes
        before = f"{name}, {only.line}" if only.line else name
        return RecipeError(f"{before}: {only.what}", expected=only.expected, mend=only.mend)
    return RecipeError("\n".join([f"{name} has {len(mistakes)} mistakes.", *map(_listed, mistakes)]))


def _listed(each: Mistake) -> str:
    what = f"{each.line}: {each.what}" if each.line else each.what
    return "  " + str(RecipeError(what, expected=each.expected, mend=each.mend)).replace("\n", "\n  ")


def dotted(place: Place) -> str:
    """A path as people write it, `stages[1].prune.sparsity`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{short(part)}" for part in place]
    return "".join(parts).lstrip(".") or "the recipe"
