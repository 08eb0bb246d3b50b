"""Whether a device gives what the reference gives for the same inputs. The nouns `Outputs`, `Parity`, `Deployment`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TOLERANCE_STEPS = 4
"""How far an output may be from that of other kernels, which round in other ways."""


@dataclass(frozen=True)
class Outputs:
    """What a device gave for some inputs.

    Attributes:
        kernels: `xnnpack`, `xnnpack+builtin`, `builtin` (the interpreter's own, optimized), `reference` (its plain
            ones) or `tflm`; `unknown` where the device does not tell.
        runtime, runtime_version: the interpreter.
        machine: the processor's architecture, `aarch64`.
        values: the model's first output for each example, raw, (n, ...).
    """

    kernels: str
    runtime: str
    runtime_version: str
    machine: str
    values: NDArray[Any]


@dataclass(frozen=True)
class Parity:
    """How a device's outputs stand to the golden ones.

    Attributes:
        kernels, runtime: which kernels of which interpreter ran on the device.
        examples: how many inputs were compared.
        exact: every output is the same, bit for bit.
        max_steps: the largest difference, in steps of the output's grid; None where an output was no finite number.
        same_top1: on how many examples the same output is the largest.
        ok: it is the same model there. The same kernels must agree exactly, others within the tolerance.
        why: what was held against what; where it is not ok, what is wrong.
        first_layer: the first layer whose output differs by more than it may; "" where nothing differs, or none
            was found.
        allowed_steps: the largest difference that is still the same model: 0 for the same kernels.
    """

    kernels: str
    runtime: str
    examples: int
    exact: bool
    max_steps: float | None
    same_top1: int
    ok: bool
    why: str
    first_layer: str = ""
    allowed_steps: int = TOLERANCE_STEPS

    def to_json(self) -> dict[str, Any]:
        """As reports hold it."""
        return asdict(self)


@dataclass(frozen=True)
class Deployment:
    """A model that stays on a device.

    Attributes:
        target: the device's label.
        name: the name it was deployed under.
        path: where it lies there; of a model in two files, its `cascade.json`.
        sha256: of that file.
        previous_sha256: of that of the version that a rollback brings back, or None.
        self_test: how its outputs there stood to the golden ones, before it was switched to; None where none was run:
            by a rollback, on a device that cannot, and where nothing had to change.
        changed: False where it was in use already, and nothing was done.
    """

    target: str
    name: str
    path: str
    sha256: str
    previous_sha256: str | None
    self_test: Parity | None = None
    changed: bool = False

    def to_json(self) -> dict[str, Any]:
        """As reports hold it."""
        return asdict(self)


def compare(found: Outputs, golden: Sequence[Outputs], step: float) -> Parity:
    """Hold a device's outputs against the golden ones: those of the same kernels, or else the nearest.

    Args:
        found: what the device gave, (n, ...).
        golden: what the reference gave with each kind of kernels, at least one.
        step: one step of the output's grid: 1 for integers. For floats it is positive, and equality is not asked of
            them: the same kernels add up in another order on another processor.
    """
    closest = nearest(found, golden)
    return _held_against(closest, found, step, strict=_same_kernels(found, closest))


def compare_stages(found: Outputs, golden: Sequence[Outputs], steps: Sequence[float]) -> Parity:
    """`compare` for a model in two stages, whose outputs are the scores of both, (n, 2, classes).

    Args:
        found: what the device gave.
        golden: what the reference gave with each kind of kernels.
        steps: one step of the grid of either stage's scores.

    Returns:
        one verdict: of each figure, the stage's that is worse.
    """
    early, final = (
        compare(stage_of(found, place), [stage_of(each, place) for each in golden], step)
        for place, step in enumerate(steps)
    )
    worse = final if early.ok else early
    differences = (early.max_steps, final.max_steps)
    return replace(
        worse,
        exact=early.exact and final.exact,
        max_steps=None if None in differences else max(filter(None, differences), default=0.0),
        same_top1=min(early.same_top1, final.same_top1),
        why=f"both stages {final.why}" if early.why == final.why else f"early: {early.why}; rest: {final.why}",
    )


def stage_of(outputs: Outputs, place: int) -> Outputs:
    """The scores of one stage, (n, classes), of those of both, (n, 2, classes)."""
    return replace(outputs, values=outputs.values[:, place])


def nearest(found: Outputs, golden: Sequence[Outputs]) -> Outputs:
    """The golden outputs of the same kernels; where there are none, those that differ least."""
    alike = [each for each in golden if _same_kernels(found, each)]
    return min(alike or golden, key=lambda each: _distance(found.values, each.values))


def _same_kernels(found: Outputs, golden: Outputs) -> bool:
    """Of one name and one version of the interpreter: others may round in another way.

    The interpreter's optimized kernels are written anew for each architecture, and round apart there by up to three
    steps. XNNPACK's and the reference implementation's give the same on all.
    """
    if found.kernels == "tflm":
        # A microcontroller's interpreter is built from tflite-runtime's plain kernels; LiteRT's round otherwise by now.
        return (golden.kernels, golden.runtime) == ("reference", "tflite_runtime")
    names = ("kernels", "runtime", "runtime_version", *(("machine",) if "builtin" in found.kernels else ()))
    return all(getattr(found, name) == getattr(golden, name) for name in names)


def _distance(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """The largest difference; infinite where they cannot be compared."""
    steps = _largest_difference(found, wanted, 1.0) if found.shape == wanted.shape else None
    return math.inf if steps is None else steps


def _held_against(golden: Outputs, found: Outputs, step: float, *, strict: bool) -> Parity:
    wanted, values = golden.values, found.values
    verdict = Parity(
        kernels=found.kernels,
        runtime=f"{found.runtime} {found.runtime_version}",
        examples=len(values),
        exact=False,
        max_steps=None,
        same_top1=0,
        ok=False,
        why=f"it gives {values.dtype} {values.shape}, the reference {wanted.dtype} {wanted.shape}",
        allowed_steps=0 if strict and wanted.dtype.kind in "iub" else TOLERANCE_STEPS,
    )
    if values.shape != wanted.shape or values.dtype != wanted.dtype:
        return verdict
    steps = _largest_difference(values, wanted, step)
    agreeing = int(_agree_on_top(values, wanted, step).sum())
    ok, why = _judged(steps, agreeing == len(wanted), verdict.allowed_steps)
    against = f"{found.kernels} kernels against {golden.kernels} of {golden.runtime} {golden.runtime_version}"
    return replace(verdict, exact=steps == 0, max_steps=steps, same_top1=agreeing, ok=ok, why=f"{why} ({against})")


def _judged(steps: float | None, agreeing: bool, allowed: int) -> tuple[bool, str]:
    """Whether a difference is allowed, and what it means."""
    if steps is None:
        return False, "an output is no finite number"
    if steps == 0:
        return True, "the same to the bit"
    found = f"up to {steps:.3g} step{'s' if steps != 1 else ''} apart"
    if steps > allowed:
        return (
            False,
            f"{found}, where {f'{allowed} are allowed' if allowed else 'the same kernels must agree to the bit'}",
        )
    return agreeing, found if agreeing else f"{found}, and another output is the largest"


def _largest_difference(found: NDArray[Any], wanted: NDArray[Any], step: float) -> float | None:
    """In steps; NaN in the same places is no difference. None where a difference is no finite number."""
    import numpy as np

    wide_found, wide_wanted = found.astype(np.float64), wanted.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(wide_found - wide_wanted) / step
    apart[(wide_found == wide_wanted) | (np.isnan(wide_found) & np.isnan(wide_wanted))] = 0
    largest = float(apart.max(initial=0))
    return largest if np.isfinite(largest) else None


def _agree_on_top(found: NDArray[Any], wanted: NDArray[Any], step: float) -> NDArray[Any]:
    """For each example, whether the device's largest output is the reference's, or in a near tie with it, (n,)."""
    import numpy as np

    rows, wanted_rows = (np.nan_to_num(each.reshape(len(each), -1).astype(np.float64)) for each in (found, wanted))
    if not rows.size:
        return np.ones(len(rows), bool)
    at_top = np.take_along_axis(wanted_rows, rows.argmax(axis=1)[:, None], axis=1)[:, 0]
    # A tie that is nearer than the kernels round apart is decided by chance.
    near: NDArray[Any] = wanted_rows.max(axis=1) - at_top <= TOLERANCE_STEPS * step
    return near
