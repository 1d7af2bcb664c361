"""Workloads as small values: what is sent, how often, decided by the seed alone.

A workload has several lanes, each a logical client with a thread of its own. `steps` gives what
a lane sends, without end; the same seed gives the same steps, so a run can be done again. What
the server answers changes no step (`runner` may only send an `add` as `upsert`, see there).
Called by `workload.runner`, the scenarios and `chroma-qualify plan`.
"""

from __future__ import annotations

import dataclasses
import enum
import random
from collections.abc import Callable, Iterator

from chroma_qualify.errors import UsageError
from chroma_qualify.workload.history import Op
from chroma_qualify.workload.records import Record

_LANE_BITS, _COUNT_BITS = 12, 20  # of a value: 4096 lanes in a run, a million values in each
MOST_LANES = 1 << (_LANE_BITS - 1)  # the other half of the numbers is for what is preloaded
PRELOAD_BATCH = 500  # records of a request before the traffic starts
NEVER_SYNC = 1_000_000  # a sync_threshold above every N: the index is never flushed, the log never purged


class Kind(enum.StrEnum):
    """What a workload is made to show."""

    APPEND = "append"  # unique ids, batches of mixed sizes: losses
    REGISTER = "register"  # few hot ids that all lanes write, delete and read: linearizability
    CHURN = "churn"  # delete and write again: resurrection, holes in the index
    BULK = "bulk"  # large batches over many persist boundaries: losses at a flush
    READ_ONLY = "read-only"  # reads of records that nobody touches: availability, recall


@dataclasses.dataclass(frozen=True, slots=True)
class Workload:
    """One collection and its traffic.

    Attributes:
        kind: what is sent.
        rate: operations a second, of all lanes together.
        lanes: logical clients.
        first_lane: number of the first one in the run; those of two workloads must not overlap.
        preload: records written before the traffic starts.
        sync_threshold: writes between two flushes of the index; None: the server's default, 1000.
        floor: share of the operations due in a phase that must have been done for the phase to count.
        scope: what the collection is for, e.g. an experiment; it begins the collection's name.
    """

    kind: Kind
    rate: float
    lanes: int = 4
    first_lane: int = 0
    preload: int = 0
    sync_threshold: int | None = None
    floor: float = 0.5
    scope: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot run.

        Raises:
            UsageError: it cannot.
        """
        if self.rate <= 0 or self.lanes < 1 or not 0 < self.floor <= 1 or self.preload < 0:
            raise UsageError(f"workload {self.kind}: rate, lanes and floor must be above 0, floor at most 1")
        if self.kind is Kind.READ_ONLY and self.preload < 1:
            raise UsageError("a read-only workload needs records to read: preload must be above 0")
        if self.first_lane < 0 or self.first_lane + self.lanes > MOST_LANES:
            raise UsageError(f"a run has at most {MOST_LANES} lanes")

    def due(self, lane: int, number: int) -> float:
        """When a lane sends its `number`-th operation: seconds since the start; the lanes take turns."""
        return (lane + number * self.lanes) / self.rate

    @property
    def collection(self) -> str:
        """The collection's name: one for each workload."""
        sync = "default" if self.sync_threshold is None else str(self.sync_threshold)
        name = f"{self.kind.value}-{self.first_lane}-sync-{sync}"
        return f"{self.scope}.{name}" if self.scope else name

    def as_json(self) -> dict[str, str | int | float | None]:
        """The form that plan.json carries."""
        return {**dataclasses.asdict(self), "kind": self.kind.value, "collection": self.collection}


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One operation of a plan.

    Attributes:
        f: what.
        records: of `add` and `upsert`.
        ids: of `delete` and `get`; None: all.
        vectors: `get` with embeddings; then `ids` are given.
        near: of `query`: whose own embedding is asked with.
        k: of `query`.
    """

    f: Op
    records: tuple[Record, ...] = ()
    ids: tuple[str, ...] | None = None
    vectors: bool = False
    near: Record | None = None
    k: int = 0


def steps(workload: Workload, seed: int, lane: int) -> Iterator[Step]:
    """What a lane sends, without end.

    Args:
        workload: the plan.
        seed: the run's.
        lane: 0 to `workload.lanes` - 1.
    """
    generate = _KINDS[workload.kind]
    number = workload.first_lane + lane
    chance = random.Random(f"{seed}/{workload.kind}/{number}")  # noqa: S311 (no secret)
    loaded = list(preload(workload, seed)) if workload.kind is Kind.READ_ONLY else []
    return generate(_Lane(workload, number, lane_values(seed, number), chance, loaded))


def both_settings(workload: Workload) -> tuple[Workload, Workload]:
    """The same traffic with the server's `sync_threshold` and with one that is never reached, side by side."""
    other = dataclasses.replace(workload, first_lane=workload.first_lane + workload.lanes, sync_threshold=NEVER_SYNC)
    return dataclasses.replace(workload, sync_threshold=None), other


