"""What `edgesmith inspect --target coral` tells: where operators run, what holds for the whole model, the estimate."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edge_targets._edgetpu_estimate import LINK_BYTES_PER_S, ON_CHIP_BYTES, Estimate, estimate
from edge_targets._edgetpu_map import CPU, LATEST_RUNTIME, Mapped, is_compiled, predict
from edge_targets._edgetpu_verdict import corrected
from edge_targets._placement import Placements
from edge_targets.tflite_graph import Graph, Tensor, read_graph

if TYPE_CHECKING:
    from edge_targets._edgetpu_compiler import Compiled

FLOATS = ("float32", "float16", "float64", "bfloat16")


def placements(graph: Graph, link: str, compiled: Compiled | None = None) -> Placements:
    """Where the operators of a model would run, without hardware.

    Args:
        graph: the model.
        link: how the chip is connected, a key of `LINK_BYTES_PER_S`.
        compiled: what the compiler made of it, where there is one; then it has the last word.

    Raises:
        UnusableModel: a constant's bytes do not fit its shape.
    """
    mapped = predict(graph)
    if compiled is not None:
        mapped = corrected(graph, mapped, read_graph(compiled.path), compiled.compilation)
    facts: dict[str, Any] = {"provenance": "simulated", "runtime": LATEST_RUNTIME}
    if is_compiled(graph):
        return Placements(
            mapped.placements, ("it is compiled: what is on the chip can no longer be told apart",), facts
        )
    found = estimate(graph, mapped, link)
    facts |= {
        "link": link,
        "estimate_us": found.total_us,
        "first_us": found.first_us,
        "parameters_bytes": found.parameters_bytes,
        "streamed_bytes": found.streamed_bytes,
        "parts": asdict(found.parts),
    }
    notes = _notes(graph, mapped, found, link)
    if compiled is not None:
        facts["compiler"] = compiled.compilation.version
        notes += [f"edgetpu_compiler and the prediction differ: {difference}" for difference in compiled.differences]
    return Placements(mapped.placements, tuple(notes), facts)


def _notes(graph: Graph, mapped: Mapped, found: Estimate, link: str) -> list[str]:
    inputs = [graph.tensors[index] for index in graph.inputs]
    notes = [*_floats(inputs, mapped), *_batch(inputs), *_open(inputs)]
    if found.streamed_bytes:
        stream_ms = found.streamed_bytes / LINK_BYTES_PER_S[link] * 1e3
        notes.append(
            f"its parameters take {found.parameters_bytes / 1e6:.1f} MB, and {ON_CHIP_BYTES / 1e6:.1f} MB fit on the "
            f"chip: {found.streamed_bytes / 1e6:.1f} MB come over the link on every call, some {stream_ms:.3g} ms; "
            "prune_filters, or a smaller alpha, makes it fit"
        )
    return notes


def _floats(inputs: list[Tensor], mapped: Mapped) -> list[str]:
    on_cpu = all(one.runs_on == CPU for one in mapped.placements)
    if not on_cpu or not any(tensor.dtype in FLOATS for tensor in inputs):
        return []
    return ["it works in floats, and the Edge TPU in int8 only: convert it fully to int8, as `edgesmith run` does"]


def _batch(inputs: list[Tensor]) -> list[str]:
    batches = [tensor for tensor in inputs if len(tensor.shape) > 1 and tensor.shape[0] > 1]
    return [
        f"its input '{tensor.name}' has batch {tensor.shape[0]}, and the Edge TPU takes one example a call: "
        "convert with batch 1"
        for tensor in batches
    ]


def _open(inputs: list[Tensor]) -> list[str]:
    opened = [tensor for tensor in inputs if any(place > 0 for place in tensor.open_dimensions)]
    return [
        f"its input '{tensor.name}' has open sizes: the Edge TPU needs every size when the model is compiled"
        for tensor in opened
    ]
