"""The text after `KIND:` in the name of a device, taken apart. What it means is for each target to say."""

from __future__ import annotations

import re
from typing import Any

from edge_targets._errors import WrongAddress

# [user@]host[:port]; an IPv6 address stands in brackets where a port follows.
_SSH = re.compile(r"(?:([^@\s]+)@)?(\[[^@\s\[\]]+\]|[^@:\s\[\]]+)(?::(\d{1,5}))?")


def key_values(address: str) -> dict[str, Any]:
    """`xnnpack=off,threads=2` as settings.

    Raises:
        WrongAddress: it is something else.
    """
    found: dict[str, Any] = {}
    for part in address.split(","):
        key, sign, value = (piece.strip() for piece in part.partition("="))
        if not sign or not key or key in found:
            raise WrongAddress(
                f"'{address}' cannot be read.", expected="SETTING=VALUE, several with commas between them"
            )
        found[key] = value
    return found


def ssh_address(address: str) -> dict[str, Any]:
    """`pi@kitchen:2222` as `user`, `host` and `port`; what is left out is not there.

    Raises:
        WrongAddress: it is no such address.
    """
    match = _SSH.fullmatch(address)
    # A host that begins with a dash would be an option to a program that takes it.
    if not match or match[2].startswith("-") or (match[1] or "").startswith("-") or not 0 < int(match[3] or 22) < 65536:
        raise WrongAddress(f"'{address}' is no address.", expected="[USER@]HOST[:PORT], as in pi@kitchen:2222")
    user, host, port = match.groups()
    found = {"user": user, "host": host.strip("[]"), "port": int(port) if port else None}
    return {key: value for key, value in found.items() if value is not None}