def preload(workload: Workload, seed: int) -> tuple[Record, ...]:
    """The records that are written before the traffic; their values are a lane's of their own, behind the last."""
    values = lane_values(seed, (1 << _LANE_BITS) - 1 - workload.first_lane)
    return tuple(Record(f"{workload.kind.value}-p-{n}", next(values)) for n in range(workload.preload))


@dataclasses.dataclass(slots=True)
class _Lane:
    workload: Workload
    number: int
    values: Iterator[int]
    random: random.Random
    preloaded: list[Record]  # of read-only
    written: int = 0

    def fresh(self, count: int) -> tuple[Record, ...]:
        """Records with new ids."""
        start, self.written = self.written, self.written + count
        return tuple(
            Record(f"{self.workload.kind.value}-{self.number}-{start + n}", next(self.values)) for n in range(count)
        )

    def again(self, ids: tuple[str, ...]) -> tuple[Record, ...]:
        """New values for known ids."""
        return tuple(Record(id_, next(self.values)) for id_ in ids)

    def read(self, some: list[Record], most: int) -> Step:
        """A read of some of the given records, which are not empty."""
        choice = self.random.random()
        picked = tuple(record.id for record in self.random.sample(some, min(len(some), self.random.randint(1, most))))
        if choice < 0.5:
            return Step(Op.GET, ids=picked)
        if choice < 0.7:
            return Step(Op.GET, ids=picked, vectors=True)
        if choice < 0.9:
            return Step(Op.QUERY, near=self.random.choice(some), k=10)
        return Step(Op.COUNT)


def lane_values(seed: int, lane: int) -> Iterator[int]:
    """Numbers that no other lane and no run with another seed (of 30 bits) gives out."""
    first = (((seed % (1 << 30)) << _LANE_BITS) | lane) << _COUNT_BITS
    yield from range(first, first + (1 << _COUNT_BITS))
    raise UsageError(f"a lane has {1 << _COUNT_BITS} values; this run needs more", remedy="use more lanes")


def _append(lane: _Lane) -> Iterator[Step]:
    recent: list[Record] = []
    while True:
        if recent and lane.random.random() < 0.25:
            yield lane.read(recent, 20)
        else:
            records = lane.fresh(lane.random.choice((1, 1, 3, 10, 32, 100)))
            recent = [*recent, *records][-500:]
            yield Step(Op.ADD, records)


def _bulk(lane: _Lane) -> Iterator[Step]:
    while True:
        records = lane.fresh(lane.random.choice((250, 333, 500)))
        yield Step(Op.ADD, records)
        if lane.random.random() < 0.1:
            yield lane.read(list(records), 50)


def _register(lane: _Lane) -> Iterator[Step]:
    """Small operations on eight ids that every lane of the workload uses; no query: `near` has no one value."""
    hot = [f"{lane.workload.kind.value}-hot-{n}" for n in range(8)]
    while True:
        choice = lane.random.random()
        ids = tuple(lane.random.sample(hot, lane.random.randint(1, 3)))
        if choice < 0.45:
            yield Step(Op.UPSERT, lane.again(ids))
        elif choice < 0.6:
            yield Step(Op.DELETE, ids=ids)
        else:
            yield Step(Op.GET, ids=None if choice > 0.95 else ids)


def _churn(lane: _Lane) -> Iterator[Step]:
    """Each lane keeps about 300 records of its own and deletes and writes them again and again."""
    live: list[Record] = []
    gone: list[tuple[str, ...]] = []
    while True:
        choice = lane.random.random()
        if len(live) < 300 and not gone:
            records = lane.fresh(30)
            live += records
            yield Step(Op.ADD, records)
        elif choice < 0.35 and len(live) >= 100:
            lane.random.shuffle(live)
            picked, live = live[:25], live[25:]
            gone.append(tuple(record.id for record in picked))
            yield Step(Op.DELETE, ids=gone[-1])
        elif choice < 0.75 and gone:
            records = lane.again(gone.pop(0))
            live += records
            yield Step(Op.ADD, records)
        elif choice < 0.85 and gone:
            yield Step(Op.GET, ids=gone[-1])
        else:
            yield lane.read(live, 20)


def _read_only(lane: _Lane) -> Iterator[Step]:
    while True:
        yield lane.read(lane.preloaded, 50)


_KINDS: dict[Kind, Callable[[_Lane], Iterator[Step]]] = {
    Kind.APPEND: _append,
    Kind.BULK: _bulk,
    Kind.REGISTER: _register,
    Kind.CHURN: _churn,
    Kind.READ_ONLY: _read_only,
}
