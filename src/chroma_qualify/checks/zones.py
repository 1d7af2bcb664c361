"""Which ids are plainly linearizable? `register.conflict` for very many ids at once, on arrays.

The same zones and the same game as in `register` (read that first), but of all ids together: a point of time of id
number i is `i * span + line`, so that the ids lie one after the other on one axis and nothing of one can meet anything
of another. Sorting that axis sorts every id. The game is played in *lanes*: at the beginning of a forward zone that no
open operation straddles, the record is present and nothing is left over from before, so what comes after does not
depend on it. All lanes are played in step, one event of each at a time.

What is said here is one-sided: an id that is not named is linearizable; an id that is named may be, and the caller
asks `register.conflict` about it. (Named without need: the longest few lanes of all, which are cheaper one by one.)
"""

from __future__ import annotations

import dataclasses
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
_END: Final = np.iinfo(np.int64).max  # after all points of time
_FEW: Final = 4  # lanes for which a step in step does not pay any more
_PATIENCE: Final = 64  # deletes that are looked at in search of one that can be spent
_DELETE, _READ, _POINT, _ZONE = 1, 2, 3, 4  # at equal times: a beginning (0), then these in this order


@dataclasses.dataclass(frozen=True, slots=True)
class Touches:
    """What touched some ids. All times on the common axis; an operation without end ends at the last point of its id.

    Attributes:
        span: points of time per id, a power of two; lines are below `span - 1`.
        start: of each write, `end`: of it; `forever`: it has no end; `loose`: it may be left out if nobody read it.
        cluster: of each read, the write whose value it read; `read_start`, `read_end`: when.
        delete_start: of each delete that may have happened, `delete_end`: of it; `undeleted`: it has no end.
        absent_start: of each read that did not find the id; `absent_end`.
    """

    span: int
    start: Ints
    end: Ints
    forever: Bools
    loose: Bools
    cluster: Ints
    read_start: Ints
    read_end: Ints
    delete_start: Ints
    delete_end: Ints
    undeleted: Bools
    absent_start: Ints
    absent_end: Ints


def doubtful(touches: Touches) -> Ints:
    """The numbers, ascending, of the ids that are not proven linearizable."""
    first, last = touches.end.copy(), touches.start.copy()
    np.minimum.at(first, touches.cluster, touches.read_end)
    np.maximum.at(last, touches.cluster, touches.read_start)
    read = np.zeros(len(first), dtype=np.bool_)
    read[touches.cluster] = True
    forward = first < last
    # (Places of flags and not the flags themselves choose rows here: that is several times as fast.)
    point = np.flatnonzero(~forward & (read | ~(touches.forever | touches.loose)))
    zone = np.flatnonzero(forward)
    bad = [touches.start[first < touches.start]]
    zone_first = first[zone]
    order = np.argsort(zone_first)
    zone_first, zone_last = zone_first[order], last[zone[order]]
    bad.append(zone_first[1:][zone_last[:-1] > zone_first[1:]])
    if len(zone_first) or len(touches.absent_start):
        start = np.concatenate([last[point], touches.delete_start, touches.absent_start])
        end = np.concatenate([first[point], touches.delete_end, touches.absent_end])
        what = np.repeat(np.array([_POINT, _DELETE, _READ], np.int8), [len(point), *_lengths(touches)])
        within, cut = _cut(zone_first, zone_last, start, end)
        bad.append(start[within])
        if len(touches.absent_start):
            undue = np.zeros(len(start), dtype=np.bool_)
            undue[len(point) : len(point) + len(touches.undeleted)] = touches.undeleted
            spans, zones = _at_stake(cut, what, len(zone_first))
            bad.append(
                _play(touches.span, zone_first[zones], cut.begin[spans], cut.due[spans], what[spans], undue[spans])
            )
    return np.unique(np.concatenate(bad) >> _bits(touches.span))


def _bits(span: int) -> int:
    return span.bit_length() - 1


def _lengths(touches: Touches) -> tuple[int, int]:
    return len(touches.delete_start), len(touches.absent_start)


