"""Reads what `edgetpu_compiler` prints and the `.log` that it writes, and believes neither before they agree."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from edge_targets._answer import printable
from edge_targets._edgetpu_node import Status
from edge_targets._errors import DeviceError, ToolMissing, UnusableModel

RUNTIMES = {"16.0": 14, "15.0": 13, "14.1": 13, "2.1": 13, "2.0": 12, "1.0": 10}
"""Compilers that are known, and the runtime that each compiles for."""
# A model of fifty thousand operators has far fewer lines: one a kind and status.
MOST_LINES = 10_000
MOST_COUNT = 10**7

_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_VERSION = re.compile(r"Edge TPU Compiler version ((\d{1,4}\.\d{1,4})[\w.]{0,40})\s*$")
_ROW = re.compile(r"([A-Za-z0-9_-]{1,80})\s+(\d{1,8})\s{2,}(\S.{0,200}?)\s*$")
_HEADING = re.compile(r"Operator\s+Count\s+Status\s*$")
_SIZE = re.compile(r"(\d{1,10}(?:\.\d{1,6})?)(B|KiB|MiB|GiB)$")


@dataclass(frozen=True)
class Row:
    """A line of the operator table: so many operators of one kind met one fate."""

    kind: str
    count: int
    status: str

    @property
    def mapped(self) -> bool:
        """Whether they run on the Edge TPU. A status that is not known is none that says so."""
        return self.status == Status.MAPPED


@dataclass(frozen=True)
class Compilation:
    """What the compiler says that it did.

    Attributes:
        version: of the compiler, `16.0.384591198`.
        runtime: the Edge TPU runtime that its model needs.
        seconds: how long it took.
        input_bytes, output_bytes: of the model and of the compiled one, to four figures or so.
        on_chip_bytes: parameters that stay on the chip.
        on_chip_free_bytes: what is left there.
        streamed_bytes: parameters that come over the link on every call.
        subgraphs: pieces of the model that run on the Edge TPU.
        operators: of the model as it was.
        rows: what became of them.
    """

    version: str
    runtime: int
    seconds: float
    input_bytes: int
    output_bytes: int
    on_chip_bytes: int
    on_chip_free_bytes: int
    streamed_bytes: int
    subgraphs: int
    operators: int
    rows: tuple[Row, ...]

    @property
    def on_edgetpu(self) -> int:
        """How many operators run on the Edge TPU."""
        return sum(row.count for row in self.rows if row.mapped)

    @property
    def on_cpu(self) -> int:
        """How many do not."""
        return self.operators - self.on_edgetpu

    def statuses(self) -> Counter[str]:
        """How many operators were left to the CPU, by the compiler's reason."""
        found: Counter[str] = Counter()
        for row in self.rows:
            if not row.mapped:
                found[row.status] += row.count
        return found


def read_compilation(said: str, log: str) -> Compilation:
    """What the compiler printed on success, held against its log.

    Args:
        said: its standard output, of `--show_operations`.
        log: the `.log` file that it wrote.

    Raises:
        ToolMissing: it is of a version whose words are not known here.
        UnusableModel: it says that it could not compile the model.
        DeviceError: what it printed is no compiler's word, or contradicts itself or the log.
    """
    version, release = _version(said)
    if not re.search(r"^Model compiled successfully in \d+ ms[.!]?\s*$", said, re.MULTILINE):
        raise refused(said)
    rows = _rows(log)
    if _version(log)[0] != version:
        raise strange("its log is of another version than its output")
    found = Compilation(
        version=version,
        runtime=RUNTIMES[release],
        seconds=_count(said, r"Model compiled successfully in (\d+) ms") / 1000,
        input_bytes=_bytes(said, "Input size"),
        output_bytes=_bytes(said, "Output size"),
        on_chip_bytes=_bytes(said, "On-chip memory used for caching model parameters"),
        on_chip_free_bytes=_bytes(said, r"On-chip memory (?:remaining|available) for caching model parameters"),
        streamed_bytes=_bytes(said, "Off-chip memory used for streaming uncached model parameters"),
        subgraphs=_count(said, r"Number of Edge TPU subgraphs: (\d+)"),
        operators=_count(said, r"Total number of operations: (\d+)"),
        rows=rows,
    )
    _must_agree(found, said)
    return found


