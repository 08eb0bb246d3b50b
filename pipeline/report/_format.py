"""Numbers as people read them. The table and the page both speak through these, so they never differ.

Sizes are decimal (1 kB is 1000 bytes), and what was not measured is a dash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

DASH = "–"


def size(size_bytes: float | None, digits: int = 3) -> str:
    """`1.73 MB`."""
    return _scaled(size_bytes, ("B", "kB", "MB", "GB"), digits)


def latency(latency_us: float | None, digits: int = 3) -> str:
    """`61.2 µs`, `4.05 ms`."""
    return _scaled(latency_us, ("µs", "ms", "s"), digits)


def interval(bounds_us: Sequence[float] | None) -> str:
    """`60.1 – 62.4 µs`: both ends of an interval in one unit."""
    if not bounds_us or None in bounds_us:
        return DASH
    low, high = (latency(bound).split(" ") for bound in bounds_us)
    return f"{low[0]} – {high[0]} {high[1]}" if low[1] == high[1] else f"{' '.join(low)} – {' '.join(high)}"


def duration(seconds: float | None) -> str:
    """`41.2 s`, `2 min 05 s`, `1 h 02 min`."""
    if seconds is None:
        return DASH
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def percent(share: float | None, decimals: int = 2) -> str:
    """`99.10 %` for 0.991."""
    return DASH if share is None else f"{share * 100:.{decimals}f} %"


def number(value: object) -> str:
    """`61,706` or `0.0341`: whole numbers in full, others to four figures; anything else as it is."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return _minus(f"{int(value):,}")
    return _minus(f"{value:.4g}")


def named(name: str, value: object) -> tuple[str, str]:
    """A fact in words: `memory`, `8.22 GB` for `memory_bytes`, whose unit is a part of its name."""
    stem, _, unit = name.rpartition("_")
    if stem and unit in ("bytes", "us", "s") and isinstance(value, int | float):
        return stem, quantity(value, unit)
    return name, number(value)


def factor(before: float | None, after: float | None, less: str, more: str) -> str:
    """`3.9× smaller`: how `after` compares with `before`, where `less` and `more` are the words for it."""
    if not before or not after:
        return ""
    ratio = before / after
    if 0.995 <= ratio <= 1.005:
        return "the same"
    return f"{_ratio(ratio)}× {less}" if ratio > 1 else f"{_ratio(1 / ratio)}× {more}"


def score(metric: str, value: float | None) -> str:
    """A task's headline figure: shares in percent, others to four figures."""
    return percent(value) if is_share(metric, value) else number(value)


def score_change(metric: str, before: float | None, after: float | None) -> str:
    """`−0.15 points`: what became of the headline figure."""
    if before is None or after is None:
        return ""
    if is_share(metric, before) and is_share(metric, after):
        return f"{signed((after - before) * 100, 2)} points"
    # Counts are whole.
    return signed(after - before, 0 if isinstance(before, int) and isinstance(after, int) else 4)


def change(name: str, before: float | None, after: float | None) -> str:
    """`−0.15` behind a figure that `score` shows, or nothing where it would show the same."""
    if before is None or after is None or score(name, before) == score(name, after):
        return ""
    if is_share(name, before) and is_share(name, after):
        return signed((after - before) * 100, 2)
    # As many decimals as the figure that it stands behind; a figure in powers of ten has none to count.
    shown = number(after)
    return _minus(f"{after - before:+.1e}") if "e" in shown else signed(after - before, len(shown.partition(".")[2]))


def signed(value: float, decimals: int) -> str:
    """`+2`, `−0.15`, `±0.00`."""
    text = f"{value:+.{decimals}f}"
    return _minus("±" + text[1:] if float(text) == 0 else text)


def is_share(metric: str, value: object) -> bool:
    """Whether a metric counts right answers out of all, so that percent is what people expect."""
    return isinstance(value, int | float) and 0 <= value <= 1 and any(word in metric.lower() for word in _SHARES)


def quantity(value: float | None, unit: str, digits: int = 3) -> str:
    """A value in the unit that a check gives it."""
    if value is None:
        return DASH
    if unit in SHORT_UNITS:
        return SHORT_UNITS[unit](value, digits)
    return f"{number(value)} {unit}".strip()


def beyond(value: float | None, limit: float | None, unit: str) -> tuple[str, str]:
    """A value and the limit that it broke, with as many digits as it takes to see that it did."""
    for digits in range(3, 8):
        pair = quantity(value, unit, digits), quantity(limit, unit, digits)
        if pair[0] != pair[1]:
            return pair
    return quantity(value, unit), quantity(limit, unit)


def printable(text: object) -> str:
    """Text without the control characters that a name in a stranger's model could hold."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in str(text))


_SHARES = ("accuracy", "precision", "recall", "f1", "agreement", "sparsity", "positive_rate")


def _decimals(value: float, digits: int) -> str:
    """`value` to so many significant digits, yet never fewer than its whole part."""
    before_point = len(str(int(abs(value)))) if abs(value) >= 1 else 1
    return f"{value:,.{max(digits - before_point, 0)}f}"


def _scaled(value: float | None, units: tuple[str, ...], digits: int) -> str:
    if value is None:
        return DASH
    step = 0
    # 999.5 would be rounded up to 1000 of the smaller unit.
    while abs(value) >= 999.5 and step < len(units) - 1:
        value, step = value / 1000, step + 1
    # Bytes are whole; a fraction of one would be nonsense.
    text = f"{value:.0f}" if units[step] == "B" else _decimals(value, digits)
    return _minus(f"{text} {units[step]}")


def _ratio(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 100 else f"{ratio:,.0f}"


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}", 1) if text.startswith("-") else text


def _points(value: float, digits: int) -> str:
    return _minus(f"{value:.{digits - 1}f} points")


SHORT_UNITS: dict[str, Callable[[float, int], str]] = {
    "bytes": size,
    "us": latency,
    "s": lambda value, digits: f"{_decimals(value, digits)} s",
    "share": lambda value, digits: percent(value, digits - 1),
    "%": lambda value, digits: percent(value / 100, digits - 1),
    "points": _points,
    "dB": lambda value, digits: _minus(f"{value:.{digits - 2}f} dB"),
}


def figure(value: float | None, unit: str) -> str:
    """A figure of a comparison: `us`, `bytes`, or a metric without a unit."""
    if unit == "us":
        return latency(value)
    return size(value) if unit == "bytes" else number(value)


def moved(change: float | None, unit: str) -> str:
    """How far a figure moved: a share in percent; of a metric, which has no unit, the difference."""
    if change is None:
        return ""
    return signed(change, 4) if unit == "" else f"{signed(change * 100, 1)} %"
