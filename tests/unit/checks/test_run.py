"""Experiments judged: floors, proofs, outages, and what a finding means in the light of what is promised."""

import dataclasses
import datetime

import pytest
from lines import Lines, circle
from test_promises import GOOD

from chroma_qualify.checks.history import Phase, parse
from chroma_qualify.checks.outage import kind_of, outage
from chroma_qualify.checks.plan import Experiment, FaultRecord, PlannedCollection, RunPlan
from chroma_qualify.checks.promises import STRICTEST, Setting, Stress, from_json
from chroma_qualify.checks.run import judge_all
from chroma_qualify.findings import Severity
from chroma_qualify.report.verdict import Verdict, combine

FLOORS = {Phase.BEFORE: 1, Phase.DURING: 1, Phase.AFTER: 1}
DATE = datetime.date(2027, 1, 1)
RISK = GOOD["accepted_risks"][0] | {"rule": ["lost-index", "read-failed", "write-failed"], "mitigated_by": "never"}


class Run:
    """A history of one experiment on two collections, `e.default` and `e.never`, and what is known of its fault."""

    def __init__(self, fault="power-loss", stress=Stress.POWER_LOSS):
        self.lines = Lines()
        names = {Setting.DEFAULT: "e.default", Setting.NEVER: "e.never"}
        collections = tuple(PlannedCollection(name, setting, FLOORS) for setting, name in names.items())
        self.experiment = Experiment("e", fault, stress, collections)
        self.fault = fault
        self.begin = 0

    def on(self, collection, f, phase, kind="ok", answer=None, **asked):
        self.lines.end(self.lines.begin(f, phase, collection=collection, **asked), kind, **(answer or {}))
        return self

    def add(self, collection, phase, kind="ok", **values):
        error = {} if kind == "ok" else {"error": "500 InternalError: boom"}
        return self.on(collection, "add", phase, kind, error, values=values)

    def final(self, collection, *, index=None, **values):
        self.on(collection, "get", "final", answer={"values": values})
        return self.on(collection, "get", "final", answer={"values": values if index is None else index}, vectors=True)

    def healthy(self, collection, start=0):
        a, b, c = (f"r{start + n}" for n in range(3))
        self.add(collection, "before", **{a: start})
        self.begin = self.lines.time
        self.add(collection, "during", **{b: start + 1}).add(collection, "after", **{c: start + 2})
        return self.final(collection, **{a: start, b: start + 1, c: start + 2})

    def loses_index(self, collection, start=10):
        self.add(collection, "before", x=start).add(collection, "during", y=start + 1)
        self.add(collection, "after", z=start + 2)
        return self.final(collection, x=start, y=start + 1, z=start + 2, index={"x": start})

    def judge(self, promises=STRICTEST, record=None, date=DATE, **known):
        plan = RunPlan(experiments=(self.experiment,), promises=promises, date=date)
        fields = {"begin": self.begin, "proven": self.begin + 1, "healed": self.begin + 2} | known
        record = record or FaultRecord("e", self.fault, **fields)
        raw = self.lines.raw().splitlines(keepends=True)
        return judge_all(parse(raw), plan, {"e": record} if record.fault else {}, circle)


def rules(judgement, severity=None):
    return sorted(f.rule for f in judgement.findings if severity is None or f.severity is severity)


def accepting(*risks):
    return from_json(GOOD | {"accepted_risks": list(risks)})


def test_a_healthy_run_passes():
    judgement = Run().healthy("e.default").healthy("e.never", 100).judge()
    assert judgement.findings == ()
    (result,) = judgement.experiments
    assert result.ran
    assert result.outage.unavailable > 0


def test_an_accepted_risk_is_shown_and_does_not_fail():
    judgement = Run().loses_index("e.default").healthy("e.never", 100).judge(accepting(RISK))
    assert combine(judgement.findings) is Verdict.PASS
    (finding,) = judgement.findings
    assert (finding.rule, finding.severity) == ("lost-index", Severity.ACCEPTED)
    assert "known upstream (u), mitigated by m, proven by collections with sync_threshold never" in finding.message


