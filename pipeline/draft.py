"""Draft: a Keras model on its way to the device, as data.

A draft holds the architecture and the weights, not a live model: every stage restores a model of its own, so no
stage can train another's, a draft read from the cache is the same as one just made, and its hash names it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Step:
    """What one stage did.

    Attributes:
        stage: its name.
        settings: its settings, JSON-ready.
        seconds: how long it worked.
        metrics: what it measured, name to value.
        curves: training curves, name to one value an epoch.
        promises: what the final bytes must show because of it, name to value (`min_sparsity`).
        notes: what else people should know of it, JSON-ready (which layers went which way).
    """

    stage: str
    settings: dict[str, Any]
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    promises: dict[str, float] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """A model between two stages.

    Attributes:
        architecture: the Keras model as JSON.
        weights: its weights in Keras' order.
        traits: what compression has given it so far, a subset of `stage.TRAITS`.
        steps: the stages behind it.
        teacher: the model whose outputs can guide later stages: the last draft that no compression had touched, or
            the one that a stage named. None while this draft itself is untouched.
    """

    architecture: str
    weights: tuple[NDArray[Any], ...]
    traits: frozenset[str] = frozenset()
    steps: tuple[Step, ...] = ()
    teacher: Draft | None = None

    @classmethod
    def of(cls, model: Any, traits: frozenset[str] = frozenset()) -> Draft:
        """The draft that a Keras model stands for, with no steps behind it."""
        weights = tuple(np.asarray(weight) for weight in model.get_weights())
        return cls(json.dumps(_without_build(json.loads(model.to_json()))), weights, traits)

    def restore(self) -> Any:
        """A fresh Keras model with this draft's weights, in a cleared session so that names repeat exactly."""
        from pipeline._tf import find_devices, keras, quantize_scope

        find_devices()
        keras.backend.clear_session()
        # The toolkit takes a second to import: only a draft that it wrote needs its names.
        with quantize_scope() if "qat" in self.traits else contextlib.nullcontext():
            model = keras.models.model_from_json(self.architecture)
        model.set_weights(list(self.weights))
        return model

    def then(self, model: Any, step: Step, traits: frozenset[str]) -> Draft:
        """The draft after `step`, which made `model` out of this one."""
        teacher = self.teacher or (self.bare() if traits and not self.traits else None)
        return replace(Draft.of(model, traits), steps=(*self.steps, step), teacher=teacher)

    def bare(self) -> Draft:
        """The model alone, without what lies behind it."""
        return replace(self, steps=(), teacher=None)

    def to_files(self) -> dict[str, bytes]:
        """The draft as files for the cache; `from_files` reads them back, bit for bit."""
        facts = {
            "architecture": self.architecture,
            "traits": sorted(self.traits),
            "steps": [asdict(s) for s in self.steps],
        }
        arrays = io.BytesIO()
        np.savez(arrays, **{f"w{index}": weight for index, weight in enumerate(self.weights)})
        teacher = self.teacher.to_files() if self.teacher else {}
        return {
            "draft.json": json.dumps(facts).encode(),
            "weights.npz": arrays.getvalue(),
            **{f"teacher-{name}": content for name, content in teacher.items()},
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Draft:
        """The draft that `to_files` wrote."""
        facts = json.loads(files["draft.json"])
        with np.load(io.BytesIO(files["weights.npz"]), allow_pickle=False) as arrays:
            weights = tuple(arrays[f"w{index}"] for index in range(len(arrays.files)))
        steps = tuple(Step(**step) for step in facts["steps"])
        of_teacher = {name.removeprefix("teacher-"): files[name] for name in files if name.startswith("teacher-")}
        teacher = cls.from_files(of_teacher) if of_teacher else None
        return cls(facts["architecture"], weights, frozenset(facts["traits"]), steps, teacher)

    @property
    def sha256(self) -> str:
        """Names the architecture and every bit of the weights, and its teacher's; the steps behind do not count."""
        digest = hashlib.sha256(self.architecture.encode())
        for array in self.weights:
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        digest.update(",".join(sorted(self.traits)).encode())
        if self.teacher is not None:
            digest.update(self.teacher.sha256.encode())
        return digest.hexdigest()


def _without_build(config: Any) -> Any:
    """A Keras config without its `build_config`s.

    They make Keras build each layer before the graph is replayed: weights then lose their layer's name, and TFMOT's
    QuantizeLayer gets its weights twice, so that no saved weights fit it any more.
    """
    if isinstance(config, dict):
        return {key: _without_build(value) for key, value in config.items() if key != "build_config"}
    if isinstance(config, list):
        return [_without_build(value) for value in config]
    return config