def refused(said: str) -> UnusableModel:
    """The error for a compiler that gave up, from what it said."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not _VERSION.match(line)]
    words = printable(" | ".join(line for line in lines if line != "Registration failed.")[-600:])
    return UnusableModel(
        f"edgetpu_compiler could not compile the model: {words or 'it said nothing'}",
        expected="'Model compiled successfully'",
        mend=next((mend for word, mend in _MENDS if word in said), _MENDS[-1][1]),
    )


_MENDS = (
    (
        "Didn't find op for builtin opcode",
        "convert with an older TensorFlow, or with one scale a tensor in dense layers",
    ),
    ("large activation tensors", "use a smaller input, or more stride in the first layers"),
    ("dynamic-sized tensors", "give every size in keras.Input, with batch_size=1"),
    ("already", "give it the model from before the compiler"),
    ("could not be parsed", "convert the model again; `edgesmith inspect` tells whether it is whole"),
    ("", "see `edgesmith inspect MODEL --target coral`; a smaller input or fewer operators may compile"),
)
"""A word of the compiler, and what mends it."""


def strange(what: str) -> DeviceError:
    """The refusal of a compiler's words."""
    return DeviceError(
        f"What edgetpu_compiler printed cannot be trusted: {what}.",
        expected="the output and the log of edgetpu_compiler 16.0",
        mend="look which program `edgetpu_compiler` is: a wrapper may print words of its own",
    )


def _version(text: str) -> tuple[str, str]:
    """`16.0.384591198` and `16.0`."""
    found = next((match for line in text.splitlines()[:MOST_LINES] if (match := _VERSION.match(line.strip()))), None)
    if found is None:
        raise strange(f"it names no version; it begins {printable(repr(text[:60]))}")
    if found[2] not in RUNTIMES:
        raise ToolMissing(
            f"edgetpu_compiler is of version {found[1]}, whose words are not known here.",
            expected=f"one of {', '.join(RUNTIMES)}",
            mend="install edgetpu-compiler 16.0",
        )
    return found[1], found[2]


def _rows(text: str) -> tuple[Row, ...]:
    """The operator table: all that follows its heading."""
    lines = text.splitlines()
    if len(lines) > MOST_LINES:
        raise strange(f"its log has {len(lines)} lines")
    headings = [place for place, line in enumerate(lines) if _HEADING.match(line.strip())]
    if len(headings) != 1:
        raise strange("its log has no table of operators, or several")
    return tuple(_row(line) for line in lines[headings[0] + 1 :] if line.strip())


def _row(line: str) -> Row:
    found = _ROW.match(line.strip())
    if found is None or int(found[2]) > MOST_COUNT:
        raise strange(f"a line of its table is {printable(repr(line[:80]))}")
    return Row(found[1], int(found[2]), printable(found[3]))


def _count(text: str, pattern: str) -> int:
    found = re.search(pattern, text)
    if found is None or len(found[1]) > len(str(MOST_COUNT)):
        raise strange(f"it does not tell '{pattern.split(':')[0].split(' (')[0]}'")
    return int(found[1])


def _bytes(text: str, name: str) -> int:
    line = re.search(rf"^{name}: (\S+)\s*$", text, re.MULTILINE)
    found = _SIZE.match(line[1]) if line else None
    if found is None:
        raise strange(f"it does not tell '{name.replace('(?:remaining|available)', 'remaining')}'")
    return round(float(found[1]) * _UNITS[found[2]])


def _must_agree(found: Compilation, said: str) -> None:
    """The sums of the table, the numbers printed, and the table printed are to be the same."""
    if sum(row.count for row in found.rows) != found.operators:
        raise strange(
            f"its log tells of {sum(row.count for row in found.rows)} operators, its output of {found.operators}"
        )
    for where, count in (("Edge TPU", found.on_edgetpu), ("CPU", found.on_cpu)):
        told = re.search(rf"Number of operations that will run on {where}: (\d{{1,8}})\s*$", said, re.MULTILINE)
        if told is not None and int(told[1]) != count:
            raise strange(f"its output says that {told[1]} operators run on the {where}, its log {count}")
    # It may print fewer rows than it logs, never others.
    if Counter(row for line in said.splitlines() if (row := _printed(line)) is not None) - Counter(found.rows):
        raise strange("the table that it prints is not the one in its log")
    if bool(found.subgraphs) != bool(found.on_edgetpu):
        raise strange(f"it tells of {found.subgraphs} Edge TPU subgraphs and of {found.on_edgetpu} operators in them")


def _printed(line: str) -> Row | None:
    found = _ROW.match(line.strip())
    return Row(found[1], int(found[2]), printable(found[3])) if found else None
