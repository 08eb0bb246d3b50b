"""`benchmarks/trust.py`: when its figures are reached, and that a missed one is told by the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import trust


def test_false_alarms_are_all_that_is_not_undecided() -> None:
    assert trust.false_alarms({"can't tell": 99, "faster": 1}).reached
    told = trust.false_alarms({"can't tell": 98, "slower": 1, "faster": 1})
    assert not told.reached
    assert "2 of 100 = 2.0%" in told.text


def test_what_is_slower_is_found_or_not() -> None:
    assert trust.found_slower({"slower": 95, "can't tell": 5}).reached
    told = trust.found_slower({"slower": 15, "faster": 1})
    assert not told.reached
    assert "15 of 16 = 93.8%" in told.text


@pytest.mark.parametrize(("reached", "code"), [(True, 0), (False, 1)])
def test_a_missed_figure_is_the_exit_code(
    reached: bool, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [trust.Told("one", reached), trust.Told("two", True)]

    def ready(folder: Path, comparisons: int) -> list[trust.Told]:
        return told

    monkeypatch.setattr(trust, "figures", ready)
    with pytest.raises(SystemExit) as ended:
        trust.main(3)
    assert ended.value.code == code
    assert capsys.readouterr().out == ("one\ntwo\n" if reached else "one  MISSED\ntwo\n")
