"""The Raspberry Pi target against a real ssh server of this machine; the emulated boards are in tests/lab."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_targets import BenchmarkPlan, Completed, DeviceError, Recording, ToolMissing, UnusableModel, _pi_facts
from edge_targets._errors import TargetError, WrongAddress
from edge_targets.host import HostTarget
from edge_targets.raspberry_pi import RaspberryPiTarget
from tests.edge_targets.ssh_server import Server, serving
from tests.edge_targets.wheels import wheel_of

QUICK = BenchmarkPlan(num_runs=20, warmup_runs=2, min_secs=0, max_secs=2)
X = np.random.default_rng(3).integers(-128, 128, (5, 8, 8, 1)).astype(np.int8)
Make = Callable[..., RaspberryPiTarget]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all."""
    with serving(tmp_path_factory.mktemp("server") / "it's here") as found:
        yield found


@pytest.fixture
def make(server: Server) -> Make:
    """Makes the target, with some settings changed."""

    def made(**changes: Any) -> RaspberryPiTarget:
        return RaspberryPiTarget(**{**vars(server.login()), "python": sys.executable, **changes})

    return made


def python_that(folder: Path, script: str) -> str:
    """A Python in a wrapper, whose path has all that a shell would stumble over."""
    path = folder / "my $(env) 'python'"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """A Python that has numpy and nothing else."""
    site = tmp_path / "site"
    site.mkdir()
    for name in ("numpy", "numpy.libs"):
        site.joinpath(name).symlink_to(Path(np.__file__).parent.parent / name)
    return python_that(tmp_path, f'PYTHONPATH="$PYTHONPATH:{site}" exec {sys.executable} -S "$@"')


def test_it_gives_what_the_host_gives(make: Make, int8_model: Path) -> None:
    assert np.array_equal(make().evaluate(int8_model, [X]), HostTarget().evaluate(int8_model, [X]))


def test_it_measures_and_tells_what_the_device_is(make: Make, int8_model: Path) -> None:
    found = make().benchmark({"a": int8_model, "b": int8_model}, QUICK)
    assert list(found) == ["a", "b"]
    assert (found["a"].provenance, found["a"].target) == ("device", "raspberry_pi")
    assert found["a"].runs >= 20
    assert found["a"].device.machine == platform.machine()
    assert replace(found["a"].device, temperature_c=None) == replace(make().info(), temperature_c=None)
    assert make(provenance="emulated").benchmark({"a": int8_model}, QUICK)["a"].provenance == "emulated"


def test_a_device_without_interpreter_says_how_to_get_one(make: Make, bare: str, int8_model: Path) -> None:
    assert make(python=bare).info().python == platform.python_version()
    with pytest.raises(ToolMissing, match=r"has no ai_edge_litert or .*\n.*\n.*install_runtime: true") as caught:
        make(python=bare).evaluate(int8_model, [X])
    assert f"Python {platform.python_version()}, {platform.machine()}, glibc 2." in caught.value.what


def test_a_wheel_is_carried_there_once(make: Make, bare: str, int8_model: Path, server: Server, tmp_path: Path) -> None:
    wheels = tmp_path / "the wheels"
    wheels.mkdir()
    wheel = wheel_of("tflite-runtime", wheels)
    (wheels / wheel.name.replace("x86_64", "aarch64")).write_bytes(b"for another device")
    target = make(python=bare, wheels=wheels, folder="kept here")
    kept = server.home / "kept here"
    reference = HostTarget().evaluate(int8_model, [X], runtime="tflite_runtime")
    assert np.array_equal(target.evaluate(int8_model, [X]), reference)
    (installed,) = (kept / "runtimes").iterdir()
    # It is found again: a wheel that is broken there now would not be sent in its place.
    (installed / "tflite_runtime" / "interpreter.py").write_text("raise ImportError('this one')")
    with pytest.raises(ToolMissing, match="this one"):
        target.evaluate(int8_model, [X])
    assert [path.name for path in kept.iterdir()] == ["runtimes"]


def test_a_wheel_for_another_processor_is_named_before_anything_is_sent(
    make: Make, bare: str, int8_model: Path, server: Server, tmp_path: Path
) -> None:
    name = "tflite_runtime-2.14.0-cp311-cp311-manylinux2014_aarch64.whl"
    tmp_path.joinpath(name).write_bytes(b"")
    target = make(python=bare, wheels=tmp_path, folder="refused")
    with pytest.raises(ToolMissing, match=f"fits the device .*x86_64.*: {name}"):
        target.evaluate(int8_model, [X])
    assert not list((server.home / "refused").iterdir())


