"""One track for each collection: of the ids that must be looked at, with a summary of the others.

`every` lets all events pass by, and is what the other ways must agree with. `follow` computes first (`plain`), and
lets only those events pass by that touch an id in doubt. What concerns a collection as a whole, and not single ids,
is computed here, too, or it is a reason to let everything pass by.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import numpy as np

from chroma_qualify.checks import plain, tables
from chroma_qualify.checks.collective import Watch, note_counts, replicas_agree, show
from chroma_qualify.checks.columns import NOBODY, VECTORS, Columns, Operations
from chroma_qualify.checks.lives import Lives
from chroma_qualify.checks.operation import Operation
from chroma_qualify.checks.tables import COUNT, FAIL, FINAL, GET, OK, QUERY, Bools, Ints
from chroma_qualify.checks.track import Track


def every(operations: Operations, watch: Watch | None = None) -> dict[str, Track]:
    """Let all events pass by in their order; one track for each collection, in the order of their names."""
    tracks = {name: Track(name, watch) for name in names(operations)}
    _pass_by(operations, tracks)
    return tracks


def follow(operations: Operations, lines: int, watch: Watch | None = None) -> dict[str, Track]:
    """The same, as far as findings go, in less time."""
    columns, tracks = operations.columns, {}
    chosen = np.ones(len(columns.line), dtype=np.bool_)
    if operations.rows is not None:
        chosen[:] = False
        chosen[operations.rows] = True
    for name in names(operations):
        mine = chosen & (columns.collection == columns.collections[name])
        track = _in_part(columns, mine, lines, name, watch) if replicas_agree(columns, mine) else None
        if track is None:
            track = every(Operations(columns, np.flatnonzero(mine).astype(np.int32)), watch)[name]
        tracks[name] = track
    return tracks


def names(operations: Operations) -> list[str]:
    """The collections, sorted."""
    columns, rows = operations.columns, operations.rows
    numbers = np.unique(columns.collection if rows is None else columns.collection[rows])
    return sorted(columns.collections.all[number] for number in numbers)


def _pass_by(operations: Iterable[Operation], tracks: dict[str, Track]) -> None:
    begun: list[tuple[int, int, Operation]] = []  # by the line of their completion
    for number, op in enumerate(operations):
        while begun and begun[0][0] < op.index:
            line, _, ended = heapq.heappop(begun)
            tracks[ended.collection].end(ended, line)
        tracks[op.collection].begin(op)
        if op.done is not None:
            heapq.heappush(begun, (op.done, number, op))
    for line, _, ended in sorted(begun):
        tracks[ended.collection].end(ended, line)


def _in_part(columns: Columns, mine: Bools, lines: int, name: str, watch: Watch | None) -> Track | None:
    """None: only a look at everything will do."""
    made = tables.make(columns, mine)
    near = columns.asked[columns.near != NOBODY] if watch is not None else columns.asked[:0]
    near = near[mine[near] & (columns.f[near] == QUERY) & (columns.kind[near] == OK)]
    if len(near) and len(np.unique(columns.values[made.written_at])) < len(made.written_at):
        return None  # a value that is used twice is not that of one record
    doubted, rest = plain.split(columns, made, lines)
    track = Track(name, None, rest=rest, names=columns.ids.all)
    rows, keep = _touching(columns, mine, made, doubted)
    failed = columns.kind == FAIL
    _pass_by((columns.operation(row, None if failed[row] else keep) for row in rows.tolist()), {name: track})
    if len(near) or (mine & (columns.f == COUNT)).any():
        lives = Lives(columns, made, lines)
        if not note_counts(track, columns, mine, lives) or (track.foreign and len(near)):
            return None
        if watch is not None:
            show(watch, columns, mine, near, lives)
    final = mine & (columns.kind == OK) & (columns.f == GET) & (columns.phase == FINAL)
    track.final_reads = int((final & (columns.flags & VECTORS == 0)).sum())
    return track


def _touching(columns: Columns, mine: Bools, made: tables.Tables, doubted: Ints) -> tuple[Ints, Bools]:
    """The operations that say something of an id in doubt, and which ids those are.

    All failed writes are among them if anything is in doubt: what failed is known by its value, whatever its id.
    """
    doubt = np.zeros(len(columns.ids.all), dtype=np.bool_)
    doubt[doubted] = True
    wanted = np.zeros(len(mine), dtype=np.bool_)
    for ids, operations in (made.written, made.read, made.deleted, made.absent):
        wanted[operations[doubt[ids]]] = True
    if len(doubted):
        wanted[made.whole] = True
        wanted |= mine & tables.is_write(columns) & (columns.kind == FAIL)
    wanted[[row for row in columns.repeated if mine[row]]] = True
    return np.flatnonzero(wanted), doubt
