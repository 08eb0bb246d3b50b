"""Runs on the device: a model in two files that asks the second one only where the first is not sure.

The first stage gives class scores and features, the second takes the features to better scores: nothing is computed
twice. After Teerapittayanon et al., "BranchyNet: Fast Inference via Early Exiting from Deep Neural Networks" (2016),
with the softmax's largest value in the place of its entropy. It needs Python 3.7, numpy and one interpreter.

    python run_cascade.py cascade.json examples.npy

prints a line an example: its class, how confident the first stage was, and which stage decided. The examples are
(n, ...), as the first stage takes them or as real numbers. `_on_device.py` runs the same class in its job "cascade".
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Json = dict[str, Any]

INTERPRETERS = ("ai_edge_litert.interpreter", "tflite_runtime.interpreter", "tensorflow.lite.python.interpreter")


def confidence(scores: Any, scale: float, zero_point: int) -> Any:
    """The largest probability that raw scores (..., classes) stand for, (...): softmax over the last axis.

    A scale of 0 means that they are real numbers already.
    """
    logits = np.asarray(scores, np.float64)
    if scale:
        logits = (logits - zero_point) * scale
    return 1 / np.exp(logits - logits.max(axis=-1, keepdims=True)).sum(axis=-1)


class Cascade:
    """Two stages, loaded.

    Args:
        first: the interpreter of the first stage: one input; scores and features come out, in this order.
        rest: that of the second: features in, scores out.
        threshold: the least confidence with which the first stage's scores stand; above 1 they never do.
    """

    def __init__(self, first: Any, rest: Any, threshold: float) -> None:
        self.first, self.rest, self.threshold = first, rest, threshold
        self.example = first.get_input_details()[0]
        self.scores, self.features = first.get_output_details()
        self.taken, self.final = rest.get_input_details()[0], rest.get_output_details()[0]
        if self.features["quantization"] != self.taken["quantization"]:
            raise ValueError("The second stage reads the features with another scale than the first one writes.")

    def run(self, example: Any) -> tuple[Any, Any]:
        """The first stage's raw scores (classes,) for an example (1, ...), and the second's, or None if not needed."""
        # A recurrent layer would carry its state from one example to the next.
        self.first.reset_all_variables()
        self.first.set_tensor(self.example["index"], example)
        self.first.invoke()
        early = self.first.get_tensor(self.scores["index"])[0]
        if confidence(early, *self.scores["quantization"]) >= self.threshold:
            return early, None
        self.rest.reset_all_variables()
        self.rest.set_tensor(self.taken["index"], self.first.get_tensor(self.features["index"]))
        self.rest.invoke()
        return early, self.rest.get_tensor(self.final["index"])[0]

    def run_all(self, examples: Any) -> tuple[Any, Any]:
        """Raw scores of both stages for examples (n, ...), (n, 2, classes), and who left early, (n,) bool.

        The second stage's are zeros where it was not asked.
        """
        answers = [self.run(examples[place : place + 1]) for place in range(len(examples))]
        left = np.array([final is None for _, final in answers], bool)
        scores = np.stack(
            [np.stack([early, np.zeros_like(early) if final is None else final]) for early, final in answers]
        )
        return scores, left


def stored(examples: Any, entry: Json) -> Any:
    """Examples (n, ...) as an input of the model stores them."""
    scale, zero_point = entry["quantization"]
    if examples.dtype == entry["dtype"] or not scale:
        return examples.astype(entry["dtype"])
    limits = np.iinfo(entry["dtype"])
    return np.clip(np.rint(examples / scale) + zero_point, limits.min, limits.max).astype(entry["dtype"])


def loaded(path: Path) -> Any:
    """A stage in the first interpreter that is installed."""
    for name in INTERPRETERS:
        try:
            interpreter = importlib.import_module(name).Interpreter(model_path=str(path))
        except ImportError:
            continue
        interpreter.allocate_tensors()
        return interpreter
    raise SystemExit("No interpreter is installed; to mend it: pip install ai-edge-litert")


def told_by(manifest: Path) -> Cascade:
    """The stages that `cascade.json` names, which lie beside it, once they are the files that it means."""
    # Through the link `current` once and for all: a deploy may switch it while the files are read, one after another.
    manifest = manifest.resolve()
    told = json.loads(manifest.read_text("utf-8"))
    files = [(manifest.parent / Path(stage["path"]).name, stage["sha256"]) for stage in told["stages"]]
    for path, expected in files:
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise ValueError(f"{path} is not the file that {manifest} speaks of.")
    first, rest = (loaded(path) for path, _ in files)
    return Cascade(first, rest, float(told["threshold"]))


def main(argv: Sequence[str]) -> None:
    if len(argv) != 3:
        raise SystemExit("usage: python run_cascade.py cascade.json examples.npy")
    try:
        decide(told_by(Path(argv[1])), np.load(argv[2], mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
        raise SystemExit(f"These stages cannot be run on these examples: {error}") from error


def decide(cascade: Cascade, given: Any) -> None:
    """Print the class of each example (n, ...), and which stage decided."""
    examples = stored(given, cascade.example)
    for place in range(len(examples)):
        early, final = cascade.run(examples[place : place + 1])
        sure = confidence(early, *cascade.scores["quantization"])
        scores, stage = (early, 1) if final is None else (final, 2)
        print(f"class {int(np.argmax(scores))}  confidence {sure:.4f}  stage {stage}")  # noqa: T201 - a script


if __name__ == "__main__":
    main(sys.argv)
