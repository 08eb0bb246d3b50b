"""A recipe as it was written: plain values, the line of each, and what `--set` put over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline import _yaml, plugins
from pipeline._mistakes import Place, dotted
from pipeline._yaml_file import read_document
from pipeline.choice import shown
from pipeline.errors import RecipeError

# How many words of a path stand before a plugin's name. People leave the name out; as written, it is there.
PLUGIN_AT = {"task": 1, "data": 1, "model": 1, "stages": 2, "targets": 2}


class WrittenRecipe:
    """What stands in the file, not yet held against what a recipe is.

    Attributes:
        path: the file.
        values: its plain values, a mapping.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            RecipeError: it cannot be read, or is no mapping in plain YAML.
        """
        self.path = path
        document = read_document(path, "recipe", _SEE_SCHEMA)
        if not isinstance(document.value, dict):
            what = "is empty" if document.value is None else f"holds {shown(document.value)}"
            raise RecipeError(f"{path} {what}.", expected="a mapping with the keys of a recipe", mend=_SEE_SCHEMA)
        self.values: dict[str, Any] = document.value
        self._lines: dict[Place, str] = {place: f"line {line}" for place, line in document.lines.items() if place}

    def override(self, text: str) -> None:
        """Put one `KEY=VALUE` over what was written.

        Raises:
            RecipeError: the key leads nowhere, or the value is no plain YAML.
        """
        key, sign, value = text.partition("=")
        keys = key.strip().split(".")
        if not sign or not all(keys) or len(keys) > _yaml.MAX_DEPTH:
            raise RecipeError(f"--set {text}: that is no setting.", expected="KEY=VALUE, stages.prune.sparsity=0.9")
        try:
            parsed = _yaml.parse(value).value
        except _yaml.YamlError as error:
            raise RecipeError(f"--set {text}: {error.what}.", expected="a YAML value", mend=error.mend) from None
        self._put(self._place_of(keys), parsed)

    def line_of(self, place: Place) -> str:
        """Where a place stands, `line 7` or `--set`: its own line or that of the nearest thing around it."""
        around = (place[:end] for end in range(len(place), 0, -1))
        return next((self._lines[each] for each in around if each in self._lines), "")

    def as_written(self, place: Place) -> Place:
        """A path to a setting with the plugin's name in it: stages[1].sparsity is written stages[1].prune.sparsity."""
        depth = PLUGIN_AT.get(str(place[0])) if place else None
        if depth is None or len(place) <= depth:
            return place
        name = _plugin_name(self._value(place[:depth]))
        return (*place[:depth], name, *place[depth:])

    def _place_of(self, keys: list[str]) -> Place:
        """Where the value of a dotted key belongs."""
        # Devices go by their place in the list alone: several may be of one kind.
        depth = 0 if keys[0] == "targets" else PLUGIN_AT.get(keys[0], 0)
        if not depth or len(keys) == 1:
            return tuple(keys)
        slot: Place = (keys[0],) if depth == 1 else ("stages", self._stage(keys[1]))
        name, rest = _plugin_name(self._value(slot)), keys[depth:]
        if not rest and keys[-1].isdecimal():
            return slot
        # Where no plugin is named yet, the key must name it itself.
        return (*slot, *rest) if not name or rest[:1] == [name] else (*slot, name, *rest)

    def _stage(self, key: str) -> int:
        """The place in the list of a stage that goes by its name or number."""
        written = self.values.get("stages")
        stages = [_plugin_name(each) for each in written] if isinstance(written, list) else []
        if key.isdecimal() and int(key) < len(stages):
            return int(key)
        if stages.count(key) == 1:
            return stages.index(key)
        if key in stages:
            places = " or ".join(f"stages.{place}" for place, name in enumerate(stages) if name == key)
            raise RecipeError(f"--set stages.{key}: several stages have that name.", mend=f"say {places}")
        near = plugins.nearest(key, stages)
        raise RecipeError(
            f"--set stages.{key}: the recipe has no such stage.",
            expected=f"one of: {', '.join(stages)}, or a number below {len(stages)}" if stages else "",
            mend=f"did you mean '{near}'?" if near else "",
        )

    def _value(self, place: Place) -> Any:
        found: Any = self.values.get(str(place[0]))
        for key in place[1:]:
            found = found[key]
        return found

    def _put(self, place: Place, value: Any) -> None:
        holder: Any = self.values
        for depth, key in enumerate(place[:-1], start=1):
            inner = holder.get(key) if isinstance(holder, dict) else holder[int(key)]
            if inner is None or inner == place[depth]:
                # A plugin's bare name, or nothing at all, opens to take settings.
                inner = {} if inner is None else {inner: {}}
                holder[key] = inner
                self._lines.setdefault(place[:depth], "--set")
            if not isinstance(inner, dict | list):
                raise RecipeError(f"--set {dotted(place)}: {dotted(place[:depth])} is {shown(inner)}, not a mapping.")
            holder = inner
        holder[place[-1]] = value
        self._lines = {each: line for each, line in self._lines.items() if each[: len(place)] != place}
        self._lines[place] = "--set"


def _plugin_name(written: Any) -> str:
    """The plugin that `name` or `{name: settings}` names; '' when it is neither."""
    if isinstance(written, dict) and len(written) == 1:
        return str(next(iter(written)))
    return written if isinstance(written, str) else ""


_SEE_SCHEMA = "`edgesmith schema` prints what a recipe may hold"
