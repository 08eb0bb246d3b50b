"""What Model Explorer is given: figures by operator, in the form that it reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline import inspection
from pipeline._node_data import FIGURES, node_data
from pipeline.errors import UsageError
from pipeline.progress import Progress
from tests.small import Command

INT8 = Path(__file__).parent / "edge_targets" / "data" / "tiny_int8.tflite"


@pytest.fixture
def document() -> dict[str, Any]:
    return inspection.inspect(str(INT8), inspection.Options(), Progress())


@pytest.mark.parametrize("figure", [figure for figure in FIGURES if figure != "sqnr_db"])
def test_every_figure_is_given_by_operator(figure: str, document: dict[str, Any]) -> None:
    told = node_data(document, figure)["main"]
    expected = {str(row["index"]): {"value": row[figure]} for row in document["operators"] if row[figure] is not None}
    assert told["results"] == expected
    assert [each["stop"] for each in told["gradient"]] == [0, 1]


@pytest.mark.parametrize(("figure", "said"), [("speed", "no figure 'speed'"), ("sqnr_db", "has sqnr_db")])
def test_what_there_is_not_is_told(figure: str, said: str, document: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=said):
        node_data(document, figure)


@pytest.mark.e2e
def test_the_command_writes_it(tmp_path: Path, edgesmith: Command) -> None:
    where = tmp_path / "macs.json"
    done = edgesmith("inspect", str(INT8), "--node-data", "macs", str(where))
    assert done.returncode == 0
    assert json.loads(where.read_text("utf-8"))["main"]["name"] == "macs"
    assert edgesmith("inspect", str(INT8), "--node-data", "speed", str(where)).returncode == 2
