"""What can be set for pruning, and which settings fit each other."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipeline.stages._per_layer import one_or_per_layer
from pipeline.stages._training import TrainingSettings

Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


class PruneSettings(TrainingSettings):
    """Which weights go, how many, when, and what together."""

    epochs: int = Field(4, ge=1, description="Passes over the training split.")
    threshold: float | None = Field(
        None, gt=0, description="Instead of a sparsity: weights smaller than this become zero."
    )
    threshold_unit: Literal["absolute", "std"] = Field(
        "absolute", description="std: the threshold counts standard deviations of each kernel's weights."
    )
    importance: Literal["magnitude_l1", "magnitude_l2", "gradient", "taylor", "random"] = Field(
        "magnitude_l1",
        description="What goes first: small |w| or w² (alike but for the means of blocks), small |w·g| or (w·g)² with "
        "the loss's gradient g, or anything (a baseline).",
    )
    importance_batches: int = Field(8, ge=1, description="Training batches that gradients are averaged over.")
    scope: Literal["layer", "global", "sensitivity"] = Field(
        "layer",
        description="layer: the same share of every layer. global: one ranking over all. sensitivity: shares that "
        "raise the validation loss alike, layer by layer.",
    )
    max_layer_sparsity: float = Field(
        0.99,
        gt=0,
        le=1,
        description="The most that may go of one kernel by scope global or sensitivity, or by a threshold; 1 lets a "
        "layer be emptied.",
    )
    pattern: Literal["unstructured", "block", "m_by_n"] = Field(
        "unstructured",
        description="What goes together: nothing; blocks; or m of every n inputs of an output. Patterns leave "
        "depthwise, attention and embedding layers dense.",
    )
    block_size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = Field(
        (4, 1), description="Inputs and outputs of a block."
    )
    block_pooling: Literal["avg", "max"] = Field("avg", description="What counts of a block's weights.")
    m_by_n: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=2)]] = Field(
        (2, 4), description="m and n; the sparsity follows from them, and all of it comes at once."
    )
    sparsity: Annotated[Share | dict[str, Share], one_or_per_layer(Share)] | None = Field(
        None,
        validate_default=True,
        description="Share of the weights that become zero, 0.8 unless a threshold or m_by_n says otherwise; or a "
        "share for each layer by name, the others stay dense.",
    )
    ramp: Literal["polynomial", "constant"] = Field(
        "polynomial", description="polynomial rises from zero with a cubic; constant prunes at once."
    )
    ramp_fraction: float = Field(0.6, gt=0, le=1, description="Share of the steps in which the ramp rises.")
    skip_layers: tuple[str, ...] = Field(
        (), description="Layers that are left dense, by name or by a pattern such as `stage1_*`."
    )
    depthwise: bool = Field(
        False, description="Prune depthwise kernels too: they have few weights, and much depends on each."
    )

    @field_validator("sparsity")
    @classmethod
    def _default(
        cls, sparsity: float | dict[str, float] | None, info: ValidationInfo
    ) -> float | dict[str, float] | None:
        otherwise = info.data.get("threshold") is not None or info.data.get("pattern") == "m_by_n"
        return 0.8 if sparsity is None and not otherwise else sparsity

    @model_validator(mode="after")
    def _one_goal(self) -> Self:
        by_groups = self.pattern == "m_by_n"
        if (self.sparsity is not None) + (self.threshold is not None) + by_groups != 1:
            raise ValueError("exactly one of sparsity, threshold and pattern m_by_n can say what becomes zero")
        if self.m_by_n[0] >= self.m_by_n[1]:
            raise ValueError(f"m_by_n {list(self.m_by_n)} would leave nothing: m must be less than n")
        if self.threshold is not None and self.importance != "magnitude_l1":
            raise ValueError("a threshold is held against |w|: importance must be magnitude_l1")
        if self.depthwise and self.pattern != "unstructured":
            raise ValueError("depthwise kernels have no rows of inputs: a pattern does not fit them")
        return self

    @model_validator(mode="after")
    def _scope_fits(self) -> Self:
        if self.scope == "layer":
            return self
        if not isinstance(self.sparsity, float):
            raise ValueError(f"scope {self.scope} shares out one sparsity: give a single number")
        if self.sparsity > self.max_layer_sparsity:
            raise ValueError(
                f"a sparsity of {self.sparsity:g} cannot be reached with at most {self.max_layer_sparsity:g} of a "
                "layer (max_layer_sparsity)"
            )
        return self

    @property
    def one_sparsity(self) -> float:
        """The sparsity where it is a single number; 0 where it is not."""
        return self.sparsity if isinstance(self.sparsity, float) else 0.0

    def share_of(self, layer: str) -> float:
        """The share of a layer's weights that become zero."""
        return self.sparsity[layer] if isinstance(self.sparsity, dict) else self.one_sparsity
