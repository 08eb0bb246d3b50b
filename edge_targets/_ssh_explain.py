"""What it means that a connection by ssh failed, and how to mend it: a sentence for each way."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from edge_targets._answer import printable
from edge_targets._errors import DeviceError, Timeout
from edge_targets._ssh_known_hosts import SSH_PORT

if TYPE_CHECKING:
    from asyncssh import SSHKey

    from edge_targets._ssh_connect import Attempt, Login

# Where ssh looks for keys where nothing else is set.
DEFAULT_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")


@contextmanager
def settings_explained(login: Login) -> Iterator[None]:
    """Turns what keeps the ssh settings, or the keys that they name, from being read into a sentence."""
    import asyncssh

    try:
        yield
    except OSError as error:
        raise DeviceError(
            f"A file that the ssh settings for {login} name cannot be read: {error.filename}: {error.strerror}.",
            expected="key files and settings that are there",
            mend="correct key_file, or IdentityFile in the ssh settings",
        ) from error
    except asyncssh.KeyImportError as error:
        key = f" {login.key_file}" if login.key_file else ""
        raise DeviceError(
            f"The key file{key} for {login} cannot be read: {printable(str(error), 200)}.",
            expected="a private key of OpenSSH",
        ) from error
    except (ValueError, asyncssh.Error) as error:
        raise DeviceError(
            f"The ssh settings for {login} cannot be read: {printable(str(error), 300)}.",
            mend="correct the line in ~/.ssh/config, or name another file as ssh_config",
        ) from error


def explained(error: Exception, attempt: Attempt) -> DeviceError:
    """The sentence for what came out of an attempt to connect."""
    import asyncssh

    login, where = attempt.login, f"{attempt.host} port {attempt.port}"
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return _host_key(error, attempt)
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return _no_common_way(error, attempt)
    if isinstance(error, asyncssh.PermissionDenied):
        return _wrong_key(attempt)
    if isinstance(error, OSError):
        return _unreachable(error, attempt, where)
    if isinstance(error, asyncssh.ChannelOpenError):
        return DeviceError(f"The host on the way to {login} does not reach {where}: {_reason(error)}.")
    return DeviceError(
        f"{where} was reached, but speaking ssh with it failed: {_reason(error)}.",
        expected="an ssh server",
        mend=f"see whether `{_ssh_command(login)}` works, and whether the port is right",
    )


def _unreachable(error: OSError, attempt: Attempt, where: str) -> DeviceError:
    if isinstance(error, TimeoutError):
        return Timeout(
            f"{where} did not answer within {attempt.login.connect_timeout_s:g} s.",
            mend="see whether it is on, and in a network that can be reached from here; or raise connect_timeout_s",
        )
    if isinstance(error, socket.gaierror):
        return DeviceError(
            f"There is no address for the name '{attempt.host}'.",
            expected="a name that the network knows",
            mend=f"look for a typing error; or try {attempt.host}.local, or its address",
        )
    if isinstance(error, ConnectionRefusedError):
        return DeviceError(
            f"{where} refuses connections.",
            expected="an ssh server that listens there",
            mend="start it on the device (sudo systemctl enable --now ssh), or give the right port",
        )
    return DeviceError(
        f"{where} could not be reached: {error.strerror or _reason(error)}.",
        mend="see whether it is on, and in a network that can be reached from here",
    )


def _host_key(error: Exception, attempt: Attempt) -> DeviceError:
    """The key is revoked, another than the known one, or not known. None of that is ever waved through."""
    if "revoked" in str(error):
        return DeviceError(
            f"The host key of {attempt.host} is marked as revoked in the known hosts.",
            mend="find out why it was revoked, before anything is sent there",
        )
    places = attempt.known.places(attempt.host, attempt.port)
    if not places:
        return _unknown_host(attempt)
    return DeviceError(
        f"The host key of {attempt.host} has changed: it shows {_fingerprint(attempt.shown)}, and another is known"
        f" from {' and '.join(places)}. The device was set up anew, or another one answers in its place.",
        expected="the key that is known",
        mend=f"if it was set up anew: {attempt.known.how_to_forget(attempt.host, attempt.port)}"
        f" and then connect once with {_ssh_command(attempt.login)} to confirm the new key",
    )


def _unknown_host(attempt: Attempt) -> DeviceError:
    files = ", ".join(str(file) for file in attempt.known.files) or "no file (the ssh settings say so)"
    return DeviceError(
        f"The host key of {attempt.host} port {attempt.port} is not known: it shows {_fingerprint(attempt.shown)}.",
        expected=f"a key that is known from {files}",
        mend=f"connect once with {_ssh_command(attempt.login)}, compare what it shows with the device, and confirm it",
    )


def _no_common_way(error: Exception, attempt: Attempt) -> DeviceError:
    places = attempt.known.places(attempt.host, attempt.port)
    if "host key" not in str(error) or not places:
        return DeviceError(f"{attempt.host} and Edgesmith have no way to encrypt in common: {_reason(error)}.")
    return DeviceError(
        f"{attempt.host} has no host key of the kind that is known from {' and '.join(places)}: it has changed.",
        expected="the key that is known",
        mend=f"if it was set up anew: {attempt.known.how_to_forget(attempt.host, attempt.port)}"
        f" and then connect once with {_ssh_command(attempt.login)} to confirm the new key",
    )


def _wrong_key(attempt: Attempt) -> DeviceError:
    locked = [path for path in attempt.keys or DEFAULT_KEYS if _is_encrypted(path)]
    tried = ", ".join(str(path) for path in attempt.keys) or "the usual ones in ~/.ssh"
    what = f"{attempt.login} does not accept any of the keys that were tried: {tried}, and those of the ssh agent."
    if locked:
        return DeviceError(
            f"{what} What has a passphrase cannot be used by itself: {', '.join(locked)}.",
            mend=f"let the ssh agent unlock it: {shlex.join(['ssh-add', *locked])}",
        )
    return DeviceError(
        what,
        expected="a key that the device knows; passwords are not used",
        mend=f"put yours there: ssh-copy-id {shlex.join(_ssh_arguments(attempt.login))};"
        " or give the right user or key_file",
    )


def _is_encrypted(path: str) -> bool:
    import asyncssh

    try:
        asyncssh.read_private_key(Path(path).expanduser())
    except asyncssh.KeyImportError as error:
        return "assphrase" in str(error)
    except OSError:
        return False
    return False


def _fingerprint(key: SSHKey | None) -> str:
    return "a key of another kind" if key is None else f"{key.get_fingerprint()} ({printable(key.get_algorithm(), 60)})"


def _ssh_command(login: Login) -> str:
    options = ["-F", str(login.ssh_config)] if login.ssh_config else []
    if login.known_hosts:
        options += ["-o", f"UserKnownHostsFile={login.known_hosts}"]
    return shlex.join(["ssh", *options, *_ssh_arguments(login)])


def _ssh_arguments(login: Login) -> list[str]:
    port = ["-p", str(login.port)] if login.port and login.port != SSH_PORT else []
    return [*port, f"{login.user}@{login.host}" if login.user else login.host]


def _reason(error: Exception) -> str:
    return printable(str(error) or type(error).__name__, 200).rstrip(".")
