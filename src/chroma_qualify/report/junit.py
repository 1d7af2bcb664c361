"""junit.xml for CI systems, from the verdict (not from pytest, which knows no `unknown` and no `infra`).

A finding `fail` is a failure; `infra` and `unknown` are errors, as neither says anything against the candidate; a
scenario that did not run is skipped, with its reason; an accepted risk and a note are told in the scenario's output.
Called by the plugin.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.report.console import sentence
from chroma_qualify.report.verdict import Outcome, RunResult

_TOLD = {Severity.ACCEPTED, Severity.NOTE}  # they fail nothing
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(result: RunResult, directory: Path) -> Path:
    """Write junit.xml into the run directory and return its path."""
    suite = ET.Element("testsuite", name="chroma-qualify", time=f"{sum(s.seconds for s in result.scenarios):.3f}")
    counts = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for scenario in result.scenarios:
        file, _, test = scenario.name.partition("::")
        case = ET.SubElement(suite, "testcase", classname=file, name=test or file, time=f"{scenario.seconds:.3f}")
        counts["tests"] += 1
        if scenario.outcome is Outcome.NOT_RUN:
            counts["skipped"] += 1
            ET.SubElement(case, "skipped", message=_clean(scenario.reason))
            continue
        tag = "failure" if scenario.outcome is Outcome.FAIL else "error"
        of_it = [finding for finding in result.findings if finding.scenario == scenario.name]
        found = [finding for finding in of_it if finding.severity not in _TOLD]
        if told := [finding for finding in of_it if finding.severity in _TOLD]:
            ET.SubElement(case, "system-out").text = _clean("\n\n".join(map(sentence, told)))
        if found:
            counts["failures" if tag == "failure" else "errors"] += 1
            _tell(case, tag, found)
    named = {scenario.name for scenario in result.scenarios}
    loose = [f for f in result.findings if f.scenario not in named and f.severity not in _TOLD]
    if loose:
        counts["tests"] += 1
        counts["errors"] += 1
        _tell(ET.SubElement(suite, "testcase", classname="run", name="run"), "error", loose)
    suite.attrib.update({name: str(count) for name, count in counts.items()})
    path = directory / "junit.xml"
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    return path


def _tell(case: ET.Element, tag: str, findings: list[Finding]) -> None:
    """One element for all findings of a scenario: readers of JUnit show only the first."""
    worst = min(findings, key=lambda finding: list(Severity).index(finding.severity))
    element = ET.SubElement(case, tag, type=worst.rule, message=_clean(worst.message))
    element.text = _clean("\n\n".join(map(sentence, findings)))


def _clean(text: str) -> str:
    """Without characters that XML cannot hold (a server's log may have any)."""
    return _NOT_XML.sub("?", text)
