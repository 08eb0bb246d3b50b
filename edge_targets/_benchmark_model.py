"""LiteRT's `benchmark_model`, the usual runner on phones: a strict reading of what it prints.

It measures by itself and prints statistics for people; single latencies are not to be had. What it prints:
https://github.com/google-ai-edge/LiteRT/tree/main/tflite/tools/benchmark. Where to get it, prebuilt for each
processor: https://ai.google.dev/edge/litert/models/measurement. Nothing here fetches it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from edge_targets._answer import printable
from edge_targets._benchmark_profile import OperatorTime, operator_times
from edge_targets._errors import DeviceError, ToolMissing, UnusableModel

if TYPE_CHECKING:
    from edge_targets._benchmark_flags import Delegate
    from edge_targets._transport import Completed

WHERE_TO_GET_IT = (
    "get the prebuilt benchmark_model for the device's processor, "
    "see https://ai.google.dev/edge/litert/models/measurement, and set 'benchmark_model' to its path"
)
SIGNALLED, MOST_SIGNAL, SIGKILL = 128, 64, 9
MOST_ERRORS = 3

_NUMBER = r"(\d+(?:\.\d+)?(?:e[+-]\d+)?)"
_TIMINGS = re.compile(
    rf"^(?:INFO: )?Inference timings in us: Init: {_NUMBER}, First inference: {_NUMBER}, "
    rf"Warmup \(avg\): {_NUMBER}, Inference \(avg\): {_NUMBER}$",
    re.MULTILINE,
)
_ENTRY = re.compile(rf"([a-z0-9]+)={_NUMBER}(?:\(all same\))?")
_STATISTICS = re.compile(rf"^(?:INFO: )?(count=\d+(?: {_ENTRY.pattern})+)$", re.MULTILINE)
_MEMORY = re.compile(
    rf"^(?:INFO: )?(?:Memory footprint delta from the start of the tool|Peak memory footprint) \(MB\): "
    rf"init={_NUMBER} overall={_NUMBER}$",
    re.MULTILINE,
)
_VERSION = re.compile(r"^(?:INFO: )?Tensorflow Version : (\S{1,40})$", re.MULTILINE)
# Versions until 2.9 print errors without the word before them.
_ERRORS = re.compile(r"^(?:ERROR|FATAL): (.+)$|^((?:CANNOT LINK|Failed to) .+)$", re.MULTILINE)
_STRANGER = re.compile(r"Unconsumed cmdline flags: (.*)")
_APPLIED = re.compile(r"Explicitly applied (\w+) delegate, and the model graph will be (completely|partially) executed")
_IDLE = re.compile(r"Though (\w+) delegate is explicitly applied, the model graph will not be executed")
# What the tool says of a model that it cannot run, whatever the delegate.
_MODEL_WORDS = (
    "Failed to load model",
    "Failed to initialize model",
    "Failed to initialize the interpreter",
    "Failed to allocate tensors",
    "failed to prepare",
)


@dataclass(frozen=True)
class Statistics:
    """What is printed of a series of runs. Percentiles are None where the tool is too old to print them."""

    runs: int
    mean_us: float
    min_us: float
    max_us: float
    std_us: float
    p5_us: float | None
    median_us: float | None
    p95_us: float | None


@dataclass(frozen=True)
class Told:
    """What one start of the tool told.

    Attributes:
        version: TensorFlow's, or "" where the tool does not print it.
        kernels: who ran the graph, as in `Measurement.kernels`: a delegate's name, with `+builtin` or `+cpu` where it
            ran only a part.
        init_us: to load the model, apply the delegate and allocate tensors.
        first_us: the first run.
        warmup, timed: the runs that do not count, and those that do.
        init_bytes, overall_bytes: growth of the process's highest memory until it was ready, and until it ended; None
            where the system does not tell.
        profile: each operator's share, if that was asked for.
    """

    version: str
    kernels: str
    init_us: float
    first_us: float
    warmup: Statistics
    timed: Statistics
    init_bytes: int | None
    overall_bytes: int | None
    profile: tuple[OperatorTime, ...]


def read(done: Completed, delegate: Delegate, subject: str) -> Told:
    """What the tool told.

    Args:
        done: its process.
        delegate: what was asked for.
        subject: the model, for messages.

    Raises:
        UnusableModel: the tool cannot run the model.
        ToolMissing: the tool does not fit the device, or does not know a flag.
        DeviceError: the delegate is not to be had there, or the text is not what the tool prints.
    """
    text = must_have_run(done, delegate, subject)
    timings = _one(_TIMINGS, text, "the line of its timings")
    series = [_statistics(found.group(1)) for found in _STATISTICS.finditer(text[: timings.start()])]
    if len(series) != 2:
        raise strange(f"it tells of {len(series)} series of runs, not of warm-up and timed ones")
    init_us, first_us, warmup_us, mean_us = map(_finite, timings.groups())
    if not (_same(warmup_us, series[0].mean_us) and _same(mean_us, series[1].mean_us)):
        raise strange("its means contradict each other")
    memory = _MEMORY.search(text)
    init_mb, overall_mb = map(_finite, memory.groups()) if memory else (None, None)
    return Told(
        version=version(text),
        kernels=kernels(text, delegate),
        init_us=init_us,
        first_us=first_us,
        warmup=series[0],
        timed=series[1],
        init_bytes=_bytes(init_mb),
        overall_bytes=_bytes(overall_mb),
        profile=operator_times(text),
    )


def must_have_run(done: Completed, delegate: Delegate, subject: str) -> str:
    """All that the tool printed, of a run that it says went well."""
    # The tool prints to stdout, the interpreter inside it to stderr.
    text = "\n".join(part.decode("utf-8", "replace").replace("\r\n", "\n") for part in (done.stdout, done.stderr))
    stranger = _STRANGER.search(text)
    if stranger:
        raise ToolMissing(
            f"This benchmark_model does not know {printable(stranger.group(1), 200)}.",
            mend=f"{WHERE_TO_GET_IT}: a newer one",
        )
    if done.returncode != 0 or "Benchmarking failed" in text:
        _explain(done.returncode, text, delegate, subject)
    return text


def kernels(text: str, delegate: Delegate) -> str:
    """Who ran the graph, in the words of `Measurement.kernels`.

    Raises:
        DeviceError: the delegate that was asked for took nothing: the figure would be the processor's.
    """
    if delegate == "cpu":
        return "builtin"
    if idle := _IDLE.search(text):
        if delegate == "xnnpack":
            return "builtin"
        raise DeviceError(f"The {idle.group(1)} delegate took no part of the model.", mend="use delegate: xnnpack")
    applied = _APPLIED.search(text)
    if applied is None:
        return "unknown"
    if applied.group(1).lower() != delegate:
        raise strange(f"it speaks of the delegate {printable(applied.group(1))}, asked for was {delegate}")
    rest = "" if applied.group(2) == "completely" else "+builtin" if delegate == "xnnpack" else "+cpu"
    return f"{delegate}{rest}"


def version(text: str) -> str:
    """TensorFlow's version, or "" where the tool does not print it."""
    found = _VERSION.search(text)
    return printable(found.group(1)) if found else ""


