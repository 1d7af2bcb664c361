"""junit.xml for CI systems, from the verdict (not from pytest, which knows no `unknown` and no `infra`).

A finding `fail` is a failure; `infra` and `unknown` are errors, as neither says anything against the candidate; a
scenario that did not run is skipped, with its reason; an accepted risk and a note are told in the scenario's output.
One suite for each file of scenarios, and one, `run`, for findings of no scenario. Called by the plugin.
"""

from __future__ import annotations

import datetime
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.report.console import sentence
from chroma_qualify.report.verdict import Outcome, RunResult, ScenarioResult

_TOLD = {Severity.ACCEPTED, Severity.NOTE}  # they fail nothing
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_COUNTED = ("tests", "failures", "errors", "skipped")


def write_junit(result: RunResult, directory: Path) -> Path:
    """Write junit.xml into the run directory and return its path."""
    root = ET.Element("testsuites", name="chroma-qualify")
    by_file: dict[str, list[ScenarioResult]] = {}
    for scenario in result.scenarios:
        by_file.setdefault(scenario.name.partition("::")[0], []).append(scenario)
    for file, scenarios in by_file.items():
        suite = _suite(root, file, result, (each.began for each in scenarios))
        for scenario in scenarios:
            _case(suite, scenario, [finding for finding in result.findings if finding.scenario == scenario.name])
        _count(suite)
    named = {scenario.name for scenario in result.scenarios}
    loose = [f for f in result.findings if f.scenario not in named and f.severity not in _TOLD]
    if loose:
        suite = _suite(root, "run", result, ())
        tag = "failure" if any(finding.severity is Severity.FAIL for finding in loose) else "error"
        _tell(ET.SubElement(suite, "testcase", classname="run", name="run", time="0.000"), tag, loose)
        _count(suite)
    for name in _COUNTED[:-1]:
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    root.set("time", f"{sum(float(suite.get('time', '0')) for suite in root):.3f}")
    path = directory / "junit.xml"
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    return path


def _suite(root: ET.Element, name: str, result: RunResult, began: Iterable[float | None]) -> ET.Element:
    """A suite without cases, and what was run of what: the properties come first, readers insist on it."""
    suite = ET.SubElement(root, "testsuite", name=_clean(name))
    if result.started:
        first = min((each for each in began if each is not None), default=0.0)
        at = datetime.datetime.fromisoformat(result.started) + datetime.timedelta(seconds=first)
        suite.set("timestamp", at.replace(tzinfo=None).isoformat(timespec="seconds"))  # the format has no zone: UTC
    told = {
        "run": result.run_id,
        "verdict": result.verdict.value,
        "seed": str(result.seed),
        "images": result.images,
        "manifests": result.manifests,
        "digest": result.digest,
        "command": result.command,
        **{f"version.{name}": version for name, version in result.versions.items()},
    }
    properties = ET.SubElement(suite, "properties")
    for key, value in told.items():
        if value:
            ET.SubElement(properties, "property", name=_clean(key), value=_clean(value))
    return suite


def _case(suite: ET.Element, scenario: ScenarioResult, of_it: list[Finding]) -> None:
    file, _, test = scenario.name.partition("::")
    named = {"classname": _clean(file), "name": _clean(test or file), "time": f"{scenario.seconds:.3f}"}
    case = ET.SubElement(suite, "testcase", named)
    if scenario.outcome is Outcome.NOT_RUN:
        ET.SubElement(case, "skipped", message=_clean(scenario.reason))
        return
    if found := [finding for finding in of_it if finding.severity not in _TOLD]:
        _tell(case, "failure" if scenario.outcome is Outcome.FAIL else "error", found)
    if told := [finding for finding in of_it if finding.severity in _TOLD]:
        ET.SubElement(case, "system-out").text = _clean("\n\n".join(map(sentence, told)))


def _count(suite: ET.Element) -> None:
    """The numbers of a suite whose cases are all there."""
    cases = suite.findall("testcase")
    tags = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    counts = {"tests": len(cases), **{name: len(suite.findall(f"testcase/{tag}")) for name, tag in tags.items()}}
    for name in _COUNTED:
        suite.set(name, str(counts[name]))
    suite.set("time", f"{sum(float(case.get('time', '0')) for case in cases):.3f}")


def _tell(case: ET.Element, tag: str, findings: list[Finding]) -> None:
    """One element for all findings of a scenario: readers of JUnit show only the first."""
    worst = min(findings, key=lambda finding: list(Severity).index(finding.severity))
    element = ET.SubElement(case, tag, type=_clean(worst.rule), message=_clean(worst.message))
    element.text = _clean("\n\n".join(map(sentence, findings)))


def _clean(text: str) -> str:
    """Without characters that XML cannot hold (a server's log may have any)."""
    return _NOT_XML.sub("?", text)
