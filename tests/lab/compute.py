"""Runs a model over noise on whatever machine starts it: python3 -I compute.py MODEL RUNTIME [KERNELS] > outputs."""

from __future__ import annotations

import importlib
import sys

import numpy as np

EXAMPLES = 4


def main(path: str, runtime: str, kernels: str = "AUTO") -> None:
    """Write the outputs' bytes, one example after the other."""
    module = importlib.import_module(f"{runtime}.interpreter")
    interpreter = module.Interpreter(path, experimental_op_resolver_type=module.OpResolverType[kernels])
    interpreter.allocate_tensors()
    sink, source = interpreter.get_output_details()[0], interpreter.get_input_details()[0]
    inputs = np.random.RandomState(0).randint(-128, 128, (EXAMPLES, *source["shape"])).astype(source["dtype"])
    for example in inputs:
        interpreter.set_tensor(source["index"], example)
        interpreter.invoke()
        sys.stdout.buffer.write(interpreter.get_tensor(sink["index"]).tobytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
