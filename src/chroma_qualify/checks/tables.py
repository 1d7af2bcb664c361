"""What touched which id, as flat tables of one collection: the form in which `plain` computes.

One row of a table is one operation on one id. Numbers of ids are those of `columns.ids`, operations are named by
their row in the columns, times are lines of the file; FAR is the end of what has none.
"""

from __future__ import annotations

import dataclasses
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from chroma_qualify.checks.columns import FS, KINDS, NAMED, NOBODY, OPEN, PHASES, VECTORS, Columns
from chroma_qualify.checks.operation import WRITES, F, Kind, Phase

Ints: TypeAlias = npt.NDArray[np.signedinteger]
Bools: TypeAlias = npt.NDArray[np.bool_]
Pairs: TypeAlias = tuple[Ints, Ints]  # ids and operations, of equal length

OK, FAIL = KINDS.index(Kind.OK), KINDS.index(Kind.FAIL)
FINAL: Final = PHASES.index(Phase.FINAL)
ADD, UPSERT, DELETE, GET, QUERY, COUNT = (FS.index(f) for f in (F.ADD, F.UPSERT, F.DELETE, F.GET, F.QUERY, F.COUNT))
_SOME: Final = 1 << 20  # rows
GONE_FROM_INDEX: Final = "error finding id"
_IS_WRITE: Final = np.array([f in WRITES for f in FS])


@dataclasses.dataclass(frozen=True, slots=True)
class Tables:
    """One collection.

    Attributes:
        written: pairs of every write that may have happened; `written_at`: places in the flat columns.
        read: pairs of every acknowledged read that found the id; `read_at` likewise.
        deleted: pairs of every delete that may have happened.
        absent: pairs of every read that should have found the id, were it there, and did not.
        whole: acknowledged gets of all ids; their absences are in `absent`, too.
        twice: ids that one delete names twice.
    """

    written: Pairs
    written_at: Ints
    read: Pairs
    read_at: Ints
    deleted: Pairs
    absent: Pairs
    whole: Ints
    twice: Ints


def is_write(columns: Columns) -> Bools:
    """Of each operation: is it an add or an upsert?"""
    flags: Bools = _IS_WRITE[columns.f]
    return flags


def owners(columns: Columns) -> Ints:
    """Of each place of the flat values: the operation it belongs to."""
    owner = np.zeros(len(columns.values), np.int32)
    begins = 0
    for start in range(0, len(columns.length), _SOME):
        mine = np.flatnonzero(columns.length[start : start + _SOME]) + start
        owner[columns.at[mine]] = mine
        begins += len(mine)
    if len(owner) > begins:  # the places after the first of an operation: as the last one before that is known
        known = np.zeros(len(owner), np.int64)
        mine = np.flatnonzero(columns.length)
        known[columns.at[mine]] = columns.at[mine]
        owner = owner[np.maximum.accumulate(known)]
    return owner


def ends(columns: Columns, operations: Ints, far: int) -> npt.NDArray[np.int64]:
    """The line of the completion, or `far`: there is none, or it is `info`."""
    done: npt.NDArray[np.int64] = columns.done[operations].astype(np.int64)
    done[columns.kind[operations] != OK] = far
    return done


def make(columns: Columns, mine: Bools) -> Tables:
    """The tables of the operations that are `mine`, one flag for each row of the columns."""
    maybe = mine & (columns.kind != FAIL)
    ok = mine & (columns.kind == OK)
    owner = owners(columns)
    written_at, written = _values(columns, owner, maybe & is_write(columns))
    read_at, read = _values(columns, owner, ok & ((columns.f == GET) | (columns.f == QUERY)))
    del owner
    counts = _named_lengths(columns)
    namer = np.empty(len(columns.named), np.int32)
    for start in range(0, len(counts), _SOME):
        lengths = counts[start : start + _SOME]
        at = int(columns.named_at[start])
        namer[at : at + int(lengths.sum())] = np.repeat(np.arange(start, start + len(lengths)), lengths)
    deletes = np.flatnonzero((maybe & (columns.f == DELETE))[namer]) if len(namer) else namer
    deleted = columns.named[deletes], namer[deletes]
    whole = np.flatnonzero(ok & (columns.f == GET) & (columns.flags & NAMED == 0))
    absences = [
        _named_and_absent(columns, ok, namer, counts),
        _gone_from_index(columns, mine, counts),
        _not_near(columns, ok),
        _absent_from_whole(columns, whole, written, deleted),
    ]
    absent = (
        np.concatenate([ids for ids, _ in absences]),
        np.concatenate([operations for _, operations in absences]),
    )
    many = counts[deleted[1]] > 1
    keys = np.sort(_keys(columns, deleted[1][many], deleted[0][many]))
    twice = keys[1:][keys[1:] == keys[:-1]] % max(1, len(columns.ids.all))
    return Tables(written, written_at, read, read_at, deleted, absent, whole, twice)