def test_a_mitigation_that_fails_is_not_proven_and_fails_itself():
    judgement = Run().loses_index("e.default").loses_index("e.never", 100).judge(accepting(RISK))
    assert rules(judgement, Severity.FAIL) == ["lost-index"]
    (accepted,) = [f for f in judgement.findings if f.severity is Severity.ACCEPTED]
    assert "not proven in this run" in accepted.message
    (failed,) = [f for f in judgement.findings if f.severity is Severity.FAIL]
    assert failed.collection == "e.never"
    assert "promised: to survive power-loss with sync_threshold never" in failed.evidence


def test_without_a_file_the_same_run_fails_and_says_so():
    judgement = Run().loses_index("e.default").healthy("e.never", 100).judge()
    (finding,) = judgement.findings
    assert (finding.rule, finding.severity) == ("lost-index", Severity.FAIL)
    assert "without a qualification.yaml the strictest promises hold" in finding.evidence


def test_what_is_neither_promised_nor_accepted_fails():
    judgement = Run().loses_index("e.default").healthy("e.never", 100).judge(accepting())
    (finding,) = judgement.findings
    assert "not promised, but no accepted risk" in finding.evidence


def test_what_is_promised_cannot_be_accepted_as_a_risk():
    """Whatever the fault is called: its stress says what is promised."""
    document = GOOD | {"durability": {"default": "power-loss", "never": "power-loss"}}
    promises = from_json(document | {"accepted_risks": [RISK | {"fault": "out-of-memory"}]})
    run = Run(fault="out-of-memory", stress=Stress.PROCESS_KILL).loses_index("e.default").healthy("e.never", 100)
    (finding,) = run.judge(promises).findings
    assert (finding.rule, finding.severity) == ("lost-index", Severity.FAIL)


def test_what_is_not_decided_proves_no_mitigation():
    run = Run().loses_index("e.default")
    for number, phase in enumerate(("before", "during", "after")):
        run.add("e.never", phase, **{f"n{number}": number})
    judgement = run.judge(accepting(RISK))
    assert combine(judgement.findings) is Verdict.UNKNOWN
    (accepted,) = [f for f in judgement.findings if f.severity is Severity.ACCEPTED]
    assert "not proven in this run" in accepted.message


def test_a_history_is_judged_whatever_faults_jsonl_says():
    record = FaultRecord("e", "power-loss", None, None, None, unavailable="no volume of ours")
    judgement = Run().loses_index("e.default").healthy("e.never", 100).judge(record=record)
    assert "lost-index" in rules(judgement, Severity.FAIL)


def test_a_certain_risk_of_time_is_met_by_time():
    risk = RISK | {"rule": "unavailable-too-long", "fault": "pod-delete", "certain": True}
    del risk["sync_threshold"]
    promises = from_json(GOOD | {"unavailable_seconds": {"default": 0.0005}, "accepted_risks": [risk]})
    run = Run(fault="pod-delete", stress=Stress.GRACEFUL).healthy("e.default").healthy("e.never", 100)
    assert [(f.rule, f.severity) for f in run.judge(promises).findings] == [("unavailable-too-long", Severity.ACCEPTED)]


def test_an_expired_risk_is_a_finding_and_covers_nothing():
    run = Run().loses_index("e.default").healthy("e.never", 100)
    after = run.judge(accepting(RISK), date=datetime.date(2027, 7, 1))
    assert rules(after, Severity.FAIL) == ["lost-index", "risk-expired"]
    last_day = run.judge(accepting(RISK), date=datetime.date(2027, 6, 30))
    assert combine(last_day.findings) is Verdict.PASS


def test_a_risk_that_every_run_should_meet_and_this_one_does_not():
    run = Run().healthy("e.default").healthy("e.never", 100)
    assert rules(run.judge(accepting(RISK | {"certain": True})), Severity.UNKNOWN) == ["risk-not-met"]
    assert run.judge(accepting(RISK)).findings == ()
    elsewhere = RISK | {"certain": True, "fault": "volume-full"}
    assert run.judge(accepting(elsewhere)).findings == ()  # nobody tried


