"""Reads what the runner on the device answered, and trusts none of it.

A device can be broken, old or hostile: an answer that is not of the exact shape that `_on_device.py` gives is refused
with `DeviceError`, never used and never met by another exception.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from edge_targets._errors import DeviceError, TargetError, ToolMissing, UnusableModel, WrongInput
from edge_targets._measurement import Conditions, DeviceInfo
from edge_targets._noise import ErrorDetails, Noise
from edge_targets._on_device import PROTOCOL

if TYPE_CHECKING:
    from edge_targets._transport import Completed

MOST_TEXT = 2000
MOST_STDERR_LINES = 3
MOST_NUMBER = 1e308
MOST_BINS = 32
# Shells tell of a program that is missing or may not be run with these, and of a signal with 128 + its number.
NOT_EXECUTABLE, NOT_FOUND, SIGNALLED, MOST_SIGNAL = 126, 127, 128, 64

Json = Mapping[str, Any]


def read(completed: Completed, job: str, subject: str) -> Json:
    """The answer to one job.

    Args:
        completed: the runner's process.
        job: what it was asked.
        subject: the model or models it was about, for the message; "" if none.

    Raises:
        UnusableModel: the model cannot be loaded, or crashed the interpreter.
        WrongInput: the examples do not fit the model.
        ToolMissing: Python, numpy or an interpreter is missing there.
        DeviceError: anything else than an answer.
    """
    if completed.returncode != 0:
        _explain_exit(completed, subject)
    answer = _json(completed)
    if answer.get("protocol") != PROTOCOL:
        raise strange(f"it speaks protocol {printable(str(answer.get('protocol')))}, not {PROTOCOL}")
    if "error" in answer:
        _explain_error(group(answer, "error"), subject)
    if answer.get("job") != job:
        raise strange(f"it is not about '{job}'")
    return answer


def device(answer: Json) -> DeviceInfo:
    """The device's facts, which stand in every answer."""
    facts = group(answer, "device")
    return DeviceInfo(
        machine=text(facts, "machine"),
        cpu_model=text(facts, "cpu_model"),
        cores=count(facts, "cores"),
        memory_bytes=count(facts, "memory_bytes"),
        os=text(facts, "os"),
        python=text(facts, "python"),
        emulator=text(facts, "emulator") if "emulator" in facts else "",
    )


def conditions(answer: Json, key: str) -> Conditions:
    """What slows a processor, as it was at one moment."""
    found = group(answer, key)
    return Conditions(
        clock_mhz=optional_number(found, "clock_mhz"),
        temperature_c=optional_number(found, "temperature_c"),
        governor=text(found, "governor"),
        load=optional_number(found, "load"),
        throttled=text(found, "throttled"),
    )


def yes(answer: Json, key: str) -> bool:
    """True or false."""
    value = answer.get(key)
    if not isinstance(value, bool):
        raise strange(f"its '{key}' is neither true nor false")
    return value


def text(answer: Json, key: str) -> str:
    """A short printable string."""
    value = answer.get(key)
    if not isinstance(value, str):
        raise strange(f"its '{key}' is not a text")
    return printable(value, 200)


def count(answer: Json, key: str) -> int:
    """A whole number from 0, below 2**63."""
    return _whole(answer.get(key), key)


def optional_count(answer: Json, key: str) -> int | None:
    """A whole number or null."""
    return None if answer.get(key) is None else count(answer, key)


def optional_number(answer: Json, key: str) -> float | None:
    """A finite number from 0, or null."""
    value = answer.get(key)
    if value is None:
        return None
    # A bool is an int to isinstance; a whole number of many digits is too large for a float, as 1e999 is.
    if type(value) not in (int, float) or not 0 <= value < MOST_NUMBER:
        raise strange(f"its '{key}' is not a number from 0")
    return float(value)


def number(answer: Json, key: str) -> float:
    """A finite number from 0."""
    value = optional_number(answer, key)
    if value is None:
        raise strange(f"its '{key}' is missing")
    return value


def real(answer: Json, key: str) -> float:
    """A finite number of either sign."""
    return _real(answer.get(key), key)


def span(answer: Json, key: str) -> tuple[float, float]:
    """Two finite numbers, the lesser first."""
    values = [_real(value, key) for value in _list(answer, key, 2)]
    if len(values) != 2 or values[0] > values[1]:
        raise strange(f"its '{key}' is not a range")
    return values[0], values[1]


def noise(found: Json) -> Noise:
    """What was found of a pair of tensors; the details are all there, or none of them."""
    signal, power = optional_number(found, "signal"), optional_number(found, "noise")
    if "bins" not in found:
        return Noise(signal, power)
    details = ErrorDetails(
        mean=real(found, "mean"),
        worst=number(found, "worst"),
        bin_width=number(found, "bin_width"),
        bins=tuple(counts(found, "bins", most=MOST_BINS)),
        range=span(found, "range"),
        usual=span(found, "usual"),
        channels=count(found, "channels"),
        lost_channels=count(found, "lost_channels"),
        channel_spread=number(found, "channel_spread"),
        channel_noise=number(found, "channel_noise"),
        shift=number(found, "shift"),
    )
    return Noise(signal, power, details)


