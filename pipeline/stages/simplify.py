"""simplify: the same model with fewer layers: normalization folded, layers that do nothing gone, linear ones merged."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from pipeline.cost import total_macs
from pipeline.draft import Draft, Step
from pipeline.stage import Stage
from pipeline.stages._fold import fold_normalizations
from pipeline.stages._identities import take_out_identities
from pipeline.stages._merge import cut_zero_branches, merge_linear
from pipeline.stages._network import Network
from pipeline.stages._same_outputs import largest_difference, proof_inputs, refuse_other_outputs

if TYPE_CHECKING:
    from pipeline.dataset import Dataset
    from pipeline.progress import Progress

MOST_DIFFERENCE = 1e-5
"""Of an output's range."""


class Simplify(Stage):
    """Takes out what costs layers and gives nothing; the outputs are measured to be the same before it is believed.

    What only training needs goes as well (dropout, noise, batch normalization): put it behind the training. A sparse
    draft keeps its zeros, so nothing is merged in it: a product of two sparse kernels is dense, and a branch of zeros
    counts towards the sparsity that was promised.
    """

    refuses: ClassVar[dict[str, str]] = {
        "qat": "the ranges that were trained belong to the layers that would go; put 'simplify' before 'qat'",
        "clustered": "folding scales every channel by itself, and values that were shared no longer would be; "
        "put 'simplify' before 'cluster'",
    }

    fold_batchnorm: bool = Field(
        True, description="Fold batch normalization into the convolution, depthwise or dense layer beside it."
    )
    drop_identities: bool = Field(
        True, description="Take out dropout, noise, linear activations, and padding or reshaping that changes nothing."
    )
    merge_linear: bool = Field(
        True,
        description="Merge linear layers that follow on each other, where one of them costs no more MACs than two.",
    )
    drop_zero_branches: bool = Field(True, description="Take out what is added to others and is always zero.")
    drop_unused: bool = Field(True, description="Take out layers that no output depends on.")

    def apply(self, draft: Draft, data: Dataset, *, seed: int, progress: Progress) -> Draft:
        started = time.perf_counter()
        before = draft.restore()
        network = Network(draft, before)
        notes = self._simplified(network, dense="sparse" not in draft.traits)
        model = network.model()
        difference = largest_difference(before, model, proof_inputs(data, seed))
        refuse_other_outputs("simplify", difference, MOST_DIFFERENCE)
        costs_before, costs = _costs(before), _costs(model)
        progress.note(f"simplify: {costs_before['layers']:.0f} layers became {costs['layers']:.0f}")
        step = Step(
            "simplify",
            self.model_dump(mode="json"),
            time.perf_counter() - started,
            metrics={f"{name}_before": value for name, value in costs_before.items()}
            | costs
            | {"largest_difference": difference},
            notes=notes,
        )
        return draft.then(model, step, self.traits_after(draft.traits))

    def _simplified(self, network: Network, dense: bool) -> dict[str, Any]:
        """Edit the network, each step on what the one before left; which layers went where."""
        unused = network.take_out_unused() if self.drop_unused else []
        dropped = take_out_identities(network) if self.drop_identities else []
        folded = fold_normalizations(network)[0] if self.fold_batchnorm else {}
        branches = cut_zero_branches(network) if self.drop_zero_branches and dense else []
        if branches:
            unused = [*unused, *network.take_out_unused()]
        merged = merge_linear(network) if self.merge_linear and dense else {}
        return {
            "folded": folded,
            "dropped": dropped,
            "merged": merged,
            "zero_branches": branches,
            "unused": unused,
            "left": network.names("BatchNormalization"),
        }


def _costs(model: Any) -> dict[str, float]:
    return {
        "layers": float(len(model.layers)),
        "parameters": float(model.count_params()),
        "macs": float(total_macs(model)),
    }
