"""cluster: let the weights of each layer share a few values while training goes on (TFMOT weight clustering)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from pipeline.draft import Draft, Step
from pipeline.errors import BrokenPromise, ModelError
from pipeline.stage import Stage
from pipeline.stages._kernels import kernels_of, layers_named, refuse_unknown_layers
from pipeline.stages._per_layer import one_or_per_layer
from pipeline.stages._preserve import keep_zeros
from pipeline.stages._proof import refuse_dead_layers, share_of_zeros
from pipeline.stages._training import TrainingSettings, fit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.dataset import Dataset
    from pipeline.progress import Progress

Count = Annotated[int, Field(ge=2, le=256)]


@dataclass(frozen=True)
class _Plan:
    """How one layer is clustered: into how many values, in each output channel by itself or in all."""

    clusters: int
    per_channel: bool


class Cluster(TrainingSettings, Stage):
    """Weight sharing after Han et al., "Deep Compression" (2015): a few values a layer, which training moves.

    A sparse draft stays sparse: zero is then one of the values. The values are counted before the stage says that it is
    done. In the final bytes they are counted among the weights that share a scale: an int8 convolution scales each
    output channel by itself, so the same value is another number in another channel.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"clustered"})
    refuses: ClassVar[dict[str, str]] = {
        "qat": "clustering would tear down the quantization that was trained; put 'cluster' before 'qat'",
        "clustered": "the weights are clustered already; drop the second 'cluster'",
    }

    float32_only: ClassVar[str] = "TFMOT clusters in float32"
    one_device_only: ClassVar[str] = "TFMOT assigns weights to clusters on one device"

    epochs: int = Field(2, ge=1, description="Passes over the training split.")
    learning_rate: float = Field(3e-4, gt=0, description="At the start; lower than in training.")
    clusters: Annotated[Count | dict[str, Count], one_or_per_layer(Count)] = Field(
        16,
        description="Different values that a layer's weights may take; or a number for each layer by name, the others "
        "are left as they are.",
    )
    centroids: Literal["kmeans_plus_plus", "density", "linear"] = Field(
        "kmeans_plus_plus", description="How the first values are chosen (k-means++, by density, evenly spaced)."
    )
    per_channel: bool = Field(
        False, description="Give every output channel of a 2-D convolution values of its own: more accurate, larger."
    )
    skip_layers: tuple[str, ...] = Field(
        (), description="Layers that are left as they are, by name or by a pattern such as `stage1_*`."
    )

    def apply(self, draft: Draft, data: Dataset, *, seed: int, progress: Progress) -> Draft:
        from pipeline._tf import fix_seed, tfmot

        started = time.perf_counter()
        fix_seed(seed)
        sparse = "sparse" in draft.traits
        model = draft.restore()
        plans = self._plans(model, sparse)
        wrapped = _wrapped(model, plans, self.centroids, sparse)
        callbacks = (keep_zeros(wrapped),) if sparse else ()
        trained = fit(
            wrapped, self, data, stage="cluster", seed=seed, progress=progress, callbacks=callbacks, draft=draft
        )
        stripped = tfmot().clustering.keras.strip_clustering(wrapped)
        weights = {layer.name: layer.get_weights() for layer in stripped.layers}
        # A fresh model: TFMOT's copy shares layers with the wrapped one.
        model = draft.restore()
        for layer in model.layers:
            layer.set_weights(weights[layer.name])
        refuse_dead_layers("cluster", kernels_of(model))
        distinct = _distinct(model, plans)
        step = Step(
            "cluster",
            self.model_dump(mode="json"),
            time.perf_counter() - started,
            trained.metrics,
            trained.curves,
            _promises(model, plans, sparse),
            {"clusters": {name: plan.clusters for name, plan in plans.items()}, "distinct": distinct},
        )
        return draft.then(model, step, self.traits_after(draft.traits))

    def _plans(self, model: Any, sparse: bool) -> dict[str, _Plan]:
        """How each layer is clustered, for those that are."""
        names = [layer.name for layer in model.layers]
        skipped = layers_named("stages.cluster.skip_layers", self.skip_layers, names)
        able = {layer.name: layer for layer in model.layers if layer.name not in skipped and _weights(layer)}
        if isinstance(self.clusters, dict):
            refuse_unknown_layers("stages.cluster.clusters", self.clusters, list(able))
            able = {name: layer for name, layer in able.items() if name in self.clusters}
        if not able:
            raise ModelError("The model has no layer left that can be clustered.", mend="drop the stage 'cluster'")
        return {name: self._plan(layer, sparse) for name, layer in able.items()}

    def _plan(self, layer: Any, sparse: bool) -> _Plan:
        wanted = self.clusters[layer.name] if isinstance(self.clusters, dict) else self.clusters
        weights = [variable.numpy() for _, variable in _weights(layer)]
        if self.per_channel and type(layer).__name__ == "Conv2D":
            channels = np.moveaxis(weights[0], -1, 0)
            # TFMOT takes the same number of values in each channel: one with too few weights left would hold all back.
            if wanted <= min(_most_clusters(channel, sparse) for channel in channels):
                return _Plan(wanted, per_channel=True)
        return _Plan(min(wanted, *(_most_clusters(one, sparse) for one in weights)), per_channel=False)


