"""Whether the figures can be trusted: false alarms, what is found, the peer's median, and what the runner itself costs.

    python benchmarks/trust.py [COMPARISONS]

(a) two identical models, compared again and again: at most 1 of 100 may be called different;
(b) a model with 3 % more work (34 equal convolutions against 33): found in at least 95 of 100;
(c) our median against LiteRT's own `litert-benchmark` on the same model, in turn: within 3 %;
(d) what our timing adds to each inference beyond `invoke()`: below 2 µs.

Exit 1 where one of them is missed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_targets import BenchmarkPlan, _on_device
from edge_targets.host import HostTarget
from pipeline.comparison import compare_models
from pipeline.progress import Progress

LAUNCHES = 10
PLAN = BenchmarkPlan(warmup_runs=20, num_runs=100, min_secs=0.15, max_secs=2.0)
PAIRS = 15
CHANNELS, SIDE = 16, 24

MOST_ALARMS, LEAST_FOUND, MOST_OFF_THE_PEER, MOST_ADDED_US = 0.01, 0.95, 0.03, 2.0


def chain(layers: int) -> bytes:
    """An int8 `.tflite` of so many equal convolutions."""
    import numpy as np

    from pipeline._tf import keras, tf

    tf.random.set_seed(0)
    inputs = keras.Input((SIDE, SIDE, CHANNELS))
    x = inputs
    for _ in range(layers):
        x = keras.layers.Conv2D(CHANNELS, 3, padding="same")(x)
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(inputs, x))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    images = np.random.default_rng(0).random((8, 1, SIDE, SIDE, CHANNELS), np.float32)
    converter.representative_dataset = lambda: ([image] for image in images)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def verdicts(first: Path, second: Path, comparisons: int) -> dict[str, int]:
    """How often each verdict was given."""
    counted: dict[str, int] = {}
    for _ in range(comparisons):
        document = compare_models([first, second], HostTarget(), PLAN, LAUNCHES, Progress())
        said = str(document["rows"][0]["verdict"])
        counted[said] = counted.get(said, 0) + 1
    return counted


def peers_median_us(model: Path, runs: int) -> float:
    """The median that LiteRT's own benchmark tells, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "told.json")
        command = [str(Path(sys.executable).with_name("litert-benchmark")), "--model", str(model)]
        options = ["--num_runs", str(runs), "--warmup_runs", "20", "--result_json", str(told)]
        subprocess.run([*command, *options], stdout=-3, stderr=-3, check=True)
        return float(json.loads(told.read_text())["latency"]["median_ms"]) * 1000


def our_median_us(model: Path, runs: int) -> float:
    """The median that we tell of as many runs, in a process of its own."""
    plan = BenchmarkPlan(warmup_runs=20, num_runs=runs, min_secs=0, cold_starts=0, goal=1.0)
    return HostTarget().benchmark({"model": model}, plan)["model"].must_have_median()


def against_the_peer(model: Path) -> list[float]:
    """Our median by the peer's, pair by pair; each comes first in every other pair."""
    ratios = []
    for pair in range(PAIRS):
        sides = [our_median_us, peers_median_us]
        found = {side: side(model, 300) for side in (sides if pair % 2 else sides[::-1])}
        ratios.append(found[our_median_us] / found[peers_median_us])
    return ratios


def overhead_ns() -> float:
    """What our loop measures of an inference that does nothing: the clock, and the call from Python."""

    def nothing() -> None:
        pass

    return statistics.median(_on_device.rounds([nothing], _on_device.fair_turns(1), 20_000, 20_000, 0.0, 60.0)[0])


@dataclass(frozen=True)
class Told:
    """A figure beside its goal."""

    text: str
    reached: bool


def figures(folder: Path, comparisons: int) -> Iterator[Told]:
    """The four, one after the other: the last two take hours."""
    plain, twin, longer = (folder / name for name in ("plain.tflite", "twin.tflite", "longer.tflite"))
    plain.write_bytes(chain(33))
    twin.write_bytes(plain.read_bytes())
    longer.write_bytes(chain(34))
    added_us = overhead_ns() / 1000
    yield Told(f"(d) the runner adds {added_us:.2f} µs to an inference (goal: below 2 µs)", added_us < MOST_ADDED_US)
    middle = statistics.median(against_the_peer(plain))
    told = f"(c) our median by litert-benchmark's: {middle:.3f}, {PAIRS} pairs (goal: 0.97 to 1.03)"
    yield Told(told, abs(middle - 1) <= MOST_OFF_THE_PEER)
    yield false_alarms(verdicts(plain, twin, comparisons))
    yield found_slower(verdicts(plain, longer, comparisons))


def false_alarms(said: dict[str, int]) -> Told:
    """(a), from the verdicts on two identical models."""
    comparisons = sum(said.values())
    wrong = comparisons - said.get("can't tell", 0)
    share = wrong / comparisons
    counted = f"{wrong} of {comparisons} = {share:.1%}"
    return Told(f"(a) identical models called different: {counted} (goal: at most 1 %)  {said}", share <= MOST_ALARMS)


def found_slower(said: dict[str, int]) -> Told:
    """(b), from the verdicts on a model and one with 3 % more work."""
    comparisons, found = sum(said.values()), said.get("slower", 0)
    share = found / comparisons
    counted = f"{found} of {comparisons} = {share:.1%}"
    return Told(f"(b) 3 % more work called slower: {counted} (goal: at least 95 %)  {said}", share >= LEAST_FOUND)


def main(comparisons: int) -> None:
    """Measure all four, hold each against its goal, and end with 1 where one is missed."""
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        for told in figures(Path(folder), comparisons):
            missed += not told.reached
            print(f"{told.text}{'' if told.reached else '  MISSED'}", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
