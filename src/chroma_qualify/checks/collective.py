"""What concerns a collection as a whole, by arithmetic: counts, and what replicas said while nothing was written.

Called by `follow`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from chroma_qualify.checks import nearest
from chroma_qualify.checks.columns import NOBODY, PHASES, Columns
from chroma_qualify.checks.lives import Lives, Moment
from chroma_qualify.checks.operation import F, Operation
from chroma_qualify.checks.tables import COUNT, DELETE, FAIL, FINAL, GET, OK, QUERY, Bools, Ints, is_write
from chroma_qualify.checks.track import Miscount, Track

Watch: TypeAlias = Callable[[Operation, nearest.Moment], bool]


def note_counts(track: Track, columns: Columns, mine: Bools, lives: Lives) -> bool:
    """`Track.miscounts` and `Track.final_counts`.

    Returns:
        False: a count is short, and only a look at everything tells by how old a record.
    """
    rows = np.flatnonzero(mine & (columns.f == COUNT) & (columns.kind == OK))
    rows = rows[np.argsort(columns.done[rows])]
    done = columns.done[rows].astype(np.int64)
    known = np.searchsorted(lives.first, done)
    live, gone = lives.live.at(done), lives.gone.at(done)
    counted = np.array([columns.narrow.number(code) for code in columns.at[rows].tolist()], dtype=object)
    final = columns.phase[rows] == FINAL
    for place in np.flatnonzero(final | (counted > known - gone) | (counted < live)).tolist():
        op = columns.operation(int(rows[place]))
        count = op.count or 0
        least, dead = int(live[place]), int(gone[place])
        if count < least or final[place]:
            least = lives.live.through(op.index, int(done[place]))
        if count < least:
            return False
        if count > int(known[place]) - dead:
            dead = lives.gone.through(op.index, int(done[place]))
        each = Miscount(op, least, int(known[place]) - dead, dead)
        if count > each.most:
            track.miscounts.append(each)
        if final[place]:
            track.final_counts.append(each)
    return True


def show(watch: Watch, columns: Columns, mine: Bools, near: Ints, lives: Lives) -> None:
    """Show these queries to `watch`, in the order of their ends, until it has seen enough of each phase."""
    changes = np.flatnonzero(mine & (is_write(columns) | (columns.f == DELETE)) & (columns.kind != FAIL))
    stirs = np.sort(np.concatenate([columns.line[changes], columns.done[changes]]))
    enough = np.zeros(len(PHASES), dtype=np.bool_)
    near = near[np.argsort(columns.done[near])]
    for row in near.tolist():
        if not enough[columns.phase[row]]:
            done = int(columns.done[row])
            moment = Moment(lives, done, int(np.searchsorted(stirs, done)))
            enough[columns.phase[row]] = not watch(columns.operation(row), moment)


def replicas_agree(columns: Columns, mine: Bools) -> bool:
    """Did reads of one thing through different endpoints give the same, wherever nothing was written meanwhile?

    False: perhaps not; what is in doubt must be known to say more.
    """
    reads = mine & (columns.kind == OK) & (columns.endpoint != NOBODY)
    rows = np.flatnonzero(reads & ((columns.f == GET) | (columns.f == QUERY) | (columns.f == COUNT)))
    if len(np.unique(columns.endpoint[rows])) < 2:
        return True
    changes = np.flatnonzero(mine & (is_write(columns) | (columns.f == DELETE)) & (columns.kind != FAIL))
    sure = changes[columns.kind[changes] == OK]
    begun, ended = columns.line[sure], np.sort(columns.done[sure])
    stirs = np.sort(np.concatenate([columns.line[changes], ended]))
    done = columns.done[rows]
    period = np.searchsorted(stirs, done)
    quiet = period == np.searchsorted(stirs, columns.line[rows])
    quiet &= np.searchsorted(begun, done) == np.searchsorted(ended, done)
    rows, period = rows[quiet], period[quiet]
    order = np.argsort(period, kind="stable")
    groups = np.split(rows[order], np.flatnonzero(np.diff(period[order])) + 1)
    return all(_one_voice(columns, group) for group in groups if len(np.unique(columns.endpoint[group])) > 1)


def _one_voice(columns: Columns, rows: Ints) -> bool:
    answers: dict[tuple[object, ...], object] = {}
    for op in map(columns.operation, rows.tolist()):
        key = (op.f, op.near) if op.f is F.QUERY else (op.f, op.ids, op.vectors)
        answer = op.count if op.f is F.COUNT else op.values
        if answers.setdefault(key, answer) != answer:
            return False
    return True
