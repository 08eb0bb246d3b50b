"""Deploying to one device over any transport: this side of `_on_device_deploy.sh`.

A deploy is three calls of the script: `install` puts a version beside the others, the self-test runs it there, `switch`
makes it the current one. Each call holds the device's lock for itself alone, so a host that dies between them leaves
nothing locked. Where two hosts deploy at once, the later `install` sweeps the earlier one's version away, and the
earlier host is told.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from edge_targets import _answer
from edge_targets._bundle import Bundle, is_plain
from edge_targets._errors import DeviceError, Disagreement, TargetError, ToolMissing
from edge_targets._parity import Deployment, Outputs, Parity
from edge_targets._self_test import try_model, try_stages

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edge_targets._first_layer import Tensors
    from edge_targets._self_test import Stages
    from edge_targets._transport import Completed, Transport

SCRIPT = Path(__file__).with_name("_on_device_deploy.sh")
SUMS = "SHA256SUMS"
# How long another deploy is waited for.
PATIENCE_S = 10
# Hashing and syncing a large model takes a slow card minutes.
SCRIPT_TIMEOUT_S = 600.0
BUSY, DAMAGED, NOT_INSTALLED, NO_PREVIOUS, UNWRITABLE, NO_TOOL, NO_FOLDER = range(20, 27)
_HEAD = re.compile(r"edgesmith-deploy 1\nfolder (/[^\n]{0,4000})\n")
_VERSION = re.compile(r"(current|previous) ([0-9a-f]{64}) (?:(damaged)|([0-9a-f]{64}) (model\.tflite|cascade\.json))\n")


class InBetween(DeviceError):
    """Another deploy to the same device came in between, and this one ended."""


@dataclass(frozen=True)
class _Status:
    """What the script tells.

    Attributes:
        folder: where the versions of this name lie on the device.
        versions: of `current` and `previous`, as far as they are there.
        lists: the sha256 of their list of files; "damaged" where a file is not what the list says.
        keys: the file that each is named by; "" where it is damaged.
    """

    folder: str
    versions: dict[str, str]
    lists: dict[str, str]
    keys: dict[str, str]

    def folder_of(self, version: str) -> str:
        return f"{self.folder}/versions/{version}"


@dataclass(frozen=True)
class Installer:
    """Keeps models on one device, for as long as its transport is open.

    Attributes:
        transport: the way to the device, entered.
        label: what the user calls it.
        root: the folder on the device for all models; `~/` in front is the home folder there.
        outputs: runs a model that lies at a path there over inputs (n, ...); without it there is no self-test.
        tensors: runs an opened model there (`_first_layer.py`), to tell where a self-test went wrong.
        unpack: unpacks one file of the work folder into another; without it a packed model travels unpacked.
        stages: runs both stages of a model in two, which lie in a folder there (`_self_test.Stages`); without it such a
            model is not tested.
        patience_s: how long another deploy is waited for.
    """

    transport: Transport
    label: str
    root: str
    outputs: Callable[[str, NDArray[Any]], Outputs] | None = None
    tensors: Tensors | None = None
    unpack: Callable[[str, str], None] | None = None
    stages: Stages | None = None
    patience_s: int = PATIENCE_S

    def deploy(self, bundle: Bundle) -> Deployment:
        """Make a bundle the current version of its name. What is current already stays untouched.

        Raises:
            Disagreement: the self-test gave other outputs than the golden ones.
            TargetError: anything else; in either case what was current before still is.
        """
        self._push_script()
        with tempfile.TemporaryDirectory(prefix="edgesmith-") as folder:
            sums = Path(folder, SUMS)
            sums.write_text(bundle.sums(), encoding="ascii")
            listed = hashlib.sha256(sums.read_bytes()).hexdigest()
            status = self._ask("status", bundle.name)
            if status.versions.get("current") == bundle.version and status.lists["current"] == listed:
                return self._deployment(bundle.name, status)
            self._push(bundle, sums)
        status = self._ask("install", bundle.name, bundle.version)
        parity = self._self_test(bundle, status.folder_of(bundle.version))
        status = self._ask("switch", bundle.name, bundle.version)
        return self._deployment(bundle.name, status, parity, changed=True)

    def rollback(self, name: str) -> Deployment:
        """Switch to the previous version; the current one becomes the previous.

        Raises:
            TargetError: there is none, or it is damaged; the current one still is.
        """
        self._push_script()
        return self._deployment(name, self._ask("rollback", name), changed=True)

    def deployed(self, name: str) -> Deployment | None:
        """What is current, or None where nothing was deployed under this name.

        Raises:
            TargetError: it is damaged, or the device cannot be asked.
        """
        self._push_script()
        status = self._ask("status", name)
        return self._deployment(name, status) if status.versions else None

    def _push_script(self) -> None:
        self.transport.push(SCRIPT, SCRIPT.name.lstrip("_"))

    def _push(self, bundle: Bundle, sums: Path) -> None:
        self.transport.push(sums, SUMS)
        parcels = bundle.parcels if self.unpack else {}
        for name in bundle.kept:
            if name not in parcels:
                self.transport.push(bundle.folder / name, name)
        for model, parcel in parcels.items():
            self.transport.push(bundle.folder / parcel, parcel)
            if self.unpack:
                self.unpack(parcel, model)

    def _self_test(self, bundle: Bundle, folder: str) -> Parity | None:
        """Run the installed model there. Where it does not give what it should, it goes again."""
        try:
            parity = self._tried(bundle, folder)
        except TargetError as error:
            self._give_up(bundle, error)
        if parity is not None and not parity.ok:
            self._give_up(bundle, Disagreement(self.label, parity))
        return parity

    def _tried(self, bundle: Bundle, folder: str) -> Parity | None:
        if bundle.threshold is not None:
            return try_stages(bundle, folder, self.stages, self.tensors) if self.stages else None
        return try_model(bundle, folder, self.outputs, self.tensors) if self.outputs else None

    def _give_up(self, bundle: Bundle, error: TargetError) -> NoReturn:
        try:
            self._ask("discard", bundle.name, bundle.version)
        except InBetween as gone:
            # No wonder that the model could not be run.
            raise gone from error
        except TargetError:
            # The device has gone: the next deploy will sweep.
            pass
        error.what += " The model that was in use there still is."
        raise error

    def _ask(self, verb: str, name: str, version: str = "") -> _Status:
        if not is_plain(name):
            raise TargetError(f"No model can be deployed as {name!r:.80}.", expected="letters, digits, dots and dashes")
        script = self.transport.path(SCRIPT.name.lstrip("_"))
        argv = ["sh", script, self.root, name, str(self.patience_s), verb, *([version] if version else [])]
        done = self.transport.run(argv, timeout_s=SCRIPT_TIMEOUT_S + self.patience_s)
        if done.returncode:
            self._explain(done, verb, name)
        return _status(done.stdout)

    def _deployment(
        self, name: str, status: _Status, parity: Parity | None = None, *, changed: bool = False
    ) -> Deployment:
        version = status.versions.get("current", "")
        if not version or status.lists["current"] == "damaged":
            raise DeviceError(
                f"The model '{name}' on '{self.label}' is damaged: its bytes there are no longer those deployed.",
                mend="deploy it again; look at the device's disk",
            )
        previous = status.versions.get("previous")
        path = f"{status.folder}/current/{status.keys['current']}"
        return Deployment(self.label, name, path, version, previous, parity, changed)

    def _explain(self, done: Completed, verb: str, name: str) -> NoReturn:
        said, where = _answer.last_words(done.stderr), f"'{name}' on '{self.label}'"
        if done.returncode == NO_TOOL:
            raise ToolMissing(f"A command that deploying needs is missing on '{self.label}'.{said}")
        if done.returncode == NOT_INSTALLED:
            raise InBetween(
                f"Another deploy of {where} came in between; that one goes on, and this one ended.",
                mend="see what is there with --status; deploy again if it shall be this one",
            )
        what, mend = {
            BUSY: (f"Another deploy of {where} is at work.", "wait until it has ended, and deploy again"),
            NO_PREVIOUS: (f"There is no previous version of {where} to go back to.", "deploy the one that you want"),
            NO_FOLDER: (f"There is no {where}: nothing was deployed under this name.", "deploy it first"),
            DAMAGED: _damaged(verb, where),
            UNWRITABLE: (
                f"A file of {where} could not be written; the version that was in use still is.{said}",
                "free some space there, or mend the rights of its folder",
            ),
        }.get(done.returncode, (f"The deploy script of {where} ended with code {done.returncode}.{said}", ""))
        raise DeviceError(what, mend=mend)


def _damaged(verb: str, where: str) -> tuple[str, str]:
    if verb == "rollback":
        return f"The previous version of {where} is damaged, and was not switched to.", "deploy that version again"
    return (
        f"What arrived of {where} is not what was sent; the version that was in use still is.",
        "deploy again; if it happens again, look at the connection and at the disk",
    )


def _status(stdout: bytes) -> _Status:
    """What the script told, strictly read."""
    text = stdout.decode("utf-8", "replace")
    head = _HEAD.match(text)
    if not head or not head[1].isprintable():
        raise _answer.strange(f"the deploy script's begins {_answer.printable(repr(stdout[:60]))}")
    lines = text[head.end() :].splitlines(keepends=True)
    found = [_VERSION.fullmatch(line) for line in lines]
    versions = {match[1]: match for match in found if match}
    if len(versions) != len(lines) or ("previous" in versions and "current" not in versions):
        raise _answer.strange("the deploy script's tells of something else than versions")
    return _Status(
        head[1],
        {link: match[2] for link, match in versions.items()},
        {link: match[3] or match[4] for link, match in versions.items()},
        {link: match[5] or "" for link, match in versions.items()},
    )
