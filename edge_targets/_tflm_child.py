"""Runs a model in TensorFlow Lite Micro, in a process of its own: a malformed one takes the process with it.

One JSON object in on stdin, one out on stdout; where the arena's bytes went, the interpreter itself says on stderr.
Nothing of Edgesmith is imported here.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys
from typing import Any

import numpy as np


def main() -> None:
    """Answer one request: "model", "arena_bytes", and "inputs" with "outputs" where it is to run."""
    request = json.load(sys.stdin)
    try:
        runtime = importlib.import_module("tflite_micro.python.tflite_micro.runtime")
    except ImportError as error:
        answer: dict[str, Any] = {"missing": str(error)}
    else:
        answer = answered(request, runtime)
    json.dump(answer, sys.stdout)


def answered(request: dict[str, Any], runtime: Any) -> dict[str, Any]:
    """What came of it: the version, how many examples were run; or why it is refused."""
    version = importlib.metadata.version("tflite-micro")
    try:
        interpreter = runtime.Interpreter.from_file(request["model"], arena_size=request["arena_bytes"])
        interpreter.print_allocations()
        examples = run(interpreter, request) if "inputs" in request else 0
    # TFLM says why on stderr; its Python reads the model too, and ends in a dozen kinds of errors over a damaged one.
    except Exception as error:  # noqa: BLE001
        return {"version": version, "refused": f"{type(error).__name__}: {error}"}
    return {"version": version, "examples": examples}


def run(interpreter: Any, request: dict[str, Any]) -> int:
    """Run all examples, one by one, each from a fresh state; the first output of each goes into a file."""
    examples = np.load(request["inputs"], allow_pickle=False, mmap_mode="r")
    shape = tuple(interpreter.get_input_details(0)["shape"])
    outputs = []
    for example in examples:
        interpreter.reset()
        interpreter.set_input(np.ascontiguousarray(example).reshape(shape), 0)
        interpreter.invoke()
        output = np.array(interpreter.get_output(0))
        outputs.append(output[0] if output.ndim and len(output) == 1 else output)
    np.save(request["outputs"], np.stack(outputs), allow_pickle=False)
    return len(outputs)


if __name__ == "__main__":
    main()
