"""The base of everything that a recipe can set: frozen, strict, closed to unknown keys; and the groups that belong
to the run itself and not to a plugin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

PositiveUs = Annotated[float, Field(gt=0)]


class Settings(BaseModel):
    """A group of settings of a recipe: its fields are its keys, their types are checked strictly.

    Strict means that nothing is guessed: `epochs: "3"` and `epochs: 2.5` are errors, as is any key
    that is not a field. Infinite and NaN numbers are errors too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class ModelFile(Settings):
    """A model that is not the zoo's. `model: mine.keras` is short for `model: {file: {path: mine.keras}}`."""

    path: Path = Field(
        description="A .keras file of Keras 3 or Keras 2, an .h5 file, a SavedModel folder, or `builder.py:function`: "
        "a function that returns a Keras model; it is told input_shape and num_classes where it has these parameters."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="What the function is called with, by keyword.")
    custom_objects: Path | None = Field(
        None, description="A python file with the layer classes of the model that are not Keras' own."
    )


class ConvertSettings(Settings):
    """How a draft becomes an int8 `.tflite`."""

    calibration_samples: int = Field(
        200, ge=1, description="Training examples that fix the ranges of a model without quantization-aware training."
    )
    slim: bool = Field(
        False, description="Leave out signatures, metadata and long names, which no interpreter needs: smaller files."
    )


class Budgets(Settings):
    """What the final bytes must keep to; each becomes a check. A budget that is not given is not checked."""

    max_accuracy_drop: float | None = Field(
        None,
        ge=0,
        le=1,
        description="The most that int8 may lose against float of the task's metric: accuracy, mean average precision "
        "(multi_label), R² (regression) or ROC AUC (anomaly). 0.01 is one point.",
    )
    min_accuracy: float | None = Field(
        None, ge=0, le=1, description="The least value of the task's metric on the test split, from 0 to 1."
    )
    min_sparsity: float | None = Field(None, ge=0, le=1, description="The least share of weights that are zero.")
    max_size_bytes: int | None = Field(None, gt=0, description="The largest .tflite, in bytes.")
    max_ota_bytes: int | None = Field(None, gt=0, description="The most that may travel over the air, in bytes.")
    max_median_us: dict[str, PositiveUs] = Field(
        default_factory=dict, description="The largest median latency of an inference on each target, in microseconds."
    )


class BenchmarkSettings(Settings):
    """How latency is measured on every target. Names as in TensorFlow Lite's `benchmark_model`."""

    num_threads: int = Field(1, ge=1, le=256, description="Threads of the interpreter.")
    num_runs: int = Field(200, ge=1, description="The least number of timed inferences.")
    warmup_runs: int = Field(20, ge=0, description="Inferences before the timed ones.")
    min_secs: float = Field(0.5, ge=0, description="Go on measuring for at least as many seconds.")
    max_secs: float = Field(10.0, ge=0.001, description="Stop measuring after as many seconds.")
    runtime: Literal["auto", "ai_edge_litert", "tflite_runtime", "tensorflow"] = Field(
        "auto", description="The interpreter; auto takes the first that is installed there, in this order."
    )
    profile: bool = Field(
        False, description="Also measure what each operator takes, and what the device can do at best."
    )

    @model_validator(mode="after")
    def _least_before_most(self) -> Self:
        if self.min_secs > self.max_secs:
            raise ValueError(f"min_secs ({self.min_secs:g}) is more than max_secs ({self.max_secs:g})")
        return self
