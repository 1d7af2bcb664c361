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
_FEW: Final = 4  # lanes for which a step in step does not pay any more
_PATIENCE: Final = 64  # deletes that are looked at in search of one that can be spent
_DELETE, _READ, _POINT, _ZONE = 1, 2, 3, 4  # at equal times: a beginning (0), then these in this order


@dataclasses.dataclass(frozen=True, slots=True)
class Touches:
    """What touched some ids. All times on the common axis; an operation without end ends at the last point of its id.

    Attributes:
        span: points of time per id; lines are below `span - 1`.
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
    point = ~forward & (read | ~(touches.forever | touches.loose))
    bad = [touches.start[first < touches.start]]
    order = np.argsort(first[forward])
    zone_first, zone_last = first[forward][order], last[forward][order]
    bad.append(zone_first[1:][zone_last[:-1] > zone_first[1:]])
    if len(zone_first) or len(touches.absent_start):
        start = np.concatenate([last[point], touches.delete_start, touches.absent_start])
        end = np.concatenate([first[point], touches.delete_end, touches.absent_end])
        begin, due, within = _cut(zone_first, zone_last, start, end)
        bad.append(start[within])
        points, deletes = int(point.sum()), len(touches.delete_start)
        if len(touches.absent_start):
            undue = np.zeros(len(start), dtype=np.bool_)
            undue[points : points + deletes] = touches.undeleted
            bad.append(_play(touches.span, zone_first, begin, due, points, deletes, undue))
    return np.unique(np.concatenate(bad) // touches.span)


def _cut(zone_first: Ints, zone_last: Ints, start: Ints, end: Ints) -> tuple[Ints, Ints, Bools]:
    """Intervals cut to what lies outside the forward zones; and which of them lie wholly inside one."""
    if not len(zone_first):
        return start, end, np.zeros(len(start), dtype=np.bool_)
    place = np.searchsorted(zone_last, start)
    known = np.minimum(place, len(zone_first) - 1)
    inside = (place < len(zone_first)) & (zone_first[known] < start)
    begin = np.where(inside, zone_last[known], start)
    within = inside & (end < zone_last[known])
    before = np.searchsorted(zone_first, end) - 1
    cut = (before >= 0) & (end < zone_last[before])
    return begin, np.where(cut, zone_first[before], end), within


def _play(span: int, zone_first: Ints, begin: Ints, due: Ints, points: int, deletes: int, undue: Bools) -> Ints:
    """Play the game in all lanes; returns a point of time of each lane that is lost or given up."""
    number = len(begin)
    what = np.repeat(np.array([_POINT, _DELETE, _READ], np.int64), [points, deletes, number - points - deletes])
    keys = np.concatenate([begin * 8, due * 8 + what, zone_first * 8 + _ZONE])
    order = np.argsort(keys)
    keys = keys[order]
    # place[i]: where the beginning of interval i stands among all events; its end stands at place[number + i].
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    kind = keys & 7
    ids = keys // (8 * span)
    # Lanes begin with an id, and with a zone at which nothing is open (ends without end stand at the end of their id).
    change = np.where(kind == 0, 1, -1)
    change[kind == _ZONE] = 0
    fresh = (kind == _ZONE) & (np.cumsum(change) == 0)
    fresh[0] = True
    fresh[1:] |= ids[1:] != ids[:-1]
    lane = np.cumsum(fresh) - 1
    asked = np.zeros(int(lane[-1]) + 1, dtype=np.bool_)
    asked[lane[kind == _READ]] = True  # without a read of "absent" a lane cannot be lost
    step = asked[lane] & (kind != 0)
    step[place[number:][: len(undue)][undue]] = False
    return keys[_Lanes(np.flatnonzero(step), lane, kind, order, place, number, points, deletes).lost()] // 8


class _Lanes:
    """The lanes in which "absent" was read, and the game in them. An event is named by its place among all events."""

    def __init__(
        self,
        events: Ints,
        lane: Ints,
        kind: npt.NDArray[np.int64],
        order: Ints,
        place: Ints,
        number: int,
        points: int,
        deletes: int,
    ) -> None:
        self.events = events
        self.kind = kind[events]
        interval = order[events] - number
        self.zone = self.kind == _ZONE
        interval[self.zone] = 0
        self.since = np.where(self.zone, 0, place[interval])  # where its interval began
        # Deletes in the order in which they end among the events: each lane spends its own from the first on.
        ranked = points + np.argsort(place[number + points : number + points + deletes])
        rank = np.zeros(number, np.int64)
        rank[ranked] = np.arange(deletes)
        self.rank = rank[interval]
        self.used = np.zeros(deletes + 1, dtype=np.bool_)
        self.delete_since = np.append(place[ranked], np.iinfo(np.int64).max)
        of_lane = lane[events]
        starts = np.flatnonzero(np.append(True, of_lane[1:] != of_lane[:-1])) if len(events) else events
        lengths = np.diff(np.append(starts, len(events)))
        longest = np.argsort(-lengths, kind="stable")
        self.starts, self.lengths = starts[longest], lengths[longest]
        lanes_of_deletes = lane[place[ranked]]
        mine = of_lane[self.starts]
        self.next = np.searchsorted(lanes_of_deletes, mine)
        self.none = np.searchsorted(lanes_of_deletes, mine, side="right")

    def lost(self) -> Ints:
        """The last event of each lane that was lost, or given up."""
        lanes = len(self.starts)
        absent = np.ones(lanes, dtype=np.bool_)
        absent_until, clear = np.full(lanes, -1), np.full(lanes, -1)  # the last events that served reads, and points
        lost = np.zeros(lanes, dtype=np.bool_)
        steps = int(self.lengths[0]) if lanes else 0
        active = np.searchsorted(-self.lengths, -np.arange(steps), side="left")  # lanes longer than 0, 1, 2 …
        for step, many in enumerate(active.tolist()):
            if many < _FEW and step > 64:
                lost[:many] = True
                break
            at = self.starts[:many] + step
            kind, since, here = self.kind[at], self.since[at], self.events[at]
            is_absent = absent[:many]
            starved = np.flatnonzero((kind == _READ) & ~is_absent & (absent_until[:many] < since))
            ending = kind == _DELETE
            rank = self.rank[at]
            spend = ending & ~self.used[rank]
            self.used[rank[spend]] = True
            np.copyto(self.next[:many], rank + 1, where=ending)  # whatever ends earlier has ended and is spent
            if len(starved):
                spent = self._spend(starved, here[starved])
                spend[starved[spent]] = True
                lost[starved[~spent]] = True
            rise = (kind == _ZONE) | ((kind == _POINT) & is_absent & (clear[:many] < since))
            np.copyto(absent_until[:many], here, where=rise & is_absent)
            np.copyto(clear[:many], here, where=spend)
            is_absent |= spend
            is_absent &= ~rise
        return self.events[self.starts[lost] + self.lengths[lost] - 1]

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
