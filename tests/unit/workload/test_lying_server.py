"""A real Chroma behind a proxy that lies: each lie is found, and named by the rule for it and by no other."""

import dataclasses
import itertools
import re
import time

import lying_proxy
import pytest
from history_lines import read, validate
from lying_proxy import LyingProxy, chosen

from chroma_qualify.checks.history import History, parse
from chroma_qualify.checks.judge import judge
from chroma_qualify.checks.limits import Limits
from chroma_qualify.findings import Finding
from chroma_qualify.workload import client
from chroma_qualify.workload.final import final_reads
from chroma_qualify.workload.history import Outcome, Phase, run_clock
from chroma_qualify.workload.plans import Kind, Workload
from chroma_qualify.workload.recorder import Recorder
from chroma_qualify.workload.records import Record, Values, vectors
from chroma_qualify.workload.runner import Traffic
from chroma_qualify.workload.session import Session

SEED = 7
APPEND = Workload(Kind.APPEND, rate=40, lanes=2, first_lane=0)
LOADED = Workload(Kind.READ_ONLY, rate=40, lanes=1, first_lane=2, preload=300)
REGISTER = Workload(Kind.REGISTER, rate=50, lanes=3, first_lane=3)
CHURN = Workload(Kind.CHURN, rate=40, lanes=2, first_lane=6)
BOTH = (APPEND, LOADED)
PATIENCE = 60
_ID = re.compile(r"\b(?:append|read-only|register|churn|invented)-(?:\w+-)*\d+\b")
_databases = (f"lying-{number}" for number in itertools.count())  # one a run: the same names in each


@dataclasses.dataclass
class Run:
    """Traffic and final reads through a proxy, recorded."""

    recorder: Recorder
    proxies: list[LyingProxy]
    database: str
    traffic: Traffic | None = None

    def __post_init__(self):
        # One client a proxy: all of one server share a session anyway, and each costs 50 ms to make.
        self.clients = [client.connect("127.0.0.1", proxy.port, database=self.database) for proxy in self.proxies]

    def connect(self, proxy=0):
        return self.clients[proxy]

    def session(self, workload, proxy=0, endpoint=None):
        return Session(self.recorder, self.connect(proxy), workload.collection, endpoint=endpoint)

    def send(self, workloads, enough=lambda: True, each=20):
        """Traffic until every workload has `each` acknowledged operations and it is `enough`."""
        clock = run_clock()
        with Traffic(self.recorder, self.connect, workloads, SEED, clock) as self.traffic:
            wait(
                lambda: (
                    self.traffic.failed
                    or (all(self.acknowledged(workload) >= each for workload in workloads) and enough())
                )
            )

    def acknowledged(self, workload):
        return self.recorder.ended(workload.collection, Phase.BEFORE, Outcome.OK)

    def written(self, workload):
        return set(self.traffic.written(workload))

    def finish(self, workloads, faces=((0, None),)):
        """The final reads, through each face in turn."""
        for workload in workloads:
            for proxy, endpoint in faces:
                session = self.session(workload, proxy, endpoint)
                assert final_reads(session, self.traffic.written(workload), near=30).failed == ()

    def history(self) -> History:
        validate(read(self.recorder.path))
        with self.recorder.path.open("rb") as file:
            return parse(file)

    def judged(self, limits: Limits | None = None) -> list[Finding]:
        return judge(self.history(), limits or Limits(), vectors)


@pytest.fixture
def start(tmp_path, shared_server):
    """Starts a run with these lies, a proxy each."""
    runs = []

    def start(*lies):
        database = next(_databases)
        client.create_database("127.0.0.1", shared_server.port, client.TENANT, database)
        proxies = [LyingProxy(shared_server.port, lie) for lie in lies]
        runs.append(Run(Recorder(tmp_path / f"{database}.jsonl", run_clock()), proxies, database))
        return runs[-1]

    yield start
    for run in runs:
        run.recorder.close()
        for proxy in run.proxies:
            proxy.close()
            assert proxy.errors == []


