"""Where the Edge TPU would run a whole model: against every compiled model at hand, by the cut, and for any file."""

from __future__ import annotations

import io
import json
import random
import re
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from rich.console import Console

from edge_targets import UnusableModel
from edge_targets._edgetpu_map import COMPILED, Mapped, is_compiled, predict
from edge_targets._edgetpu_node import Status
from edge_targets._edgetpu_places import placements
from edge_targets.tflite_graph import Graph, parse_graph, read_graph
from edge_targets.tflite_graph import Operator as Node
from pipeline.cli import cli
from pipeline.errors import UsageError
from pipeline.inspection import Options, inspect
from pipeline.progress import Progress
from pipeline.report import render_inspection
from tests.edge_targets.one_operator import Operator, Tensor, model, model_that_keeps_busy, zeros
from tests.edge_targets.test_edgetpu_rules import BREAKS, MEETS

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "inspect.schema.json").read_text("utf-8"))
DATA = Path(__file__).parent / "data"
SHARED = ROOT.parent / "shared" / "models" / "coral"
PAIRS = sorted(path for path in SHARED.glob("*.tflite") if path.with_stem(f"{path.stem}_edgetpu").exists())
VECTOR = Tensor((1, 16))


def kept_by_cpu(compiled: Graph) -> set[tuple[str, tuple[str, ...]]]:
    """What the real compiler left to the CPU, by kind and by the names of what it makes."""
    return {_identity(compiled, one) for one in compiled.operators if one.custom_code != COMPILED}


def _identity(graph: Graph, operator: Node) -> tuple[str, tuple[str, ...]]:
    return operator.custom_code or operator.kind, tuple(graph.tensors[index].name for index in operator.outputs)


@pytest.mark.skipif(not PAIRS, reason="the compiled models (shared/models/coral) are not beside the project")
def test_every_operator_of_every_compiled_model_is_foretold() -> None:
    for path in PAIRS:
        graph, compiled = read_graph(path), read_graph(path.with_stem(f"{path.stem}_edgetpu"))
        assert is_compiled(compiled)
        foretold = {
            _identity(graph, graph.operators[one.index]) for one in predict(graph).placements if one.runs_on == "cpu"
        }
        assert foretold == kept_by_cpu(compiled), path.name


def test_the_compiled_file_tells_for_itself() -> None:
    tensors = {"x": VECTOR, "y": VECTOR, "z": VECTOR}
    content = model(tensors, [Operator("CUSTOM", ["x"], ["y"], custom=COMPILED), Operator("ELU", ["y"], ["z"])])
    found = placements(parse_graph(content), "usb3")
    assert [one.runs_on for one in found.operators] == ["edgetpu", "cpu"]
    assert "estimate_us" not in found.facts
    assert "compiled" in found.notes[0]


# ---- the cut ----


def graph_of(*operators: Operator, floats: str = "", wide: str = "") -> Graph:
    """A graph of vectors named by letters; those in `floats` are float32, and those in `wide` int16."""
    names = dict.fromkeys(name for one in operators for name in (*one.inputs, *one.outputs))
    types = dict.fromkeys(floats, "float32") | dict.fromkeys(wide, "int16")
    tensors = {name: Tensor((1, 16), types.get(name, "int8")) for name in names}
    return parse_graph(model(tensors, operators))


def runs_on(graph: Graph) -> str:
    """A letter an operator: T or C."""
    return "".join("T" if one.runs_on == "edgetpu" else "C" for one in predict(graph).placements)


def test_what_comes_after_a_refused_operator_waits_for_it() -> None:
    graph = graph_of(
        Operator("RELU", "a", "b"),
        Operator("ELU", "b", "c"),
        Operator("RELU", "c", "d"),
        Operator("ADD", "bd", "e"),
    )
    assert runs_on(graph) == "TCCC"
    mapped = predict(graph)
    assert mapped.statuses[2:] == (Status.ONE_SUBGRAPH, Status.ONE_SUBGRAPH)
    assert "operator 1 (ELU)" in mapped.placements[3].why
    assert "operator 1 (ELU)" in mapped.placements[3].remedy


def test_a_branch_that_does_not_need_it_goes_on() -> None:
    graph = graph_of(Operator("RELU", "a", "b"), Operator("ELU", "b", "c"), Operator("TANH", "b", "d"))
    assert runs_on(graph) == "TCT"


def test_float_borders_stay_on_the_cpu_and_the_rest_does_not() -> None:
    graph = graph_of(
        Operator("QUANTIZE", "a", "b"), Operator("RELU", "b", "c"), Operator("DEQUANTIZE", "c", "d"), floats="ad"
    )
    assert runs_on(graph) == "CTC"