def test_no_python_and_an_old_one_are_told(make: Make, int8_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolMissing, match="'no such python' could not be started on pi@127"):
        make(python="no such python").evaluate(int8_model, [X])
    old = python_that(tmp_path, "echo 'SyntaxError: future feature annotations is not defined' >&2; exit 1")
    with pytest.raises(ToolMissing, match="too old"):
        make(python=old).evaluate(int8_model, [X])


def test_a_runner_that_is_killed_for_memory_is_told(make: Make, int8_model: Path, tmp_path: Path) -> None:
    killed = python_that(tmp_path, f'case "$1" in *runner*) kill -KILL $$;; esac; exec {sys.executable} "$@"')
    with pytest.raises(UnusableModel, match=r"was killed \(SIGKILL\) on the model 'big'"):
        make(python=killed).benchmark({"big": int8_model}, QUICK)


@pytest.mark.parametrize(
    ("says", "match"),
    [
        ("yes", "more than 67108864 bytes"),
        ("printf '\\033[2J\\0\\377'", "cannot be trusted"),
        ("echo '[1]'", "cannot be trusted"),
        ("exit 3", "code 3"),
    ],
)
def test_a_python_that_answers_nonsense_is_not_believed(make: Make, tmp_path: Path, says: str, match: str) -> None:
    with pytest.raises(DeviceError, match=match) as caught:
        make(python=python_that(tmp_path, says)).info()
    assert str(caught.value).replace("\n", "").isprintable()


def test_addresses_and_settings_that_name_no_board_are_mistakes_of_usage() -> None:
    assert RaspberryPiTarget.at("pi@kitchen:2222") == {"user": "pi", "host": "kitchen", "port": 2222}
    for settings in (
        {},
        {"host": "a b"},
        {"host": "a", "folder": "a:b"},
        {"host": "a", "port": 70000},
        {"host": "a", "python": "a=b"},
    ):
        with pytest.raises(WrongAddress):
            RaspberryPiTarget(**settings)


# ---- what a board says of itself ----


def board(said: str) -> _pi_facts.Board:
    return _pi_facts.probe(Recording([Completed(0, said.encode())]))


@pytest.mark.parametrize(
    ("throttled", "power"),
    [
        ("throttled=0x0", "not throttled"),
        ("throttled=0x50005", "now: under-voltage, throttled"),
        ("throttled=0x50000", "since it was started: under-voltage, throttled"),
        ("throttled=0xe0002", "now: clock capped; since it was started: throttled, soft temperature limit"),
        ("e0008", "now: soft temperature limit; since it was started: clock capped, throttled"),
        ("", ""),
        ('error=1 error_msg="Command not registered"', ""),
        ("throttled=0x" + "f" * 9, ""),
    ],
)
def test_throttling_flags_are_told_in_words(throttled: str, power: str) -> None:
    assert board(f"board=x\nthrottled={throttled}\n").power == power


def test_a_board_tells_what_it_is() -> None:
    found = board("board=Raspberry Pi 4 Model B Rev 1.5\ngovernor=ondemand \nmillicelsius=48312\nthrottled=\n")
    assert found == _pi_facts.Board("Raspberry Pi 4 Model B Rev 1.5", "ondemand", 48.312, "")


@pytest.mark.parametrize(
    "said", ["", "board", "\0\x1b[2J=\n" * 100_000, "board=\x1b[2J\nmillicelsius=9e9\n", "millicelsius=999999"]
)
def test_what_a_board_says_oddly_is_left_out(said: str) -> None:
    found = board(said)
    assert (found.model, found.temperature_c, found.power) in (("", None, ""), ("[2J", None, ""))


def test_the_probe_asks_what_a_board_has(tmp_path: Path) -> None:
    tools = tmp_path / "vcgencmd"
    tools.write_text("#!/bin/sh\n[ $1 = get_throttled ] && echo throttled=0x50000\n")
    tools.chmod(0o755)
    with serving(tmp_path / "server", str(_shell(tmp_path))) as server:
        target = RaspberryPiTarget(**vars(server.login()), python=sys.executable)
        assert target.info().power == "since it was started: under-voltage, throttled"


def _shell(folder: Path) -> Path:
    shell = folder / "shell"
    shell.write_text(f'#!/bin/sh\nPATH="{folder}:$PATH" exec /bin/sh "$@"\n')
    shell.chmod(0o755)
    return shell


def test_a_device_that_is_not_there_is_one_error_for_every_verb(make: Make, int8_model: Path) -> None:
    gone = make(port=1)
    for verb in (gone.info, lambda: gone.evaluate(int8_model, [X]), lambda: gone.benchmark({"m": int8_model}, QUICK)):
        with pytest.raises(TargetError, match=r"127\.0\.0\.1 port 1 refuses connections"):
            verb()
