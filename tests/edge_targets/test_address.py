"""The text behind `KIND:`: what it may be, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from edge_targets import WrongAddress
from edge_targets._address import key_values, ssh_address
from edge_targets.host import HostTarget


@pytest.mark.parametrize(
    ("address", "settings"),
    [
        ("pi@kitchen", {"user": "pi", "host": "kitchen"}),
        ("kitchen:2222", {"host": "kitchen", "port": 2222}),
        ("a.b@192.168.1.7:22", {"user": "a.b", "host": "192.168.1.7", "port": 22}),
        ("pi@[fe80::1%eth0]:2222", {"user": "pi", "host": "fe80::1%eth0", "port": 2222}),
    ],
)
def test_an_ssh_address_comes_apart(address: str, settings: dict[str, Any]) -> None:
    assert ssh_address(address) == settings


@pytest.mark.parametrize(
    "address",
    ["", "@", "pi@", "@kitchen", "a b", "k:0", "k:65536", "k:ssh", "-oProxyCommand=x", "pi@-x", "-l@k", "a@b@c"],
)
def test_what_is_no_ssh_address_is_refused(address: str) -> None:
    with pytest.raises(WrongAddress, match="is no address") as caught:
        ssh_address(address)
    assert caught.value.exit_code == 2


def test_settings_may_be_written_in_a_line() -> None:
    assert key_values("xnnpack=off, runtime=tflite_runtime") == {"xnnpack": "off", "runtime": "tflite_runtime"}
    assert HostTarget.at("threads=2") == {"threads": "2"}


@pytest.mark.parametrize("address", ["", "xnnpack", "=off", "a=1,,b=2", "a=1,a=2"])
def test_what_is_no_list_of_settings_is_refused(address: str) -> None:
    with pytest.raises(WrongAddress, match="cannot be read"):
        key_values(address)
