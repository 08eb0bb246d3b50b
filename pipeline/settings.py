"""The base of everything that a recipe can set: frozen, strict, and closed to unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A group of settings of a recipe: its fields are its keys, their types are checked strictly.

    Strict means that nothing is guessed: `epochs: "3"` and `epochs: 2.5` are errors, as is any key
    that is not a field. Infinite and NaN numbers are errors too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
