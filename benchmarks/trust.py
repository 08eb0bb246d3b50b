"""Whether the figures can be trusted: false alarms, what is found, the peer's median, and what the runner itself costs.

    python benchmarks/trust.py [COMPARISONS]

(a) two identical models, compared again and again: at most 1 of 100 may be called different;
(b) a model with 3 % more work (34 equal convolutions against 33): found in at least 95 of 100;
(c) our median against LiteRT's own `litert-benchmark` on the same model, in turn: within 3 %;
(d) what our timing adds to each inference beyond `invoke()`: below 2 µs.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from edge_targets import BenchmarkPlan, _on_device
from edge_targets.host import HostTarget
from pipeline.comparison import compare_models
from pipeline.progress import Progress

LAUNCHES = 10
PLAN = BenchmarkPlan(warmup_runs=20, num_runs=100, min_secs=0.15, max_secs=2.0)
PAIRS = 15
CHANNELS, SIDE = 16, 24


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


def main(comparisons: int) -> None:
    """Measure all four, and hold each against its goal."""
    with tempfile.TemporaryDirectory() as folder:
        plain, twin, longer = (Path(folder, name) for name in ("plain.tflite", "twin.tflite", "longer.tflite"))
        plain.write_bytes(chain(33))
        twin.write_bytes(plain.read_bytes())
        longer.write_bytes(chain(34))
        print(f"(d) the runner adds {overhead_ns() / 1000:.2f} µs to an inference (goal: below 2 µs)", flush=True)
        ratios = against_the_peer(plain)
        middle = statistics.median(ratios)
        print(f"(c) our median by litert-benchmark's: {middle:.3f}, {PAIRS} pairs (goal: 0.97 to 1.03)", flush=True)
        same = verdicts(plain, twin, comparisons)
        wrong = comparisons - same.get("can't tell", 0)
        print(
            f"(a) identical models called different: {wrong} of {comparisons} (goal: at most 1 %)  {same}", flush=True
        )
        more = verdicts(plain, longer, comparisons)
        found = more.get("slower", 0)
        print(f"(b) 3 % more work called slower: {found} of {comparisons} (goal: at least 95 %)  {more}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