def _values(columns: Columns, owner: Ints, mine: Bools) -> tuple[Ints, Pairs]:
    """Places and pairs of what these operations wrote or read."""
    at: Ints = np.flatnonzero(mine[owner]) if len(owner) else owner
    at = at.astype(np.int32 if len(owner) < 1 << 31 else np.int64)
    return at, (columns.value_ids[at], owner[at])


def _named_lengths(columns: Columns) -> npt.NDArray[np.int32]:
    lengths = np.empty(len(columns.named_at), np.int32)
    lengths[:-1] = columns.named_at[1:] - columns.named_at[:-1]
    lengths[-1:] = len(columns.named) - columns.named_at[-1:].astype(np.int64)
    return lengths


def _keys(columns: Columns, operations: Ints, ids: Ints) -> npt.NDArray[np.int64]:
    return operations.astype(np.int64) * len(columns.ids.all) + ids


def _not_found(columns: Columns, operations: Ints, ids: Ints) -> Bools:
    """Of each pair: is the id not among the operation's values?"""
    length = columns.length[operations]
    missing = np.ones(len(ids), dtype=np.bool_)
    some = np.flatnonzero(length)
    first = columns.value_ids[columns.at[operations[some]]]
    missing[some[first == ids[some]]] = False
    hard = np.flatnonzero(missing & (length > 1))
    if len(hard):
        asked = np.unique(operations[hard])
        lengths = columns.length[asked].astype(np.int64)
        begins = np.repeat(columns.at[asked].astype(np.int64) - (np.cumsum(lengths) - lengths), lengths)
        there = columns.value_ids[begins + np.arange(len(begins))]
        found = _keys(columns, np.repeat(asked, lengths), there)
        missing[hard] = ~np.isin(_keys(columns, operations[hard], ids[hard]), found)
    return missing


def _named_and_absent(columns: Columns, ok: Bools, namer: Ints, counts: Ints) -> Pairs:
    asked = ok & (columns.f == GET) & (counts > 0)
    ids, operations = [columns.named[:0]], [namer[:0]]
    for start in range(0, len(namer), _SOME):  # a part at a time: this would take the most memory of all
        part = slice(start, start + _SOME)
        some = np.flatnonzero(asked[namer[part]])
        mine, theirs = namer[part][some], columns.named[part][some]
        missing = _not_found(columns, mine, theirs)
        ids.append(theirs[missing])
        operations.append(mine[missing])
    return np.concatenate(ids), np.concatenate(operations)


def _gone_from_index(columns: Columns, mine: Bools, counts: Ints) -> Pairs:
    """Gets that failed because the index has lost the one id they name."""
    failed = mine & (columns.f == GET) & (columns.kind != OK) & (columns.done != OPEN)
    failed &= (columns.flags & VECTORS != 0) & (counts == 1)
    rows = [row for row in np.flatnonzero(failed).tolist() if GONE_FROM_INDEX in columns.error.get(row, "").lower()]
    operations = np.array(rows, np.int32)
    return columns.named[columns.named_at[operations]], operations


def _not_near(columns: Columns, ok: Bools) -> Pairs:
    """Final queries that did not find the record whose own embedding they asked for."""
    near = columns.near != NOBODY
    operations, ids = columns.asked[near], columns.near[near]
    final = ok[operations] & (columns.f[operations] == QUERY) & (columns.phase[operations] == FINAL)
    operations, ids = operations[final], ids[final]
    missing = _not_found(columns, operations, ids)
    return ids[missing], operations[missing]


def _absent_from_whole(columns: Columns, whole: Ints, written: Pairs, deleted: Pairs) -> Pairs:
    """What gets of all ids did not find; without what was not there yet, or was deleted for good."""
    if not len(whole):
        return np.empty(0, np.int32), np.empty(0, np.int32)
    number, far = len(columns.ids.all), np.iinfo(np.int64).max
    begun = np.full(number, far)
    np.minimum.at(begun, written[0], columns.line[written[1]].astype(np.int64))
    last = np.full(number, -1)
    np.maximum.at(last, written[0], ends(columns, written[1], far))
    dead = np.full(number, far)
    sure = (columns.kind[deleted[1]] == OK) & (columns.line[deleted[1]] > last[deleted[0]])
    np.minimum.at(dead, deleted[0][sure], columns.done[deleted[1][sure]].astype(np.int64))
    found = np.zeros(number, dtype=np.bool_)
    ids, operations = [], []
    for row in whole.tolist():
        at = int(columns.at[row])
        values = columns.value_ids[at : at + int(columns.length[row])]
        found[values] = True
        gone = np.flatnonzero((begun < columns.done[row]) & (dead > columns.line[row]) & ~found)
        found[values] = False
        ids.append(gone.astype(np.int32))
        operations.append(np.full(len(gone), row, np.int32))
    return np.concatenate(ids), np.concatenate(operations)