@dataclasses.dataclass(frozen=True, slots=True)
class _Cut:
    """Intervals, cut to what lies outside the forward zones.

    Attributes:
        begin, due: the first and the last point.
        gap: of the first point; gap number i lies before zone number i. `last_gap`: of the last point.
    """

    begin: Ints
    due: Ints
    gap: Ints
    last_gap: Ints


def _cut(zone_first: Ints, zone_last: Ints, start: Ints, end: Ints) -> tuple[Ints, _Cut]:
    """Cut intervals; and which of them lie wholly inside one zone."""
    number = len(zone_first)
    if not number:
        none = np.zeros(len(start), np.int64)
        return none[:0], _Cut(start, end, none, none)
    gap = np.searchsorted(zone_last, start)
    first, last = np.append(zone_first, _END), np.append(zone_last, _END)
    inside = np.flatnonzero(first[gap] < start)
    around = last[gap[inside]]
    within = inside[end[inside] < around]
    begin = start.copy()
    begin[inside] = around
    gap[inside] += 1
    # Most end in the gap in which they begin.
    far = np.flatnonzero(first[gap] < end)
    due, last_gap = end.copy(), gap.copy()
    next_gap = np.searchsorted(zone_first, end[far])
    before = next_gap - 1
    into = end[far] < zone_last[before]
    due[far] = np.where(into, zone_first[before], end[far])
    last_gap[far] = np.where(into, before, next_gap)
    return within, _Cut(begin, due, gap, last_gap)


def _at_stake(cut: _Cut, what: npt.NDArray[np.int8], zones: int) -> tuple[Ints, Ints]:
    """The intervals and the zones that have to do with a read of "absent": without one, no lane can be lost."""
    change = np.zeros(zones + 1, np.int64)
    far = np.flatnonzero(cut.last_gap > cut.gap)
    np.add.at(change, cut.gap[far], 1)
    np.add.at(change, cut.last_gap[far], -1)
    # A lane begins behind each zone that nothing straddles.
    lane = np.append(0, np.cumsum(np.cumsum(change[:-1]) <= 0))
    asked = np.zeros(int(lane[-1]) + 1, dtype=np.bool_)
    asked[lane[cut.gap[what == _READ]]] = True
    return np.flatnonzero(asked[lane[cut.gap]]), np.flatnonzero(asked[lane[1:]])


def _play(span: int, zone_first: Ints, begin: Ints, due: Ints, what: npt.NDArray[np.int8], undue: Bools) -> Ints:
    """Play the game in all lanes; returns a point of time of each lane that is lost or given up."""
    number = len(begin)
    keys = np.concatenate([begin << 3, (due << 3) + what, (zone_first << 3) + _ZONE])
    order = np.argsort(keys)
    keys = keys[order]
    # place[i]: where the beginning of interval i stands among all events; its end stands at place[number + i].
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    kind = (keys & 7).astype(np.int8)
    # Lanes begin with an id, and with a zone at which nothing is open (ends without end stand at the end of their id).
    zone = kind == _ZONE
    change = (kind == 0).astype(np.int8)
    change -= (kind != 0) & ~zone
    ids = keys >> (3 + _bits(span))
    fresh = zone & (np.cumsum(change, dtype=np.int32) == 0)
    fresh[0] = True
    fresh[1:] |= ids[1:] != ids[:-1]
    lane = np.cumsum(fresh, dtype=np.int32) - 1
    step = kind != 0
    step[place[number : 2 * number][undue]] = False
    events = np.flatnonzero(step)
    # After its last read of "absent" a lane cannot be lost any more. (Of equal places the last assignment counts.)
    reads = np.flatnonzero(kind == _READ)
    last_read = np.full(int(lane[-1]) + 1, -1)
    last_read[lane[reads]] = reads
    events = events[events <= last_read[lane[events]]]
    lanes = _Lanes(events, lane, kind, order, place, np.flatnonzero(what == _DELETE))
    return keys[lanes.lost()] >> 3


