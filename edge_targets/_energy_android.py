"""Energy of an inference by a phone's battery, where no Python runs: a shell script around LiteRT's `benchmark_model`.

Fuel gauges tell the current that goes out (Linux's power-supply class: microamperes and microvolts). It is read ten
times a second while the phone rests, and again while the tool runs; what is told is what the runs add. Nothing is
estimated: of a battery that is being charged (as over USB), that the shell may not read, or that tells no sane figure
(some count milliamperes) there is none. `dumpsys battery` is no way out: Android's tells no current.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_targets._measurement import BenchmarkPlan
    from edge_targets._transport import Completed, Transport

SOURCE = "battery"
REST_SAMPLES = 20
BUSY_S = 4.0
FEWEST = 8
"""Samples on each side, below which a mean says nothing."""
SAMPLES_TIMEOUT_S = 30.0
LEAST_UA, MOST_UA = 10_000, 20_000_000
LEAST_UV, MOST_UV = 2_000_000, 30_000_000

# $1: where /sys is; $2: samples at rest; then the program. /proc/uptime is a clock that every shell can read; what the
# shell reads by itself starts no program, which would draw more than the model.
_SCRIPT = """
supply=
for each in "$1"/sys/class/power_supply/*; do
    if [ "$(cat "$each/type")" = Battery ] && [ -r "$each/current_now" ] && [ -r "$each/voltage_now" ]; then
        supply=$each
        break
    fi
done 2> /dev/null
[ -n "$supply" ] && [ "$(cat "$supply/status")" = Discharging ] || exit 0
tell() {
    read now _ < /proc/uptime
    read status < "$supply/status"
    read current < "$supply/current_now"
    read voltage < "$supply/voltage_now"
    echo "$1 $now $status $current $voltage"
    sleep 0.1 || sleep 1
}
left=$2
shift 2
while [ "$left" -gt 0 ]; do tell rest; left=$((left - 1)); done
"$@" > told 2>&1 &
program=$!
while kill -0 $program 2> /dev/null; do tell busy; done
wait $program
code=$?
echo == told
cat told
exit $code
"""
_SAMPLE = re.compile(r"(rest|busy) (\d{1,10}\.\d{1,3}) (\S{1,20}) (-?\d{1,9}) (\d{1,9})")
_HEADING = b"== told\n"


@dataclass(frozen=True)
class BatteryEnergy:
    """What the battery told.

    Attributes:
        idle_mw: at rest.
        energy_uj: of an inference beyond that; None where the runs do not stand out.
    """

    idle_mw: float
    energy_uj: float | None


@dataclass(frozen=True)
class _Sample:
    """Power at one moment of the phone's clock."""

    at_s: float
    watts: float


def battery_energy(
    transport: Transport,
    argv: Sequence[str],
    runs: Callable[[Completed], tuple[int, float]],
    *,
    timeout_s: float,
    root: str = "",
) -> BatteryEnergy | None:
    """Run a program on a phone, and read its battery before and meanwhile.

    Args:
        transport: the way there, entered.
        argv: what runs inferences for some seconds, and little else at its end.
        runs: reads from what it printed how many inferences were timed, and what one took, in microseconds.
        timeout_s: for the program.
        root: where the phone's /sys is; another folder in tests.

    Returns:
        None where the battery tells nothing; then the program was not run, or not to its end.

    Raises:
        TargetError: the device was lost, or what `runs` raises.
    """
    words = ["sh", "-c", _SCRIPT, "sh", root, f"{REST_SAMPLES}", *argv]
    done = transport.run(words, timeout_s=timeout_s + SAMPLES_TIMEOUT_S)
    said, heading, told = done.stdout.partition(_HEADING)
    if not heading:
        return None
    count, mean_us = runs(replace(done, stdout=told))
    rest, busy = _samples(said.decode("ascii", "replace"))
    return _energy(rest, _timed(busy, count * mean_us / 1e6), mean_us)


def energy_plan(plan: BenchmarkPlan) -> BenchmarkPlan:
    """A plan of as many seconds as a battery's gauge takes to follow."""
    return replace(plan, num_runs=1, min_secs=BUSY_S, max_secs=2 * BUSY_S)


def _samples(said: str) -> tuple[list[_Sample], list[_Sample]]:
    """Those at rest and those at work; none at all where one of them is odd, or the battery was charged meanwhile."""
    sides: dict[str, list[_Sample]] = {"rest": [], "busy": []}
    for line in said.splitlines():
        found = _SAMPLE.fullmatch(line.strip())
        if found is None or found[3] != "Discharging":
            return [], []
        current_ua, voltage_uv = abs(int(found[4])), int(found[5])
        if not (LEAST_UA <= current_ua <= MOST_UA and LEAST_UV <= voltage_uv <= MOST_UV):
            return [], []
        sides[found[1]].append(_Sample(float(found[2]), current_ua * voltage_uv / 1e12))
    return sides["rest"], sides["busy"]


def _timed(busy: list[_Sample], seconds: float) -> list[_Sample]:
    """Those of the timed runs, which end with the program: before them it loads the model and warms up."""
    return [one for one in busy if one.at_s >= busy[-1].at_s - seconds]


def _energy(rest: list[_Sample], busy: list[_Sample], mean_us: float) -> BatteryEnergy | None:
    if min(len(rest), len(busy)) < FEWEST:
        return None
    idle_w, work_w = (statistics.fmean(one.watts for one in side) for side in (rest, busy))
    added_uj = (work_w - idle_w) * mean_us
    return BatteryEnergy(idle_w * 1000, added_uj if added_uj > 0 else None)
