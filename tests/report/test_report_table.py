"""The table in the terminal: lined up, honest, and safe from what stands in a name."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from pipeline.check import Check
from pipeline.report import Report, render_table


def drawn(report: Report, width: int = 80, **options: Any) -> str:
    stream = io.StringIO()
    render_table(report.to_json(), Console(file=stream, width=width, **options))
    # Cells are filled up with blanks that nobody sees.
    return "".join(line.rstrip() + "\n" for line in stream.getvalue().splitlines())


def test_the_table_is_what_it_was(report: Report, golden: Callable[[str, str], None]) -> None:
    golden("table_80.txt", drawn(report))


@pytest.mark.parametrize("width", [80, 100, 160])
def test_no_line_is_wider_than_the_terminal(report: Report, width: int) -> None:
    assert max(cell_len(line) for line in drawn(report, width).splitlines()) <= width


def test_endless_names_are_cut_and_figures_are_not(report: Report) -> None:
    long = "a_very_long_name/" * 12
    changed = dataclasses.replace(
        report,
        layers=(dataclasses.replace(report.layers[2], name=long),),
        checks=(dataclasses.replace(report.checks[3], name=long),),
        steps=(dataclasses.replace(report.steps[0], step=dataclasses.replace(report.steps[0].step, stage=long)),),
    )
    text = drawn(changed)
    assert max(map(cell_len, text.splitlines())) <= 80
    layer = next(line for line in text.splitlines() if "FULLY" in line)
    assert re.search(r"^  a_very_lo\S*…\s+FULLY_\S*…\s+17 %\s+91 %\s+400,000\s+85\.0 %\s+183\s+8\s+29 dB$", layer)
    assert re.search(r"…\s+118 kB\s+≤ 140 kB$", next(line for line in text.splitlines() if "✓  a_very" in line))


def test_a_long_remark_leaves_the_headlines_their_figures(report: Report) -> None:
    [*_, int8] = report.measurements
    alone = dataclasses.replace(report, measurements=({**int8, "runtime_version": "2.3.0" * 12},))
    text = drawn(alone)
    assert re.search(r"^  Size +1\.73 MB +442 kB +3\.9× smaller", text, re.MULTILINE)
    assert re.search(r"^  Median latency +– +61\.3 µs +on host", text, re.MULTILINE)


def test_nothing_measured_and_nothing_trained_still_gives_a_table(report: Report) -> None:
    bare = dataclasses.replace(report, measurements=(), steps=(), checks=(), layers=())
    text = drawn(bare)
    assert "Nothing was checked" in text
    assert re.search(r"Median latency +– +– +no device or host was measured", text)
    assert not re.search(r"^(Steps|Checks|Layers)", text, re.MULTILINE)


def test_a_failed_check_comes_first_and_says_why(report: Report) -> None:
    failed = Check.at_most("max_ota_bytes", 140_001, 140_000, "bytes", "the dense layer holds most of it")
    text = drawn(dataclasses.replace(report, checks=(report.checks[0], failed)))
    assert "✗ 1 of 2 checks failed" in text
    assert text.index("✗  max_ota_bytes") < text.index("✓  int8_only")
    # Rounded to 140 kB both, the line would contradict itself.
    assert re.search(r"✗  max_ota_bytes +140\.001 kB +≤ 140\.000 kB\n +the dense layer holds most of it\n", text)


def test_latency_of_an_emulated_device_is_never_the_headline(report: Report) -> None:
    emulated = tuple({**row, "target": "raspberry_pi", "provenance": "emulated"} for row in report.measurements)
    text = drawn(dataclasses.replace(report, measurements=emulated))
    assert re.search(r"Median latency +– +– ", text)
    assert "raspberry_pi (emulated)" in text


def test_real_hardware_is_the_headline_before_this_machine(report: Report) -> None:
    device = tuple(
        {**row, "target": "pi", "provenance": "device", "median_us": row["median_us"] * 10}
        for row in report.measurements
    )
    text = drawn(dataclasses.replace(report, measurements=(*report.measurements, *device)))
    assert re.search(r"Median latency +3\.12 ms +613 µs +5\.1× faster", text)


def test_percentiles_that_the_samples_do_not_carry_are_dashes(report: Report) -> None:
    row = {**report.measurements[1], "p90_us": None, "p99_us": None, "median_ci_us": None, "peak_rss_bytes": None}
    text = drawn(dataclasses.replace(report, measurements=(row,)))
    assert re.search(r"int8 +61\.3 µs +– +– +– +640 µs +–$", text, re.MULTILINE)


def test_a_deep_model_does_not_push_the_result_off_the_screen(report: Report) -> None:
    text = drawn(dataclasses.replace(report, layers=report.layers[:1] * 60))
    assert text.count("CONV_2D") == 24
    assert "… and 36 more, in report.html and report.json" in text


@pytest.mark.parametrize("name", ["[red]conv[/red]", "[/]", "conv\x1b[31m\x1b]0;owned\x07", "a\nb", "\u202egnirts"])
def test_a_name_can_neither_colour_nor_steer_the_terminal(report: Report, name: str) -> None:
    changed = dataclasses.replace(report, recipe=name, layers=(dataclasses.replace(report.layers[0], name=name),))
    text = drawn(changed, 100)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    shown = "".join(char if char.isprintable() else "\ufffd" for char in name)
    assert text.startswith(shown + "  ")
    assert re.search(rf"^  {re.escape(shown)} +CONV_2D", text, re.MULTILINE)


def test_colour_is_for_terminals_only(report: Report) -> None:
    assert "\x1b" not in drawn(report)
    coloured = drawn(report, force_terminal=True, color_system="standard", no_color=False)
    assert "\x1b[32m✓" in coloured
