"""What `edgesmith inspect --target microcontroller` tells, from the graph alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_targets._mcu_remedies import remedy_for
from edge_targets._placement import Placement, Placements
from edge_targets._tflm_arena import least_arena_bytes
from edge_targets._tflm_kernels import why_no_kernel
from edge_targets._vela_rules import why_not_compiled, why_not_on_npu
from edge_targets.tflite_graph import Graph, Operator

if TYPE_CHECKING:
    from edge_targets._vela import Compiled

CPU = "cpu"
NPU = "ethos-u"
NOWHERE = "nowhere"
"""Neither Ethos-U nor TensorFlow Lite Micro can run it: the model does not work."""
_FLOATS = ("float32", "float16", "float64", "bfloat16")

NotOnNpu = Callable[[int, Operator], tuple[str, str] | None]
"""Why an operator, by its place in the main graph, is not on the Ethos-U, and what would mend it."""


@dataclass(frozen=True)
class Memory:
    """What a microcontroller has.

    Attributes:
        sram_bytes: for the arena.
        flash_bytes: for the model.
    """

    sram_bytes: int
    flash_bytes: int


def predicted(graph: Graph) -> NotOnNpu:
    """By the rules, without Vela."""
    of_all = why_not_compiled(graph)
    return lambda _, operator: of_all or why_not_on_npu(graph, operator)


def by_vela(graph: Graph, compiled: Compiled) -> NotOnNpu:
    """By what Vela left behind; where it does not say why, the rules may."""
    rules = predicted(graph)

    def left(place: int, operator: Operator) -> tuple[str, str] | None:
        if place not in compiled.on_cpu:
            return None
        why, remedy = rules(place, operator) or ("Vela leaves it on the processor", remedy_for(operator.kind))
        name = graph.tensors[operator.outputs[0]].name if operator.outputs else ""
        return compiled.reasons.get(name, why), remedy

    return left


def placements(graph: Graph, memory: Memory, not_on_npu: NotOnNpu | None) -> Placements:
    """Where each operator would run.

    Args:
        graph: the model.
        memory: what there is.
        not_on_npu: what an Ethos-U leaves; None where there is none.
    """
    main = [_place(graph, place, one, not_on_npu) for place, one in enumerate(graph.operators)]
    bodies = [_body(body, number, one) for number, body in enumerate(graph.bodies, start=1) for one in body.operators]
    least_bytes = least_arena_bytes(graph)
    facts: dict[str, Any] = {
        "provenance": "simulated",
        "arena_least_bytes": least_bytes,
        "sram_bytes": memory.sram_bytes,
        "flash_bytes": memory.flash_bytes,
    }
    notes = [*_inputs(graph), *_floats(graph), *too_large(least_bytes, graph.size_bytes, memory)]
    return Placements((*main, *bodies), tuple(notes), facts)


def too_large(arena_bytes: int, model_bytes: int, memory: Memory) -> list[str]:
    """A sentence for each memory that is too small, with what mends it."""
    found = []
    if arena_bytes > memory.sram_bytes:
        found.append(
            f"its tensors take {_kb(arena_bytes)} of SRAM at the same time, and there are {_kb(memory.sram_bytes)}: "
            "a smaller input, an earlier stride or a smaller alpha needs less; sram_kib tells of another chip"
        )
    if model_bytes > memory.flash_bytes:
        found.append(
            f"it takes {_kb(model_bytes)} of flash, and there are {_kb(memory.flash_bytes)}: "
            "prune_filters or a smaller alpha makes it smaller; flash_kib tells of another chip"
        )
    return found


def works_in_floats(graph: Graph) -> bool:
    """Whether all that it computes is in floats, as in the model from before any compression."""
    computed = [graph.tensors[index] for one in graph.operators for index in one.outputs]
    return bool(computed) and all(tensor.dtype in _FLOATS for tensor in computed)


def _place(graph: Graph, place: int, operator: Operator, not_on_npu: NotOnNpu | None) -> Placement:
    no_kernel = why_no_kernel(graph, operator)
    left = not_on_npu(place, operator) if not_on_npu is not None else ("", "")
    if left is None:
        return Placement(0, operator.index, NPU)
    if no_kernel is None:
        return Placement(0, operator.index, CPU, *left)
    why = f"{left[0]}; {no_kernel[0]}" if left[0] else no_kernel[0]
    return Placement(0, operator.index, NOWHERE, why, no_kernel[1])


def _body(graph: Graph, number: int, operator: Operator) -> Placement:
    """Bodies of loops and branches are never the Ethos-U's."""
    no_kernel = why_no_kernel(graph, operator)
    return Placement(number, operator.index, NOWHERE if no_kernel else CPU, *(no_kernel or ("", "")))


def _inputs(graph: Graph) -> list[str]:
    found = []
    for tensor in (graph.tensors[index] for index in graph.inputs):
        if len(tensor.shape) > 1 and tensor.shape[0] > 1:
            found.append(
                f"its input '{tensor.name}' has batch {tensor.shape[0]}, and one example a call is what runs there: "
                "convert with batch 1"
            )
        if any(place > 0 for place in tensor.open_dimensions):
            found.append(
                f"its input '{tensor.name}' has open sizes, and memory is laid out before the model runs: "
                "give every size in keras.Input"
            )
    return found


def _floats(graph: Graph) -> list[str]:
    if not works_in_floats(graph):
        return []
    return [
        "it works in floats: an Ethos-U runs none of it, and a processor without a floating-point unit is slow at it; "
        "convert it fully to int8, as `edgesmith run` does"
    ]


def _kb(size_bytes: int) -> str:
    return f"{size_bytes / 1024:,.1f} KiB"
