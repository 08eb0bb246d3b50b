"""Settings that are one value for all layers, or a mapping from layers' names to values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import TypeAdapter, WrapValidator


def one_or_per_layer(kind: Any) -> WrapValidator:
    """Checks a value of `kind`, or a mapping of layer names to such, and speaks only of the form that was written.

    A plain union would tell of a number that is too large that it is also no mapping.
    """
    one, per_layer = TypeAdapter(kind), TypeAdapter(dict[str, kind])

    def check(value: Any, handler: Callable[[Any], Any]) -> Any:
        return (per_layer if isinstance(value, dict) else one).validate_python(value, strict=True)

    return WrapValidator(check)
