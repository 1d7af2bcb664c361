"""That Pod Security refuses a candidate is one finding, whichever scenarios ran."""

from __future__ import annotations

import dataclasses

import pytest
from test_command import PLAIN

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.plugin.run import Run

SCENARIO = "tests/e2e/test_pod_security.py::test_namespace_refuses_privileged"
REFUSED = Finding("not-admitted", Severity.FAIL, "Pod Security `restricted` refuses the pods of Deployment/chroma")


@pytest.mark.parametrize("told", [True, False], ids=["by its scenario", "by the run"])
def test_it_is_told_once(tmp_path, told):
    run = Run(dataclasses.replace(PLAIN, run_dir=tmp_path / "run"), lambda _: None, tmp_path)
    run.start([SCENARIO], digest="", manifests="", versions={})
    run.refused = REFUSED
    state = run.scenario(SCENARIO)
    state.seconds = 1.0
    if told:
        state.findings.append(dataclasses.replace(REFUSED, scenario=state.name))
    result = run.finish(interrupted=False)
    assert [(each.rule, each.scenario) for each in result.findings] == [("not-admitted", state.name if told else "")]
    assert result.verdict.value == "fail"


def test_the_second_lane_leaves_it_to_the_first(tmp_path):
    run = Run(dataclasses.replace(PLAIN, run_dir=tmp_path / "run", beside_of="first"), lambda _: None, tmp_path)
    run.start([SCENARIO], digest="", manifests="", versions={})
    run.refused = REFUSED
    run.scenario(SCENARIO).seconds = 1.0
    assert run.finish(interrupted=False).findings == ()
