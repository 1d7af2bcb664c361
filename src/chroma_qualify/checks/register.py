"""Are the operations on one id linearizable? Decided exactly, in O(n log n).

A value is written once in a run, so the operations on one value form a *cluster*: the write and the reads of it.
Gibbons and Korach (Testing shared memories, 1997): let `first` be the earliest end in the cluster and `last` the
latest start. If `first < last` the register must hold the value all the way from `first` to `last` (a forward zone);
else everything can happen at one point between `last` and `first` (a backward zone). Linearizable means: no read
ends before its write starts, no two forward zones overlap, no backward zone lies inside a forward one.

"Absent" is the value that is not unique: every delete writes it, and it is there at the beginning. What is left
after the zones is a small game: outside the forward zones every ok delete (D) and every backward zone (P) takes one
point of its interval, every read of "absent" (R) a point at which the record is absent; D makes it absent, P and a
forward zone make it present. Doing things as late as possible is optimal: while present, open P's are free; while
absent, open R's are free; when an R can wait no longer, the open D with the earliest end is spent; when a D can wait
no longer, all open P's go right before it; when a P can wait no longer, the record becomes present and the open D's
are kept for later (they are then no less useful). So this part is exact, too: nothing is left `unknown` but what the
caller leaves out. Compared with Porcupine on random histories in the tests.

Indeterminate operations: an `info` write that nobody read, and an `info` delete, may be left out; an `info` write
that was read has no end; an `info` delete can be spent at any time after its start.

Points of time are the `index` of the lines: a total order. Called by `checks.registers`.
"""

from __future__ import annotations

import dataclasses
import enum
import heapq
import itertools
from collections.abc import Sequence

NEVER = 1 << 62  # the end of an operation without one


class Flaw(enum.Enum):
    """Why the operations on an id cannot be put into an order."""

    BEFORE_WRITE = "was read before it was written"
    TWO_AT_ONCE = "two values would have to be there at the same time"
    INSIDE = "a write was acknowledged and never took effect, between reads of another value"
    ABSENT_INSIDE = "read as absent between reads of its value"
    DELETE_INSIDE = "a delete was acknowledged and never took effect"
    ABSENT = "read as absent although it was written and not deleted"


@dataclasses.dataclass(slots=True)
class Cluster:
    """What is known of one value of one id; `add_read` keeps it up to date.

    Attributes:
        start: of its write; `end`: of its write, or NEVER.
        first: the earliest end of all its operations; `last`: the latest start.
        read: has anyone read it?
    """

    value: int
    start: int
    end: int
    first: int
    last: int
    read: bool = False

    def add_read(self, start: int, end: int) -> None:
        """Take a read of this value into account."""
        self.read = True
        self.first = min(self.first, end)
        self.last = max(self.last, start)


Span = tuple[int, int]  # start and end of an operation


@dataclasses.dataclass(frozen=True, slots=True)
class Conflict:
    """A smallest reason why there is no order.

    Attributes:
        values: the values whose zones are in conflict.
        points: indices of lines of operations that make the conflict.
    """

    flaw: Flaw
    values: tuple[int, ...]
    points: tuple[int, ...]


def new_cluster(value: int, start: int, end: int) -> Cluster:
    """The cluster of a write that nobody has read yet."""
    return Cluster(value, start, end, end, start)


def conflict(clusters: Sequence[Cluster], deletes: Sequence[Span], absent: Sequence[Span]) -> Conflict | None:
    """Decide whether the operations on one id are linearizable.

    Args:
        clusters: one per value; those of writes that may be left out and were not read are dropped.
        deletes: start and end of every delete that may have happened; an `info` one ends at NEVER.
        absent: start and end of every read that did not find the id.

    Returns:
        None if they are, else a reason.
    """
    zones: list[Cluster] = []
    points: list[tuple[int, int, int]] = []  # end, start, value of each backward zone
    for cluster in clusters:
        if cluster.first < cluster.start:
            return Conflict(Flaw.BEFORE_WRITE, (cluster.value,), (cluster.first, cluster.start))
        if cluster.first < cluster.last:
            zones.append(cluster)
        elif cluster.read or cluster.end != NEVER:
            points.append((cluster.first, cluster.last, cluster.value))
    zones.sort(key=_first)
    for left, right in itertools.pairwise(zones):
        if left.last > right.first:
            order = (left.start, left.first, left.last, right.start, right.first, right.last)
            return Conflict(Flaw.TWO_AT_ONCE, (left.value, right.value), order)
    if not zones and not absent:
        return None
    return _play(zones, points, deletes, absent)


