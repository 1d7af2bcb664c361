"""The formats that others read: any result keeps to the JSON Schema, to JUnit's rules, and to OpenMetrics."""

from __future__ import annotations

import dataclasses
import json
import math
import xml.etree.ElementTree as ET

import jsonschema
import prometheus_client.openmetrics.parser
import prometheus_client.parser
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorded import History

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.plugin.run import held_against_schema
from chroma_qualify.report.junit import write_junit
from chroma_qualify.report.metrics import metrics_text, write_metrics
from chroma_qualify.report.schema import against_schema, load_schema
from chroma_qualify.report.series import read_series
from chroma_qualify.report.verdict import (
    Matrix,
    MatrixCell,
    Measure,
    Outcome,
    Part,
    RunResult,
    ScenarioResult,
    Verdict,
)
from chroma_qualify.report.write import Plan, read_verdict, verdict_document, write_plan, write_verdict

TEXT = st.text(max_size=20)
NAME = st.text(min_size=1, max_size=20)
SECONDS = st.floats(0, 1e6)
FINDINGS = st.builds(Finding, NAME, st.sampled_from(Severity), *(TEXT,) * 5, st.none() | TEXT, TEXT)
MEASURES = st.builds(Measure, NAME, st.floats(), TEXT)
SCENARIOS = st.builds(
    ScenarioResult,
    NAME,
    st.sampled_from(Outcome),
    SECONDS,
    st.lists(MEASURES, max_size=2).map(tuple),
    TEXT,
    st.none() | SECONDS,
)
CELLS = st.none() | st.builds(MatrixCell, TEXT, TEXT, st.sampled_from(["right", "wrong", "undecided"]))
MATRICES = st.builds(Matrix, NAME, TEXT, st.just(("a",)), st.just(("b", "c")), st.tuples(st.tuples(CELLS, CELLS)))
EXPERIMENTS = st.fixed_dictionaries(
    {
        "experiment": NAME,
        "fault": TEXT,
        "stress": TEXT,
        "ran": st.booleans(),
        "reason": TEXT,
        "recall": st.dictionaries(TEXT, st.floats(0, 1), max_size=2),
        "stale": st.dictionaries(TEXT, st.integers(0), max_size=2),
        "outage": st.none()
        | st.fixed_dictionaries(
            {
                "first_error": st.none() | SECONDS,
                "unavailable": SECONDS,
                "recovered": SECONDS,
                "errors": st.dictionaries(TEXT, st.integers(0), max_size=2),
                "operations": st.integers(0),
            }
        ),
        "verdict": st.sampled_from([each.value for each in Verdict]),
    }
)
RESULTS = st.builds(
    RunResult,
    NAME,
    st.sampled_from(Verdict),
    st.lists(FINDINGS, max_size=3).map(tuple),
    st.lists(SCENARIOS, max_size=3).map(tuple),
    st.lists(st.builds(Part, NAME, SECONDS), max_size=2).map(tuple),
    st.dictionaries(TEXT, TEXT, max_size=2),
    st.integers(0, 2**31),
    TEXT,
    TEXT,
    TEXT,
    st.lists(EXPERIMENTS, max_size=2).map(tuple),
    st.lists(MATRICES, max_size=1).map(tuple),
    TEXT,
    st.dictionaries(TEXT, TEXT, max_size=2),
    st.sampled_from(["", "2026-01-01T10:00:00.123456+00:00"]),
    SECONDS,
)
ANY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

# Of the schema that Jenkins publishes for what it reads, which GitLab's and GitHub's readers take as well.
ATTRIBUTES = {
    "testsuites": {"name", "time", "tests", "failures", "errors", "disabled"},
    "testsuite": {"name", "tests", "failures", "errors", "time", "disabled", "skipped", "timestamp", "hostname", "id"},
    "properties": set(),
    "property": {"name", "value"},
    "testcase": {"name", "assertions", "time", "classname", "status"},
    "skipped": {"type", "message"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "system-out": set(),
}
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase", "system-out", "system-err"},
    "properties": {"property"},
    "testcase": {"skipped", "error", "failure", "system-out", "system-err"},
}


