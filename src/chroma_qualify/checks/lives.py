"""When was each record certainly there, and when certainly gone? `Track.live` and `Track.gone` at any time, on arrays.

Words and definitions are those of `track`. A point of time of an id is `id * span + line`, as in `zones`.
"""

from __future__ import annotations

import functools
from collections.abc import ItemsView, Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from chroma_qualify.checks.columns import Columns
from chroma_qualify.checks.operation import Operation
from chroma_qualify.checks.tables import ADD, OK, UPSERT, Tables, ends

Points = npt.NDArray[np.int64]
_FAR: Final = np.iinfo(np.int64).max


class Spans:
    """Periods of time (lines), of any ids: from `since`, until `until`."""

    def __init__(self, since: Points, until: Points) -> None:
        self._begins = np.sort(since)
        order = np.argsort(until)
        self._ends, self._since = until[order], since[order]

    def at(self, lines: Points) -> Points:
        """How many hold at these lines (at which none begins or ends)."""
        return np.searchsorted(self._begins, lines) - np.searchsorted(self._ends, lines)

    def through(self, start: int, end: int) -> int:
        """How many hold from before `start` until after `end`."""
        over, later = np.searchsorted(self._ends, [start, end]).tolist()
        between = int((self._since[over:later] < start).sum())
        return int(np.searchsorted(self._begins, start)) - int(over) - between


class Record(NamedTuple):
    """A record that is certainly there: since which line, and its value if that is certain, too."""

    since: int
    value: int | None


class Lives:
    """Of all ids of a collection.

    Attributes:
        first: line of the first write of each id that may have happened, sorted.
    """

    def __init__(self, columns: Columns, tables: Tables, lines: int) -> None:
        self._bits = (lines + 1).bit_length()
        self._columns, self._tables = columns, tables
        far = (1 << self._bits) - 1
        ids, operations = tables.written
        base = ids.astype(np.int64) << self._bits
        self._start, self._end = base + columns.line[operations], base + ends(columns, operations, far)
        gone_ids, deletes = tables.deleted
        gone_base = gone_ids.astype(np.int64) << self._bits
        start, end = gone_base + columns.line[deletes], gone_base + ends(columns, deletes, far)
        self._starts = np.sort(self._start)
        self.first = np.sort(self._line(self._starts[_heads(self._starts >> self._bits)]))
        # Live: from the first acknowledged write that no delete can come after, until the next delete begins.
        places = np.flatnonzero(columns.kind[operations] == OK)
        places = places[~_overlapped(start, end, self._start[places], self._end[places])]
        self._sure = places = places[np.argsort(self._end[places])]
        delete_starts = np.sort(start)
        before = np.searchsorted(delete_starts, self._end[places])
        heads = _heads(self._end[places] >> self._bits, before)
        self._makers, self._since = places[heads], self._end[places[heads]]
        self._until = self._next(delete_starts, before[heads], self._since)
        # Gone: likewise, from the first of several deletes on.
        done = np.flatnonzero(columns.kind[deletes] == OK)
        done = done[~_overlapped(self._start, self._end, start[done], end[done])]
        since = np.sort(end[done])
        before = np.searchsorted(self._starts, since)
        known = np.append(-1, self._starts)[before] >> self._bits == since >> self._bits
        since, before = since[known], before[known]
        heads = _heads(since >> self._bits, before)
        since, before = since[heads], before[heads]
        self._gone_until = until = self._next(self._starts, before, since)
        self.live = Spans(self._line(self._since), self._line(self._until))
        self.gone = Spans(self._line(since), self._line(until))

    @functools.cached_property
    def _setters(self) -> tuple[Points, Points]:
        """What changes a live record's value: when, sorted; and the place of the write, or -1: it is in doubt then."""
        f = self._columns.f[self._tables.written[1]]
        begun = np.flatnonzero(f == UPSERT)
        ended = np.concatenate([self._sure[f[self._sure] == UPSERT], self._makers[f[self._makers] == ADD]])
        start, end = self._start[ended], self._end[ended]
        # Nothing else was written from its start to its end; and an add did not meet a record that was there before.
        alone = np.searchsorted(self._starts, end) - np.searchsorted(np.sort(self._end), start) == 1
        heads = self._starts[_heads(self._starts >> self._bits)]
        free = np.isin(start, np.concatenate([heads, self._gone_until]))
        known = alone & ((f[ended] == UPSERT) | free)
        points = np.concatenate([self._start[begun], end])
        places = np.concatenate([np.full(len(begun), -1), np.where(known, ended, -1)])
        order = np.argsort(points)
        return points[order], places[order]

    def record(self, name: str, line: int) -> Record | None:
        """The record of this id if it is certainly there at this line."""
        id_ = self._columns.ids.get(name)
        if id_ is None:
            return None
        point = (id_ << self._bits) + line
        place = int(np.searchsorted(self._since, point)) - 1
        if place < 0 or self._since[place] >> self._bits != id_ or self._until[place] < point:
            return None
        return self._records(np.array([place]), line)[0]

    def records(self, line: int) -> dict[str, Record]:
        """All that is certainly there at this line, in the order in which it came to be so."""
        since, until = self._line(self._since), self._line(self._until)
        places = np.flatnonzero((since < line) & (until > line))
        places = places[np.lexsort((self._tables.written_at[self._makers[places]], since[places]))]
        names = self._columns.ids.all
        ids = (self._since[places] >> self._bits).tolist()
        return {names[id_]: record for id_, record in zip(ids, self._records(places, line), strict=True)}

    def _records(self, places: npt.NDArray[np.intp], line: int) -> list[Record]:
        points, writes = self._setters
        ids = self._since[places] >> self._bits
        last = writes[np.searchsorted(points, (ids << self._bits) + line) - 1]
        codes = self._columns.values[self._tables.written_at[last]].tolist()
        wide = self._columns.wide.number
        return [
            Record(since, wide(code) if write >= 0 else None)
            for since, write, code in zip(self._line(self._since[places]).tolist(), last.tolist(), codes, strict=True)
        ]

    def _line(self, points: Points) -> Points:
        lines: Points = np.where(points == _FAR, _FAR, points & ((1 << self._bits) - 1))
        return lines

    def _next(self, starts: Points, place: npt.NDArray[np.intp], of: Points) -> Points:
        """The start at this place, if it is of the same id; else _FAR."""
        starts = np.append(starts, _FAR)
        return np.where(starts[place] >> self._bits == of >> self._bits, starts[place], _FAR)


