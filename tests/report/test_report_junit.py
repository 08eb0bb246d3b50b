"""JUnit XML: what CI makes of the checks."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from pipeline.report import _format as fmt
from pipeline.report._junit import junit
from tests.report.documents import EVIL, full, with_text


def suites(*documents: dict[str, object]) -> Xml.Element:
    return Xml.fromstring(junit(list(documents)).encode())


def test_a_case_a_check_and_what_was_not_measured_is_skipped() -> None:
    [suite] = suites(full())
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("6", "0", "1")
    cases = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    assert cases["max_ota_bytes"] == ["system-out"]
    assert cases["max_median_us.raspberry_pi"] == ["skipped"]
    [skipped] = suite.iter("skipped")
    assert str(skipped.get("message")).startswith("not measured: the recipe's targets do not name 'raspberry_pi'")


def test_a_failed_check_says_by_how_much_and_why() -> None:
    document = full()
    document["checks"] = [
        {
            "name": "max_ota_bytes",
            "value": 140_001,
            "limit": 140_000,
            "unit": "bytes",
            "status": "fail",
            "why": "too dense",
        }
    ]
    [failure] = suites(document).iter("failure")
    assert failure.text == "max_ota_bytes is 140.001 kB, limit ≤ 140.000 kB: too dense"
    assert failure.get("message") == failure.text


def test_several_runs_are_a_suite_each_and_the_totals_add_up() -> None:
    root = suites(full(), full())
    assert [root.get(name) for name in ("tests", "failures", "skipped", "errors")] == ["12", "0", "2", "0"]
    assert len(root) == 2


def test_any_name_gives_well_formed_xml() -> None:
    """XML 1.0 knows no way to write most control characters: an entity of one makes the whole file unreadable."""
    root = suites(with_text(EVIL, patterns=False))
    plain = suites(with_text("plain", patterns=False))
    assert [element.tag for element in root.iter()] == [element.tag for element in plain.iter()]
    assert root[0].get("name") == fmt.printable(EVIL)
