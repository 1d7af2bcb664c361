"""The judgement over one recorded history: every rule, in a fixed order, the same findings each time.

Called by `chroma-qualify check` and by the scenarios. Pure: the caller reads the file, and gives the function that
makes an embedding from a value.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np

from chroma_qualify.checks import rules
from chroma_qualify.checks.history import WRITES, F, History, Kind, Operation, without_gc
from chroma_qualify.checks.limits import Limits
from chroma_qualify.checks.nearest import Nearest, Vectors
from chroma_qualify.checks.track import Track
from chroma_qualify.findings import Finding


def judge(history: History, limits: Limits, vectors: Vectors | None = None) -> list[Finding]:
    """All findings of a history.

    Args:
        history: as `history.parse` gives it.
        limits: what the plan asks.
        vectors: embeddings of values, shape (n, dimension), rows of length 1; without it no recall is judged.

    Returns:
        Findings in the order of the rules, collection by collection; none: nothing speaks against the candidate.
        A history that is not whole is not judged: only `cut-short`, which is `unknown`.
    """
    if history.flaws:
        return cut_short(history)
    with without_gc():
        return _judge(history, limits, vectors)


def _judge(history: History, limits: Limits, vectors: Vectors | None) -> list[Finding]:
    nearest: dict[str, Nearest] = {}
    watch = None
    if vectors is not None:
        nearest = {name: Nearest(name, vectors) for name in _collections(history)}

        def watch(op: Operation, track: Track) -> None:
            nearest[op.collection].note(op, track)

    tracks = sweep(history, watch)
    findings = rules.floors(history.operations, limits)
    if not any(op.kind is Kind.OK and (op.f in WRITES or op.f is F.DELETE) for op in history.operations):
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
    return findings


def cut_short(history: History) -> list[Finding]:
    """`cut-short`: the history is not whole, so it proves nothing."""
    if not history.flaws:
        return []
    remedy = "run it again; look for what stopped the recorder, and for a full disk"
    text = f"the history is not whole: {history.flaws[0]}"
    return [rules.undecided("cut-short", None, text, remedy, "; ".join(history.flaws))]


def sweep(history: History, watch: Callable[[Operation, Track], None] | None = None) -> dict[str, Track]:
    """Let all events pass by in their order; one track for each collection, in the order of their names."""
    tracks = {name: Track(name, watch) for name in _collections(history)}
    begun: list[tuple[int, int, Operation]] = []  # by the line of their completion
    for number, op in enumerate(history.operations):
        while begun and begun[0][0] < op.index:
            _end(tracks, *heapq.heappop(begun))
        tracks[op.collection].begin(op)
        if op.done is not None:
            heapq.heappush(begun, (op.done, number, op))
    while begun:
        _end(tracks, *heapq.heappop(begun))
    return tracks


def _end(tracks: dict[str, Track], line: int, _number: int, op: Operation) -> None:
    tracks[op.collection].end(op, line)


def _collections(history: History) -> list[str]:
    columns, rows = history.operations.columns, history.operations.rows
    numbers = np.unique(columns.collection if rows is None else columns.collection[rows])
    return sorted(columns.collections.all[number] for number in numbers)