@pytest.mark.parametrize(
    ("known", "severity", "rule"),
    [
        ({"proven": None, "healed": None, "error": "no packets"}, Severity.UNKNOWN, "fault-unproven"),
        ({"healed": None}, Severity.UNKNOWN, "fault-unproven"),
        ({"healed": None, "error": "no server", "rule": "not-recovered"}, Severity.FAIL, "not-recovered"),
        ({"healed": None, "error": "docker is gone", "infra": True}, Severity.INFRA, "infra"),
    ],
)
def test_a_fault_without_proof_decides_nothing(known, severity, rule):
    judgement = Run().healthy("e.default").healthy("e.never", 100).judge(**known)
    assert [(f.rule, f.severity) for f in judgement.findings] == [(rule, severity)]
    assert not judgement.experiments[0].ran


def test_without_proof_a_loss_is_still_a_loss():
    judgement = Run().loses_index("e.default").healthy("e.never", 100).judge(healed=None)
    assert rules(judgement) == ["fault-unproven", "lost-index"]


def test_a_fault_that_nobody_wrote_down():
    judgement = Run().healthy("e.default").healthy("e.never", 100).judge(record=FaultRecord("e", "", None, None, None))
    assert rules(judgement, Severity.UNKNOWN) == ["fault-unproven"]


def test_unavailable_here_is_no_finding_and_needs_no_history():
    run = Run()
    run.on("other", "add", "before", values={"o": 1}).final("other", o=1)
    record = FaultRecord("e", "power-loss", None, None, None, unavailable="no volume of ours")
    judgement = run.judge(record=record)
    assert judgement.findings == ()
    assert (judgement.experiments[0].ran, judgement.experiments[0].reason) == (False, "no volume of ours")


@pytest.mark.parametrize("phase", ["before", "during", "after"])
def test_too_little_traffic_in_a_phase(phase):
    run = Run().healthy("e.never", 100)
    for number, each in enumerate(["before", "during", "after"]):
        if each != phase:
            run.add("e.default", each, **{f"a{number}": number})
    values = {f"a{n}": n for n, each in enumerate(["before", "during", "after"]) if each != phase}
    judgement = run.final("e.default", **values).judge()
    (finding,) = judgement.findings
    assert (finding.rule, finding.severity, finding.collection) == ("too-little-traffic", Severity.UNKNOWN, "e.default")
    assert phase in finding.message


def test_writes_that_never_come_back_fail():
    run = Run().healthy("e.never", 100).add("e.default", "before", a=1).add("e.default", "during", "info", b=2)
    run.add("e.default", "after", "info", c=3).add("e.default", "after", "info", d=4).final("e.default", a=1)
    judgement = run.judge(accepting(RISK))
    assert rules(judgement, Severity.ACCEPTED) == ["write-failed"]
    assert combine(judgement.findings) is Verdict.PASS


def hangs_again(run, *, reads=0, floor=8):
    """Of the writes after the fault one is acknowledged, and three hang; as do so many reads."""
    collections = tuple(
        dataclasses.replace(each, floors=FLOORS | {Phase.AFTER: floor}) for each in run.experiment.collections
    )
    run.experiment = dataclasses.replace(run.experiment, collections=collections[:1])
    run.add("e.default", "before", a=1).add("e.default", "during", b=2).add("e.default", "after", c=3)
    for number in range(3):
        run.add("e.default", "after", "info", **{f"d{number}": 10 + number})
    for _ in range(reads):
        run.on("e.default", "get", "after", "info", {"error": "ReadTimeout: timed out"})
    return run.final("e.default", a=1, b=2, c=3)


def test_writes_that_hang_again_after_one_was_acknowledged_fail():
    risk = RISK | {"fault": "volume-full"}
    del risk["sync_threshold"], risk["mitigated_by"]
    judgement = hangs_again(Run("volume-full", Stress.VOLUME_FULL), reads=1).judge(accepting(risk))
    assert rules(judgement, Severity.ACCEPTED) == ["write-failed"]
    assert combine(judgement.findings) is Verdict.PASS
    (finding,) = hangs_again(Run("volume-full", Stress.VOLUME_FULL), reads=1).judge().findings
    assert (finding.rule, finding.severity) == ("write-failed", Severity.FAIL)
    assert "hardly a write was acknowledged after volume-full was over: 3 of 4 failed" in finding.message


