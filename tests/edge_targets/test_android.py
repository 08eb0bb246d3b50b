"""The target `android` over the real adb client and the fake device, with a stand-in for benchmark_model."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edge_targets import (
    BenchmarkPlan,
    DeviceError,
    Disagreement,
    Golden,
    TargetError,
    ToolMissing,
    Unsupported,
    UnusableModel,
    WrongAddress,
    WrongInput,
    _android_facts,
    _benchmark_tool,
)
from edge_targets._bundle import Bundle
from edge_targets._energy_android import battery_energy
from edge_targets.android import AndroidTarget
from edge_targets.host import HostTarget
from edge_targets.tflite_graph import Tensor
from pipeline.bundle import make_bundle
from tests.edge_targets import benchmark_model_fake
from tests.edge_targets.adb_program import AdbServer
from tests.edge_targets.adbd_fake import FakeAdbd
from tests.edge_targets.stages import run_of_two_files
from tests.edge_targets.test_energy_android import battery

PLAN = BenchmarkPlan(num_threads=2, warmup_runs=3, num_runs=20, min_secs=0)
PIXEL = """
[ro.build.version.release]: [13]
[ro.build.version.sdk]: [33]
[ro.hardware]: [flame]
[ro.product.cpu.abi]: [arm64-v8a]
[ro.product.manufacturer]: [Google]
[ro.product.model]: [Pixel 4]
[ro.soc.model]: [SM8150]
"""
Make = Callable[..., AndroidTarget]


@pytest.fixture
def device(tmp_path: Path) -> Iterator[FakeAdbd]:
    with FakeAdbd(tmp_path / "device") as found:
        found.root.mkdir()
        found.manners.programs = tmp_path / "programs"
        found.manners.programs.mkdir()
        install(found, "getprop", benchmark_model_fake.printing(PIXEL))
        yield found


@pytest.fixture
def android(device: FakeAdbd, adb_server: AdbServer) -> Make:
    def made(**settings: object) -> AndroidTarget:
        return AndroidTarget(
            connect=device.serial,
            adb=adb_server.program,
            server_port=adb_server.port,
            folder=str(device.root / "tmp & $(more)"),
            **settings,  # type: ignore[arg-type]  # settings under test
        )

    return made


@pytest.fixture
def bundle(tmp_path: Path, int8_model: Path) -> Path:
    """Two golden vectors of the int8 net, made with XNNPACK."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    folder.joinpath("model.tflite").write_bytes(int8_model.read_bytes())
    x = np.random.default_rng(5).integers(-128, 128, (2, 8, 8, 1), np.int8)
    Golden(x, (HostTarget(xnnpack=True)._outputs(int8_model, x, "ai_edge_litert"),)).save(folder)
    Bundle.write(folder, "net")
    return folder


@pytest.fixture
def tool(tmp_path: Path) -> Path:
    return script(tmp_path / "the tool's $(place)", benchmark_model_fake.program(sys.executable))


def script(path: Path, content: str) -> Path:
    path.write_text(content)
    path.chmod(0o755)
    return path


def install(device: FakeAdbd, name: str, content: str) -> None:
    assert device.manners.programs is not None
    script(device.manners.programs / name, content)


def test_what_a_phone_is(android: Make) -> None:
    found = android().info()
    assert (found.machine, found.os, found.emulator) == ("aarch64", "Android 13 (SDK 33)", "")
    assert found.cpu_model == "Google Pixel 4 (SM8150)"
    assert found.cores >= 1
    assert found.memory_bytes > 2**20


def test_a_model_is_measured_by_benchmark_model(android: Make, tool: Path, int8_model: Path, device: FakeAdbd) -> None:
    target = android(benchmark_model=tool, profile=True)
    found = target.benchmark({"a": int8_model, "b": int8_model}, PLAN)
    assert list(found) == ["a", "b"]
    one = found["a"]
    assert (one.runtime, one.kernels, one.delegate) == ("benchmark_model", "xnnpack", "xnnpack")
    assert one.runtime_version.startswith("sha256:")
    assert (one.provenance, one.target, one.threads) == ("device", "android", 2)
    assert (one.runs, one.warmup_runs, one.latencies_us) == (20, 3, ())
    assert one.median_us is not None
    assert one.max_us is not None
    assert one.min_us is not None
    assert one.min_us <= one.median_us <= one.max_us
    assert (one.p90_us, one.median_ci_us, one.peak_rss_bytes) == (None, None, round(2.25 * 2**20))
    assert one.profile is not None
    assert one.profile[0].us == pytest.approx(12)
    assert one.to_json()["profile"][0]["kind"] == "Convolution (NHWC, QC8) GEMM"
    assert not list(device.root.joinpath("tmp & $(more)").iterdir())


