"""A figure of every operator in the form that Model Explorer colours a graph by. Part of `inspection`.

The form is that of its custom node data: graph, then node, then value; a node of a `.tflite` is its operator's index.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.errors import UsageError

FIGURES = ("macs", "macs_share", "bytes", "bytes_share", "weights", "sparsity", "distinct", "bits", "sqnr_db")

MAIN = "main"
"""What Model Explorer calls the main subgraph where the file does not name it."""

# From a light to a dark blue, as the report draws int8; a low SQNR is what to look at, so there it is turned round.
_FEW, _MANY = "#eff3ff", "#2171b5"


def node_data(document: Mapping[str, Any], figure: str) -> dict[str, Any]:
    """The node data of a `.tflite`.

    Args:
        document: what `inspection.inspect` gives.
        figure: one of `FIGURES`.

    Raises:
        UsageError: it is none of them, or no operator has it.
    """
    if figure not in FIGURES:
        raise UsageError(f"There is no figure '{figure}' of an operator.", expected=f"one of {', '.join(FIGURES)}")
    rows = [row for row in document["operators"] if row.get("subgraph") == 0 and row.get(figure) is not None]
    if not rows:
        raise UsageError(
            f"No operator of this model has {figure}.",
            expected="a .tflite with such operators",
            mend="sqnr_db takes --data and --reference" if figure == "sqnr_db" else "",
        )
    stops = (_MANY, _FEW) if figure == "sqnr_db" else (_FEW, _MANY)
    return {
        MAIN: {
            "name": figure,
            "results": {str(row["index"]): {"value": row[figure]} for row in rows},
            "gradient": [{"stop": stop, "bgColor": colour} for stop, colour in enumerate(stops)],
        }
    }