def counts(answer: Json, key: str, most: int) -> list[int]:
    """A list of 1 to `most` whole numbers."""
    return [_whole(value, key) for value in _list(answer, key, most)]


def group(answer: Json, key: str) -> Json:
    """An object within the answer."""
    return _object(answer.get(key), key)


def optional_group(answer: Json, key: str) -> Json | None:
    """An object within the answer, or null."""
    return None if answer.get(key) is None else group(answer, key)


def groups(answer: Json, key: str, exactly: int) -> list[Json]:
    """A list of exactly so many objects."""
    values = _list(answer, key, exactly)
    if len(values) != exactly:
        raise strange(f"its '{key}' has {len(values)} entries, not {exactly}")
    return [_object(value, key) for value in values]


def some_groups(answer: Json, key: str, most: int) -> list[Json]:
    """A list of 1 to `most` objects."""
    return [_object(value, key) for value in _list(answer, key, most)]


def strange(what: str) -> DeviceError:
    """The refusal of an answer."""
    return DeviceError(
        f"The runner's answer cannot be trusted: {what}.",
        expected="the answer of the runner that was just pushed to the device",
        mend="look for something else that prints there: a login script, a wrapper around python",
    )


def printable(said: str, most: int = MOST_TEXT) -> str:
    """What a device said, with nothing in it that a terminal would obey."""
    kept = "".join(character if character.isprintable() else " " for character in said[:most])
    return kept.strip() + ("…" if len(said) > most else "")


def _json(completed: Completed) -> Json:
    try:
        answer = json.loads(completed.stdout, parse_constant=_no_constants)
    # Deep nesting ends in RecursionError; broken text and numbers in ValueError.
    except (ValueError, RecursionError) as error:
        raise strange(f"it is not JSON; it begins {printable(repr(completed.stdout[:60]))}") from error
    return _object(answer, "answer")


def _no_constants(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _object(value: Any, key: str) -> Json:
    if not isinstance(value, dict):
        raise strange(f"its '{key}' is not an object")
    return value


def _list(answer: Json, key: str, most: int) -> list[Any]:
    value = answer.get(key)
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        raise strange(f"its '{key}' is not a list of 1 to {most} entries")
    return value


def _real(value: Any, key: str) -> float:
    # A bool is an int to isinstance; a whole number of many digits is too large for a float, as 1e999 is.
    if type(value) not in (int, float) or not abs(value) < MOST_NUMBER:
        raise strange(f"its '{key}' is not a finite number")
    return float(value)


def _whole(value: Any, key: str) -> int:
    # A bool is an int to isinstance.
    if type(value) is not int or not 0 <= value < 2**63:
        raise strange(f"its '{key}' holds something else than whole numbers from 0")
    return value


def _explain_error(error: Json, subject: str) -> NoReturn:
    kind, what = text(error, "kind"), printable(str(error.get("what", "")))
    if kind == "model":
        raise UnusableModel(
            f"The interpreter refuses {subject or 'the model'}: {what}",
            expected="a .tflite that this version of the interpreter can run",
            mend="update the interpreter there or use another runtime, or convert to another precision: int8 runs "
            "everywhere",
        )
    kinds: dict[str, type[TargetError]] = {"tool": ToolMissing, "input": WrongInput}
    mend = "install numpy and ai-edge-litert there" if kind == "tool" else ""
    raise kinds.get(kind, DeviceError)(what or "The runner failed without a word.", mend=mend)


def _explain_exit(completed: Completed, subject: str) -> NoReturn:
    code, last = completed.returncode, last_words(completed.stderr)
    if code in (NOT_EXECUTABLE, NOT_FOUND):
        raise ToolMissing(f"Python could not be started on the device.{last}", mend="install Python 3.7 or later there")
    number = -code if code < 0 else code - SIGNALLED
    if 0 < number <= MOST_SIGNAL and subject:
        _explain_crash(number, subject, last)
    if number == signal.SIGKILL:
        raise DeviceError(
            f"The runner was killed (SIGKILL) before it had a model.{last}",
            mend="free memory there: systems kill so what they have no memory for",
        )
    raise DeviceError(f"The runner ended with code {code} and no answer.{last}")


def _explain_crash(number: int, subject: str, last: str) -> NoReturn:
    killed = number == signal.SIGKILL
    raise UnusableModel(
        f"The interpreter {'was killed' if killed else 'crashed'} ({_signal_name(number)}) on {subject}.{last}",
        expected="a well-formed .tflite that fits into the device's memory",
        mend="use a smaller model, or free memory there" if killed else "convert the model again",
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def last_words(stderr: bytes) -> str:
    """What a program last complained of, as the end of a message; "" if nothing."""
    lines = [line for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    said = " | ".join(printable(line, 300) for line in lines[-MOST_STDERR_LINES:])
    return f" It last said: {said}" if said else ""
