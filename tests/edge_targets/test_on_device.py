"""The one file that is pushed: it runs on old Pythons, keeps its answers clean, and takes turns fairly."""

from __future__ import annotations

import ast
import itertools
import json
import math
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_targets import BenchmarkPlan, Local, UnusableModel, WrongInput, _on_device
from edge_targets._noise import TensorPair
from edge_targets._on_device import fair_turns, rounds
from edge_targets._runner import CHUNK_BYTES, chunks
from edge_targets.host import HostTarget
from edge_targets.tflite_graph import read_graph

SOURCE = Path(_on_device.__file__)
DATA = Path(__file__).parent / "data"


def asked(request: str, *argv: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    """The answer to a request on stdin, from a process of its own."""
    command = [sys.executable, str(SOURCE), *argv]
    done = subprocess.run(command, input=request.encode(), capture_output=True, timeout=60, check=True, env=env)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_it_is_python_3_7() -> None:
    ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 7))


def test_it_needs_the_standard_library_and_numpy_alone() -> None:
    nodes = list(ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))))
    named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in named} - sys.stdlib_module_names == {"numpy"}


@pytest.mark.parametrize(
    ("request_text", "what"),
    [
        ("", "not JSON"),
        ("\x00", "not JSON"),
        ("[]", "speaks protocol 1"),
        ('{"protocol": 2, "job": "probe"}', "speaks protocol 1"),
        ('{"protocol": 1, "job": "rm"}', "There is no job 'rm'"),
        ('{"protocol": 1, "job": "load"}', "has no 'runtime'"),
    ],
)
def test_a_wrong_request_is_answered_with_a_refusal(request_text: str, what: str) -> None:
    answer = asked(request_text)
    assert answer["error"]["kind"] == "request"
    assert what in answer["error"]["what"]


def test_a_request_may_come_in_a_file(tmp_path: Path) -> None:
    request = tmp_path / "request.json"
    request.write_text('{"protocol": 1, "job": "probe"}')
    answer = asked("", str(request))
    assert set(answer) == {"protocol", "job", "device"}
    assert set(answer["device"]) == {"machine", "cpu_model", "cores", "memory_bytes", "os", "python", "emulator"}


def test_what_interpreters_print_does_not_reach_the_answer(tmp_path: Path) -> None:
    package = tmp_path / "tflite_runtime"
    package.mkdir()
    package.joinpath("__init__.py").write_text(
        "import os; os.write(1, b'noise'); print('more')\nraise ImportError('no')"
    )
    request = '{"protocol": 1, "job": "load", "runtime": "tflite_runtime", "model": "m", "num_threads": 1}'
    answer = asked(request, env={"PYTHONPATH": str(tmp_path)})
    assert answer["error"] == {
        "kind": "tool",
        "what": "No interpreter could be imported: tflite_runtime (ImportError: no)",
    }


@pytest.mark.parametrize("models", [1, 2, 3, 4])
def test_each_model_comes_equally_often_at_each_place(models: int) -> None:
    turns = list(itertools.islice(fair_turns(models), 32 * models))
    assert all(sorted(turn) == list(range(models)) for turn in turns)
    for place in range(models):
        assert set(Counter(turn[place] for turn in turns).values()) == {32}


def test_models_run_turn_by_turn_until_there_is_enough() -> None:
    ran: list[str] = []
    invokes = [lambda: ran.append("a"), lambda: ran.append("b")]
    timed = rounds(invokes, fair_turns(2), least=7, most=100, least_s=0, most_s=60)
    assert [len(latencies_ns) for latencies_ns in timed] == [7, 7]
    pairs = [ran[place : place + 2] for place in range(0, len(ran), 2)]
    assert all(sorted(pair) == ["a", "b"] for pair in pairs)
    assert {tuple(pair) for pair in pairs} == {("a", "b"), ("b", "a")}


def test_time_and_number_bound_the_runs() -> None:
    invokes = [lambda: None]
    assert len(rounds(invokes, fair_turns(1), least=5, most=9, least_s=60, most_s=60)[0]) == 9
    assert len(rounds(invokes, fair_turns(1), least=5, most=9, least_s=60, most_s=0)[0]) == 1
    assert rounds(invokes, fair_turns(1), least=0, most=0, least_s=0, most_s=60) == [[]]


def test_a_recurrent_model_starts_anew_with_each_example() -> None:
    x = np.random.default_rng(0).random((1, 4, 3), np.float32)
    outputs = HostTarget().evaluate(DATA / "tiny_lstm.tflite", [np.concatenate([x, x, x])])
    assert outputs.shape == (3, 2)
    assert (outputs == outputs[0]).all()
    assert np.abs(outputs).max() > 0


def test_the_model_that_crashes_is_named_among_others(int8_model: Path, crashing_model: Path) -> None:
    with pytest.raises(UnusableModel, match=r"SIG\w+\) on the model 'broken'"):
        HostTarget().benchmark({"whole": int8_model, "broken": crashing_model}, BenchmarkPlan(num_runs=1, min_secs=0))