@ANY
@given(RESULTS)
def test_any_result_keeps_to_the_schema_and_is_read_again(tmp_path_factory, result):
    directory = tmp_path_factory.mktemp("any")
    write_verdict(result, directory)
    document = json.loads((directory / "verdict.json").read_bytes(), parse_constant=pytest.fail)
    assert against_schema(document, "verdict") == []
    again = read_verdict(directory)
    assert [scenario.name for scenario in again.scenarios] == [scenario.name for scenario in result.scenarios]
    assert again.matrices == result.matrices


@ANY
@given(RESULTS)
def test_any_result_is_junit(tmp_path_factory, result):
    root = ET.parse(write_junit(result, tmp_path_factory.mktemp("any"))).getroot()
    for element in root.iter():
        assert set(element.attrib) <= ATTRIBUTES[element.tag]
        assert {child.tag for child in element} <= CHILDREN.get(element.tag, set())
    for suite in root:
        assert suite[0].tag == "properties"
        assert int(suite.get("tests")) == len(suite.findall("testcase"))
        assert float(suite.get("time")) >= 0
    cases = root.findall("testsuite/testcase")
    assert int(root.get("tests")) == len(cases) >= len(result.scenarios)
    assert all(case.get("name") and case.get("classname") for case in cases if case.get("name") != "")
    fails = sum(finding.severity not in (Severity.NOTE, Severity.ACCEPTED) for finding in result.findings)
    assert int(root.get("failures")) + int(root.get("errors")) <= fails


@ANY
@given(RESULTS)
def test_any_result_is_openmetrics_and_prometheus_text(result):
    text = metrics_text(result, [])
    for parser in (prometheus_client.openmetrics.parser, prometheus_client.parser):
        families = {family.name: family for family in parser.text_string_to_metric_families(text)}
        verdicts = {each.labels["verdict"]: each.value for each in families["chroma_qualify_verdict"].samples}
        assert verdicts == {each.value: float(each is result.verdict) for each in Verdict}
        assert {family.type for family in families.values()} == {"gauge"}


