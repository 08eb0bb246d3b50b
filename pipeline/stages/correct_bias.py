"""correct_bias: biases that make up for what rounding to int8 adds to a layer's outputs on average."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from pipeline.draft import Draft, Step
from pipeline.errors import ModelError
from pipeline.stage import Stage
from pipeline.stages._linear import shift_outputs
from pipeline.stages._network import Network
from pipeline.stages._simulated import CORRECTED, Both, Simulation

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from pipeline.progress import Progress


class CorrectBias(Stage):
    """Empirical bias correction after Nagel et al. (arXiv 1906.04721), section 4.2 and appendix D.

    The model is run in float and in simulated int8 side by side on training examples. Layer by layer, what a channel is
    off on average is taken off its bias, before the next layer is run on what comes of it. The float model changes by
    as much: it is made for int8, so put this stage last. It helps a model that int8 harms; of one that int8 does not,
    the errors are as small as the difference between one set of examples and another.
    """

    # With it the float model before is the one that int8 is compared with: this one is off by what int8 is off.
    gives: ClassVar[frozenset[str]] = frozenset({"bias_corrected"})
    refuses: ClassVar[dict[str, str]] = {
        "qat": "its biases were trained with the rounding; drop 'correct_bias', or put it in the place of 'qat'",
        "bias_corrected": "the biases are corrected already; drop the second 'correct_bias'",
    }

    samples: int = Field(200, ge=1, description="Training examples, balanced over the classes, that show the error.")

    def apply(self, draft: Draft, data: Dataset, *, seed: int, progress: Progress) -> Draft:
        started = time.perf_counter()
        x = data.calibration(self.samples, seed)
        network = Network(draft, draft.restore())
        corrected = network.names(*CORRECTED)
        if not corrected:
            raise ModelError("The model has no layer with a bias to correct.", mend="drop the stage 'correct_bias'")
        for name in corrected:
            if not network.configs[name]["use_bias"]:
                shift_outputs(network, name, np.zeros(network.width(name)))
        model = network.model()
        before = _output_error(Simulation(network, model, correct=False).run(x))
        simulation = Simulation(network, model, correct=True)
        after = _output_error(simulation.run(x))
        progress.note(f"correct_bias: {len(simulation.met)} layers")
        shifts = {met.name: float(np.abs(met.error).max() / (met.deviation or 1.0)) for met in simulation.met}
        step = Step(
            "correct_bias",
            self.model_dump(mode="json"),
            time.perf_counter() - started,
            metrics={
                "layers": float(len(shifts)),
                "largest_shift": max(shifts.values()),
                "output_mean_error_before": before,
                "output_mean_error": after,
            },
            notes={
                "shifts": {name: round(shift, 6) for name, shift in shifts.items()},
                "left": [name for name in network.parts if name not in shifts and _has_kernel(network, name)],
            },
        )
        return draft.then(model, step, self.traits_after(draft.traits))


def _has_kernel(network: Network, name: str) -> bool:
    """Whether a layer has weights that int8 rounds."""
    return any(weight.ndim > 1 for weight in network.weights[name])


def _output_error(outputs: list[Both]) -> float:
    """The mean error of an output's numbers, the largest of them, in standard deviations of the float output."""
    errors = [np.abs(np.mean(np.asarray(both.rounded) - np.asarray(both.exact), axis=0)).max() for both in outputs]
    return max(float(error / (np.std(both.exact) or 1.0)) for error, both in zip(errors, outputs, strict=True))