def test_few_errors_and_little_traffic_are_undecided():
    assert rules(hangs_again(Run()).judge()) == ["too-little-traffic"]


def test_errors_beside_enough_traffic_are_no_matter():
    assert rules(hangs_again(Run(), reads=5, floor=1).judge()) == []


def test_a_server_that_fails_every_final_read_is_not_undecided():
    run = Run().healthy("e.never", 100)
    run.add("e.default", "before", a=1).add("e.default", "during", b=2).add("e.default", "after", c=3)
    error = {"error": "500 InternalError: Error loading hnsw index"}
    run.on("e.default", "get", "final", "fail", error).on("e.default", "get", "final", "fail", error, vectors=True)
    judgement = run.judge()
    assert rules(judgement) == ["read-failed", "read-failed"]
    assert combine(judgement.findings) is Verdict.FAIL


def test_a_server_that_cannot_be_reached_for_the_final_reads_is_undecided():
    run = Run().healthy("e.never", 100)
    run.add("e.default", "before", a=1).add("e.default", "during", b=2).add("e.default", "after", c=3)
    run.on("e.default", "get", "final", "fail", {"error": "ConnectError: refused"})
    assert combine(run.judge().findings) is Verdict.UNKNOWN


def test_longer_away_than_promised():
    promises = from_json(GOOD | {"unavailable_seconds": {"default": 0.0005}, "accepted_risks": []})
    run = Run(fault="pod-delete", stress=Stress.GRACEFUL).healthy("e.default").healthy("e.never", 100)
    judgement = run.judge(promises)
    assert rules(judgement, Severity.FAIL) == ["unavailable-too-long"]
    assert run.judge(from_json(GOOD | {"accepted_risks": []})).findings == ()


def test_other_collections_are_judged_as_before():
    run = Run().healthy("e.default").healthy("e.never", 100)
    run.on("other", "add", "before", values={"o": 1})
    assert rules(run.judge()) == ["no-final-reads"]


def test_a_history_that_is_cut_short_is_not_judged():
    run = Run().loses_index("e.default").healthy("e.never", 100)
    run.lines.lines.pop(3)
    assert rules(run.judge()) == ["cut-short"]


def timed(*operations):
    """(start s, end s, kind, error) → parsed operations."""
    lines = Lines()
    events = []
    for start, end, kind, error in operations:
        process = lines.processes
        lines.processes += 1
        head = {"process": process, "f": "get", "collection": "c", "phase": "during"}
        answer = {"values": {}} if kind == "ok" else {"error": error}
        events += [(start, {**head, "type": "invoke", "ids": ["a"]}), (end, {**head, "type": kind, **answer})]
    for time, event in sorted(events, key=lambda each: each[0]):
        lines.time = int(time * 1e9) - 1_000_000
        lines.line(**event)
    return parse(lines.raw().splitlines(keepends=True)).operations


def test_an_outage_is_the_longest_time_without_an_answer():
    seen = outage(
        timed(
            (0.1, 0.2, "ok", ""),
            (1.1, 1.2, "ok", ""),
            (1.3, 1.4, "fail", "ConnectError: refused"),
            (1.9, 4.0, "fail", "503 Exception: no"),
            (2.0, 2.1, "fail", "503 Exception: no"),
            (3.9, 4.2, "ok", ""),
            (4.3, 4.4, "ok", ""),
        ),
        begin=1_000_000_000,
    )
    assert seen.unavailable == pytest.approx(3.0)
    assert seen.recovered == pytest.approx(3.2)
    assert seen.first_error == pytest.approx(0.4)
    assert seen.errors == {"503 Exception": 2, "ConnectError": 1}
    assert seen.operations == 6


def test_an_outage_that_never_ends_has_no_length():
    assert outage(timed((0.1, 0.2, "ok", ""), (1.1, 1.2, "fail", "x")), begin=1_000_000_000) is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [("500 InternalError: x", "500 InternalError"), ("ReadTimeout: timed out", "ReadTimeout"), ("", "unknown")],
)
def test_kinds_of_errors(error, kind):
    assert kind_of(error) == kind