def _weights(layer: Any) -> list[tuple[str, Any]]:
    """The weights of a layer that TFMOT clusters, with its names for them. Depthwise kernels are not among them.

    Nor is attention: TFMOT hands its weights back in another order.
    """
    from tensorflow_model_optimization.python.core.clustering.keras.clustering_registry import ClusteringRegistry

    if not layer.weights or type(layer).__name__ == "MultiHeadAttention" or not ClusteringRegistry.supports(layer):
        return []
    found: list[tuple[str, Any]] = ClusteringRegistry.make_clusterable(layer).get_clusterable_weights()
    return found


def _most_clusters(weights: NDArray[Any], sparse: bool) -> int:
    """The largest number of centroids that TFMOT can place among some weights: no more than there are points.

    Between zeros it places one of them at zero, and the others among what is not.
    """
    return int(np.count_nonzero(weights)) + 1 if sparse else weights.size


def _wrapped(model: Any, plans: dict[str, _Plan], centroids: str, sparse: bool) -> Any:
    """The model with TFMOT's wrappers around the layers that are clustered; it shares the layers themselves."""
    from pipeline._tf import keras, tfmot

    clustering = tfmot().clustering.keras
    from tensorflow_model_optimization.python.core.clustering.keras.cluster_wrapper import ClusterWeights

    initial = {
        "kmeans_plus_plus": clustering.CentroidInitialization.KMEANS_PLUS_PLUS,
        "density": clustering.CentroidInitialization.DENSITY_BASED,
        "linear": clustering.CentroidInitialization.LINEAR,
    }[centroids]

    def wrap(layer: Any) -> Any:
        plan = plans.get(layer.name)
        # Where there are no more weights than values, there is nothing to share.
        if (
            plan is None
            or plan.clusters < 2
            or all(one.shape.num_elements() <= plan.clusters for _, one in _weights(layer))
        ):
            return layer
        if plan.per_channel:
            # TFMOT's own function counts channels by the bias, and silently leaves out a layer that has none.
            return ClusterWeights(layer, plan.clusters, initial, sparse, cluster_per_channel=True)
        return clustering.cluster_weights(layer, plan.clusters, initial, preserve_sparsity=sparse)

    return keras.models.clone_model(model, clone_function=wrap)


def _distinct(model: Any, plans: dict[str, _Plan]) -> dict[str, int]:
    """How many values the weights of each clustered layer take, in the kernel or channel that has most.

    Raises:
        BrokenPromise: more than its plan says.
    """
    found = {name: _most_distinct(model.get_layer(name), plan) for name, plan in plans.items()}
    for name, plan in plans.items():
        if found[name] > plan.clusters:
            raise BrokenPromise(
                f"Clustering left {found[name]} different weights in layer '{name}'.",
                expected=f"at most {plan.clusters}",
                mend="this is a fault of edgesmith: please report it with the recipe",
            )
    return found


def _most_distinct(layer: Any, plan: _Plan) -> int:
    weights = [variable.numpy() for _, variable in _weights(layer)]
    parts = np.moveaxis(weights[0], -1, 0) if plan.per_channel else weights
    return max(len(np.unique(part)) for part in parts)


def _promises(model: Any, plans: dict[str, _Plan], sparse: bool) -> dict[str, float]:
    promises: dict[str, float] = {"max_distinct": max(plan.clusters for plan in plans.values())}
    if sparse:
        promises["min_sparsity"] = share_of_zeros([weight for weight in model.get_weights() if weight.ndim > 1])
    return promises