class Moment(Mapping[str, Record]):
    """What is certainly there at one line; as `Track.live`, and what `nearest` wants of a `Track`."""

    def __init__(self, lives: Lives, line: int, version: int) -> None:
        self._lives, self._at = lives, line
        self.version = version
        self.live = self
        self.foreign: tuple[tuple[str, Operation], ...] = ()  # where there are any, `follow` looks at every event

    def __getitem__(self, name: str) -> Record:
        record = self._lives.record(name, self._at)
        if record is None:
            raise KeyError(name)
        return record

    def __iter__(self) -> Iterator[str]:
        return iter(self._lives.records(self._at))

    def __len__(self) -> int:
        return len(self._lives.records(self._at))

    def items(self) -> ItemsView[str, Record]:
        """All at once."""
        return self._lives.records(self._at).items()


def _heads(*keys: npt.NDArray[np.signedinteger]) -> npt.NDArray[np.intp]:
    """Where a new combination of keys begins, in sorted ones."""
    fresh = np.zeros(len(keys[0]), dtype=np.bool_)
    fresh[:1] = True
    for key in keys:
        fresh[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(fresh)


def _overlapped(start: Points, end: Points, since: Points, until: Points) -> npt.NDArray[np.bool_]:
    """Which intervals since…until meet one of start…end that begins before they end?"""
    if not len(start):
        return np.zeros(len(since), dtype=np.bool_)
    order = np.argsort(start)
    latest = np.maximum.accumulate(end[order])
    place = np.searchsorted(start[order], until)
    return (place > 0) & (latest[place - 1] > since)