def wait(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def named(findings):
    """The rules found, by collection."""
    rules = {}
    for finding in findings:
        if not is_one_lie_in_a_few_queries(finding):
            rules.setdefault(finding.collection, set()).add(finding.rule)
    return rules


def is_one_lie_in_a_few_queries(finding):
    """One lie among the ten neighbours of a query is a tenth of it, and so short a phase has a handful of queries.

    The final reads have queries enough, so there 1 % of lies must not show, and a lie about queries shows everywhere.
    """
    if finding.rule != "low-recall":
        return False
    some = re.search(r"phase before \((\d+) neighbours\)", finding.message)
    return some is not None and int(some[1]) < 200 and float(finding.evidence) >= 0.75


def check_ids(findings, lie):
    """The evidence names records, and only such as were lied about."""
    for finding in findings:
        if finding.rule != "low-recall" and "counts" not in finding.message:  # figures
            ids = set(_ID.findall(finding.evidence))
            assert ids, finding
            assert ids <= lie.ids, finding


def everywhere(*rules):
    return {workload.collection: set(rules) for workload in BOTH}


def test_the_honest_proxy_is_found_nothing_against(start):
    run = start(lying_proxy.Lie(), lying_proxy.Lie())
    workloads = (APPEND, LOADED, REGISTER, CHURN)
    run.send(workloads)
    run.finish(workloads, faces=((0, "one"), (1, "other")))
    assert run.judged() == []
    assert all(proxy.passed > 100 for proxy in run.proxies)
    assert all(proxy.lie.told == [] for proxy in run.proxies)


@pytest.mark.parametrize(
    ("lie", "rule"),
    [
        (lying_proxy.Drop, "lost-store"),
        (lying_proxy.Swap, "wrong-value"),
        (lying_proxy.SwapWhole, "wrong-value"),
        (lying_proxy.SwapVectors, "wrong-value"),
        (lying_proxy.CountLess, "stale-read"),
        (lying_proxy.Repeat, "duplicate"),
        (lying_proxy.Truncate, "low-recall"),
        (lying_proxy.LoseIndex, "lost-index"),
        (lying_proxy.Invent, "phantom"),
    ],
)
def test_a_lie_is_named_by_its_rule_and_no_other(start, lie, rule):
    run = start(lie())
    lie = run.proxies[0].lie
    writes = isinstance(lie, lying_proxy.Drop | lying_proxy.Swap)  # the others lie in the final reads at the latest
    run.send(BOTH, lambda: lie.ids & run.written(APPEND) if writes else any(map(chosen, run.written(APPEND))))
    run.finish(BOTH)
    findings = run.judged()
    assert named(findings) == everywhere(rule)
    check_ids(findings, lie)
    assert lie.times("add") if writes else lie.times("get", "query", "count")
    if rule == "low-recall":
        final = [float(finding.evidence) for finding in findings if "phase final" in finding.message]
        assert final == pytest.approx([0.5, 0.5], abs=0.02)


def test_reads_from_five_seconds_ago_are_stale_unless_promised(start):
    run = start(lying_proxy.Stale())
    lie = run.proxies[0].lie

    run.send([APPEND], lambda: lie.times("get") and lie.times("query") and lie.old >= 5)
    wait(lambda: not lie.behind())  # the final reads are honest
    told = len(lie.told)
    run.finish([APPEND])
    assert len(lie.told) == told > 0
    findings = run.judged()
    # A query that sees nothing of the last seconds misses most neighbours: a lie about queries as well.
    assert named(findings) == {APPEND.collection: {"stale-read", "low-recall"}}
    check_ids(findings, lie)
    ages = [float(re.search(r"up to ([\d.]+) s", each.message)[1]) for each in findings if each.rule == "stale-read"]
    assert all(0 < age <= lying_proxy.LAG for age in ages)
    assert named(run.judged(Limits(stale=lying_proxy.LAG))) == {APPEND.collection: {"low-recall"}}


def test_a_delete_that_is_not_done_brings_its_records_back(start):
    run = start(lying_proxy.Undead())
    lie = run.proxies[0].lie
    run.send([LOADED])
    answer = run.session(LOADED).delete(sorted(run.written(LOADED))[:100], Phase.AFTER)
    assert answer.ok
    run.finish([LOADED])
    findings = run.judged()
    assert named(findings) == {LOADED.collection: {"resurrected"}}
    check_ids(findings, lie)
    assert lie.times("delete") > 1


def test_deletes_that_are_not_done_among_writes(start):
    run = start(lying_proxy.Undead())
    lie = run.proxies[0].lie
    run.send([CHURN], lambda: lie.times("delete") >= 10)
    assert run.session(CHURN).delete(sorted(run.written(CHURN)), Phase.AFTER).ok  # those still undead stay so
    run.finish([CHURN])
    findings = run.judged()
    rules = named(findings)[CHURN.collection]
    assert "resurrected" in rules
    # The lanes write again what they deleted. Such an `add` of a record that is still there is ignored, so
    # its old value is read after the new one was acknowledged, and its old vector answers for the new one.
    assert rules <= {"resurrected", "wrong-value", "low-recall"}
    check_ids(findings, lie)


def test_a_dropped_write_over_an_older_one_is_a_wrong_value(start):
    run = start(lying_proxy.Drop(5))
    lie = run.proxies[0].lie
    run.send([REGISTER], lambda: lie.times("upsert") >= 10)
    session, numbers, id_ = run.session(REGISTER), Values(SEED + 1).take(10), "register-hot-0"
    written, dropped = (next(number for number in numbers if (number % 5 == 4) is lost) for lost in (False, True))
    for value in (written, dropped):
        assert session.upsert([Record(id_, value)], Phase.AFTER).ok
    assert session.get(Phase.AFTER, [id_]).values == ((id_, written),)
    run.finish([REGISTER])
    findings = run.judged()
    rules = named(findings)[REGISTER.collection]
    assert "wrong-value" in rules
    # What was dropped after a delete is absent: until the next write comes (then it looks stale), or for ever (lost).
    # And where an older record stayed, its vector answers for the new one, which is much among eight records.
    assert rules <= {"wrong-value", "stale-read", "lost-store", "low-recall"}
    check_ids(findings, lie)


def test_two_faces_diverge(start):
    run = start(lying_proxy.Lie(), lying_proxy.Hide())
    lie = run.proxies[1].lie
    run.send(BOTH, lambda: any(map(chosen, run.written(APPEND))))
    assert lie.told == []
    run.finish(BOTH, ((0, "whole"), (1, "partly")))
    findings = run.judged()
    assert named(findings) == everywhere("diverged")
    assert all("at whole" in finding.evidence and "at partly" in finding.evidence for finding in findings)
    check_ids(findings, lie)
    # Absent and then there again is a stale read by its definition, too, whoever answers.
    run.finish(BOTH, ((0, "whole"),))
    assert named(run.judged()) == everywhere("diverged", "stale-read")
    check_ids(run.judged(), lie)
