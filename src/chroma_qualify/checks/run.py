"""The judgement over a whole run: its history, its faults, what was planned and what is promised.

Called by `rejudge` (offline) and by the scenarios, one experiment at a time: both give the same findings, in the same
words. Pure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from chroma_qualify.checks.history import WRITES, F, History, Kind, Operation, Phase
from chroma_qualify.checks.judge import cut_short, examine, judge
from chroma_qualify.checks.limits import Limits
from chroma_qualify.checks.nearest import Vectors
from chroma_qualify.checks.outage import Outage, kind_of, outage
from chroma_qualify.checks.plan import Experiment, FaultRecord, PlannedCollection, RunPlan
from chroma_qualify.checks.promises import Stress
from chroma_qualify.checks.risks import accept, risks_left
from chroma_qualify.checks.rules import undecided
from chroma_qualify.findings import Finding, Severity

_NEIGHBOURS = 100  # an approximate index misses one of some hundreds; a phase may have a handful of queries
_AGES = (0.1, 1.0, 10.0, 100.0, float("inf"))  # seconds
_WRITES_TRIED = 2  # in phase `after`: fewer say nothing
_LEAST_FAILED = 4  # in phase `after`, and half a floor: with so many errors too little traffic is the server's doing
_RERUN = "run it again; the run directory has the reason in faults.jsonl and logs/"


@dataclasses.dataclass(frozen=True, slots=True)
class ExperimentResult:
    """One fault under traffic, judged.

    Attributes:
        experiment: its name; `fault`, `stress`: what was done.
        ran: was the fault injected, and its end proven?
        reason: why it did not run, or "".
        outage: what its clients saw; None: nothing is known of it.
        recall: of queries near known records, by phase, 0 to 1.
        stale: stale reads by age: how many of less than so many seconds.
        findings: of its collections, weighed by what is promised.
    """

    experiment: str
    fault: str
    stress: Stress
    ran: bool
    reason: str
    outage: Outage | None
    findings: tuple[Finding, ...]
    recall: Mapping[str, float] = dataclasses.field(default_factory=dict)
    stale: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """Of a run: all findings in order, and what each fault did."""

    findings: tuple[Finding, ...]
    experiments: tuple[ExperimentResult, ...]


def judge_all(
    history: History,
    plan: RunPlan,
    faults: Mapping[str, FaultRecord],
    vectors: Vectors | None = None,
    *,
    tells_risks: bool = True,
) -> Judgement:
    """All findings of a run; none: nothing speaks against the candidate.

    Args:
        history: as `history.parse` gives it; one that is not whole is `cut-short`, and nothing else is judged.
        plan: what was asked.
        faults: what happened to each, by experiment.
        vectors: see `judge.judge`.
        tells_risks: say which accepted risks are over or were not met; a second lane leaves that to the first.
    """
    if history.flaws:
        return Judgement(tuple(cut_short(history)), ())
    results = tuple(judge_experiment(history, plan, each, faults.get(each.name), vectors) for each in plan.experiments)
    findings = [finding for result in results for finding in result.findings]
    planned = {collection.name for each in plan.experiments for collection in each.collections}
    rest = {op.collection for op in history.operations} - planned
    if rest or not plan.experiments:
        findings += judge(history.only(rest), plan.limits, vectors)
    return Judgement((*findings, *(left_risks(plan, results) if tells_risks else ())), results)


def left_risks(plan: RunPlan, results: Sequence[ExperimentResult]) -> list[Finding]:
    """Accepted risks that are over, or that no experiment met although every run should."""
    met = {
        result.experiment: [finding for finding in result.findings if finding.severity is Severity.ACCEPTED]
        for result in results
        if result.ran
    }
    return risks_left(plan, met)


def judge_experiment(
    history: History, plan: RunPlan, experiment: Experiment, record: FaultRecord | None, vectors: Vectors | None = None
) -> ExperimentResult:
    """One experiment.

    Args:
        history: of the whole run.
        plan: of the run.
        experiment: one of the plan's.
        record: what happened to its fault; None: nothing is known of it.
        vectors: see `judge.judge`.
    """
    names = frozenset(collection.name for collection in experiment.collections)
    mine = history.only(names)
    if record is not None and record.unavailable and not mine.operations:
        return _result(experiment, ran=False, reason=record.unavailable)
    proof = _proof(experiment, record)
    if not mine.operations:
        message = f"experiment {experiment.name} left no history"
        missing = [] if proof else [undecided("too-little-traffic", None, message, _RERUN)]
        return _result(experiment, [*proof, *missing], ran=False, reason=proof[0].message if proof else message)
    limits = Limits(recall=plan.limits.recall, stale=plan.promises.stale, neighbours=_NEIGHBOURS)
    operations = tuple(mine.operations)  # once: they are made when they are looked at
    judged = examine(mine, limits, vectors)
    found = [*_traffic(experiment, operations), *_with_unreadable(operations, judged.findings)]
    seen = outage(operations, record.begin) if record is not None and record.begin is not None else None
    if seen is not None:
        found += _availability(experiment, plan, seen)
    weighed = accept(found, plan, experiment, proven=not proof)
    if proof:  # what could not be decided follows from that
        weighed = [finding for finding in weighed if finding.severity is not Severity.UNKNOWN]
    result = _result(experiment, [*proof, *weighed], seen, ran=not proof, reason=proof[0].message if proof else "")
    recall = {phase.value: hits / wanted for phase, (hits, wanted) in judged.recall.items()}
    return dataclasses.replace(result, recall=recall, stale=_by_age(judged.stale))


def _by_age(ages: Iterable[float]) -> dict[str, int]:
    counted = dict.fromkeys(_AGES, 0)
    for age in ages:
        counted[next(limit for limit in _AGES if age < limit)] += 1
    return {f"{limit:g} s": number for limit, number in counted.items() if number}


def _result(
    experiment: Experiment, findings: Iterable[Finding] = (), seen: Outage | None = None, *, ran: bool, reason: str
) -> ExperimentResult:
    return ExperimentResult(experiment.name, experiment.fault, experiment.stress, ran, reason, seen, tuple(findings))


def _proof(experiment: Experiment, record: FaultRecord | None) -> list[Finding]:
    """A fault without proof, or one that is not over, proves nothing; one that the candidate does not survive does."""
    if record is None:
        text = f"fault {experiment.fault} of experiment {experiment.name} is not in faults.jsonl"
        return [undecided("fault-unproven", None, text, _RERUN)]
    if record.rule:
        text = f"{record.error} (experiment {experiment.name})"
        return [Finding(record.rule, Severity.FAIL, text, remedy="see the pod's log and events in the run directory")]
    if record.infra:
        text = f"{record.error} (experiment {experiment.name})"
        return [Finding("infra", Severity.INFRA, text, remedy=_RERUN)]
    if record.error or record.proven is None or record.healed is None:
        missing = "that it took effect" if record.proven is None else "that it is over"
        text = f"fault {experiment.fault} of experiment {experiment.name} has no proof {missing}"
        return [undecided("fault-unproven", None, text, _RERUN, record.error)]
    return []


def _traffic(experiment: Experiment, operations: Sequence[Operation]) -> list[Finding]:
    """`write-failed`: writes are not acknowledged any more; else too little traffic in a phase of a collection."""
    findings = []
    for collection in experiment.collections:
        mine = [op for op in operations if op.collection == collection.name]
        low = list(_floors(collection, mine))
        short = any(phase is Phase.AFTER for phase, _ in low)
        failed = _failing_after(experiment, collection, mine, short=short)
        findings += failed
        findings += [each for phase, each in low if not (failed and phase is Phase.AFTER)]
    return findings


def _failing_after(
    experiment: Experiment, collection: PlannedCollection, operations: Sequence[Operation], *, short: bool
) -> list[Finding]:
    """Once the fault is over, writes must be acknowledged again: not one only, and then never again.

    Where the phase is `short` of its floor because operations failed, that is no lack of traffic.
    """
    after = [op for op in operations if op.phase is Phase.AFTER]
    writes = [op for op in after if (op.f in WRITES or op.f is F.DELETE) and op.end is not None]
    bad = [op for op in writes if op.kind is not Kind.OK]
    none = len(bad) == len(writes) >= _WRITES_TRIED
    number = sum(op.kind is not Kind.OK and op.end is not None for op in after)
    hardly = short and bad and number >= max(_LEAST_FAILED, collection.floors[Phase.AFTER] / 2)
    if not none and not hardly:
        return []
    kinds = ", ".join(sorted({kind_of(op.error) for op in bad}))
    what = "no write was" if len(bad) == len(writes) else "hardly a write was"
    text = f"{what} acknowledged after {experiment.fault} was over: {len(bad)} of {len(writes)} failed"
    remedy = "restart the server, and look whether it writes again; see its log in the run directory"
    evidence = f"{kinds}; the last: {bad[-1].told()}: {bad[-1].error}"
    name = collection.name
    return [Finding("write-failed", Severity.FAIL, f"{text} (collection {name})", evidence, remedy, collection=name)]


def _floors(collection: PlannedCollection, operations: Sequence[Operation]) -> Iterator[tuple[Phase, Finding]]:
    """Too little traffic in a phase: the run proves nothing of it."""
    for phase, floor in collection.floors.items():
        mine = [op for op in operations if op.phase is phase]
        number = len(mine) if phase is Phase.DURING else sum(op.kind is Kind.OK for op in mine)
        if number < floor:
            word = "sent" if phase is Phase.DURING else "acknowledged"
            text = f"{number} operations were {word} in phase {phase.value}, the plan asks for {floor}"
            remedy = "let the phase last longer, or give the machine more room"
            yield phase, undecided("too-little-traffic", collection.name, text, remedy)


def _with_unreadable(operations: Sequence[Operation], findings: list[Finding]) -> list[Finding]:
    """`read-failed` instead of "was not read", where the server answered every final read with an error of its own."""
    kept, failed = list(findings), []
    for name in sorted({op.collection for op in operations}):
        final = [op for op in operations if op.collection == name and op.phase is Phase.FINAL]
        store = _always_failing([op for op in final if op.f in {F.GET, F.COUNT} and not op.vectors])
        index = _always_failing([op for op in final if op.f is F.QUERY or op.vectors])
        for failing, what, rules in ((store, "store", ("no-final-reads",)), (index, "index", ("index-not-read",))):
            if failing is None:
                continue
            kept = [each for each in kept if each.collection != name or each.rule not in rules]
            text = f"every final read of the {what} fails with an error of the server (collection {name})"
            remedy = "restore the volume from a backup, or write the records again into a new collection"
            evidence = f"{failing.told()}: {failing.error}"
            failed.append(Finding("read-failed", Severity.FAIL, text, evidence, remedy, collection=name))
    return [*failed, *kept]


def _always_failing(reads: Sequence[Operation]) -> Operation | None:
    """The last of these reads if the server failed every one of them."""
    if reads and all(op.kind is not Kind.OK and op.error.startswith("5") for op in reads):
        return reads[-1]
    return None


def _availability(experiment: Experiment, plan: RunPlan, seen: Outage) -> list[Finding]:
    limit = plan.promises.limit(experiment.fault)
    if limit is None or seen.unavailable <= limit:
        return []
    lasted = f"nothing was acknowledged for {seen.unavailable:.1f} s around {experiment.fault}"
    text = f"{lasted}, promised are at most {limit:g} s"
    errors = ", ".join(f"{number} x {kind}" for kind, number in seen.errors.items())
    remedy = "promise longer in qualification.yaml, or look in the timeline for what took so long"
    return [Finding("unavailable-too-long", Severity.FAIL, text, errors or "no error, but no answer", remedy)]
