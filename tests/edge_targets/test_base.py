"""What every target is promised by the base: declared verbs only, one error tree, plans that can be run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edge_targets import (
    BenchmarkPlan,
    Capabilities,
    DeviceInfo,
    Measurement,
    Target,
    TargetError,
    Timeout,
    Unsupported,
    UnusableModel,
)

DEVICE = DeviceInfo("aarch64", "Cortex-A72", 4, 2**30, "Debian", "3.11")


class Board(Target):
    """A board that only tells what it is, or fails in the way that it was given."""

    provenance = "device"
    capabilities = Capabilities()

    def __init__(self, failure: BaseException | None = None) -> None:
        self._failure = failure

    def _info(self) -> DeviceInfo:
        if self._failure:
            raise self._failure
        return DEVICE


class Keeper(Board):
    """A board that declares a verb whose hook it does not write."""

    capabilities = Capabilities(deploy=True)


class Modest(Board):
    """A board whose hook is written, and which does not declare it."""

    def _benchmark(self, models: Mapping[str, Path], plan: BenchmarkPlan) -> dict[str, Measurement]:
        return {name: measurement(model=name) for name in models}


def measurement(**changed: Any) -> Measurement:
    facts = {
        "target": "board",
        "model": "int8",
        "provenance": "device",
        "runtime": "ai_edge_litert",
        "runtime_version": "2.3.0",
        "kernels": "xnnpack",
        "threads": 1,
        "delegate": None,
        "warmup_runs": 1,
        "runs": 2,
        "latencies_us": (1.0, 3.0),
        "median_us": 2.0,
        "median_ci_us": (1.0, 3.0),
        "p90_us": None,
        "p90_ci_us": None,
        "p99_us": None,
        "p99_ci_us": None,
        "mean_us": 2.0,
        "min_us": 1.0,
        "peak_rss_bytes": 4096,
        "load_us": 10.0,
        "first_us": 5.0,
        "device": DEVICE,
    }
    return Measurement(**{**facts, **changed})


def test_a_target_is_named_after_its_file() -> None:
    assert Board.name == __name__.rsplit(".", 1)[-1]


def test_a_verb_that_is_not_declared_is_refused(int8_model: Path) -> None:
    with pytest.raises(Unsupported, match="does not benchmark") as caught:
        Board().benchmark({"m": int8_model}, BenchmarkPlan())
    assert caught.value.expected == "one of: info, prepare"
    with pytest.raises(Unsupported, match="does not evaluate"):
        Board().evaluate(int8_model, [])
    with pytest.raises(Unsupported, match="does not deploy"):
        Board().deploy(int8_model.parent)


def test_what_counts_is_what_is_declared(int8_model: Path) -> None:
    with pytest.raises(Unsupported, match="does not benchmark"):
        Modest().benchmark({"m": int8_model}, BenchmarkPlan())


def test_a_declared_verb_without_its_hook_is_refused_too(int8_model: Path) -> None:
    with pytest.raises(Unsupported, match="does not deploy"):
        Keeper().deploy(int8_model.parent)


def test_prepare_gives_the_file_back_unless_a_target_compiles(int8_model: Path, tmp_path: Path) -> None:
    assert Board().prepare(int8_model) == int8_model
    with pytest.raises(UnusableModel, match="no model file"):
        Board().prepare(tmp_path / "nothing.tflite")


def test_whatever_a_hook_raises_comes_out_as_one_tree() -> None:
    with pytest.raises(TargetError, match="failed to info: ZeroDivisionError: oh") as caught:
        Board(ZeroDivisionError("oh")).info()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    own = Timeout("too slow")
    with pytest.raises(Timeout) as kept:
        Board(own).info()
    assert kept.value is own
    with pytest.raises(KeyboardInterrupt):
        Board(KeyboardInterrupt()).info()


def test_an_error_says_what_was_expected_and_how_to_mend_it() -> None:
    error = TargetError("It fell.", expected="that it stands", mend="pick it up")
    assert str(error) == "It fell.\n  expected: that it stands\n  to mend it: pick it up"
    assert error.exit_code == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_threads", 0),
        ("warmup_runs", -1),
        ("num_runs", 0),
        ("min_secs", -0.1),
        ("min_secs", float("nan")),
        ("max_secs", 0.1),
        ("max_secs", float("inf")),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused(name: str, value: float) -> None:
    with pytest.raises(TargetError, match=name):
        BenchmarkPlan(**{name: value})  # type: ignore[arg-type]  # the wrong values are the test


def test_a_measurement_is_json_without_its_raw_latencies_unless_asked() -> None:
    short = json.loads(json.dumps(measurement().to_json(), allow_nan=False))
    assert "latencies_us" not in short
    assert short["median_ci_us"] == [1.0, 3.0]
    assert short["p99_us"] is None
    facts = {
        "machine": "aarch64",
        "cpu_model": "Cortex-A72",
        "cores": 4,
        "memory_bytes": 2**30,
        "os": "Debian",
        "python": "3.11",
    }
    assert short["device"].items() >= facts.items()
    assert measurement().to_json(latencies=True)["latencies_us"] == [1.0, 3.0]