def test_what_is_refused_at_the_start_runs_before_the_chip() -> None:
    graph = graph_of(
        Operator("ELU", "a", "b"), Operator("GELU", "b", "c"), Operator("RELU", "c", "d"), Operator("ELU", "d", "e")
    )
    assert runs_on(graph) == "CCTC"


def test_only_the_first_piece_is_taken_even_if_a_later_one_is_larger() -> None:
    graph = graph_of(
        Operator("RELU", "a", "b"),
        Operator("ELU", "b", "c"),
        *(Operator("RELU", name, chr(ord(name) + 1)) for name in "cdefg"),
    )
    assert runs_on(graph) == "TCCCCCC"


def test_nothing_is_told_of_an_empty_model() -> None:
    assert predict(Graph("", (), (), (), ())) == Mapped((), ())


def test_bodies_of_loops_stay_on_the_cpu() -> None:
    body = graph_of(Operator("RELU", "a", "b"))
    main = graph_of(Operator("RELU", "a", "b"))
    whole = Graph("", main.operators, main.tensors, main.inputs, main.outputs, bodies=(body,))
    assert [(one.subgraph, one.runs_on) for one in predict(whole).placements] == [(0, "edgetpu"), (1, "cpu")]


def test_borders_around_a_float_operator_name_it() -> None:
    graph = graph_of(
        Operator("RELU", "a", "b"),
        Operator("DEQUANTIZE", "b", "c"),
        Operator("ELU", "c", "d"),
        Operator("QUANTIZE", "d", "e"),
        floats="cd",
    )
    _, before, elu, behind = predict(graph).placements
    assert before.why == behind.why == "it stands here because operator 2 (ELU) works in floats"
    assert before.remedy == behind.remedy == "mend operator 2 (ELU): then this is gone"
    assert "PReLU" in elu.remedy
    # The model itself works in int8, which need not be told again.
    assert placements(graph, "usb3").notes == ()


def test_borders_around_an_operator_kept_in_int16_name_it() -> None:
    graph = graph_of(
        Operator("RELU", "a", "b"),
        Operator("QUANTIZE", "b", "c"),
        Operator("TANH", "c", "d"),
        Operator("QUANTIZE", "d", "e"),
        wide="cd",
    )
    _, before, tanh, behind = predict(graph).placements
    assert before.why == behind.why == "it stands here because operator 2 (TANH) works on int16"
    assert "kept in int16" in tanh.remedy


def test_borders_of_the_whole_model_do_not() -> None:
    graph = graph_of(
        Operator("QUANTIZE", "a", "b"), Operator("RELU", "b", "c"), Operator("DEQUANTIZE", "c", "d"), floats="ad"
    )
    first, _, last = predict(graph).placements
    assert "inference_input_type int8" in first.remedy
    assert "int8 input and output" in last.remedy


# ---- the model as a whole ----


def notes_of(content: bytes) -> str:
    return " | ".join(placements(parse_graph(content), "usb3").notes)


def dense(inputs: int, outputs: int, source: Tensor) -> bytes:
    tensors = {"x": source, "w": zeros(outputs, inputs), "y": Tensor((*source.shape[:-1], outputs))}
    return model(tensors, [Operator("FULLY_CONNECTED", ["x", "w", ""], ["y"])])


def test_faults_of_a_whole_model_are_named() -> None:
    assert notes_of((DATA / "tiny_int8.tflite").read_bytes()) == ""
    assert "it works in floats" in notes_of((DATA / "tiny_float32.tflite").read_bytes())
    assert "has batch 8" in notes_of(dense(16, 4, Tensor((8, 16))))
    assert "has open sizes" in notes_of(dense(16, 4, Tensor((1, 5, 16), open_sizes=(0, 1))))


def test_what_does_not_fit_on_the_chip_is_streamed_and_said_so() -> None:
    large, small = (parse_graph(dense(1024, outputs, Tensor((1, 1024)))) for outputs in (10_000, 1000))
    assert "MB come over the link on every call" in placements(large, "usb3").notes[0]
    facts, slow, fits = placements(large, "usb3").facts, placements(large, "usb2").facts, placements(small, "usb3")
    assert facts["provenance"] == "simulated"
    assert facts["streamed_bytes"] == facts["parameters_bytes"] - int(7.7 * 2**20)
    assert facts["parts"]["stream_us"] == pytest.approx(facts["streamed_bytes"] / 440)
    assert slow["parts"]["stream_us"] == pytest.approx(11 * facts["parts"]["stream_us"])
    assert (fits.facts["streamed_bytes"], fits.notes) == (0, ())


