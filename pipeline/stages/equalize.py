"""equalize: give the channels of a layer ranges that int8 can hold together, without changing what the model says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from pipeline.draft import Draft, Step
from pipeline.errors import ModelError
from pipeline.stage import Stage
from pipeline.stages._equal import (
    Pair,
    absorb,
    absorbs,
    channel_ranges,
    equalize,
    find_chains,
    replace_clipped,
)
from pipeline.stages._fold import fold_normalizations
from pipeline.stages._network import Network
from pipeline.stages._same_outputs import largest_difference, proof_inputs, refuse_other_outputs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.dataset import Dataset
    from pipeline.progress import Progress
    from pipeline.stages._equal import Ranges
    from pipeline.stages._fold import Statistics

MOST_DIFFERENCE = 1e-4
"""Of an output's range."""

DEVIATIONS = 3
"""A channel is taken never to fall so many standard deviations below its mean (Nagel et al., section 4.1.3)."""


class Equalize(Stage):
    """Cross-layer equalization and the absorption of high biases after Nagel et al. (arXiv 1906.04721), 4.1.

    For models that plain quantization breaks because a few channels are much wider than others. Batch normalization is
    folded first. ReLU6 minds the scale of what it clips, so pairs around one are left alone unless `replace_relu6`
    makes plain ReLUs of them, which changes the model: how far, the step's metrics say.
    """

    # With it the float model before is the one that int8 is compared with: `replace_relu6` changes what comes after.
    gives: ClassVar[frozenset[str]] = frozenset({"equalized"})
    refuses: ClassVar[dict[str, str]] = {
        "qat": "the ranges that were trained would no longer hold; put 'equalize' before 'qat'",
        "clustered": "scaling channels would break the clusters; put 'equalize' before 'cluster'",
    }

    balance: Literal["activations", "weights"] = Field(
        "activations",
        description="What is brought into balance with the weights that read a channel: activations, its range on "
        "training examples, which is what int8 has one scale for; weights, those that make it, as in the paper.",
    )
    replace_relu6: bool = Field(
        False, description="Make plain ReLUs of the ReLU6s between layers, and equalize there too."
    )
    absorb_biases: bool = Field(
        True, description="Move what a channel never falls below into the next layer, where statistics are known."
    )
    samples: int = Field(64, ge=1, description="Training examples that show the ranges of the channels.")

    def apply(self, draft: Draft, data: Dataset, *, seed: int, progress: Progress) -> Draft:
        started = time.perf_counter()
        x, proof = data.calibration(self.samples, seed), proof_inputs(data, seed)
        original = draft.restore()
        network = Network(draft, original)
        folded, statistics = fold_normalizations(network)
        pairs, replaced, clipped = self._pairs(network)
        reference = network.model()
        largest, _ = channel_ranges(reference, pairs, x)
        _, least = channel_ranges(reference, pairs, np.concatenate([x, proof]))
        divided = equalize(network, pairs, largest if self.balance == "activations" else None)
        absorbed = self._absorbed(network, pairs, statistics, divided, least)
        model = network.model()
        difference = largest_difference(reference, model, proof)
        refuse_other_outputs("equalize", difference, MOST_DIFFERENCE)
        spreads = {
            str(pair): [_spread(largest[pair.other]), _spread(largest[pair.other] / divided[pair.one])]
            for pair in pairs
        }
        progress.note(f"equalize: {len(pairs)} pairs of layers")
        step = Step(
            "equalize",
            self.model_dump(mode="json"),
            time.perf_counter() - started,
            metrics={
                "pairs": float(len(pairs)),
                "largest_difference": difference,
                "relu6_difference": largest_difference(original, reference, proof),
                "spread_before": max(before for before, _ in spreads.values()),
                "spread": max(after for _, after in spreads.values()),
            },
            notes={
                "spreads": spreads,
                "folded": folded,
                "absorbed": absorbed,
                "relu6_replaced": replaced,
                "relu6_left": clipped,
            },
        )
        return draft.then(model, step, self.traits_after(draft.traits))

    def _pairs(self, network: Network) -> tuple[list[Pair], list[str], list[str]]:
        """The pairs, the ReLU6s that were replaced for them, and those that still stand in the way.

        Raises:
            ModelError: there is no pair.
        """
        chains = find_chains(network)
        replaced = chains.clipped if self.replace_relu6 else []
        if replaced:
            replace_clipped(network, replaced)
            chains = find_chains(network)
        if not chains.pairs:
            raise ModelError(
                "No two layers of the model can be equalized.",
                expected="a convolution, depthwise or dense layer whose output goes to one other such layer alone, "
                "with nothing but ReLU, pooling or flattening between",
                mend="set stages.equalize.replace_relu6: true"
                if chains.clipped
                else "drop the stage 'equalize'; 'qat' trains any model for int8",
            )
        return chains.pairs, replaced, chains.clipped

    def _absorbed(
        self, network: Network, pairs: list[Pair], statistics: Statistics, divided: Ranges, least: Ranges
    ) -> dict[str, int]:
        """Absorb what can be; how many channels of which layer."""
        found = {}
        for pair in pairs:
            if not self.absorb_biases or pair.one not in statistics or not absorbs(network, pair):
                continue
            mean, deviation = statistics[pair.one]
            # Examples that were seen to fall below it show that it is not never.
            offset = np.clip(np.minimum(mean - DEVIATIONS * deviation, least[pair.one]), 0, None) / divided[pair.one]
            if offset.any():
                absorb(network, pair, offset)
                found[pair.one] = int((offset > 0).sum())
        return found


def _spread(ranges: NDArray[Any]) -> float:
    """The widest range of a channel against the narrowest that is one."""
    alive = ranges[ranges > 0]
    return round(float(alive.max() / alive.min()), 3) if alive.size else 1.0