def test_examples_travel_in_chunks_that_fit() -> None:
    huge = np.zeros((130, 2**20), np.int8)
    assert [len(chunk) for chunk in chunks([huge])] == [64, 64, 2]
    assert all(np.shares_memory(chunk, huge) for chunk in chunks([huge]))
    small = [np.full((size, 3), size, np.int8) for size in (2, 0, 1)]
    assert [chunk.tolist() for chunk in chunks(small)] == [[[2] * 3, [2] * 3, [1] * 3]]
    assert CHUNK_BYTES == 64 * 2**20


def test_batches_that_differ_are_refused() -> None:
    with pytest.raises(WrongInput, match="follows one of"):
        list(chunks([np.zeros((1, 3), np.int8), np.zeros((1, 4), np.int8)]))


def test_nothing_of_ours_stays_behind(int8_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    HostTarget().evaluate(int8_model, [np.zeros((1, 8, 8, 1), np.int8)])
    with Local() as transport:
        assert Path(transport.path("x")).is_relative_to(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_tensors_inside_two_models_are_held_against_each_other(float_model: Path, int8_model: Path) -> None:
    x = np.random.default_rng(0).random((5, 8, 8, 1), np.float32)
    graph = read_graph(float_model)
    own = [TensorPair(operator.outputs[0], operator.outputs[0]) for operator in graph.operators]
    same = HostTarget().noise((float_model, float_model), (x, x), own)
    assert [found.noise for found in same] == [0, 0, 0]
    assert all(found.sqnr_db == math.inf for found in same)
    conv = graph.operators[0].outputs[0]
    # Twice the value, and one step off: noise is then the signal itself, and the sum of ones.
    doubled, shifted = HostTarget().noise(
        (float_model, float_model), (x, x), [TensorPair(conv, conv, 2.0), TensorPair(conv, conv, 1.0, 1)]
    )
    assert doubled.noise == pytest.approx(doubled.signal)
    assert shifted.noise == pytest.approx(5 * 6 * 6 * 4)
    signal, noise = np.float64(0), np.float64(0)
    for one in x:
        reference, quantized = (
            inside(path, given, graph_of.operators[0].outputs[0])
            for path, given, graph_of in (
                (float_model, one, graph),
                (int8_model, steps(one, int8_model), read_graph(int8_model)),
            )
        )
        tensor = read_graph(int8_model).tensors[read_graph(int8_model).operators[0].outputs[0]]
        real = (quantized.astype(np.float64) - tensor.zero_points[0]) * tensor.scales[0]
        signal, noise = signal + np.square(reference).sum(), noise + np.square(reference - real).sum()
    pair = TensorPair(conv, tensor.index, tensor.scales[0], tensor.zero_points[0])
    quantized_x = np.stack([steps(one, int8_model) for one in x])
    [found] = HostTarget().noise((float_model, int8_model), (x, quantized_x), [pair])
    assert found.sqnr_db == pytest.approx(10 * math.log10(signal / noise), abs=0.01)


def inside(model: Path, example: NDArray[Any], tensor: int) -> NDArray[Any]:
    """A tensor within a model after one example, (...), read without any of our code."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        str(model),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], example[None])
    interpreter.invoke()
    found: NDArray[Any] = interpreter.get_tensor(tensor)
    return found


def steps(x: NDArray[np.float32], model: Path) -> NDArray[np.int8]:
    """Real inputs as an int8 model stores them."""
    graph = read_graph(model)
    tensor = graph.tensors[graph.inputs[0]]
    stored: NDArray[np.int8] = np.clip(np.rint(x / tensor.scales[0]) + tensor.zero_points[0], -128, 127).astype(np.int8)
    return stored


def test_examples_that_do_not_belong_together_are_refused(float_model: Path) -> None:
    x = np.zeros((2, 8, 8, 1), np.float32)
    with pytest.raises(WrongInput, match="2 and 1 examples"):
        HostTarget().noise((float_model, float_model), (x, x[:1]), [TensorPair(0, 0)])
    with pytest.raises(WrongInput, match="Each example is"):
        HostTarget().noise((float_model, float_model), (x, x[:, :4]), [TensorPair(0, 0)])


def test_a_model_that_crashes_while_it_is_compared_is_an_error(float_model: Path, crashing_model: Path) -> None:
    x = np.zeros((1, 8, 8, 1), np.float32)
    with pytest.raises(UnusableModel, match=r"SIG\w+\) on one of the models"):
        HostTarget().noise((float_model, crashing_model), (x, x.astype(np.int8)), [TensorPair(0, 0)])


@pytest.mark.parametrize("runtime", ["tflite_runtime", "tensorflow"])
def test_every_interpreter_shows_what_is_inside(runtime: Any, float_model: Path) -> None:
    x = np.ones((1, 8, 8, 1), np.float32)
    [found] = HostTarget().noise((float_model, float_model), (x, x), [TensorPair(0, 0)], runtime=runtime)
    assert found.signal
