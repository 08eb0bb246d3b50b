"""The fixture `lab`, for tests anywhere under tests/: a plugin of tests/conftest.py."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.lab import build, needs
from tests.lab.lab import Lab, running


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for the lab is marked so, and all of them run in one worker: one lab is enough."""
    for item in items:
        if "lab" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.lab)
            item.add_marker(pytest.mark.xdist_group("lab"))


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Devices that answer. Without root or Debian, or before `make lab`, the test is skipped with the reason."""
    why = _why_not()
    if why:
        pytest.skip(f"no lab: {why}")
    with running(build.build()) as lab:
        yield lab


def _why_not() -> str | None:
    wanted = os.environ.get("EDGESMITH_LAB")
    if wanted == "0":
        return "EDGESMITH_LAB=0 asks for none"
    why = needs.missing()
    if why is None and wanted != "1" and not build.is_built():
        return "it is not built yet; `make lab` builds it, and so does EDGESMITH_LAB=1"
    return why


@pytest.fixture(autouse=True)
def _healthy(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test that used the lab, each of its devices answers again, whatever the test did."""
    yield
    if "lab" in request.fixturenames:
        lab: Lab = request.getfixturevalue("lab")
        for device in lab.devices:
            device.heal()