def test_the_metrics_of_a_run(tmp_path):
    history = History().add("upsert", 0, 0.25, values={"a": 1}).add("get", 1, 0.5, "fail", ids=["a"], error="503 X")
    outage = {"first_error": None, "unavailable": 2.5, "recovered": 3.0, "errors": {}, "operations": 2}
    result = RunResult(
        "2026-01-01-abcdef",
        Verdict.FAIL,
        (Finding("lost-index", Severity.FAIL, "lost"), Finding("lost-index", Severity.FAIL, "lost")),
        (
            ScenarioResult("data::a", Outcome.PASS, 1.5, (Measure('a "b"\n\\', math.nan, "s"),)),
            ScenarioResult("data::b", Outcome.NOT_RUN, 0.0, (), "why"),
        ),
        (Part("setup", 2.0),),
        {"chroma": "1.5.9"},
        7,
        "packages",
        experiments=({"experiment": "kill", "outage": outage}, {"experiment": "dns", "outage": None}),
        started="1970-01-01T00:01:00+00:00",
        seconds=9.0,
    )
    text = write_metrics(result, read_series(history.write(tmp_path)).traffic, tmp_path).read_text()
    assert text.endswith("\n# EOF\n")
    samples = {
        (sample.name.removeprefix("chroma_qualify_"), *sorted(sample.labels.values())): sample.value
        for family in prometheus_client.openmetrics.parser.text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["run_info", "", "", "1.5.9", "2026-01-01-abcdef", "7", "packages"] == 1
    assert samples["findings", "fail"] == 2
    assert samples["findings", "infra"] == 0
    assert samples["rule_findings", "fail", "lost-index"] == 2
    assert samples["scenario_seconds", "data::a"] == 1.5
    assert ("scenario_seconds", "data::b") not in samples
    assert samples["scenario_outcome", "data::b", "not-run"] == 1
    assert math.isnan(samples["measure", 'a "b"\n\\', "data::a", "s"])
    assert samples["part_seconds", "setup"] == 2
    assert samples["fault_unavailable_seconds", "kill"] == 2.5
    assert ("fault_unavailable_seconds", "dns") not in samples
    assert samples["operations", "ok", "run", "upsert"] == 1
    assert samples["operations", "fail", "get", "run"] == 1
    assert samples["operation_latency_seconds", "0.99", "run", "upsert"] == 0.25
    assert samples["started_seconds",] == 60
    assert samples["duration_seconds",] == 9


def test_suites_are_files_and_say_when_and_of_what(tmp_path):
    result = RunResult(
        "id",
        Verdict.PASS,
        (),
        (
            ScenarioResult("data::a", Outcome.PASS, 1.5, began=61.0),
            ScenarioResult("scale::b", Outcome.PASS, 2.0, began=30.0),
            ScenarioResult("data::c", Outcome.PASS, 1.0, began=100.0),
        ),
        (),
        {"chroma": "1.5.9"},
        7,
        "packages",
        command="chroma-qualify run --seed=7",
        started="2026-01-01T10:00:00.123456+00:00",
    )
    root = ET.parse(write_junit(result, tmp_path)).getroot()
    told = [(suite.get("name"), suite.get("timestamp"), suite.get("time"), suite.get("tests")) for suite in root]
    assert told == [("data", "2026-01-01T10:01:01", "2.500", "2"), ("scale", "2026-01-01T10:00:30", "2.000", "1")]
    properties = {each.get("name"): each.get("value") for each in root[0].iter("property")}
    assert properties == {
        "run": "id",
        "verdict": "pass",
        "seed": "7",
        "images": "packages",
        "command": "chroma-qualify run --seed=7",
        "version.chroma": "1.5.9",
    }


def test_plan_json_keeps_to_its_schema(tmp_path):
    experiment = {"name": "e", "fault": "f", "stress": "graceful", "collections": []}
    plan = Plan("id", "m", "0" * 64, {}, 7, ("a",), {"nodes": 1}, "2026-01-01", (experiment,), None, "2026", 5)
    assert against_schema(json.loads(write_plan(plan, tmp_path).read_bytes()), "plan") == []
    assert against_schema({**dataclasses.asdict(plan), "experiments": [{"name": "e"}]}, "plan") != []


def test_a_number_that_json_does_not_have_keeps_to_the_schema():
    none = math.nan
    outage = {"first_error": none, "unavailable": none, "recovered": math.inf, "errors": {}, "operations": 0}
    experiment = {
        "experiment": "e", "fault": "f", "stress": "graceful", "ran": True, "reason": "", "recall": {"after": none},
        "stale": {}, "outage": outage, "verdict": "pass",
    }  # fmt: skip
    scenario = ScenarioResult("s", Outcome.PASS, none, (Measure("m", none, "s"),), "", none)
    result = RunResult("id", Verdict.PASS, (), (scenario,), (Part("p", none),), {}, 7, "packages")
    result = dataclasses.replace(result, experiments=(experiment,), seconds=none)
    document = verdict_document(result)
    assert (document["seconds"], document["experiments"][0]["outage"]["recovered"]) == (None, None)
    assert against_schema(document, "verdict") == []


def test_a_verdict_stands_whatever_its_schema_says():
    result = RunResult("id", Verdict.PASS, (), (), (), {}, 7, "packages")
    assert held_against_schema(result) is result
    for odd in ({"seed": "seven"}, {"experiments": ({"name": object()},)}):
        held = held_against_schema(dataclasses.replace(result, **odd))
        (note,) = held.findings
        assert (held.verdict, note.severity, note.rule) == (Verdict.PASS, Severity.NOTE, "harness-error")


@pytest.mark.parametrize("name", ["verdict", "plan", "lint"])
def test_the_schemas_are_schemas(name):
    jsonschema.Draft202012Validator.check_schema(load_schema(name))


@pytest.mark.parametrize(
    ("place", "value"),
    [("verdict", "perhaps"), ("findings", [{"rule": "r"}]), ("seconds", "long"), ("extra", 1), ("matrices", [[]])],
)
def test_a_document_that_breaks_the_schema_is_told(place, value):
    document = verdict_document(RunResult("id", Verdict.PASS, (), (), (), {}, 7, "packages"))
    assert against_schema(document, "verdict") == []
    (told, *_) = against_schema({**document, place: value}, "verdict")
    assert place in told


def test_what_utf8_cannot_hold_loses_no_verdict(tmp_path):
    finding = Finding("r", Severity.FAIL, "half a pair: \ud800")
    result = RunResult("id", Verdict.FAIL, (finding,), (), (), {}, 7, "packages")
    assert json.loads(write_verdict(result, tmp_path).read_bytes())["findings"][0]["message"] == finding.message
    assert "half a pair: ?" in write_junit(result, tmp_path).read_text()
    write_metrics(result, [], tmp_path)
