"""Advice in a terminal: why int8 harms a layer, what to do and by which setting; and what was kept out of int8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from pipeline.report import _format as fmt

_FINER = "Their weights have 16 bits, in two halves of int8: with 8 bits, too much is lost."
_INDENT = (0, 0, 0, 4)


def render_advice(document: Mapping[str, Any], console: Console) -> None:
    """Print what to do about the layers that int8 harms most; nothing where there is nothing to say.

    Args:
        document: with the key `advice`, of a run or of an inspection.
        console: where to.
    """
    if not document.get("advice"):
        return
    console.print()
    console.print(Text("What to do", "bold"))
    kept_in = alone_in(document)
    for one in document["advice"]:
        gain = "" if one.get("gain") is None else f", {points(one['gain'])} in {kept_in}"
        head = f"  ({fmt.quantity(one['sqnr_db'], 'dB')}{gain})"
        console.print(Text.assemble("  ", (fmt.printable(one["layer"]), "bold"), (head, "dim")))
        console.print(Padding(Text(fmt.printable(one["reason"]), "dim"), _INDENT, expand=False))
        console.print(Padding(Text(fmt.printable(one["remedy"])), _INDENT, expand=False))
        if one["setting"]:
            console.print(Padding(Text(fmt.printable(one["setting"]), "green"), _INDENT, expand=False))


def render_mixed(document: Mapping[str, Any], console: Console) -> None:
    """Print which layers were kept out of int8, and what that cost and brought; nothing where nobody asked for it."""
    mixed = document.get("mixed_precision")
    if mixed is None:
        return
    console.print()
    console.print(Text("Mixed precision", "bold"))
    for sentence in sentences(mixed):
        console.print(Padding(Text(fmt.printable(sentence)), (0, 0, 0, 2), expand=False))


def sentences(mixed: Mapping[str, Any]) -> list[str]:
    """The outcome of the search: what is kept, what it brings, what it costs, and how long it was looked for."""
    kept = ", ".join(mixed["kept"])
    values = [fmt.score(mixed["metric"], mixed[name]) for name in ("float_value", "int8_value", "value")]
    searched = f"{fmt.number(mixed['evaluations'])} of at most {fmt.number(mixed['most_evaluations'])} evaluations"
    now = f", {values[2]} with these in {mixed['kept_in']}" if kept else ""
    return [
        f"Kept in {mixed['kept_in']}: {kept}." if kept else _nothing_kept(mixed),
        f"On the validation split, {mixed['metric']}: {values[0]} in float, {values[1]} in int8{now}.",
        *([f"Against full int8: {_cost(mixed)}."] if kept else []),
        *([_FINER] if kept and mixed.get("weight_bits") == 16 else []),
        f"The search took {searched}.",
    ]


def alone_in(document: Mapping[str, Any]) -> str:
    """What a layer was, alone, when it was measured what it brings: `float` or `int16`."""
    return "int16" if (document.get("mixed_precision") or {}).get("kept_in") == "int16" else "float"


def _nothing_kept(mixed: Mapping[str, Any]) -> str:
    value, float_value, most = (mixed[name] for name in ("value", "float_value", "max_accuracy_drop"))
    # A hair is the rounding of the two floats, as in the check.
    if None not in (value, float_value, most) and float_value - value > most + 1e-9:
        return f"Nothing is kept out of int8: no choice of layers in {mixed['kept_in']} comes nearer to the budget."
    return "Nothing had to be kept out of int8."


def points(gain: float) -> str:
    """`+1.20 points`: what a metric gains, in hundredths."""
    return f"{fmt.signed(gain * 100, 2)} points"


def _cost(mixed: Mapping[str, Any]) -> str:
    bytes_more = (mixed.get("size_bytes") or 0) - (mixed.get("int8_size_bytes") or 0)
    before_us, after_us = mixed.get("int8_median_us"), mixed.get("median_us")
    cost = f"{bytes_more:+,} bytes"
    if before_us is None or after_us is None:
        return cost
    return f"{cost}, {fmt.latency(after_us)} instead of {fmt.latency(before_us)} on the machine of the run"
