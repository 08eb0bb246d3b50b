"""`cascade.json` as far as a deploy needs it: the two stages by their hashes, and the threshold between them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from edge_targets._errors import TargetError
from edge_targets._json_file import small_json

CASCADE = "cascade.json"
FIRST, REST = "model.tflite", "model.rest.tflite"
RUN_CASCADE = "run_cascade.py"
MOST_BYTES = 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class CascadeFile:
    """What `cascade.json` tells of both stages.

    Attributes:
        threshold: the least confidence with which the first stage's scores stand, above 0 and 1 at most.
        sha256: of each stage, by its file's name.
    """

    threshold: float
    sha256: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read it as strictly as what a device answers.

        Raises:
            TargetError: it cannot be read, or does not tell of two stages and a threshold.
        """
        try:
            told = small_json(path, MOST_BYTES)
        except ValueError as error:
            raise _strange(path, str(error)) from error
        return cls(_threshold(path, told), _stages(path, told))


def run_cascade_script() -> bytes:
    """The script that runs both stages on a device: `python3 run_cascade.py cascade.json examples.npy`."""
    return Path(__file__).with_name("_on_device_cascade.py").read_bytes()


def _threshold(path: Path, told: Any) -> float:
    threshold = told.get("threshold") if isinstance(told, dict) else None
    # NaN, which is JSON to Python, is in no range.
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 1:
        raise _strange(path, f"its threshold is {threshold!r:.80}, and must be above 0 and at most 1")
    return float(threshold)


def _stages(path: Path, told: dict[str, Any]) -> dict[str, str]:
    stages = told.get("stages")
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise _strange(path, "it lists no stages")
    found = {str(stage.get("path")): str(stage.get("sha256")) for stage in stages}
    if list(found) != [FIRST, REST] or len(stages) != len(found) or not all(map(_SHA256.fullmatch, found.values())):
        raise _strange(path, f"its stages are not {FIRST} and {REST}, each with its sha256")
    return found


def _strange(path: Path, why: str) -> TargetError:
    return TargetError(
        f"{path} does not say how a model in two files is run: {why}.",
        expected="the cascade.json of a run",
        mend="run the recipe again",
    )
