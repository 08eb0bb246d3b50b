"""The noun of devices: `Target`, and what it can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn

from edge_targets._errors import TargetError, Unsupported, UnusableModel, WrongAddress, WrongInput
from edge_targets._measurement import BenchmarkPlan, DeviceInfo, Measurement, Provenance, Runtime
from edge_targets._noise import Noise, TensorPair
from edge_targets._parity import compare

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edge_targets._cascade import Exits
    from edge_targets._golden import Golden
    from edge_targets._parity import Deployment, Outputs, Parity


@dataclass(frozen=True)
class Capabilities:
    """What a target can do. The public verbs of `Target` check it before any work.

    Attributes:
        benchmark: it measures latency.
        evaluate: it gives back the model's outputs.
        deploy: it keeps a model for use after we are gone.
        delegates: names of the delegates that it can hand operators to.
    """

    benchmark: bool = False
    evaluate: bool = False
    deploy: bool = False
    delegates: tuple[str, ...] = ()


class Target(ABC):
    """A kind of device. One file a target; the file's name is the target's.

    The public verbs check what was declared and what was given, call one private hook each, and let nothing but
    `TargetError` out. A new target writes the hooks of the capabilities that it declares.

    Its settings are the keyword-only parameters of its `__init__`: annotated, each with a default. Recipes, profiles
    and the command line check what they are given against these annotations.

    Class attributes:
        name: the file's name.
        provenance: what stands behind its figures, at best: what a probe finds can only be weaker.
        capabilities: which verbs it has.

    Attributes:
        label: what the user calls this device; its measurements bear it. The target's name where none was given.
    """

    name: ClassVar[str]
    provenance: ClassVar[Provenance]
    capabilities: ClassVar[Capabilities]
    label: str

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = cls.label = cls.__module__.rsplit(".", 1)[-1]

    @classmethod
    def at(cls, address: str) -> dict[str, Any]:
        """The settings that the text behind `NAME:` stands for, as plain values, not yet checked.

        Raises:
            WrongAddress: it is no address of such a device.
        """
        raise WrongAddress(f"The target '{cls.name}' takes no address, and was given '{address}'.", expected=cls.name)

    def info(self) -> DeviceInfo:
        """What the device is.

        Raises:
            TargetError: the device could not be asked.
        """
        with self._one_error_tree("info"):
            return self._info()

    def prepare(self, model: Path) -> Path:
        """Make of a `.tflite` the file that this target runs: the same one, or one compiled for it.

        Raises:
            TargetError: it cannot be made.
        """
        _must_exist(model)
        with self._one_error_tree("prepare"):
            return self._prepare(model)

    def deploy(self, bundle: Path) -> Deployment:
        """Put a bundle on the device to stay: checked, self-tested, then switched to in one step.

        Args:
            bundle: the folder with `bundle.json`.

        Raises:
            Disagreement: the self-test gave other outputs than the golden ones; what was there before still is.
            TargetError: it is not there now; what was there before still is.
        """
        self._require("deploy")
        if not bundle.is_dir():
            raise TargetError(f"There is no bundle {bundle}.", expected="a folder with a bundle.json")
        with self._one_error_tree("deploy"):
            return self._deploy(bundle)

    def rollback(self, name: str) -> Deployment:
        """Switch back to the version that was in use before.

        Args:
            name: what the model was deployed as.

        Raises:
            TargetError: there is none, or it could not be switched to; what was in use still is.
        """
        self._require("deploy")
        with self._one_error_tree("roll back"):
            return self._rollback(name)

    def deployed(self, name: str) -> Deployment | None:
        """What is in use under a name, once its files there are as they were deployed; None where nothing is.

        Raises:
            TargetError: it is damaged, or the device cannot be asked.
        """
        self._require("deploy")
        with self._one_error_tree("tell what is deployed"):
            return self._deployed(name)

    def benchmark(self, models: Mapping[str, Path], plan: BenchmarkPlan) -> dict[str, Measurement]:
        """Measure several models in one run, turn by turn, so that what disturbs one disturbs all alike.

        Args:
            models: name to `.tflite`; the names are yours.
            plan: how long and how often.

        Returns:
            one measurement a model, in the order given.

        Raises:
            UnusableModel: a model cannot be loaded, or crashes the interpreter.
            TargetError: anything else that kept the figures from being had.
        """
        self._require("benchmark")
        if not models:
            raise TargetError(f"Nothing was given to benchmark on {self.name}.", expected="at least one model")
        for model in models.values():
            _must_exist(model)
        with self._one_error_tree("benchmark"):
            found = self._benchmark(models, plan)
            return {name: replace(one, target=self.label) for name, one in found.items()}

    def evaluate(self, model: Path, batches: Iterable[NDArray[Any]], *, runtime: Runtime = "auto") -> NDArray[Any]:
        """Run a model of one input over many examples, one by one, its state reset before each.

        Args:
            model: the `.tflite`.
            batches: examples as the model takes them, raw: (b, ...) of any b, in the model's input type. They are
                read once and never all held.
            runtime: which interpreter.

        Returns:
            the model's first output for each example, raw, (n, ...) in its output type.

        Raises:
            WrongInput: examples of another shape or type than the model takes, or none at all.
            UnusableModel: the model cannot be loaded, or crashes the interpreter.
            TargetError: anything else that kept the outputs from being had.
        """
        self._require("evaluate")
        _must_exist(model)
        with self._one_error_tree("evaluate"):
            return self._evaluate(model, batches, runtime)

    def cascade(
        self, stages: tuple[Path, Path], batches: Iterable[NDArray[Any]], threshold: float, *, runtime: Runtime = "auto"
    ) -> Exits:
        """Run a model of two stages over many examples, one by one: the second only where the first is not sure.

        Args:
            stages: the first `.tflite`, which gives scores and features; and the second, from features to scores.
            batches: as for `evaluate`.
            threshold: the least confidence (softmax's largest) with which the first stage's scores stand; above 1 they
                never do.
            runtime: which interpreter.

        Raises:
            UnusableModel: a stage cannot be loaded, crashes the interpreter, or does not fit the other.
            TargetError: anything else that kept the outputs from being had.
        """
        self._require("evaluate")
        for stage in stages:
            _must_exist(stage)
        with self._one_error_tree("run both stages"):
            return self._cascade(stages, batches, threshold, runtime)

    def check(self, model: Path, golden: Golden, *, runtime: Runtime = "auto") -> Parity:
        """Run a model over golden inputs, and hold its outputs against the golden ones.

        Returns:
            what was found. Where `ok` is False, this device's figures mean nothing (`Disagreement` says so).

        Raises:
            WrongInput: the golden inputs are not what the model takes.
            UnusableModel: the model cannot be loaded, or crashes the interpreter.
            TargetError: anything else that kept the outputs from being had.
        """
        self._require("evaluate")
        _must_exist(model)
        with self._one_error_tree("check"):
            from edge_targets._golden import output_step

            found = self._outputs(model, golden.inputs, runtime)
            parity = compare(found, golden.outputs, output_step(model, found.values))
            layer = "" if parity.ok else self._first_layer(model, golden, found, runtime)
            return replace(parity, first_layer=layer)

    def noise(
        self,
        models: tuple[Path, Path],
        inputs: tuple[NDArray[Any], NDArray[Any]],
        pairs: Sequence[TensorPair],
        *,
        runtime: Runtime = "auto",
    ) -> list[Noise]:
        """Run two models of one input over the same examples, and measure how far tensors inside them are apart.

        The interpreter's own kernels run, without delegates: those would hide what is inside.

        Args:
            models: the reference, and the one that is held against it.
            inputs: the same examples as each of them takes them, raw, (n, ...).
            pairs: the tensors to compare.
            runtime: which interpreter.

        Returns:
            what was found of each pair, in their order.

        Raises:
            WrongInput: examples of another shape or type than the models take, or not as many for each.
            UnusableModel: a model cannot be loaded, or crashes the interpreter.
            TargetError: anything else.
        """
        self._require("evaluate")
        for model in models:
            _must_exist(model)
        if len(inputs[0]) != len(inputs[1]) or not len(inputs[0]):
            counts = f"{len(inputs[0])} and {len(inputs[1])} examples were given"
            raise WrongInput(f"To compare two models, {counts}.", expected="as many for each, and at least one")
        with self._one_error_tree("compare tensors"):
            return self._noise(models, inputs, pairs, runtime) if pairs else []

    @abstractmethod
    def _info(self) -> DeviceInfo:
        """The hook of `info`."""

    def _prepare(self, model: Path) -> Path:
        """The hook of `prepare`: most targets run the file as it is."""
        return model

    def _deploy(self, bundle: Path) -> Deployment:
        """The hook of `deploy`."""
        self._refuse("deploy")

    def _rollback(self, name: str) -> Deployment:
        """The hook of `rollback`."""
        self._refuse("deploy")

    def _deployed(self, name: str) -> Deployment | None:
        """The hook of `deployed`."""
        self._refuse("deploy")

    def _benchmark(self, models: Mapping[str, Path], plan: BenchmarkPlan) -> dict[str, Measurement]:
        """The hook of `benchmark`."""
        self._refuse("benchmark")

    def _evaluate(self, model: Path, batches: Iterable[NDArray[Any]], runtime: Runtime) -> NDArray[Any]:
        """The hook of `evaluate`."""
        self._refuse("evaluate")

    def _cascade(
        self, stages: tuple[Path, Path], batches: Iterable[NDArray[Any]], threshold: float, runtime: Runtime
    ) -> Exits:
        """The hook of `cascade`; a target that evaluates may leave it out."""
        raise Unsupported(f"The target '{self.name}' runs no model of two stages.", expected="the target host")

    def _outputs(self, model: Path, inputs: NDArray[Any], runtime: Runtime) -> Outputs:
        """The hook of `check`: run the model over inputs (n, ...), and tell which kernels ran."""
        self._refuse("evaluate")

    def _tensors(self, model: Path, example: NDArray[Any], runtime: Runtime) -> NDArray[np.uint8]:
        """Run a model of many outputs over one example (1, ...): the bytes of them all, one after another, (bytes,).

        With it a failed `check` names the first layer that differs; a target may leave it out.
        """
        raise Unsupported(f"The target '{self.name}' gives a model's first output only.")

    def _noise(
        self,
        models: tuple[Path, Path],
        inputs: tuple[NDArray[Any], NDArray[Any]],
        pairs: Sequence[TensorPair],
        runtime: Runtime,
    ) -> list[Noise]:
        """The hook of `noise`; a target that evaluates may leave it out."""
        raise Unsupported(f"The target '{self.name}' does not show what is inside a model.", expected="the target host")

    def _first_layer(self, model: Path, golden: Golden, found: Outputs, runtime: Runtime) -> str:
        """The first layer whose output differs here; "" where that cannot be found out, which is no reason to fail."""
        from edge_targets._first_layer import first_layer

        try:
            return first_layer(model, golden, found, lambda opened, example: self._tensors(opened, example, runtime))
        except TargetError:
            return ""

    def _require(self, verb: Literal["benchmark", "evaluate", "deploy"]) -> None:
        if not getattr(self.capabilities, verb):
            self._refuse(verb)

    def _refuse(self, verb: str) -> NoReturn:
        verbs = [name for name in ("benchmark", "evaluate", "deploy") if getattr(self.capabilities, name)]
        raise Unsupported(
            f"The target '{self.name}' does not {verb}.", expected=f"one of: {', '.join(['info', 'prepare', *verbs])}"
        )

    @contextmanager
    def _one_error_tree(self, verb: str) -> Iterator[None]:
        try:
            yield
        except TargetError:
            raise
        # Hooks are anyone's code: whatever escapes them, callers have one tree to catch.
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise TargetError(f"The target '{self.name}' failed to {verb}: {reason}") from error


def _must_exist(model: Path) -> None:
    if not model.is_file():
        raise UnusableModel(f"There is no model file {model}.", expected="a .tflite file")