def _first(cluster: Cluster) -> int:
    return cluster.first


_ZONE, _DELETE, _POINT, _READ = range(4)


def _play(
    zones: Sequence[Cluster], points: Sequence[tuple[int, int, int]], deletes: Sequence[Span], absent: Sequence[Span]
) -> Conflict | None:
    """The game of the module's docstring; every interval is first cut to what lies outside the forward zones."""
    starts: list[tuple[int, int, int, int]] = []  # start, what, end, number
    inside = {_POINT: Flaw.INSIDE, _DELETE: Flaw.DELETE_INSIDE, _READ: Flaw.ABSENT_INSIDE}
    spans = [(last, _POINT, first, value) for first, last, value in points]
    spans += [(start, _DELETE, end, 0) for start, end in deletes]
    spans += [(start, _READ, end, 0) for start, end in absent]
    spans.sort()
    place = 0
    firsts = [zone.first for zone in zones]
    for start, what, end, value in spans:
        while place < len(zones) and zones[place].last < start:
            place += 1
        begin = start
        if place < len(zones) and zones[place].first < start:
            zone = zones[place]
            if end < zone.last:
                values = (zone.value, value) if what == _POINT else (zone.value,)
                return Conflict(inside[what], values, (zone.start, zone.first, start, end, zone.last))
            begin = zone.last
        starts.append((begin, what, _cut(zones, firsts, end), start))
    starts.sort()
    return _sweep(zones, starts)


def _cut(zones: Sequence[Cluster], firsts: Sequence[int], end: int) -> int:
    """The latest point not after `end` that is in no forward zone."""
    if end == NEVER or not firsts:
        return end
    low, high = 0, len(firsts)
    while low < high:
        middle = (low + high) // 2
        if firsts[middle] < end:
            low = middle + 1
        else:
            high = middle
    return firsts[low - 1] if low and end < zones[low - 1].last else end


def _sweep(zones: Sequence[Cluster], starts: Sequence[tuple[int, int, int, int]]) -> Conflict | None:
    """Play from left to right. At equal times: deadlines of before a zone, the zone, then what starts after it."""
    is_absent = True
    place = 0
    present_since = 0
    # Open ones by deadline. Those served are dropped all at once: a served kind is emptied.
    open_deletes: list[tuple[int, int]] = []
    open_points: list[tuple[int, int]] = []
    open_reads: list[tuple[int, int]] = []
    heaps = {_DELETE: open_deletes, _POINT: open_points, _READ: open_reads}
    zone_number = 0
    far = NEVER + 1
    while True:
        due = min(heap[0][0] if heap else far for heap in (open_deletes, open_points, open_reads))
        zone_at = zones[zone_number].first if zone_number < len(zones) else far
        begin = starts[place][0] if place < len(starts) else far
        if begin <= due and begin <= zone_at and begin < NEVER:
            # What starts at the very time of a zone's end starts after it: the zone was played at its beginning.
            _, what, end, start = starts[place]
            place += 1
            if (what == _READ and is_absent) or (what == _POINT and not is_absent):
                continue  # free
            heapq.heappush(heaps[what], (end, start))
            continue
        if due <= zone_at and due < NEVER:
            if open_deletes and open_deletes[0][0] == due:
                heapq.heappop(open_deletes)
                open_points.clear()
                open_reads.clear()
                is_absent = True
            elif open_reads and open_reads[0][0] == due:
                if not open_deletes:
                    return Conflict(Flaw.ABSENT, (), (present_since, open_reads[0][1]))
                heapq.heappop(open_deletes)
                open_points.clear()
                open_reads.clear()
                is_absent = True
            else:
                present_since = open_points[0][1]
                open_points.clear()
                is_absent = False
            continue
        if zone_at < far:
            present_since = zones[zone_number].start
            open_points.clear()
            is_absent = False
            zone_number += 1
            continue
        return None
