"""Run directories for the page: one that has everything, one whose every text is hostile, one that was cut."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

from recorded import History, ns, write_lines

from chroma_qualify.findings import Finding, Severity
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
from chroma_qualify.report.write import Plan, write_plan, write_verdict

PATIENCE = 180_000  # milliseconds that a browser may take; a busy machine is no bug
HOSTILE = (
    "<script>document.title='owned'</script>",
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "'\" onmouseover='document.title=\"owned\"'",
    "a\u2028b\u2029c\x00d",
    "\u202eright to left\u202c",
    "{{ 7 * 7 }} {% raw %} ${7*7}",
    "long" * 500,
    "half a pair \ud800",
)

FINDINGS = (
    Finding("lost-index", Severity.FAIL, "719 of 6000 records are in the store and not in the index",
            "ids: a-17, a-18, a-19", "one server on the volume",
            "Deployment/chromadb", "faults::fault[pod-delete]", "c"),
    Finding("infra", Severity.INFRA, "the API server went away", scenario="data::b"),
    Finding("undecided", Severity.UNKNOWN, "a control failed", "timeout/timeout", scenario="network_policy::table"),
    Finding("stale-read", Severity.ACCEPTED, "a read was 2 s old", remedy="none: upstream issue", scenario="data::a"),
    Finding("migration-one-way", Severity.NOTE, "there is no way back but a backup"),
)  # fmt: skip


def rich(directory: Path, *, findings: tuple[Finding, ...] = FINDINGS, run_id: str = "2026-01-02-abcdef") -> Path:
    """A run of five minutes with everything that a page can show."""
    directory.mkdir(parents=True, exist_ok=True)
    names = ("lint", "data::a", "data::b", "faults::fault[pod-delete]", "network_policy::table", "scale::c")
    outcomes = (Outcome.PASS, Outcome.PASS, Outcome.INFRA, Outcome.FAIL, Outcome.UNKNOWN, Outcome.NOT_RUN)
    scenarios = [
        ScenarioResult(name, outcome, 20.0 * place, (Measure("recall@10", 0.993), Measure("ready", 4.1, "s")), "",
                       50.0 * place)
        for place, (name, outcome) in enumerate(zip(names, outcomes, strict=True))
    ]  # fmt: skip
    scenarios[-1] = ScenarioResult(names[-1], Outcome.NOT_RUN, 0.0, (), "the candidate has no autoscaler")
    right, wrong = MatrixCell("closed", "timeout", "right"), MatrixCell("closed", "open", "wrong")
    undecided = MatrixCell("open", "not probed", "undecided")
    result = RunResult(
        run_id=run_id,
        verdict=Verdict.FAIL if findings else Verdict.PASS,
        findings=findings,
        scenarios=tuple(scenarios),
        parts=(Part("cluster create", 48.2), Part("teardown", 7.0)),
        versions={"chroma": "chromadb/chroma:1.5.9", "kubernetes": "1.37.2"},
        seed=7,
        images="packages",
        manifests="manifests/overlays/single-writer",
        digest="35a78551ead265c6399d69999659059340a6ca11cafc02f6b71460ed050cec14",
        experiments=(experiment("pod-delete"), {**experiment("node-away"), "ran": False, "reason": "one node"}),
        matrices=(Matrix("who may reach what", "network_policy::table", ("a stranger", "the backend"),
                         ("Chroma", "DNS"), ((wrong, None), (right, undecided))),),
        command="chroma-qualify run --manifests manifests/overlays/single-writer --seed 7",
        digests={"chromadb/chroma:1.5.9": "sha256:0123"},
        started="2026-01-02T03:04:05+00:00",
        seconds=300.0,
    )  # fmt: skip
    write_verdict(result, directory)
    write_recorded(directory)
    plan = Plan(run_id, result.manifests, result.digest, result.versions, 7, names, {"nodes": 1, "baseline": ""})
    write_plan(plan, directory)
    return directory


def experiment(name: str) -> dict[str, object]:
    """As verdict.json has it."""
    outage = {
        "first_error": 0.25,
        "unavailable": 2.8,
        "recovered": 3.2,
        "errors": {"503 Exception": 3},
        "operations": 53,
    }
    return {"experiment": name, "fault": name, "stress": "graceful", "ran": True, "reason": "", "verdict": "pass",
            "recall": {"final": 1.0}, "stale": {}, "outage": outage}  # fmt: skip


def write_recorded(directory: Path, word: str = "") -> None:
    """History, faults, timeline and resources of five minutes."""
    chance = random.Random(1)
    history = History()
    for place in range(600):
        kind = "info" if place % 97 == 0 else "ok"
        fields = {"error": "503 Exception"} if kind == "info" else {}
        history.add(
            "add",
            place * 0.4,
            chance.expovariate(20),
            kind,
            collection=f"c{word}",
            values={f"i{place}": place},
            **fields,
        )
    history.add("count", 250.0, 0.1, collection=f"c{word}", phase="final", count=590)
    history.write(directory)
    proof = {"claim": f"the pod was replaced{word}", "seen": "uid a, then uid b"}
    fault = {
        "experiment": f"pod-delete{word}",
        "fault": "pod-delete",
        "namespace": "n",
        "begin": ns(100),
        "asked": "delete pod",
    }
    write_lines(
        directory / "faults.jsonl",
        {**fault, "proof": proof, "proven": ns(101), "undone": proof, "healed": ns(130)},
        {**fault, "experiment": "dns", "begin": ns(180), "error": "no proof"},
        {"experiment": "node-away", "fault": "node-away", "unavailable": "one node"},
    )
    deployment = {"kind": "Deployment", "event": "MODIFIED", "namespace": "n", "name": f"chromadb{word}", "wanted": 1}
    write_lines(
        directory / "timeline.jsonl",
        {"time": 0, "kind": "Start", "wall": "2026-01-02T03:04:05+00:00"},
        {"time": ns(20), **deployment, "replicas": 1, "updated": 1, "ready": 1, "generation": 1},
        {"time": ns(100), **deployment, "replicas": 1, "updated": 1, "ready": 0, "generation": 1},
        {"time": ns(130), **deployment, "replicas": 1, "updated": 1, "ready": 1, "generation": 1},
    )
    sample = {"namespace": "n", "pod": f"chromadb-1{word}", "container": "chromadb"}
    write_lines(
        directory / "resources.jsonl",
        *({"time": ns(at), **sample, "cpu": 0.2 + at / 1000, "memory": 300_000_000 + at} for at in range(20, 300, 5)),
    )


def hostile(directory: Path) -> Path:
    """Every text of the run is one that a page must show and not obey."""
    rich(directory)
    bad = "".join(HOSTILE)
    document = json.loads((directory / "verdict.json").read_text())
    for finding in document["findings"]:
        finding |= {"message": bad, "evidence": bad, "remedy": bad, "object": bad, "rule": HOSTILE[0], "scenario": bad}
    for scenario in document["scenarios"]:
        scenario |= {"name": scenario["name"] + bad, "reason": bad}
        scenario["measures"] = [{"name": bad, "value": 1.0, "unit": bad}]
    (matrix,) = document["matrices"]
    matrix |= {"name": bad, "scenario": bad, "rows": [bad, "b"], "columns": [bad, "d"]}
    matrix["cells"][0][0] = {"expected": bad, "seen": bad, "judgement": bad}
    document |= {"run_id": bad, "images": bad, "manifests": bad, "digest": bad, "command": bad, "started": bad}
    document |= {"versions": {bad: bad}, "digests": {bad: bad}, "parts": [{"name": bad, "seconds": 1.0}]}
    (directory / "verdict.json").write_text(json.dumps(document))
    write_recorded(directory, bad)
    return directory


def cut(directory: Path) -> Path:
    """A run that was killed: a plan, a timeline, the last line of each file not whole."""
    rich(directory)
    for name in ("verdict.json", "junit.xml", "policy.json"):
        (directory / name).unlink(missing_ok=True)
    for name in ("history.jsonl", "faults.jsonl", "timeline.jsonl", "resources.jsonl"):
        whole = (directory / name).read_bytes()
        (directory / name).write_bytes(whole[: len(whole) * 2 // 3 - 3])
    return directory


def with_findings(number: int) -> tuple[Finding, ...]:
    """Very many findings, all alike."""
    return tuple(dataclasses.replace(FINDINGS[0], message=f"record {place} is lost") for place in range(number))
