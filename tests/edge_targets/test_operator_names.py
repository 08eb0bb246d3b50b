"""Operators that ran, found again in the graph that they came from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edge_targets._benchmark_profile import OperatorTime
from edge_targets._operator_names import Ran, assigned
from edge_targets._profile import as_told, joined
from edge_targets.tflite_graph import Graph, parse_graph


@pytest.fixture
def net(int8_model: Path) -> Graph:
    """A convolution, a reshape, a fully connected layer."""
    return parse_graph(int8_model.read_bytes())


def delegated(*kinds: str) -> list[Ran]:
    return [Ran(kind, None, 1.0) for kind in kinds]


CONV, RESHAPE, FULL = "Convolution (NHWC, QC8) IGEMM", "Static Reshape (NC)", "Fully Connected (NC, QS8, QC8W) GEMM"


def test_what_xnnpack_made_of_a_graph_is_found_in_it(net: Graph) -> None:
    times = assigned(delegated(CONV, RESHAPE, RESHAPE, FULL), net)
    assert times is not None
    # The second reshape is no operator of the graph: it prepares the layer behind it.
    assert {index: each.us for index, each in times.items()} == {0: 1, 1: 1, 2: 2}
    assert [each.kind for each in times.values()] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]


def test_an_operator_that_became_part_of_another_has_no_row(net: Graph) -> None:
    times = assigned(delegated(CONV, FULL), net)
    assert times is not None
    assert list(times) == [0, 2]


def test_where_the_two_do_not_fit_nothing_is_claimed(net: Graph) -> None:
    for told in ([], delegated(CONV), delegated(CONV, CONV, FULL), delegated(FULL, RESHAPE)):
        assert assigned(told, net) is None


def test_operators_that_were_not_delegated_are_known_by_their_index(net: Graph) -> None:
    own = Ran("FULLY_CONNECTED", 2, 3.0)
    times = assigned([*delegated(CONV, RESHAPE), own], net)
    assert times is not None
    assert times[2].us == 3
    assert assigned([*delegated(CONV, RESHAPE), dataclasses.replace(own, index=1)], net) is None


def test_what_a_loop_runs_is_one_row_and_the_loop_none(net: Graph) -> None:
    looped = dataclasses.replace(net, bodies=(net,))
    body = [Ran("CONV_2D", 0, 3.0, subgraph=1), *delegated(RESHAPE)]
    found = as_told([Ran("CONV_2D", 0, 1.0), Ran("WHILE", 1, 8.0), *body, *body], looped, 10.0)
    assert [(row.index, row.kind, row.name, row.us, row.calls) for row in found] == [
        (0, "CONV_2D", "conv", 1, 1),
        (1, "CONV_2D", "conv", 6, 2),
        (2, RESHAPE, "", 2, 2),
    ]


def test_rows_of_benchmark_model_get_their_layers(int8_model: Path, tmp_path: Path) -> None:
    told = [
        OperatorTime(0, "Delegate/" + CONV, "Delegate/" + CONV + ":0", 6.0, 0.6, 1),
        OperatorTime(1, "Delegate/" + RESHAPE, "Delegate/" + RESHAPE + ":1", 1.0, 0.1, 1),
        OperatorTime(2, "FULLY_CONNECTED", "[logits]:2", 3.0, 0.3, 1),
    ]
    found = joined(told, int8_model)
    assert [(row.name, row.us, row.macs) for row in found] == [("conv", 6, 1296), ("flatten", 1, 0), ("logits", 3, 432)]
    assert joined(told[:1], int8_model) == tuple(told[:1])
    assert joined(told, tmp_path / "none.tflite") == tuple(told)
