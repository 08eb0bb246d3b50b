"""The table of operators that `benchmark_model` prints with --enable_op_profiling=true."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_targets._answer import printable
from edge_targets._errors import DeviceError

MOST_ROWS = 10_000
MOST_LINE = 1000

_BEGIN = re.compile(r"^(?:INFO: )?Operator-wise Profiling Info for Regular Benchmark Runs:$", re.MULTILINE)
_ORDER = re.compile(r"^=+ Run Order =+$")
_NEXT = re.compile(r"^=+ Top by Computation Time =+$")
# Types and names may hold spaces; between columns stand tabs, or two spaces where a terminal made them of tabs.
# Versions until 2.12 have a column [start] before [first].
_ROW = re.compile(
    r"^\s*(?P<kind>\S.{0,200}?)\s+(?:\d+\.\d+\s+){1,2}(?P<mean>\d+\.\d+)\s+(?P<share>\d+\.\d+)%\s+\d+\.\d+%"
    r"\s+\d+\.\d+\s+(?P<calls>\d{1,9})\s+(?P<name>\S.*)$"
)


@dataclass(frozen=True)
class OperatorTime:
    """A row of the table.

    Attributes:
        index: its place in the order of execution.
        kind: `CONV_2D`; a delegate's own word where it took several operators.
        name: the tool's name for it, `[outputs]:index`.
        us: what it takes of one inference, all its calls together.
        share: of the time of a whole run, 0 … 1.
        calls: how often it is called in a run.
        macs, bytes: multiply-accumulates, and what it reads and writes: the tool does not tell.
    """

    index: int
    kind: str
    name: str
    us: float
    share: float
    calls: int
    macs: int | None = None
    bytes: int | None = None


def operator_times(text: str) -> tuple[OperatorTime, ...]:
    """The operators in the order they run; () where the tool printed no table.

    Raises:
        DeviceError: a row is not one.
    """
    begin = _BEGIN.search(text)
    if begin is None:
        return ()
    lines = text[begin.end() :].lstrip("\n").split("\n", MOST_ROWS)
    if not _ORDER.match(lines[0].strip()) or len(lines) < 2 or "[node type]" not in lines[1]:
        raise _strange(lines[0])
    ends = [place for place, line in enumerate(lines) if _NEXT.match(line.strip())]
    # A table that no other follows was cut off.
    if not ends:
        raise _strange(lines[-1] or lines[-2])
    rows = [line for line in lines[2 : ends[0]] if line.strip()]
    return tuple(_row(index, line) for index, line in enumerate(rows))


def _row(index: int, line: str) -> OperatorTime:
    found = _ROW.match(line[:MOST_LINE])
    if found is None:
        raise _strange(line)
    return OperatorTime(
        index=index,
        kind=printable(found["kind"], 200),
        name=printable(found["name"], 500),
        # The tool tells of one call, in milliseconds.
        us=float(found["mean"]) * int(found["calls"]) * 1000,
        share=float(found["share"]) / 100,
        calls=int(found["calls"]),
    )


def _strange(line: str) -> DeviceError:
    return DeviceError(
        f"benchmark_model's table of operators cannot be read: {printable(line, 200)!r}",
        expected="the table of --enable_op_profiling=true, whole",
        mend="try again, or measure without the profile",
    )
