"""The whole way, through the installed command: a result, its report, its repeatability and its cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.small import Command, report_of, write_tiny

pytestmark = [pytest.mark.e2e]


def test_a_recipe_becomes_a_proven_model_that_repeats(edgesmith: Command, tiny: Path) -> None:
    done = edgesmith("run", tiny, "--out", "a", "--cache", "cache", "--set", "budgets.min_sparsity=0.45")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert "float32" in done.stdout
    report = report_of(edgesmith.home / "a")
    assert report["ok"]
    assert [step["stage"] for step in report["steps"]] == ["train", "prune", "qat"]
    assert {check["name"]: check["status"] for check in report["checks"]} == {
        "int8_only": "pass",
        "kept_sparsity": "pass",
        "dead_layers": "pass",
        "agreement": "pass",
        "output_error": "pass",
        "worst_layer_sqnr": "pass",
        "min_sparsity": "pass",
        "parity.host": "pass",
    }
    assert all(20 < layer["sqnr_db"] < 60 for layer in report["layers"])
    assert sum(layer["macs_share"] for layer in report["layers"]) == pytest.approx(1)
    assert {row["model"] for row in report["measurements"]} == {"float32", "int8"}
    assert report["baseline"]["size_bytes"] > 2 * report["artifact"]["size_bytes"]

    # Without the cache, bit for bit the same; and stdout is data alone.
    again = edgesmith("run", tiny, "--out", "b", "--no-cache", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["artifact"]["sha256"] == report["artifact"]["sha256"]

    # All from the cache, the same; and after a change to the last stage, only that stage runs.
    cached = edgesmith("run", tiny, "--out", "c", "--cache", "cache", "--json")
    assert [step["cached"] for step in json.loads(cached.stdout)["steps"]] == [True, True, True]
    assert json.loads(cached.stdout)["artifact"]["sha256"] == report["artifact"]["sha256"]
    changed = edgesmith("run", tiny, "--out", "c", "--cache", "cache", "--set", "stages.qat.epochs=2", "--json")
    assert [step["cached"] for step in json.loads(changed.stdout)["steps"]] == [True, True, False]


def test_a_broken_budget_is_exit_1_with_a_whole_report(edgesmith: Command, tiny: Path) -> None:
    done = edgesmith("run", tiny, "--out", "out", "--set", "budgets.max_size_bytes=10")
    assert done.returncode == 1
    report = report_of(edgesmith.home / "out")
    assert not report["ok"]
    assert [check["name"] for check in report["checks"] if check["status"] == "fail"] == ["max_size_bytes"]


def test_post_training_quantization_alone_is_a_recipe_too(edgesmith: Command, tiny: Path) -> None:
    recipe = tiny.with_name("plain.yaml")
    text = tiny.read_text()
    recipe.write_text(text[: text.index("  - prune")] + text[text.index("benchmark:") :])
    done = edgesmith("run", recipe, "--out", "out", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["checks"][0] == {
        "name": "int8_only",
        "value": 0,
        "limit": 0,
        "unit": "float tensors",
        "status": "pass",
        "why": "",
    }


def test_paths_with_spaces_and_signs(edgesmith: Command, tmp_path: Path) -> None:
    folder = tmp_path / "a b $(c) 'd' é"
    folder.mkdir()
    done = edgesmith("run", write_tiny(folder), "--out", folder / "out put", "--set", "stages.train.epochs=1")
    assert done.returncode == 0, done.stderr
    report_of(folder / "out put")
