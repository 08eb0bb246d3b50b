"""Every error that a target can raise. Each says what happened, what was expected and how to mend it.

    TargetError              exit 3
    ├── Unsupported                    this target does not do what it was asked for
    ├── DeviceError                    the device fell silent, or answered what cannot be trusted
    │   ├── Timeout                    it took longer than it was given; what ran there was ended
    │   └── Disagreement               it gives other outputs than the reference: none of its figures means anything
    ├── ToolMissing                    a program or package that this target needs is not there
    ├── UnusableModel                  a model that cannot be read or loaded, or that crashes the interpreter
    ├── WrongInput                     examples of another shape or type than the model takes
    └── WrongAddress                   exit 2: a text or a setting that names no device of this kind

The tree has the same shape as `pipeline/errors.py` and shares nothing with it: targets know nothing of recipes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from edge_targets._parity import Parity


class TargetError(Exception):
    """The root: a sentence on what happened, and if it helps, what was expected and how to mend it.

    Args:
        what: what happened, in one sentence that names the thing.
        expected: what would have been right.
        mend: what the user can do now.
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, what: str, *, expected: str = "", mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.mend = mend

    def __str__(self) -> str:
        lines = [self.what]
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.mend:
            lines.append(f"  to mend it: {self.mend}")
        return "\n".join(lines)


class Unsupported(TargetError):
    """This target does not do what it was asked for."""


class DeviceError(TargetError):
    """The device fell silent, or answered what cannot be trusted."""


class Timeout(DeviceError):
    """The device took longer than it was given; what ran there was ended."""


class Disagreement(DeviceError):
    """The device gives other outputs than the reference: it, or what runs there, is broken.

    Where a device is used (`benchmark`, `deploy`) it is a fault of the device, exit 3; in a report, a failed check.

    Args:
        target: the device's label.
        parity: what was found.
    """

    def __init__(self, target: str, parity: Parity) -> None:
        layer = f" The first layer that differs is '{parity.first_layer}'." if parity.first_layer else ""
        super().__init__(
            f"'{target}' gives other outputs than the reference: {parity.why}.{layer}",
            expected="the same outputs for the same inputs",
            mend="update the interpreter there, or the emulator; figures of this device would mean nothing",
        )
        self.parity = parity


class ToolMissing(TargetError):
    """A program or package that this target needs is not there."""


class UnusableModel(TargetError):
    """A model that cannot be read or loaded, or that crashes the interpreter."""


class WrongInput(TargetError):
    """Examples of another shape or type than the model takes."""


class WrongAddress(TargetError):
    """A text or a setting that names no device of this kind."""

    exit_code = 2
