"""Tell the ids that are plainly fine from those that must be looked at one by one.

Of an id that is linearizable, *all* reads of it included (also those that other rules take out of `wrong-value`, and
those of the index), no rule has anything to say: a record that was certainly there and was not read, one that was
certainly deleted and was read, a value that nobody wrote: each of these is a contradiction to every order. Such ids
are only counted, and what the last reads say of them is noted. All others go through `track`, event by event.

Called by `judge`. Works through the ids in portions, so that the memory does not grow with the history.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from chroma_qualify.checks.columns import VECTORS, Columns
from chroma_qualify.checks.tables import ADD, FINAL, OK, QUERY, Bools, Ints, Pairs, Tables, ends
from chroma_qualify.checks.zones import Touches, doubtful

_PORTION: Final = 1 << 17  # rows of the tables that are worked on at a time: about 25 MB
_SPARSE: Final = 8  # values per write, up to which a table of them is better than sorting them
_FAR: Final = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True, slots=True)
class Rest:
    """The certainly live ids, after the last event, among those that are plainly fine.

    Attributes:
        ids: their numbers; `since`: lines since which they live.
        in_store, in_index: did a final read find them, after the last delete?
    """

    ids: Ints
    since: npt.NDArray[np.int64]
    in_store: Bools
    in_index: Bools


@dataclasses.dataclass(frozen=True, slots=True)
class Portion:
    """The rows of some ids, `low` <= id < `high`; each table sorted by ids. Ids are counted from `low`."""

    low: int
    high: int
    written: Pairs
    values: npt.NDArray[np.int64]
    read: Pairs
    read_values: npt.NDArray[np.int64]
    deleted: Pairs
    absent: Pairs


def portions(columns: Columns, tables: Tables) -> Iterator[Portion]:
    """All rows, by ranges of ids."""
    number = len(columns.ids.all)
    if not number:
        return
    names = ("written", "read", "deleted", "absent")
    pairs: dict[str, Pairs] = {name: getattr(tables, name) for name in names}
    order = {name: np.argsort(ids).astype(np.uint32) for name, (ids, _) in pairs.items()}
    upto = {name: np.cumsum(np.bincount(ids, minlength=number)) for name, (ids, _) in pairs.items()}
    rows = np.cumsum(np.ones(number, np.int64)) + sum(upto.values())
    low = 0
    while low < number:
        before = int(rows[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(rows, before + _PORTION, side="right")))
        part = {name: order[name][int(upto[name][low - 1]) if low else 0 : int(upto[name][high - 1])] for name in names}
        mine = {name: (pairs[name][0][part[name]] - low, pairs[name][1][part[name]]) for name in names}
        yield Portion(
            low,
            high,
            values=columns.values[tables.written_at[part["written"]]],
            read_values=columns.values[tables.read_at[part["read"]]],
            **mine,
        )
        low = high


def split(columns: Columns, tables: Tables, lines: int) -> tuple[Ints, Rest]:
    """The numbers, ascending, of the ids that must be looked at; and what there is to say of the others.

    Args:
        columns: frozen, of a history without flaws.
        tables: of one collection.
        lines: of the whole history.
    """
    asked = [np.unique(tables.twice)]
    rest: list[tuple[npt.NDArray[Any], ...]] = []
    for portion in portions(columns, tables):
        bad = np.zeros(portion.high - portion.low, dtype=np.bool_)
        bad[doubtful(_touches(columns, portion, 1 << (lines + 1).bit_length(), bad))] = True
        asked.append(np.flatnonzero(bad) + portion.low)
        rest.append(_last(columns, portion, bad))
    ids = np.unique(np.concatenate(asked))
    parts = [np.concatenate(part) for part in zip(*rest, strict=True)] or [np.empty(0, np.int64)] * 4
    kept = ~np.isin(parts[0], tables.twice) if len(tables.twice) else slice(None)
    return ids, Rest(parts[0][kept], parts[1][kept], parts[2][kept].astype(np.bool_), parts[3][kept].astype(np.bool_))


def _join(portion: Portion) -> tuple[Ints, Bools, Bools]:
    """Of each read the write of its value; whether there is one under its id; and the writes of equal values."""
    values, wanted = portion.values, portion.read_values
    if not len(values):
        none = np.zeros(len(wanted), dtype=np.bool_)
        return np.zeros(len(wanted), np.int64), none, np.zeros(0, dtype=np.bool_)
    least, most = int(values.min()), int(values.max())
    if most - least < _SPARSE * len(values) + 1024:
        table = np.zeros(most - least + 1, np.int32)
        table[values - least] = np.arange(len(values))
        same = table[values - least] != np.arange(len(values))
        known = (wanted >= least) & (wanted <= most)
        found = table[np.where(known, wanted - least, 0)].astype(np.int64)
    else:
        order = np.argsort(values)
        ranked = values[order]
        same = np.zeros(len(values), dtype=np.bool_)
        same[order[1:][ranked[1:] == ranked[:-1]]] = True
        found = order[np.minimum(np.searchsorted(ranked, wanted), len(values) - 1)]
    matches = (values[found] == wanted) & (portion.written[0][found] == portion.read[0])
    if same.any():
        same = np.isin(values, values[same])
    return found, matches, same


def _touches(columns: Columns, portion: Portion, span: int, bad: Bools) -> Touches:
    """The portion on the axis of `zones`; ids that are to be looked at in any case are marked in `bad`."""
    found, matches, same = _join(portion)
    bad[portion.read[0][~matches]] = True
    bad[portion.written[0][same]] = True

    def times(pairs: Pairs) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        base = pairs[0].astype(np.int64) * span
        return base + columns.line[pairs[1]], base

    start, base = times(portion.written)
    end = ends(columns, portion.written[1], span - 1)
    delete_start, delete_base = times(portion.deleted)
    delete_end = ends(columns, portion.deleted[1], span - 1)
    absent_start, absent_base = times(portion.absent)
    # An add of an id that exists is acknowledged and changes nothing. Whether it did exist is plain only where
    # nothing was deleted; elsewhere `track` looks. (It was there, though: no read after it may miss it.)
    loose = columns.f[portion.written[1]] == ADD
    if loose.any():
        deleted = np.zeros(len(bad), dtype=np.bool_)
        deleted[portion.deleted[0]] = True
        first = np.full(len(bad), _FAR)
        np.minimum.at(first, portion.written[0], start)
        missed = np.full(len(bad), -1)
        np.maximum.at(missed, portion.absent[0], absent_start)
        ids = portion.written[0]
        loose &= ~deleted[ids] & (start > first[ids]) & (missed[ids] < end + base)
    read = portion.read if matches.all() else (portion.read[0][matches], portion.read[1][matches])
    read_start, read_base = times(read)
    return Touches(
        span,
        start,
        end + base,
        end == span - 1,
        loose,
        found if read is portion.read else found[matches],
        read_start,
        read_base + columns.done[read[1]],
        delete_start,
        delete_end + delete_base,
        delete_end == span - 1,
        absent_start,
        absent_base + columns.done[portion.absent[1]],
    )


def _last(columns: Columns, portion: Portion, bad: Bools) -> tuple[npt.NDArray[Any], ...]:
    """What `Rest` holds, of a portion."""
    number = len(bad)
    ids, operations = portion.deleted
    begun, ended = np.full(number, -1), np.full(number, -1)
    np.maximum.at(begun, ids, columns.line[operations].astype(np.int64))
    np.maximum.at(ended, ids, ends(columns, operations, _FAR))
    ids, operations = portion.written
    sure = (columns.kind[operations] == OK) & (columns.line[operations] > ended[ids])
    since = np.full(number, _FAR)
    np.minimum.at(since, ids[sure], columns.done[operations[sure]].astype(np.int64))
    live = np.flatnonzero((since < _FAR) & ~bad)
    ids, operations = portion.read
    final = (columns.phase[operations] == FINAL) & (columns.done[operations] > begun[ids])
    in_store, in_index = np.zeros(number, dtype=np.bool_), np.zeros(number, dtype=np.bool_)
    in_store[ids[final]] = True
    exact = final & ((columns.flags[operations] & VECTORS != 0) | (columns.f[operations] == QUERY))
    in_index[ids[exact]] = True
    return live + portion.low, since[live], in_store[live], in_index[live]
