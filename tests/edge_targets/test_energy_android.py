"""A phone's battery around a program, by the real script in this machine's shell, and what is believed of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_targets import Completed, Local, Recording
from edge_targets import _energy_android as module
from edge_targets._energy_android import BatteryEnergy, battery_energy, energy_plan
from edge_targets._measurement import BenchmarkPlan

# 4 V: 2 W at rest, and 5 W while it works.
RESTING = {"type": "Battery", "status": "Discharging", "current_now": "-500000", "voltage_now": "4000000"}
WORKING_UA = 1_250_000


def battery(root: Path, **changes: str) -> Path:
    supply = root / "sys/class/power_supply/battery"
    supply.mkdir(parents=True)
    for name, content in {**RESTING, **changes}.items():
        (supply / name).write_text(f"{content}\n")
    return supply


def program(supply: Path, *, status: str = "Discharging", seconds: float = 1.5) -> list[str]:
    """What draws more for a while, then says that it made 1000 runs."""
    draws = f"echo -{WORKING_UA} > {supply}/current_now; echo {status} > {supply}/status; sleep {seconds}"
    return ["sh", "-c", f"{draws}; echo 1000 runs"]


def runs(done: Completed) -> tuple[int, float]:
    assert done.stdout == b"1000 runs\n"
    return 1000, 1000.0


def told(root: Path, argv: list[str]) -> BatteryEnergy | None:
    with Local() as transport:
        return battery_energy(transport, argv, runs, timeout_s=30, root=str(root))


def test_what_runs_draw_beyond_rest(tmp_path: Path) -> None:
    found = told(tmp_path, program(battery(tmp_path)))
    assert found is not None
    assert found.idle_mw == pytest.approx(2000)
    assert found.energy_uj == pytest.approx(3 * 1000)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "Charging"},
        {"status": "Full"},
        {"status": "Not charging"},
        {"type": "USB"},
        {"type": ""},
    ],
)
def test_a_battery_that_gives_nothing_starts_nothing(changes: dict[str, str], tmp_path: Path) -> None:
    supply = battery(tmp_path, **changes)
    assert told(tmp_path, ["sh", "-c", f"echo started > {tmp_path}/started"]) is None
    assert not (tmp_path / "started").exists()
    for name in ("current_now", "voltage_now"):
        (supply / name).unlink()
    assert told(tmp_path, ["sh", "-c", "exit 9"]) is None


def test_a_phone_without_a_battery_tells_nothing(tmp_path: Path) -> None:
    assert told(tmp_path, ["sh", "-c", "exit 9"]) is None


def test_a_battery_that_is_plugged_in_meanwhile_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST_SAMPLES", module.FEWEST)
    assert told(tmp_path, program(battery(tmp_path), status="Charging")) is None


def said(*lines: str, rest: int = 10, busy: int = 10, then: str = "1000 runs\n") -> Completed:
    before = [f"rest {place / 10 + 100:.2f} Discharging -500000 4000000" for place in range(rest)]
    meanwhile = [f"busy {place / 10 + 110:.2f} Discharging 1250000 4000000" for place in range(busy)]
    return Completed(0, ("\n".join([*before, *meanwhile, *lines]) + f"\n== told\n{then}").encode())


def recorded(done: Completed, mean_us: float = 1000.0) -> BatteryEnergy | None:
    return battery_energy(Recording([done]), ["tool"], lambda _: (1000, mean_us), timeout_s=1)


def test_only_the_timed_runs_count() -> None:
    loading = [f"busy {place / 10 + 105:.2f} Discharging 9000000 4000000" for place in range(20)]
    found = recorded(Completed(0, "\n".join([*loading, said().stdout.decode()]).encode()))
    assert found is not None
    assert found.energy_uj == pytest.approx(3000)


@pytest.mark.parametrize(
    ("done", "energy_uj"),
    [
        (said(), 3000),
        (said(rest=7), None),
        (said(busy=7), None),
        (said("busy 110.95 Discharging 12 4000000"), None),
        (said("busy 110.95 Discharging 1250 4000000"), None),
        (said("busy 110.95 Discharging 1250000 4000"), None),
        (said("busy 110.95 Full 1250000 4000000"), None),
        (said("busy 110.95 Discharging"), None),
        (said("\x1b[2J"), None),
        (said("busy 1e9 Discharging 1250000 4000000"), None),
    ],
)
def test_one_odd_sample_spoils_all(done: Completed, energy_uj: float | None) -> None:
    found = recorded(done)
    assert (found.energy_uj if found else None) == (None if energy_uj is None else pytest.approx(energy_uj))


def test_runs_that_do_not_stand_out_have_no_figure() -> None:
    flat = said().stdout.replace(b"1250000", b"499000")
    assert recorded(Completed(0, flat)) == BatteryEnergy(2000.0, None)


def test_a_shell_that_fails_tells_nothing() -> None:
    assert recorded(Completed(1, b"sh: syntax error")) is None


def test_it_runs_as_long_as_a_gauge_takes() -> None:
    plan: Any = energy_plan(BenchmarkPlan(num_runs=5000, min_secs=0, max_secs=0.1))
    assert (plan.num_runs, plan.min_secs) == (1, 4)
    assert plan.max_secs >= plan.min_secs
