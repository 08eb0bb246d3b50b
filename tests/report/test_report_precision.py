"""A report of a model that is not int8 says so, though measurements call every artifact int8."""

from __future__ import annotations

import io
import re

from rich.console import Console

from pipeline.report import render_table
from pipeline.report._html import html_page
from pipeline.report._markdown import model_card, pull_request
from tests.report.documents import full


def test_every_form_names_the_precision() -> None:
    document = full()
    document["artifact"] = {**document["artifact"], "precision": "float16"}
    document["mixed_precision"] = None
    stream = io.StringIO()
    render_table(document, Console(file=stream, width=100))
    page = re.sub(r"(?s)<(style|script|svg).*?</\1>", "", html_page(document))
    table, card, comment = stream.getvalue(), model_card(document), pull_request([document])

    assert not [line for line in table.splitlines() if re.match(r"\s+(float32\s+)?int8\s+\d", line)]
    assert re.search(r"^ +float32 +float16", table, re.MULTILINE)
    assert "A float16 TensorFlow Lite model" in card
    assert "| | float32 | float16 | |" in comment
    assert "| float32 | float16 | float16 is |" in comment
    assert '<h2 id="comparison">float32 and float16</h2>' in page
    assert not re.search(r"<th[^>]*>\s*int8\s*<", page)
