"""The judgement over one recorded history: every rule, in a fixed order, the same findings each time.

Called by `chroma-qualify check` and by the scenarios. Pure: the caller reads the file, and gives the function that
makes an embedding from a value.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from chroma_qualify.checks import follow, rules
from chroma_qualify.checks.collective import Watch
from chroma_qualify.checks.columns import PHASES
from chroma_qualify.checks.history import History, Operation, Phase, without_gc
from chroma_qualify.checks.limits import Limits
from chroma_qualify.checks.nearest import Moment, Nearest, Vectors
from chroma_qualify.checks.tables import DELETE, OK, is_write
from chroma_qualify.checks.track import Track
from chroma_qualify.findings import Finding


@dataclasses.dataclass(frozen=True, slots=True)
class Judged:
    """The findings of a history, and what was measured on the way.

    Attributes:
        recall: by phase, how many of the true neighbours came back, and how many there were.
        stale: for how many seconds after its acknowledgement each stale record was missing from a read.
    """

    findings: list[Finding]
    recall: dict[Phase, tuple[int, int]] = dataclasses.field(default_factory=dict)
    stale: tuple[float, ...] = ()


def judge(history: History, limits: Limits, vectors: Vectors | None = None, *, thorough: bool = False) -> list[Finding]:
    """All findings of a history, see `examine`."""
    return examine(history, limits, vectors, thorough=thorough).findings


def examine(history: History, limits: Limits, vectors: Vectors | None = None, *, thorough: bool = False) -> Judged:
    """Judge a history.

    Args:
        history: as `history.parse` gives it.
        limits: what the plan asks.
        vectors: embeddings of values, shape (n, dimension), rows of length 1; without it no recall is judged.
        thorough: look at every event of every id, also where arithmetic has shown that all is well: the same
            findings, some ten times slower. For tests.

    Returns:
        Findings in the order of the rules, collection by collection; none: nothing speaks against the candidate.
        A history that is not whole is not judged: only `cut-short`, which is `unknown`.
    """
    if history.flaws:
        return Judged(cut_short(history))
    with without_gc():
        return _judge(history, limits, vectors, thorough)


def _judge(history: History, limits: Limits, vectors: Vectors | None, thorough: bool) -> Judged:
    operations = history.operations
    nearest: dict[str, Nearest] = {}
    watch = None
    if vectors is not None:
        nearest = {name: Nearest(name, vectors) for name in follow.names(operations)}

        def watch(op: Operation, moment: Moment) -> bool:
            return nearest[op.collection].note(op, moment)

    tracks = sweep(history, watch) if thorough else follow.follow(operations, history.lines, watch)
    columns = operations.columns
    acknowledged = columns.kind == OK
    if operations.rows is not None:
        acknowledged &= np.isin(np.arange(len(acknowledged)), operations.rows)
    phases = np.bincount(columns.phase[acknowledged], minlength=len(PHASES)).tolist()
    findings = rules.floors(dict(zip(PHASES, phases, strict=True)), limits)
    if not (acknowledged & (is_write(columns) | (columns.f == DELETE))).any():
        text, remedy = "no write was acknowledged, so nothing is known of what is kept", "write something first"
        findings.append(rules.undecided("too-little-traffic", None, text, remedy))
    for name, track in tracks.items():
        lost, accused = rules.lost_store(track)
        stale, also_accused = rules.stale_reads(track, limits)
        apart, accused_by_others = rules.diverged(track)
        findings += [*lost, *rules.lost_index(track), *stale, *apart, *rules.strange(track)]
        findings += rules.wrong_values(track, accused | also_accused | accused_by_others)
        if name in nearest:
            findings += nearest[name].findings(limits)
        findings += rules.unread(track)
    recall: dict[Phase, tuple[int, int]] = {}
    for each in nearest.values():
        for phase, (hits, wanted) in each.measured().items():
            before = recall.get(phase, (0, 0))
            recall[phase] = (before[0] + hits, before[1] + wanted)
    ages = tuple(rules.age_of(stale) for track in tracks.values() for stale in track.stale)
    return Judged(findings, recall, ages)


def cut_short(history: History) -> list[Finding]:
    """`cut-short`: the history is not whole, so it proves nothing."""
    if not history.flaws:
        return []
    remedy = "run it again; look for what stopped the recorder, and for a full disk"
    text = f"the history is not whole: {history.flaws[0]}"
    return [rules.undecided("cut-short", None, text, remedy, "; ".join(history.flaws))]


def sweep(history: History, watch: Watch | None = None) -> dict[str, Track]:
    """Let all events pass by in their order; one track for each collection, in the order of their names."""
    return follow.every(history.operations, watch)
