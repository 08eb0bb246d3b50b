"""Train on two CPU devices and on one; prints how many there were, how far the weights are apart, and what came of
stages that hold on to weights. Run by test_training_settings.py."""

from __future__ import annotations

import numpy as np

from pipeline.draft import Draft
from pipeline.stages.prune import Prune
from pipeline.stages.qat import Qat
from pipeline.stages.train import Train
from tests.stages.tiny import apply, tiny_data


def main() -> None:
    from models.lenet5 import build
    from pipeline._tf import tf

    [cpu] = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    data, draft = tiny_data(), Draft.of(build((16, 16, 1), 4))
    one = apply(Train(epochs=1, batch_size=16), draft, data)
    two = apply(Train(epochs=1, batch_size=16, distribute="mirrored"), draft, data)
    pruned = apply(Prune(epochs=1, batch_size=16, sparsity=0.5, distribute="mirrored"), two, data)
    aware = apply(Qat(epochs=1, batch_size=16, distribute="mirrored"), draft, data)
    devices = len(tf.config.list_logical_devices("CPU"))
    print(devices, _apart(one, two), _apart(one, draft), pruned.steps[-1].metrics["sparsity"])  # noqa: T201 - the answer
    print(aware.steps[-1].metrics["loss"])  # noqa: T201 - likewise


def _apart(one: Draft, other: Draft) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(one.weights, other.weights, strict=True))


if __name__ == "__main__":
    main()
