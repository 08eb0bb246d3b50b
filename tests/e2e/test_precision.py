"""Another precision than int8, through the installed command: the report, the checks and the device say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.small import Command, report_of

pytestmark = [pytest.mark.e2e]


def test_a_recipe_in_int16_and_one_in_float16_share_all_but_the_conversion(edgesmith: Command, tiny: Path) -> None:
    text = tiny.read_text("utf-8").replace("  - qat: {epochs: 1, batch_size: 32}\n", "")
    tiny.write_text(text.replace("  - prune: {epochs: 2, batch_size: 32, sparsity: 0.5}\n", ""), encoding="utf-8")
    found = {}
    for precision in ("int16x8", "float16"):
        choice = f"convert.precision={precision}"
        done = edgesmith("run", tiny, "--out", precision, "--cache", "cache", "--set", choice)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
        # TensorFlow's own log is no news to people.
        assert not re.search(r"^[IWEF]\d{4} ", done.stderr, re.MULTILINE)
        found[precision] = report_of(edgesmith.home / precision)
        assert found[precision]["artifact"]["precision"] == precision
        assert {check["name"]: check["status"] for check in found[precision]["checks"]} == {
            "precision": "pass",
            "agreement": "pass",
            "output_error": "pass",
            "worst_layer_sqnr": "pass",
            "parity.host": "pass",
        }
    ends = {name: [end["dtype"] for end in each["artifact"]["inputs"]] for name, each in found.items()}
    assert ends == {"int16x8": ["int16"], "float16": ["float32"]}
    assert [step["cached"] for step in found["float16"]["steps"]] == [True]
