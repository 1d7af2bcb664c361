"""What failed is tried again and classed; nothing turns a verdict green."""

from __future__ import annotations

import dataclasses
import json

import pytest

from chroma_qualify.cli.again import classify, judged, repeating
from chroma_qualify.errors import UsageError
from chroma_qualify.findings import Finding, Severity
from chroma_qualify.report.verdict import Outcome, RunResult, ScenarioResult, Verdict
from chroma_qualify.report.write import write_verdict

PASS, FAIL, UNKNOWN, INFRA, NOT_RUN = Outcome.PASS, Outcome.FAIL, Outcome.UNKNOWN, Outcome.INFRA, Outcome.NOT_RUN


@pytest.mark.parametrize(
    ("first", "tries", "kind"),
    [
        (FAIL, [FAIL, FAIL], "real"),
        (FAIL, [PASS, FAIL], "flaky"),
        (FAIL, [PASS, PASS], "flaky"),
        (FAIL, [INFRA, FAIL], "real"),
        (FAIL, [INFRA, INFRA], "infra"),
        (FAIL, [INFRA, PASS], "flaky"),
        (UNKNOWN, [UNKNOWN, UNKNOWN], "real"),
        (UNKNOWN, [PASS], "flaky"),
        (INFRA, [PASS, PASS], "infra"),
        (INFRA, [INFRA, INFRA], "infra"),
        (INFRA, [FAIL, INFRA], "real"),
        (FAIL, [], "infra"),
    ],
)
def test_classes(first, tries, kind):
    assert classify(first, tries) == kind


def test_a_try_that_came_to_nothing_tells_nothing_of_the_candidate():
    document = judged("r", "fail", {"a::x": FAIL, "a::y": FAIL}, [{"a::x": FAIL, "a::y": NOT_RUN}, {"a::y": FAIL}])
    assert document == {
        "run": "r", "verdict": "fail", "times": 2,
        "scenarios": [
            {"name": "a::x", "class": "real", "first": "fail", "again": ["fail", "infra"]},
            {"name": "a::y", "class": "real", "first": "fail", "again": ["infra", "fail"]},
        ],
    }  # fmt: skip


def test_the_same_manifests_and_options_but_only_what_failed():
    command = "x/chroma-qualify run '--manifests=/a b' --scenario=recall --fault=y --seed=7 --use-cluster=z --nodes=2"
    assert repeating(command, ["a::x", "a::y[1]"], None) == [
        "--manifests=/a b", "--seed=7", "--nodes=2", "--only=a::x", "--only=a::y[1]",
    ]  # fmt: skip
    assert repeating(command, ["a::x"], "cq-mine")[-1] == "--use-cluster=cq-mine"


@pytest.mark.parametrize("command", ["", "rm -rf run", "chroma-qualify", "chroma-qualify clean", "'"])
def test_a_command_that_is_no_run_is_not_run(command):
    with pytest.raises(UsageError, match="does not say how it is repeated"):
        repeating(command, ["a::x"], None)


RESULT = RunResult(
    run_id="r", verdict=Verdict.FAIL, findings=(), scenarios=(), parts=(), versions={}, seed=7, images="auto",
    command="chroma-qualify run --seed=7",
)  # fmt: skip


@pytest.fixture
def again(console):
    def run(*args: str) -> tuple[int, str]:
        code, out, err = console("again", *args)
        return code, out + err

    return run


def test_what_the_linter_found_and_what_was_cut_is_not_tried_again(again, tmp_path):
    findings = (
        Finding("mutable-tag", Severity.FAIL, "m", scenario="lint"),
        Finding("time-limit", Severity.UNKNOWN, "t", scenario="a::cut"),
    )
    scenarios = (ScenarioResult("lint", FAIL, 1.0), ScenarioResult("a::cut", UNKNOWN, 1.0))
    write_verdict(dataclasses.replace(RESULT, findings=findings, scenarios=scenarios), tmp_path)
    code, said = again(str(tmp_path))
    assert code == 1
    assert said == "no scenario of this run failed: there is nothing to try again\nthe verdict stays: fail\n"
    assert not (tmp_path / "again.json").exists()


@pytest.mark.parametrize("text", [None, "{", "[]", '{"verdict": "pass"}', json.dumps({"verdict": "green"})])
def test_what_is_no_recorded_run_is_refused(again, tmp_path, text):
    if text is not None:
        (tmp_path / "verdict.json").write_text(text)
    code, said = again(str(tmp_path))
    assert (code, said.count("\n")) == (2, 1)
    assert "Traceback" not in said