def strange(what: str) -> DeviceError:
    """The refusal of a text."""
    return DeviceError(
        f"What benchmark_model printed cannot be trusted: {what}.",
        expected="the output of LiteRT's benchmark_model",
        mend=WHERE_TO_GET_IT,
    )


def _explain(code: int, text: str, delegate: Delegate, subject: str) -> NoReturn:
    told = [printable(first or second, 200) for first, second in _ERRORS.findall(text)]
    said = " | ".join([each for each in told if each != "Benchmarking failed."][-MOST_ERRORS:])
    because = f": {said}" if said else ""
    if "CANNOT LINK" in text:
        raise ToolMissing(f"benchmark_model does not fit the device{because}", mend=WHERE_TO_GET_IT)
    if delegate in ("gpu", "nnapi") and re.search(rf"{delegate}\s?delegate", text, re.IGNORECASE):
        raise DeviceError(
            f"The {delegate.upper()} delegate cannot run {subject}{because}",
            expected="a delegate that the device has, and operators that it knows",
            mend="use delegate: xnnpack",
        )
    number = code - SIGNALLED
    if any(words in text for words in _MODEL_WORDS) or 0 < number <= MOST_SIGNAL:
        ending = f"was ended by signal {number} on" if 0 < number <= MOST_SIGNAL else "cannot run"
        mend = "use a smaller model, or free memory there" if number == SIGKILL else "convert the model again"
        raise UnusableModel(f"benchmark_model {ending} {subject}{because}", mend=mend)
    raise DeviceError(f"benchmark_model failed with code {code} on {subject}{because}")


def _statistics(line: str) -> Statistics:
    """A line as `count=50 first=9 curr=8 min=7 max=9 avg=8.2 std=1 p5=7 median=8 p95=9`, shorter for equal runs."""
    entries = {name: _finite(value) for name, value in _ENTRY.findall(line)}
    runs, same = int(entries["count"]), entries.get("curr", 0.0)
    found = Statistics(
        runs=runs,
        mean_us=entries.get("avg", same),
        min_us=entries.get("min", same),
        max_us=entries.get("max", same),
        std_us=entries.get("std", 0.0),
        p5_us=entries.get("p5"),
        median_us=entries.get("median"),
        p95_us=entries.get("p95"),
    )
    ranked = [found.min_us, found.p5_us, found.median_us, found.p95_us, found.max_us]
    there = [value for value in ranked if value is not None]
    inside = sorted((found.min_us, found.mean_us, found.max_us))[1]
    if runs < 1 or "curr" not in entries or there != sorted(there) or not _same(inside, found.mean_us):
        raise strange(f"its statistics contradict each other: {printable(line, 200)}")
    return found


def _one(pattern: re.Pattern[str], text: str, what: str) -> re.Match[str]:
    found = list(pattern.finditer(text))
    if len(found) != 1:
        raise strange(f"{what} is {'missing: it may be cut off' if not found else 'there several times'}")
    return found[0]


def _same(one: float, other: float) -> bool:
    """Whether two figures are one: some are printed whole, others with six digits."""
    return math.isclose(one, other, rel_tol=1e-5)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise strange(f"{printable(text, 40)} is no finite number")
    return value


def _bytes(megabytes: float | None) -> int | None:
    return None if megabytes is None else round(megabytes * 2**20)