def test_the_battery_is_read_while_the_tool_runs(
    android: Make, int8_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supply = battery(tmp_path)
    monkeypatch.setattr(_benchmark_tool, "battery_energy", partial(battery_energy, root=str(tmp_path)))
    # 730 runs of 4110.27 µs: three of the four seconds.
    text = (
        Path(__file__).parent.joinpath("data/benchmark_model/xnnpack.txt").read_text().replace("count=243", "count=730")
    )
    draws = f"#!/bin/sh\necho -1250000 > {supply}/current_now; sleep 4; echo -500000 > {supply}/current_now\n"
    drawing = script(tmp_path / "drawing", draws + benchmark_model_fake.printing(text).removeprefix("#!/bin/sh\n"))
    found = android(benchmark_model=drawing).benchmark({"m": int8_model}, PLAN)["m"]
    assert found.energy_source == "battery"
    assert found.idle_mw == pytest.approx(2000)
    # 3 W more; the last sample may be of after the runs.
    assert found.energy_uj == pytest.approx(3 * 4110.27, rel=0.2)
    (supply / "status").write_text("Charging")
    found = android(benchmark_model=drawing).benchmark({"m": int8_model}, PLAN)["m"]
    assert (found.energy_uj, found.energy_source, found.idle_mw) == (None, "", None)


def test_a_version_without_percentiles_tells_no_median(android: Make, tmp_path: Path, int8_model: Path) -> None:
    text = Path(__file__).parent.joinpath("data/benchmark_model/cpu-2.8.txt").read_text()
    old = script(tmp_path / "old", benchmark_model_fake.printing(text))
    found = android(benchmark_model=old, delegate="cpu").benchmark({"m": int8_model}, PLAN)["m"]
    assert (found.median_us, found.mean_us, found.delegate) == (None, 2950340, None)
    with pytest.raises(Unsupported, match="benchmark_model gives no median"):
        found.must_have_median()
    with pytest.raises(Unsupported, match="no single latencies"):
        found.must_have_latencies()


def test_golden_vectors_are_checked_with_what_measures(
    android: Make, tool: Path, int8_model: Path, bundle: Path
) -> None:
    golden, target = Golden.load(bundle), android(benchmark_model=tool)
    x = golden.inputs
    parity = target.check(int8_model, golden)
    assert (parity.ok, parity.exact, parity.examples) == (True, True, 2)
    assert parity.runtime.startswith("benchmark_model sha256:")
    [reference] = golden.outputs
    wrong = Golden(x[:1], (replace(reference, values=reference.values[:1] + 9),))
    assert not target.check(int8_model, wrong).ok
    with pytest.raises(WrongInput, match="float32"):
        target.check(int8_model, Golden(x.astype(np.float32), golden.outputs))


@pytest.mark.parametrize("runner", ["benchmark_model", "python"])
def test_a_model_stays_on_the_device(
    runner: str, android: Make, tool: Path, device: FakeAdbd, bundle: Path, tmp_path: Path
) -> None:
    target = android(**{runner: tool if runner == "benchmark_model" else sys.executable})
    done = target.deploy(bundle)
    assert done.self_test is not None
    assert (done.self_test.ok, done.self_test.exact, done.changed) == (True, True, True)
    assert Path(done.path).read_bytes() == bundle.joinpath("model.tflite").read_bytes()
    assert Path(done.path).is_relative_to(device.root / "tmp & $(more)/models/net")
    assert target.deployed("net") == replace(done, self_test=None, changed=False)


@pytest.mark.parametrize("runner", ["benchmark_model", "python"])
def test_a_model_in_two_files_stays_on_the_device(runner: str, android: Make, tool: Path, tmp_path: Path) -> None:
    target = android(**{runner: tool if runner == "benchmark_model" else sys.executable})
    bundle = make_bundle(run_of_two_files(tmp_path / "run"), tmp_path / "bundle")
    done = target.deploy(bundle.folder)
    assert done.self_test is not None
    assert (done.self_test.ok, done.self_test.exact) == (True, True)
    # Who leaves early is for the program to decide that runs both: benchmark_model does not.
    assert ("leave early" in done.self_test.why) == (runner == "python")
    assert done.path.endswith("/net/current/cascade.json")
    assert target.deployed("net") == replace(done, self_test=None, changed=False)


def test_a_device_without_a_runner_keeps_models_untested(android: Make, bundle: Path) -> None:
    assert android().deploy(bundle).self_test is None


def test_a_model_that_gives_other_outputs_there_is_not_deployed(
    android: Make, tool: Path, device: FakeAdbd, bundle: Path
) -> None:
    golden = Golden.load(bundle)
    Golden(golden.inputs, tuple(replace(each, values=each.values + 20) for each in golden.outputs)).save(bundle)
    Bundle.write(bundle, "net")
    with pytest.raises(Disagreement, match="gives other outputs than the reference"):
        android(benchmark_model=tool).deploy(bundle)
    assert android().deployed("net") is None


def test_the_first_of_several_outputs() -> None:
    output = Tensor(0, "scores", (1, 3), "int8")
    first = _benchmark_tool._first_output(b"\1\2\3\4\5", [3, 2], output)
    assert first.tolist() == [1, 2, 3]
    with pytest.raises(DeviceError, match="have 4 bytes, and the model's 5"):
        _benchmark_tool._first_output(b"\1\2\3\4", [3, 2], output)


def test_an_old_tool_gives_no_outputs(android: Make, tmp_path: Path, int8_model: Path) -> None:
    old = script(tmp_path / "old", benchmark_model_fake.program(sys.executable, without=("output_filepath",)))
    with pytest.raises(Unsupported, match="cannot give a model's outputs: it knows no --output_filepath"):
        android(benchmark_model=old)._outputs(int8_model, np.zeros((1, 8, 8, 1), np.int8), "auto")


def test_a_device_with_python(android: Make, int8_model: Path) -> None:
    target = android(python=sys.executable, delegate="xnnpack")
    found = target.benchmark({"m": int8_model}, PLAN)["m"]
    assert found.runtime == "ai_edge_litert"
    assert (found.provenance, found.device.os) == ("device", "Android 13 (SDK 33)")
    assert found.device.python
    x = np.zeros((2, 8, 8, 1), np.int8)
    assert (target.evaluate(int8_model, [x]) == HostTarget().evaluate(int8_model, [x])).all()


def test_nothing_is_set_that_runs_models(android: Make, tool: Path, int8_model: Path) -> None:
    with pytest.raises(ToolMissing, match=r"Nothing is set that runs models.*\n.*benchmark_model.*\n.*litert"):
        android().benchmark({"m": int8_model}, PLAN)
    with pytest.raises(ToolMissing, match=r"no program .*nothing"):
        android(benchmark_model=Path("/nothing")).benchmark({"m": int8_model}, PLAN)
    with pytest.raises(Unsupported, match="benchmark_model does not evaluate"):
        android(benchmark_model=tool).evaluate(int8_model, [np.zeros((1, 8, 8, 1), np.int8)])


@pytest.mark.parametrize(
    ("content", "error", "match"),
    [
        ("#!/bin/sh\nkill -SEGV $$\n", UnusableModel, "signal 11"),
        ("#!/bin/sh\nkill -KILL $$\n", UnusableModel, "signal 9"),
        ("#!/no/such/interpreter\n", ToolMissing, "could not be started"),
        ("\x7fELF for another processor", ToolMissing, "could not be started"),
        ("#!/bin/sh\nhead -c 3000 /dev/urandom\n", DeviceError, "cannot be trusted"),
        (
            "#!/bin/sh\nprintf '\\033[2J\\033]0;x\\007ERROR: \\033[31mred\\n'; exit 1\n",
            DeviceError,
            "failed with code 1",
        ),
        (
            "#!/bin/sh\necho 'WARN: Unconsumed cmdline flags: --use_xnnpack=true'\n",
            ToolMissing,
            "does not know --use_x",
        ),
    ],
)
def test_a_tool_that_fails(
    content: str, error: type[TargetError], match: str, android: Make, tmp_path: Path, int8_model: Path
) -> None:
    target = android(benchmark_model=script(tmp_path / "tool", content))
    with pytest.raises(error, match=match) as caught:
        target.benchmark({"m": int8_model}, PLAN)
    assert all(line.isprintable() for line in str(caught.value).splitlines())


def test_a_model_that_the_tool_refuses(android: Make, tool: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model")
    with pytest.raises(UnusableModel, match=r"benchmark_model cannot run the model 'b'.*Failed to allocate tensors"):
        android(benchmark_model=tool).benchmark({"b": broken}, PLAN)


def test_unplugged_while_it_measures(android: Make, tool: Path, int8_model: Path, device: FakeAdbd) -> None:
    device.manners.drop_on = "STARTING"
    with pytest.raises(DeviceError, match="was lost"):
        android(benchmark_model=tool).benchmark({"m": int8_model}, PLAN)


@pytest.mark.parametrize("line", ["[ro.kernel.qemu]: [1]", "[ro.boot.qemu]: [1]", "[ro.hardware]: [ranchu]"])
def test_an_emulator_is_told_and_never_lifted(
    line: str, android: Make, device: FakeAdbd, tool: Path, int8_model: Path
) -> None:
    install(device, "getprop", benchmark_model_fake.printing(PIXEL.replace("[ro.hardware]: [flame]\n", "") + line))
    found = android(benchmark_model=tool, provenance="device").benchmark({"m": int8_model}, PLAN)["m"]
    assert found.provenance == "emulated"
    assert found.device.emulator.startswith("Android emulator (ro.")


def test_a_profile_may_take_a_claim_down(android: Make, tool: Path, int8_model: Path) -> None:
    target = android(benchmark_model=tool, provenance="emulated")
    assert target.benchmark({"m": int8_model}, PLAN)["m"].provenance == "emulated"


def test_facts() -> None:
    said = (
        b"== properties\r\n[ro.hardware]: [x\x1b[2J]\r\n== machine\nriscv64\n"
        b"== emulator\n/usr/bin/qemu-aarch64-static\n== cores\n0-3,6\n== cpuinfo\nHardware\t: Chip 9\n"
        b"== meminfo\nMemTotal:        2048 kB\n== governor\nschedutil\n"
        b"== zones\n41200\n-40000\n38\n999999\n== battery\n  AC powered: false\n  USB powered: true\n  level: 80\n"
        b"== thermal\nIsStatusOverride: false\nThermal Status: 2\n"
    )
    found = _android_facts.device(said, "x")
    assert (found.machine, found.cores, found.memory_bytes) == ("riscv64", 5, 2048 * 1024)
    assert (found.cpu_model, found.os, found.emulator) == ("Chip 9", "Android", "qemu-aarch64-static")
    assert (found.governor, found.temperature_c) == ("schedutil", 41.2)
    assert found.power == "battery 80 %, plugged in, throttled (thermal status 2)"
    assert _android_facts.device(b"", "emulator-5554").emulator == "Android emulator (serial emulator-5554)"


def test_facts_of_a_device_that_says_nonsense() -> None:
    rng = np.random.default_rng(7)
    for _ in range(50):
        noise = rng.bytes(300)
        for said in (noise, b"== cores\n" + noise, b"== properties\n" + noise + b"\n== zones\n9\n" + noise):
            found = _android_facts.device(said, "x")
            assert found.cpu_model.isprintable()
            assert found.machine.isprintable()


@pytest.mark.parametrize(
    ("address", "settings"),
    [
        ("emulator-5554", {"serial": "emulator-5554"}),
        ("R58M123ABC", {"serial": "R58M123ABC"}),
        ("192.168.1.7:5555", {"connect": "192.168.1.7:5555"}),
        ("[::1]:5555", {"connect": "[::1]:5555"}),
        ("phone.local:5555", {"connect": "phone.local:5555"}),
    ],
)
def test_addresses(address: str, settings: dict[str, str]) -> None:
    assert AndroidTarget.at(address) == settings


@pytest.mark.parametrize("address", ["", "-s", "a b", "x;reboot", "\x1b[2J", "ü", "a" * 200])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(WrongAddress, match="names no Android device"):
        AndroidTarget.at(address)
