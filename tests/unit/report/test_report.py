"""Verdict, verdict.json, junit.xml and the terminal's summary: pure, on results made by hand."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.report.console import how_to_reach, print_summary
from chroma_qualify.report.junit import write_junit
from chroma_qualify.report.verdict import (
    Measure,
    Outcome,
    Part,
    RunResult,
    ScenarioResult,
    Verdict,
    combine,
    judge,
)
from chroma_qualify.report.write import Plan, read_verdict, write_plan, write_verdict

FAIL = Finding("lost-index", Severity.FAIL, "1 of 3 is lost", "ids: b", "Recreate", "Deployment/chromadb", "data::a")
INFRA = Finding("infra", Severity.INFRA, "docker is gone", scenario="data::b")
UNKNOWN = Finding("interrupted", Severity.UNKNOWN, "the run was interrupted")


def result(*findings: Finding) -> RunResult:
    scenarios = (
        ScenarioResult("data::a", Outcome.FAIL, 1.25, (Measure("recall@10", 0.99), Measure("ready", 4.1, "s"))),
        ScenarioResult("data::b", Outcome.INFRA, 0.5),
        ScenarioResult("scale::c", Outcome.NOT_RUN, 0.0, (), "the candidate has no HorizontalPodAutoscaler"),
    )
    return RunResult(
        run_id="2026-01-01-abcdef",
        verdict=combine(findings),
        findings=findings,
        scenarios=scenarios,
        parts=(Part("cluster create", 30.1234567),),
        versions={"chroma": "1.5.9", "kubernetes": "1.37.2"},
        seed=7,
        images="packages",
    )


def test_a_note_is_told_and_fails_nothing(tmp_path):
    note = Finding("migration-one-way", Severity.NOTE, "no way back but a backup", scenario="data::a")
    assert combine([note]) is Verdict.PASS
    told = dataclasses.replace(
        result(note), scenarios=(ScenarioResult("data::a", Outcome.PASS, 1.0),), verdict=Verdict.PASS
    )
    write_junit(told, tmp_path)
    suite = ET.parse(tmp_path / "junit.xml").getroot()[0]
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")
    assert "no way back but a backup" in (suite.findtext("testcase/system-out") or "")
    screen = io.StringIO()
    print_summary(told, tmp_path, screen)
    assert "note  migration-one-way" in screen.getvalue()
    write_verdict(told, tmp_path)
    assert read_verdict(tmp_path).findings == (note,)


def test_fail_beats_infra_beats_unknown_beats_pass_in_any_order():
    assert combine([]) is Verdict.PASS
    for order in itertools.permutations([FAIL, INFRA, UNKNOWN]):
        assert combine(order) is Verdict.FAIL
    for order in itertools.permutations([INFRA, UNKNOWN]):
        assert combine(order) is Verdict.INFRA
    assert combine([UNKNOWN]) is Verdict.UNKNOWN


def test_exit_codes_are_the_interface_and_none_is_2():
    assert {verdict.value: verdict.exit_code for verdict in Verdict} == {
        "pass": 0,
        "fail": 1,
        "unknown": 3,
        "infra": 4,
    }


def test_a_run_in_which_nothing_ran_is_unknown():
    verdict, findings = judge([], [ScenarioResult("a", Outcome.NOT_RUN, 0.0, (), "why")])
    assert verdict is Verdict.UNKNOWN
    assert [finding.rule for finding in findings] == ["nothing-ran"]
    assert judge([], [])[0] is Verdict.UNKNOWN
    assert judge([], [ScenarioResult("a", Outcome.PASS, 1.0)])[0] is Verdict.PASS


def test_verdict_json_begins_with_what_other_tools_read(tmp_path):
    path = write_verdict(result(FAIL, INFRA), tmp_path)
    document = json.loads(path.read_text())
    assert list(document)[:2] == ["verdict", "findings"]
    assert document["verdict"] == "fail"
    assert set(document["findings"][0]) >= {"rule", "severity", "collection", "evidence", "remedy"}
    assert document["parts"] == [{"name": "cluster create", "seconds": 30.123}]
    assert [file.name for file in tmp_path.iterdir()] == ["verdict.json"]


def test_plan_json_says_what_was_asked(tmp_path):
    plan = Plan("id", "manifests", "0" * 64, {"chroma": "1.5.9"}, 7, ("a",), {"nodes": 1})
    assert json.loads(write_plan(plan, tmp_path).read_text())["scenarios"] == ["a"]


def test_junit_counts_and_says_why(tmp_path):
    suite = ET.parse(write_junit(result(FAIL, INFRA, UNKNOWN), tmp_path)).getroot()
    counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "time")}
    assert counts == {"tests": "4", "failures": "1", "errors": "2", "time": "1.750"}
    assert [each.get("skipped") for each in suite] == ["0", "1", "0"], "data, scale, run"
    failure = suite.find("testsuite/testcase[@name='a']/failure")
    assert failure.get("type") == "lost-index"
    assert "remedy: Recreate" in failure.text
    assert suite.find("testsuite/testcase[@name='c']/skipped").get("message").startswith("the candidate has no")
    assert suite.find("testsuite/testcase[@name='run']/error").get("type") == "interrupted"


@given(text=st.text())
def test_junit_is_xml_whatever_a_log_holds(text, tmp_path_factory):
    finding = Finding("r", Severity.FAIL, text, evidence=text, scenario="data::a")
    path = write_junit(result(finding), tmp_path_factory.mktemp("junit"))
    assert ET.parse(path).getroot()[0].find("testcase[@name='a']/failure") is not None


def test_the_summary_begins_with_the_verdict_and_cuts_nothing_off():
    long = "x" * 400
    file = io.StringIO()
    findings = (UNKNOWN, Finding("rule", Severity.FAIL, "[bold]not markup[/bold]", evidence=long, scenario="data::a"))
    print_summary(result(*findings), run_dir := Path("/r" * 150), file)
    text = file.getvalue()
    assert text.startswith("verdict: fail - do not promote")
    assert text.index("fail  rule") < text.index("unknown  interrupted"), "the worst comes first"
    assert "[bold]not markup[/bold]" in text
    assert text.replace("\n", "").count("x") >= 400
    assert str(run_dir) in text
    assert "recall@10 0.99, ready 4.1 s" in text
    assert "the candidate has no HorizontalPodAutoscaler" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_can_be_told(verdict):
    findings = {"pass": (), "fail": (FAIL,), "infra": (INFRA,), "unknown": (UNKNOWN,)}[verdict.value]
    file = io.StringIO()
    print_summary(result(*findings), Path("runs/x"), file)
    assert file.getvalue().startswith(f"verdict: {verdict.value} - ")


def test_a_cluster_in_the_sandbox_is_reached_through_it():
    told = how_to_reach(Path("k.yaml"), Path("kubectl"), sandboxed=True)
    assert told == "scripts/sandbox run --keep -- kubectl --kubeconfig k.yaml get pods --all-namespaces"
    assert not how_to_reach(Path("k"), Path("kubectl"), sandboxed=False).startswith("scripts")


ACCEPTED = Finding("lost-index", Severity.ACCEPTED, "5 of 9 are lost; known upstream (x)", scenario="data::a")


def test_an_accepted_risk_is_told_and_fails_nothing(tmp_path):
    scenarios = (ScenarioResult("data::a", Outcome.PASS, 1.0),)
    experiments = ({"stress": "power-loss", "ran": True}, {"stress": "graceful", "ran": False})
    verdict, findings = judge([ACCEPTED], scenarios)
    assert verdict is Verdict.PASS
    passed = RunResult("id", verdict, findings, scenarios, (), {}, 7, "packages", experiments=experiments)
    written = json.loads(write_verdict(passed, tmp_path).read_text())
    assert (written["verdict"], written["findings"][0]["severity"]) == ("pass", "accepted")
    suite = ET.parse(write_junit(passed, tmp_path)).getroot().find("testsuite")
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")
    assert "known upstream" in suite.find("testcase/system-out").text
    told = io.StringIO()
    print_summary(passed, tmp_path, told)
    assert "accepted  lost-index" in told.getvalue()
    assert "durability tested: power-loss (1)" in told.getvalue()


@given(st.lists(st.sampled_from([FAIL, INFRA, UNKNOWN, ACCEPTED])))
def test_an_accepted_risk_changes_no_verdict(findings):
    assert combine(findings) is combine([each for each in findings if each is not ACCEPTED])
