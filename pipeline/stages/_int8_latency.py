"""The latency of drafts as int8 models on this machine, against that of the one that they were cut from."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge_targets._measurement import BenchmarkPlan
from pipeline.convert import to_int8
from pipeline.interpreter import interpreter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.dataset import Dataset
    from pipeline.draft import Draft

_SAMPLES = 4
"""Examples for calibration: ranges have no influence on the time that an inference takes."""

_PLAN = BenchmarkPlan(num_runs=300, warmup_runs=20, min_secs=0.5, max_secs=5.0)


@contextmanager
def stopwatch(reference: Draft, data: Dataset, seed: int) -> Iterator[Stopwatch]:
    """Measures drafts against this one, as long as the block lasts."""
    with tempfile.TemporaryDirectory() as folder:
        yield Stopwatch(reference, data.calibration(_SAMPLES, seed), Path(folder))


class Stopwatch:
    """Measures drafts against a reference, turn by turn with it, so that what disturbs one disturbs both.

    Args:
        reference: the draft with share 1.
        calibration: inputs, (n, ...).
        folder: where the models may lie.
    """

    def __init__(self, reference: Draft, calibration: NDArray[np.float32], folder: Path) -> None:
        self._calibration = calibration
        self._folder = folder
        self._reference = self._converted(reference, "reference")
        self._host = interpreter()

    def share(self, draft: Draft) -> float:
        """The median latency of a draft, as a share of the reference's."""
        models = {"reference": self._reference, "draft": self._converted(draft, "draft")}
        found = self._host.benchmark(models, _PLAN)
        return found["draft"].must_have_median() / found["reference"].must_have_median()

    def _converted(self, draft: Draft, name: str) -> Path:
        path = self._folder / f"{name}.tflite"
        path.write_bytes(to_int8(draft, self._calibration))
        return path
