"""Make transfer_mobilenet_v2.keras, as it stands here: what people bring when they come from transfer learning.

A MobileNetV2 learns the digits 0 to 4 in Keras 3; then it is nested, as `keras.applications` tutorials do it, in a new
model with a rescaling in front and a fresh head for all ten digits, and saved as a `.keras` file.

    python examples/data/make_transfer_model.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

HERE = Path(__file__).parent


def headed(backbone: Any, classes: int) -> Any:
    """A classifier of 28x28 grey images around a backbone that wants 32x32 colour images in -1..1."""
    image = keras.Input((28, 28, 1), name="image")
    x = keras.layers.Rescaling(2.0, offset=-1.0, name="to_minus_1_to_1")(image)
    x = keras.layers.ZeroPadding2D(2, name="pad")(x)
    x = keras.layers.Concatenate(name="grey_to_rgb")([x, x, x])
    x = keras.layers.GlobalAveragePooling2D(name="pool")(backbone(x))
    x = keras.layers.Dropout(0.2, name="dropout")(x)
    return keras.Model(image, keras.layers.Dense(classes, name=f"digits_{classes}")(x), name="transfer")


def main() -> None:
    """Learn five digits, nest, save."""
    keras.utils.set_random_seed(7)
    with np.load(HERE / "mnist_8k_2k.npz") as digits:
        x, y = digits["x_train"][..., None] / np.float32(255), digits["y_train"]
    few = y < 5
    backbone = keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, include_top=False, weights=None)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # Keras' 0.999 is for ImageNet's million steps: after a thousand, the averages would still be far off.
            layer.momentum = 0.9
    teacher = headed(backbone, 5)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    teacher.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    teacher.fit(x[few], y[few], batch_size=64, epochs=8, verbose=2)
    # Without the optimizer's state: what is shared is a model, not a training in the middle.
    headed(backbone, 10).save(HERE / "transfer_mobilenet_v2.keras", include_optimizer=False)


if __name__ == "__main__":
    main()
