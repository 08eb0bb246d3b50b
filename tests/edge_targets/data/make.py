"""Writes the two small models beside this file: one tiny convolutional net as float32 and as int8.

python tests/edge_targets/data/make.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline._tf import fix_seed, keras
from pipeline.convert import to_float32, to_int8
from pipeline.draft import Draft


def main() -> None:
    """Build, convert, write."""
    fix_seed(1)
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.InputLayer((8, 8, 1), name="image"),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.Flatten(name="flatten"),
            layers.Dense(3, name="logits"),
        ],
        name="tiny",
    )
    draft = Draft.of(model)
    folder = Path(__file__).parent
    folder.joinpath("tiny_float32.tflite").write_bytes(to_float32(draft))
    images = np.random.default_rng(0).random((20, 8, 8, 1), np.float32)
    folder.joinpath("tiny_int8.tflite").write_bytes(to_int8(draft, images))


if __name__ == "__main__":
    main()
