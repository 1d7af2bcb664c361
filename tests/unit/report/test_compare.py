"""Two runs side by side, from run directories; and the command as a shell sees it."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
from recorded import History

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.report.compare import compare
from chroma_qualify.report.comparison import Answer, Change
from chroma_qualify.report.difference import print_comparison
from chroma_qualify.report.verdict import (
    Measure,
    Outcome,
    Part,
    RunResult,
    ScenarioResult,
    combine,
)
from chroma_qualify.report.write import write_candidate, write_verdict

LOST = Finding("lost-index", Severity.FAIL, "3 of 9 are lost", scenario="data::a", collection="c")
PASSED = (
    ScenarioResult("data::a", Outcome.PASS, 10.0, (Measure("recall@10", 0.99), Measure("ready", 4.0, "s"))),
    ScenarioResult("data::b", Outcome.PASS, 5.0),
)


def run(directory: Path, *findings: Finding, scenarios=PASSED, **more: object) -> Path:
    directory.mkdir(exist_ok=True)
    result = RunResult(
        directory.name,
        combine(findings),
        findings,
        tuple(scenarios),
        (Part("setup", 1.0),),
        {"chroma": "1.5.9"},
        7,
        "packages",
        **more,
    )
    write_verdict(result, directory)
    (directory / "plan.json").write_text(json.dumps({"run_id": directory.name, "options": {"nodes": 1}}))
    return directory


def with_outcome(name: str, outcome: Outcome, reason: str = "") -> tuple[ScenarioResult, ...]:
    return tuple(
        dataclasses.replace(each, outcome=outcome, reason=reason) if each.name == name else each for each in PASSED
    )


def test_the_same_is_no_worse(tmp_path):
    comparison = compare(run(tmp_path / "one", LOST), run(tmp_path / "two", LOST))
    assert comparison.answer is Answer.NO_WORSE
    assert [each.change for each in comparison.findings] == [Change.SAME]
    assert {each.change for each in comparison.scenarios} == {Change.SAME}
    assert {each.ratio for each in (*comparison.measures, *comparison.parts)} == {1.0}


@pytest.mark.parametrize(
    ("before", "after", "answer", "why"),
    [
        ({}, {"findings": [LOST]}, Answer.WORSE, "lost-index is found in the second run only (data::a)"),
        ({"findings": [LOST]}, {}, Answer.NO_WORSE, "nothing fails in the second run"),
        (
            {"findings": [dataclasses.replace(LOST, severity=Severity.ACCEPTED)]},
            {"findings": [LOST]},
            Answer.WORSE,
            "lost-index",
        ),
        ({}, {"scenarios": with_outcome("data::b", Outcome.FAIL)}, Answer.WORSE, "data::b passed in the first run and"),
        (
            {},
            {"scenarios": with_outcome("data::b", Outcome.NOT_RUN, "no HPA")},
            Answer.UNKNOWN,
            "say nothing in the second: data::b",
        ),
        ({}, {"scenarios": PASSED[:1]}, Answer.UNKNOWN, "say nothing in the second: data::b"),
        (
            {},
            {"findings": [Finding("interrupted", Severity.UNKNOWN, "it was interrupted")]},
            Answer.UNKNOWN,
            "the second run's verdict is unknown",
        ),
        ({"findings": [Finding("infra", Severity.INFRA, "docker")]}, {}, Answer.NO_WORSE, "nothing fails"),
        ({}, {"findings": [Finding("advice", Severity.NOTE, "a note")]}, Answer.NO_WORSE, "nothing fails"),
    ],
)
def test_worse_is_what_fails_now_and_did_not(tmp_path, before, after, answer, why):
    directories = []
    for name, side in (("one", before), ("two", after)):
        directories.append(run(tmp_path / name, *side.get("findings", ()), scenarios=side.get("scenarios", PASSED)))
    comparison = compare(*directories)
    assert comparison.answer is answer
    assert why in "\n".join(comparison.why)


def test_findings_are_known_again_by_what_they_are_about_not_by_their_numbers(tmp_path):
    other = dataclasses.replace(LOST, message="4 of 9 are lost", evidence="ids: x")
    gone, new = dataclasses.replace(LOST, collection="d"), dataclasses.replace(LOST, collection="e")
    comparison = compare(run(tmp_path / "one", LOST, gone), run(tmp_path / "two", other, new))
    told = [(each.change, each.message) for each in comparison.findings]
    assert told == [
        (Change.SAME, "4 of 9 are lost"),
        (Change.NEW, "3 of 9 are lost"),
        (Change.GONE, "3 of 9 are lost"),
    ]


def test_figures_of_both_have_a_ratio_and_the_number_of_operations(tmp_path):
    faster = (dataclasses.replace(PASSED[0], measures=(Measure("ready", 2.0, "s"), Measure("ready", 1.0, "min"))),)
    outages = [
        {"experiment": "kill", "outage": {"unavailable": wait, "recovered": wait, "first_error": None,
                                          "errors": {"503": number}, "operations": 40}}
        for wait, number in ((2.0, 4), (3.0, 0))
    ]  # fmt: skip
    one = run(tmp_path / "one", experiments=(outages[0],))
    two = run(tmp_path / "two", scenarios=faster, experiments=(outages[1], {"experiment": "dns", "outage": None}))
    for directory, took in ((one, 0.1), (two, 0.2)):
        history = History()
        for number in range(4):
            history.add("upsert", number, took, collection="kill.append-0", values={f"r{number}": number})
        history.add("get", 9, 0.1, "fail", phase="during", collection="kill.append-0", error="503 X").write(directory)
    comparison = compare(one, two)
    measures = {(each.name, each.unit): (each.before, each.after, each.ratio) for each in comparison.measures}
    assert measures[("ready", "s")] == (4.0, 2.0, 0.5)
    assert measures[("ready", "min")] == (None, 1.0, None)
    assert measures[("recall@10", "")] == (0.99, None, None)
    seen = {each.name: (each.before, each.after, each.ratio, each.samples_after) for each in comparison.outages}
    assert seen == {
        "unavailable": (2.0, 3.0, 1.5, 40),
        "recovered after": (2.0, 3.0, 1.5, 40),
        "errors": (4, 0, 0.0, 40),
    }
    phases = {(each.group, each.name): (each.before, each.after, each.samples_before) for each in comparison.phases}
    assert phases["before", "p50"] == (100.0, 200.0, 4)
    assert phases["before", "acknowledged"] == (round(4 / 3.1, 3), round(4 / 3.2, 3), 4)
    assert phases["during", "not acknowledged"] == (1.0, 1.0, 1)
    assert "experiment dns: what the fault did to the clients is known of neither run" in comparison.unknown


def test_what_was_asked_and_what_ran_is_compared_and_the_manifests_line_by_line(tmp_path):
    one = run(tmp_path / "one", digest="a" * 64, digests={"chroma": "sha256:1"})
    two = run(tmp_path / "two", digest="b" * 64, digests={"chroma": "sha256:2"})
    unrecorded = compare(one, two)
    assert [each.what for each in unrecorded.differences] == ["digest of the manifests", "image chroma"]
    assert any("what differs is not known" in line for line in unrecorded.unknown)
    spec = {"replicas": 1, "template": {"env": [{"name": "API_KEY", "value": "hush"}], "args": ["--token=hush"]}}
    deployment = {"kind": "Deployment", "metadata": {"name": "chromadb"}, "spec": spec}
    secret = {"kind": "Secret", "metadata": {"name": "t", "annotations": {"last": "hush"}}, "data": {"token": "hush"}}
    write_candidate([secret, deployment], one)
    write_candidate([{**deployment, "spec": {**spec, "replicas": 3}}, secret], two)
    recorded = compare(one, two)
    changed = [line for line in recorded.manifests if line[:1] in "+-" and not line.startswith(("+++", "---"))]
    assert changed == ["-  replicas: 1", "+  replicas: 3"]
    assert "hush" not in (one / "objects" / "candidate.yaml").read_text()
    assert "token" in (one / "objects" / "candidate.yaml").read_text()


def test_a_run_that_was_cut_is_compared_as_far_as_it_goes(tmp_path):
    one, two = run(tmp_path / "one"), run(tmp_path / "two")
    (two / "verdict.json").unlink()
    (two / "history.jsonl").write_text("no JSON\n")
    comparison = compare(one, two)
    assert comparison.after.cut
    assert comparison.answer is Answer.UNKNOWN
    assert any("second run: There is no verdict.json" in line for line in comparison.unknown)
    assert any("second run: history.jsonl" in line for line in comparison.unknown)
    json.dumps(dataclasses.asdict(comparison))


def test_a_person_is_told_the_worst_first_and_nothing_is_markup(tmp_path):
    bad = dataclasses.replace(LOST, rule="rule", message="[bold]not markup[/bold] " + "x" * 300)
    comparison = compare(run(tmp_path / "one", LOST), run(tmp_path / "two", bad, digest="b" * 64))
    out = io.StringIO()
    print_comparison(comparison, out)
    told = out.getvalue()
    assert told.startswith("the second run is worse\n")
    assert told.index("[bold]not markup[/bold]") < told.index("3 of 9 are lost"), "new before gone"
    assert told.replace("\n", "").count("x") >= 300
    assert "digest of the manifests" in told
    assert "\x1b" not in told


@pytest.fixture
def diff(console):
    def call(*args: object) -> tuple[int, str, str]:
        return console("diff", *map(str, args))

    return call


def test_the_command_ends_with_the_answer(diff, tmp_path):
    one, two, cut = run(tmp_path / "one"), run(tmp_path / "two", LOST), run(tmp_path / "cut", scenarios=())
    assert diff(one, one)[0] == 0
    code, told, _ = diff(one, two)
    assert (code, told.splitlines()[0]) == (1, "the second run is worse")
    assert diff(one, cut)[0] == 3
    code, told, _ = diff(one, two, "--format", "json")
    assert (code, json.loads(told)["answer"]) == (1, "worse")
    assert diff(one, two, "--format=json", "-o", tmp_path / "diff.json")[:2] == (1, "")
    assert json.loads((tmp_path / "diff.json").read_text())["findings"][0]["change"] == "new"


def test_what_is_no_run_is_a_wrong_request(diff, tmp_path):
    code, _, err = diff(tmp_path, run(tmp_path / "one"))
    assert code == 2
    assert err.startswith(f"{tmp_path} is not the directory of a run")
    assert diff(tmp_path / "nothing", tmp_path / "one")[0] == 2
    assert diff(tmp_path / "one", tmp_path / "one", "--output", tmp_path)[0] == 2


def test_one_line_of_a_text_is_one_line_of_the_difference(tmp_path):
    sides = []
    for name, port in (("one", 8000), ("two", 8001)):
        config = {
            "kind": "ConfigMap",
            "metadata": {"name": "c"},
            "data": {"config.yaml": f"a: 1\nport: {port}\nb: 2\n"},
        }
        directory = run(tmp_path / name, digest=name)
        write_candidate([config], directory)
        sides.append(directory)
    changed = [line for line in compare(*sides).manifests if line[:1] in "+-" and not line.startswith(("+++", "---"))]
    assert changed == ["-    port: 8000", "+    port: 8001"]


@pytest.mark.parametrize("digest", ["", "the same"])
def test_the_same_objects_in_other_words_are_no_difference(tmp_path, digest):
    sides = []
    for name, text in (("one", "kind: Pod\nspec: {a: 1}\n"), ("two", "# as before\nspec:\n  'a': 1\nkind: Pod\n")):
        directory = run(tmp_path / name, digest=digest)
        (directory / "objects").mkdir()
        (directory / "objects" / "candidate.yaml").write_text(text)
        sides.append(directory)
    assert compare(*sides).manifests == ()
