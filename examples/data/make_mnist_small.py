"""Cut the bundled set from the full MNIST: 8,000 training and 2,000 test images, as many of each digit in each.

python examples/data/make_mnist_small.py ../shared/data/mnist.npz examples/data/mnist_8k_2k.npz
"""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray


def places(labels: NDArray[np.uint8], count: int, seed: int) -> NDArray[np.int64]:
    """Where to cut: `count` places, as many of each digit, in their old order."""
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(np.flatnonzero(labels == digit), count // 10, replace=False) for digit in range(10)]
    return np.sort(np.concatenate(chosen))


def main(source: str, destination: str) -> None:
    """Read the full set, write the small one."""
    with np.load(source, allow_pickle=False) as full:
        train, test = places(full["y_train"], 8000, 0), places(full["y_test"], 2000, 1)
        np.savez_compressed(
            destination,
            x_train=full["x_train"][train],
            y_train=full["y_train"][train],
            x_test=full["x_test"][test],
            y_test=full["y_test"][test],
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
