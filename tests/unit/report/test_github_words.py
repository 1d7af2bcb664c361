"""What GitHub is told: workflow commands and Markdown that no finding can break out of."""

from __future__ import annotations

import dataclasses
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.report.github import (
    annotated,
    annotation,
    commands_again,
    escape_data,
    escape_property,
    no_commands,
    step_summary,
    tell_github,
)
from chroma_qualify.report.verdict import Measure, Outcome, RunResult, ScenarioResult, Verdict

LOST = Finding("lost-index", Severity.FAIL, "1 of 3 is lost", "ids: b", "Recreate", "Deployment/chromadb", "data::a")
NOTE = Finding("advice", Severity.NOTE, "a note")
RESULT = RunResult(
    "2026-01-01-abcdef",
    Verdict.FAIL,
    (NOTE, LOST),
    (
        ScenarioResult("data::a", Outcome.FAIL, 1.25, (Measure("recall@10", 0.99), Measure("ready", 4.1, "s"))),
        ScenarioResult("scale::c", Outcome.NOT_RUN, 0.0, (), "the candidate has no autoscaler"),
    ),
    (),
    {"chroma": "1.5.9"},
    7,
    "packages",
    command="chroma-qualify run --seed=7",
)


def test_an_annotation_is_one_line_whatever_it_says():
    assert annotation("error", "50% lost\nsee: a, b", title="x:y,z") == (
        "::error title=x%3Ay%2Cz::50%25 lost%0Asee: a, b"
    )
    assert annotation("notice", "n", file="a b.yaml", line=3) == "::notice file=a b.yaml,line=3::n"


@given(st.text())
def test_escapes_are_undone_by_what_github_undoes(text):
    for escape in (escape_data, escape_property):
        told = escape(text)
        assert not set(told) & {"\r", "\n"}
        back = told.replace("%0D", "\r").replace("%0A", "\n").replace("%3A", ":").replace("%2C", ",")
        assert back.replace("%25", "%") == text


def test_the_worst_finding_is_annotated_first_with_its_remedy():
    assert annotated(RESULT.findings) == [
        "::error title=lost-index::Deployment/chromadb: 1 of 3 is lost%0Aremedy: Recreate",
        "::notice title=advice::a note",
    ]


def test_the_summary_has_verdict_findings_scenarios_and_what_did_not_run():
    told = step_summary(RESULT)
    assert told.startswith("## chroma-qualify: fail\n")
    assert "| fail | lost-index | data::a | 1 of 3 is lost |" in told
    assert "| data::a | fail | 1.2 | recall\\@10 0.99, ready 4.1 s |" in told
    assert "| scale::c | the candidate has no autoscaler |" in told
    assert "<code>chroma-qualify run --seed=7</code>" in told
    assert "<pre>ids: b</pre>" in told


@given(st.text(alphabet=st.sampled_from("ab|<>`*[]()@#\n\r\\&~_ "), max_size=60))
def test_nothing_seen_becomes_markup_or_a_cell(text):
    finding = Finding("rule", Severity.FAIL, text, evidence=text, remedy=text, scenario="s")
    told = step_summary(dataclasses.replace(RESULT, findings=(finding,), scenarios=()))
    (row,) = [line for line in told.splitlines() if line.startswith("| fail |")]
    assert len([at for at, sign in enumerate(row) if sign == "|" and row[at - 1] != "\\"]) == 5
    pre = told[told.find("<pre>") :] if "<pre>" in told else ""
    assert pre.count("<") == 3 * bool(pre), "pre, /pre, /details"
    assert "\n" not in pre.partition("</pre>")[0]


def test_only_a_job_of_github_is_told(tmp_path):
    out, path = io.StringIO(), tmp_path / "summary.md"
    tell_github(RESULT, {"GITHUB_STEP_SUMMARY": str(path)}, out)
    assert (out.getvalue(), path.exists()) == ("", False)
    path.write_text("of a step before\n")
    tell_github(RESULT, {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(path)}, out)
    assert path.read_text() == f"of a step before\n{step_summary(RESULT)}"
    assert out.getvalue().splitlines() == annotated(RESULT.findings)


def test_a_summary_that_cannot_be_written_fails_nothing(tmp_path):
    out = io.StringIO()
    tell_github(RESULT, {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path)}, out)
    assert "::warning::the step summary cannot be written" in out.getvalue()


def test_a_huge_summary_is_cut_at_a_line_and_says_so():
    finding = Finding("rule", Severity.FAIL, "ü" * 100_000, scenario="s")
    told = step_summary(dataclasses.replace(RESULT, findings=(finding,) * 30))
    assert len(told.encode()) < 1 << 20
    assert told.endswith("see verdict.json among the artifacts.\n")


@pytest.mark.parametrize(("environment", "stops"), [({}, False), ({"GITHUB_ACTIONS": "true"}, True)])
def test_commands_in_what_is_printed_are_not_obeyed(environment, stops):
    out = io.StringIO()
    token = no_commands(environment, out)
    out.write("::error::from a log\n")
    commands_again(token, out)
    expected = [f"::stop-commands::{token}", "::error::from a log", f"::{token}::"]
    assert out.getvalue().splitlines() == (expected if stops else expected[1:2])
    assert len(token) == (32 if stops else 0)
