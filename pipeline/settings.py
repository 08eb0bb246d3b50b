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


class MixedPrecisionSettings(Settings):
    """Keep the fewest layers out of int8 that keep the task's metric within its budget, measured layer by layer."""

    keep_in: Literal["float32", "int16"] = Field(
        "float32",
        description="The precision of the layers that are kept: float32, which processors run fast; or int16 (the 16x8 "
        "kernels), for runtimes of integers alone: TensorFlow Lite Micro, Ethos-U. tflite-runtime 2.14 has no int16 "
        "beside int8.",
    )
    max_accuracy_drop: float | None = Field(
        None,
        ge=0,
        le=1,
        description="The most that the model may lose of the task's metric on the validation split; default: the "
        "budget of that name.",
    )


class ConvertSettings(Settings):
    """How a draft becomes a `.tflite` of few bits: int8 from border to border, if nothing else is said."""

    precision: Literal["int8", "int16x8", "float16", "dynamic", "int4"] = Field(
        "int8",
        description="int8; int16x8: int16 activations and int8 weights; float16: weights stored so, computed in float; "
        "dynamic: int8 weights, float activations; int4: int8 with int4 weights in convolutions and dense layers.",
    )
    calibration: Literal["min_max", "percentile", "mse", "entropy", "moving_average"] = Field(
        "min_max",
        description="How each activation's range comes from the examples: all of it, all but the outermost, the one of "
        "least squared error, the one that keeps most of the distribution (Kullback-Leibler), or the moving average of "
        "ai-edge-quantizer, which forgets early examples.",
    )
    percentile: float = Field(
        99.99, gt=50, le=100, description="For calibration: percentile. 99.99 leaves out 0.01 % of values at each end."
    )
    granularity: Literal["per_channel", "per_tensor"] = Field(
        "per_channel", description="Whether a weight has a scale for each output channel or one for all."
    )
    backend: Literal["tensorflow", "ai_edge_quantizer"] = Field(
        "tensorflow", description="What quantizes: TensorFlow's converter, or ai-edge-quantizer (extra aeq)."
    )
    calibration_samples: int = Field(
        200, ge=1, description="Training examples that fix the ranges of a model without quantization-aware training."
    )
    slim: bool = Field(
        False, description="Leave out signatures, metadata and long names, which no interpreter needs: smaller files."
    )

    mixed_precision: MixedPrecisionSettings | None = Field(
        None,
        description="Keep the layers that int8 harms most in float or int16; one evaluation a layer and ten at most.",
    )

    @property
    def is_plain(self) -> bool:
        """Whether this asks for int8 as TensorFlow's converter makes it by itself."""
        kept = ("precision", "calibration", "granularity", "backend")
        return all(getattr(self, name) == type(self).model_fields[name].default for name in kept)

    @model_validator(mode="after")
    def _possible_together(self) -> Self:
        for impossible, sentence in self._conflicts():
            if impossible:
                raise ValueError(sentence)
        return self

    def _conflicts(self) -> tuple[tuple[bool, str], ...]:
        """What cannot be, and the sentence that says why."""
        precision, aeq = self.precision, self.backend == "ai_edge_quantizer"
        without_ranges = precision in ("float16", "dynamic")
        mixed = self.mixed_precision is not None
        per_tensor = self.granularity == "per_tensor"
        return (
            (
                mixed and (precision != "int8" or aeq),
                "mixed_precision keeps layers out of int8 as TensorFlow's converter makes it: leave 'precision' and "
                "'backend' out",
            ),
            (
                "percentile" in self.model_fields_set and self.calibration != "percentile" and self.percentile != 99.99,
                "a percentile is set, but calibration is not 'percentile'; set `calibration: percentile`",
            ),
            (
                without_ranges and self.calibration != "min_max",
                f"with precision '{precision}' activations stay float: there are no ranges to calibrate; "
                "leave 'calibration' out",
            ),
            (
                self.calibration == "moving_average" and not aeq,
                "the moving average is ai-edge-quantizer's own way to calibrate; set `backend: ai_edge_quantizer`",
            ),
            (
                precision == "int16x8" and self.calibration == "entropy",
                "entropy compares distributions over 128 levels, and int16 has 65,535; take min_max, percentile or mse",
            ),
            (
                precision == "int4" and not aeq,
                "TensorFlow's converter makes no int4; set `backend: ai_edge_quantizer` (extra aeq)",
            ),
            (
                precision == "float16" and aeq,
                "float16 rounds and calibrates nothing: leave 'backend' out, TensorFlow's converter makes it",
            ),
            (precision == "float16" and per_tensor, "float16 weights have no scales: leave 'granularity' out"),
            (
                precision == "int16x8" and per_tensor and not aeq,
                "TensorFlow's converter makes int16x8 per channel alone; set `backend: ai_edge_quantizer`, or leave "
                "'granularity' out",
            ),
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