def test_the_estimate_grows_with_each_thing_that_takes_time() -> None:
    call, wide, deep = (
        placements(parse_graph(dense(inputs, outputs, Tensor((1, inputs)))), "usb3").facts["parts"]
        for inputs, outputs in ((64, 64), (64, 65), (65, 64))
    )
    assert call["call_us"] == 270
    # One more row or column of weights fills the array once more.
    assert wide["array_us"] == deep["array_us"] == 2 * call["array_us"] > 0
    assert call["cpu_us"] == call["stream_us"] == 0
    on_cpu = placements(graph_of(Operator("ELU", "a", "b")), "usb3").facts["parts"]
    assert on_cpu["cpu_us"] > 0
    assert on_cpu["call_us"] == on_cpu["link_us"] == 0


# ---- inspect ----


def inspected(path: Path, target: str = "coral") -> dict[str, Any]:
    document = inspect(str(path), Options(target=target), Progress())
    jsonschema.validate(document, SCHEMA, cls=jsonschema.Draft202012Validator)
    json.dumps(document, allow_nan=False)
    return document


def test_inspect_tells_of_each_operator_and_of_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    tensors = dict.fromkeys("abc", VECTOR)
    path.write_bytes(model(tensors, [Operator("RELU", "a", "b"), Operator("LEAKY_RELU", "b", "c")]))
    document = inspected(path)
    assert [row["runs_on"] for row in document["operators"]] == ["edgetpu", "cpu"]
    assert "PReLU" in document["operators"][1]["remedy"]
    assert document["target"]["name"] == "coral"
    assert document["target"]["runs_on"] == {"edgetpu": 1, "cpu": 1}
    assert document["target"]["facts"]["provenance"] == "simulated"


def test_what_people_see_fits_and_says_that_it_is_calculated(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    names = ["a", "\x1b[2J" + "b" * 200, "c", "d"]
    operators = [
        Operator(kind, [x], [y]) for kind, x, y in zip(["RELU", "ELU", "RELU"], names, names[1:], strict=False)
    ]
    path.write_bytes(model(dict.fromkeys(names, VECTOR), operators))
    stream = io.StringIO()
    render_inspection(inspected(path), Console(file=stream, width=80))
    lines = stream.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= 80
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert re.search(r"One call +\S+ µs \(simulated\)", text)
    assert re.search(r"Of one call +call 270 µs[^(]+\(simulated\)", text)
    assert re.search(r"1 +ELU +the Edge TPU has no ELU", text)
    assert re.search(r"on edgetpu +1 operator +$", text, re.MULTILINE)


def test_the_command_line_knows_the_option() -> None:
    done = CliRunner().invoke(cli, ["inspect", str(DATA / "tiny_int8.tflite"), "--target", "coral:link=usb2", "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["target"]["runs_on"] == {"edgetpu": 3}
    assert document["target"]["facts"]["link"] == "usb2"


def test_a_target_without_accelerator_and_a_keras_model_are_no_use_here(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is nothing to tell"):
        inspected(DATA / "tiny_int8.tflite", "host")
    with pytest.raises(UsageError, match=r"is for a \.tflite"):
        inspected(tmp_path / "model.keras")


# ---- any file at all ----


def mutated(whole: bytes, rng: random.Random) -> bytes:
    """A few bytes or one aligned number replaced, or the end cut off."""
    damaged = bytearray(whole)
    if rng.random() < 0.5:
        for _ in range(rng.randint(1, 8)):
            damaged[rng.randrange(8, len(damaged))] = rng.randrange(256)
    else:
        place = rng.randrange(8, len(damaged) - 4, 4)
        nasty = (0, 1, 2, 4, 127, 2**31 - 1, 2**31, 2**32 - 4, 2**32 - 1, len(whole))
        damaged[place : place + 4] = rng.choice(nasty).to_bytes(4, "little")
    return bytes(damaged[: rng.randint(8, len(damaged))]) if rng.random() < 0.05 else bytes(damaged)


def test_a_file_that_is_built_to_keep_us_busy_does_not() -> None:
    graph = parse_graph(model_that_keeps_busy(3000))
    begin = time.process_time()
    assert len(placements(graph, "usb3").operators) == 3000
    assert time.process_time() - begin < 5


def test_two_thousand_damaged_models_are_told_of_or_refused() -> None:
    rng = random.Random(0)
    whole = [(DATA / f"tiny_{name}.tflite").read_bytes() for name in ("int8", "lstm")]
    small = [one for one in (*MEETS.values(), *(content for content, _ in BREAKS.values())) if len(one) < 20_000]
    refused = 0
    for number in range(2000):
        content = mutated(rng.choice(whole if number % 2 else small), rng)
        begin = time.process_time()
        try:
            found = placements(parse_graph(content), "usb3")
            json.dumps([found.facts, found.notes], allow_nan=False)
            assert all(one.runs_on != "cpu" or (one.why and one.remedy) for one in found.operators)
        except UnusableModel:
            refused += 1
        assert time.process_time() - begin < 2, number
    assert 200 < refused < 1500