class _Lanes:
    """The lanes, and the game in them. An event is named by its place among all events."""

    def __init__(
        self,
        events: Ints,
        lane: npt.NDArray[np.int32],
        kind: npt.NDArray[np.int8],
        order: Ints,
        place: Ints,
        deletes: Ints,
    ) -> None:
        # The events in the order of the game: the first of each lane, the longest lane first; then the second …
        of_lane = lane[events]
        starts = np.flatnonzero(np.append(True, of_lane[1:] != of_lane[:-1])) if len(events) else events
        lengths = np.diff(np.append(starts, len(events)))
        longest = np.argsort(-lengths, kind="stable")
        self.lanes = len(starts)
        steps = np.arange(int(lengths.max(initial=0)))
        self.active = np.searchsorted(-lengths[longest], -steps, side="left")  # lanes longer than 0, 1, 2 …
        turn = np.empty(self.lanes, np.int64)
        turn[longest] = np.arange(self.lanes)
        step = np.arange(len(events)) - np.repeat(starts, lengths)
        game = np.empty(len(events), np.int64)
        game[(np.cumsum(self.active) - self.active)[step] + np.repeat(turn, lengths)] = np.arange(len(events))
        self.events = events = events[game]
        kinds = kind[events]
        self.zone, self.point, self.read = kinds == _ZONE, kinds == _POINT, kinds == _READ
        self.delete = kinds == _DELETE
        number = (len(order) - int((kind == _ZONE).sum())) // 2
        interval = order[events] - number
        interval[self.zone] = 0
        self.since = place[interval] if number else interval  # where its interval began
        # Deletes in the order in which they end among the events: each lane spends its own from the first on.
        ranked = deletes[np.argsort(place[number + deletes])]
        rank = np.zeros(max(number, 1), np.int64)
        rank[ranked] = np.arange(len(ranked))
        self.rank = rank[interval]
        self.used = np.zeros(len(ranked) + 1, dtype=np.bool_)
        self.delete_since = np.append(place[ranked], np.iinfo(np.int64).max)
        mine, theirs = lane[events[: self.lanes]], lane[place[ranked]]
        self.next = np.searchsorted(theirs, mine)
        self.none = np.searchsorted(theirs, mine, side="right")

    def lost(self) -> Ints:
        """The first event of each lane that was lost, or given up."""
        absent = np.ones(self.lanes, dtype=np.bool_)
        # The last events that served reads, and points.
        absent_until, clear = np.full(self.lanes, -1), np.full(self.lanes, -1)
        lost = np.zeros(self.lanes, dtype=np.bool_)
        begin = 0
        for step, many in enumerate(self.active.tolist()):
            if many < _FEW and step > 64:
                lost[:many] = True
                break
            now = slice(begin, begin + many)
            begin += many
            since, here, ending, rank = self.since[now], self.events[now], self.delete[now], self.rank[now]
            is_absent = absent[:many]
            starved = np.flatnonzero(self.read[now] & ~is_absent & (absent_until[:many] < since))
            spend = ending & ~self.used[rank]
            self.used[rank[spend]] = True
            np.copyto(self.next[:many], rank + 1, where=ending)  # whatever ends earlier has ended and is spent
            if len(starved):
                spent = self._spend(starved, here[starved])
                spend[starved[spent]] = True
                lost[starved[~spent]] = True
            rise = self.zone[now] | (self.point[now] & is_absent & (clear[:many] < since))
            np.copyto(absent_until[:many], here, where=rise & is_absent)
            np.copyto(clear[:many], here, where=spend)
            is_absent |= spend
            is_absent &= ~rise
        return self.events[: self.lanes][lost]

    def _spend(self, lanes: Ints, here: Ints) -> Bools:
        """In each of these lanes spend the delete with the earliest end that has begun and is not spent, if any."""
        rank = self.next[lanes]
        for _ in range(_PATIENCE):
            over = (rank < self.none[lanes]) & (self.used[rank] | (self.delete_since[rank] > here))
            if not over.any():
                break
            rank += over
        ready = (rank < self.none[lanes]) & ~over
        self.used[rank[ready]] = True
        return ready
