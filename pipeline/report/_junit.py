"""The checks as JUnit XML, which every CI shows beside its tests: a failed check is a failure, one that nobody could
measure is skipped, never passed."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from pipeline.report import _format as fmt
from pipeline.report import _summary as summary
from pipeline.report._json import JsonObject
from pipeline.report._summary import CheckRow


def junit(documents: list[JsonObject]) -> str:
    """One suite a report, one case a check."""
    root = Xml.Element("testsuites", name="edgesmith")
    for document in documents:
        root.append(_suite(document))
    # Totals for readers that do not add up themselves.
    for name in ("tests", "failures", "skipped", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=False).join(
        ('<?xml version="1.0" encoding="UTF-8"?>\n', "\n")
    )


def _suite(document: JsonObject) -> Xml.Element:
    rows = summary.checks(document)
    statuses = [row.status for row in rows]
    suite = Xml.Element(
        "testsuite",
        name=fmt.printable(document["recipe"]),
        tests=str(len(rows)),
        failures=str(statuses.count("fail")),
        skipped=str(statuses.count("not measured")),
        errors="0",
        time=f"{document['seconds'] or 0:.3f}",
        timestamp=fmt.printable(document["created"]).removesuffix("Z"),
    )
    suite.append(_properties(document))
    suite.extend(_case(document, row) for row in rows)
    return suite


def _properties(document: JsonObject) -> Xml.Element:
    facts = {"model": document["artifact"]["path"], "sha256": document["artifact"]["sha256"]}
    lines = {line.label: f"{line.before} → {line.after} {line.change}".strip() for line in summary.headlines(document)}
    properties = Xml.Element("properties")
    for name, value in {**facts, "command": document["command"], **lines}.items():
        Xml.SubElement(properties, "property", name=fmt.printable(name), value=fmt.printable(value))
    return properties


def _case(document: JsonObject, row: CheckRow) -> Xml.Element:
    case = Xml.Element("testcase", classname=f"edgesmith.{fmt.printable(document['recipe'])}", name=row.name, time="0")
    measured = f"{row.name} is {row.value}, limit {row.limit}"
    if row.status == "fail":
        why = f"{measured}: {row.why}" if row.why else measured
        Xml.SubElement(case, "failure", type="check", message=why).text = why
    elif row.status == "not measured":
        Xml.SubElement(case, "skipped", message=f"not measured: {row.why}")
    else:
        Xml.SubElement(case, "system-out").text = f"{measured}. {row.why}".strip()
    return case
