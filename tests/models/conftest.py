"""What the zoo's tests share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

DrawWeights = Callable[[Any], list[NDArray[Any]]]


@pytest.fixture
def draw_weights() -> DrawWeights:
    """Random weights for a model that keep signals alive through many layers, as training would.

    An untrained MobileNet gives 1e-17 for every input: Keras' start lets signals fade, and its batch normalization
    has not seen them yet. And no weight is what its layer starts with, so none can be forgotten unseen.
    """

    def draw(weight: Any, rng: np.random.Generator) -> NDArray[Any]:
        if "variance" in weight.name or "gamma" in weight.name:
            return np.asarray(rng.uniform(0.8, 1.2, weight.shape))
        inputs = math.prod(weight.shape[:2] if "depthwise" in weight.name else weight.shape[:-1])
        spread = math.sqrt(2 / inputs) if len(weight.shape) > 1 else 0.1
        return np.asarray(rng.normal(0, spread, weight.shape))

    def draw_all(model: Any) -> list[NDArray[Any]]:
        rng = np.random.default_rng(5)
        return [draw(weight, rng) for weight in model.weights]

    return draw_all
