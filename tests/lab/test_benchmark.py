"""The acceptance of devices: one command, every device at once; and a wrong processor is found out, not measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline import _yaml
from tests.lab.lab import Lab
from tests.lab.pi import Pi

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "runs" / "mnist-demo" / "model.tflite"
DIGITS = ROOT / "tests" / "edge_targets" / "data" / "digits_int8.tflite"
QUICK = ("--num-runs", "20", "--warmup-runs", "2", "--min-secs", "0", "--max-secs", "2", "--cold-starts", "1")


def pi_profile(pi: Pi) -> dict[str, Any]:
    settings = {name: getattr(pi, name) for name in ("host", "port", "user", "key_file", "known_hosts")}
    return {
        "raspberry_pi": {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    }


@pytest.fixture
def profiles(lab: Lab, tmp_path: Path) -> Path:
    """The lab's devices as a user's file of targets."""
    return written_profiles(lab, tmp_path / "targets.yaml")


def written_profiles(lab: Lab, path: Path) -> Path:
    """Write a file of targets that names all devices of a lab."""
    android = {
        "serial": lab.android.serial,
        "adb": str(lab.android.adb),
        "server_port": lab.android.server_port,
        "python": "/usr/bin/python3",
    }
    named = {pi.name: pi_profile(pi) for pi in (*lab.pis, lab.armhf)}
    path.write_text(_yaml.dump({**named, "phone": {"android": android}}))
    return path


def benchmark(profiles: Path, *labels: str, model: Path = DIGITS) -> tuple[int, dict[str, Any], str]:
    """The installed command: exit code, document, stderr."""
    targets = [word for label in labels for word in ("--target", label)]
    program = str(Path(sys.executable).with_name("edgesmith"))
    command = [program, "benchmark", str(model), "--targets", str(profiles), *targets]
    done = subprocess.run([*command, *QUICK, "--json"], capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, json.loads(done.stdout), done.stderr


def test_one_command_measures_every_device_at_once(lab: Lab, profiles: Path) -> None:
    names = [pi.name for pi in (*lab.pis[:2], lab.armhf)]
    code, document, told = benchmark(profiles, "host", *names, "phone", model=DEMO if DEMO.exists() else DIGITS)
    assert code == 0, told + json.dumps(document, indent=1)
    found = {row["label"]: row for row in document["devices"]}
    assert list(found) == ["host", *names, "phone"]
    assert {label: row["measurement"]["provenance"] for label, row in found.items()} == {
        "host": "host",
        **dict.fromkeys([*names, "phone"], "emulated"),
    }
    # The same interpreter on another processor: the same kernels, so the same bits.
    for label in ("host", *names[:2], "phone"):
        assert found[label]["measurement"]["kernels"].startswith("xnnpack"), label
        assert (found[label]["parity"]["allowed_steps"], found[label]["parity"]["exact"]) == (0, True), found[label]
    # 32-bit ARM has tflite-runtime alone, and its optimized kernels are code of their own.
    assert found[lab.armhf.name]["measurement"]["runtime"] == "tflite_runtime"
    assert found[lab.armhf.name]["parity"]["ok"], found[lab.armhf.name]


def test_a_device_that_computes_wrongly_is_broken_and_not_measured(lab: Lab, profiles: Path) -> None:
    lab.pis[0].restart(cpu=None)
    broken, sound = lab.pis[0].name, lab.pis[1].name
    code, document, _ = benchmark(profiles, broken, sound)
    rows = {row["label"]: row for row in document["devices"]}
    assert code == 3
    assert (rows[broken]["status"], rows[broken]["measurement"]) == ("broken", None)
    assert rows[broken]["parity"]["first_layer"] == "conv1"
    assert "gives other outputs than the reference" in rows[broken]["error"]["what"]
    assert rows[sound]["status"] == "measured"
