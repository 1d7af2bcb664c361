"""One pass over a collection's events in their order: what is certainly there, certainly gone, or in doubt.

*Certainly live*: a write was acknowledged and no delete that may have happened can come after it. *Certainly gone*:
a delete was acknowledged and no write that may have happened can come after it. All comparisons are by line index,
never by time. Reads are held against that at once; `checks.rules` makes findings from what is noted here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from chroma_qualify.checks.operation import WRITES, F, Kind, Operation, Phase
from chroma_qualify.checks.plain import Rest
from chroma_qualify.checks.register import NEVER, Cluster, Span, new_cluster
from chroma_qualify.checks.tables import GONE_FROM_INDEX

Hit = tuple[str, Operation]  # an id and the read that shows it


@dataclasses.dataclass(slots=True)
class Live:
    """A record that is certainly there: since which line, its value if that is certain, too, and by which write."""

    since: int
    value: int | None
    write: Operation


@dataclasses.dataclass(slots=True)
class Absences:
    """Reads of one kind that did not find a record that was certainly there."""

    write: Operation  # that was acknowledged
    first: Operation
    last: Operation
    number: int = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Stale:
    """Absent first, present in a later read."""

    id: str
    absences: Absences
    found: Operation
    what: str  # "store" or "index"


@dataclasses.dataclass(frozen=True, slots=True)
class Disagreement:
    """Two reads through different endpoints with no write between them."""

    one: Operation
    other: Operation
    ids: tuple[str, ...]
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Miscount:
    """A count that is not between what is certainly live (`least`) and what may be (`most`)."""

    operation: Operation
    least: int
    most: int
    gone: int


@dataclasses.dataclass(slots=True)
class Register:
    """What touched one id, as `register.conflict` wants it."""

    clusters: dict[int, Cluster] = dataclasses.field(default_factory=dict)
    deletes: list[Span] = dataclasses.field(default_factory=list)
    absent: list[Operation] = dataclasses.field(default_factory=list)
    optional: set[int] = dataclasses.field(default_factory=set)  # values of adds that may have met an existing record


class Track:
    """The state of one collection while its events pass by, and what was noted.

    Args:
        watch: called with each acknowledged query that carries `near`, and this track.
        rest: only a part of the events passes by, and this is what there is to say of the other ids; what concerns
            the collection as a whole is not noted then.
        names: of the ids of `rest`.
    """

    def __init__(
        self,
        collection: str,
        watch: Callable[[Operation, Track], bool] | None = None,
        *,
        rest: Rest | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self.collection = collection
        self.rest = rest
        self.names = names
        self.live: dict[str, Live] = {}
        self.gone: dict[str, int] = {}
        self.registers: dict[str, Register] = {}  # of every id that may have been written
        self.version = 0  # changes whenever `live` does
        self.phantom: list[Hit] = []
        self.resurrected: list[Hit] = []
        self.foreign: list[Hit] = []  # a value that was never written under this id
        self.repeated: list[Hit] = []
        self.stale: list[Stale] = []
        self.disagreements: list[Disagreement] = []
        self.miscounts: list[Miscount] = []
        self.short_counts: list[tuple[Miscount, float]] = []  # for how many seconds all that is missing was there
        self.missing: dict[str, dict[str, Absences]] = {"store": {}, "index": {}}
        self.seen: dict[str, set[str]] = {"store": set(), "index": set()}  # in final reads
        self.exact: set[str] = set()  # of `seen["index"]`: whose embedding was read, not only found by a query
        self.missed: dict[str, dict[str, Operation]] = {"store": {}, "index": {}}
        self.final_reads = 0
        self.final_counts: list[Miscount] = []
        self._watch = watch
        self._failed: dict[int, str] = {}
        self._early: dict[str, list[Span]] = {}  # deletes of ids that nobody had tried to write
        self._open_writes: dict[str, int] = {}
        self._open_deletes: dict[str, int] = {}
        self._last_write: dict[str, int] = {}
        self._last_delete: dict[str, int] = {}
        self._epoch = 0
        self._writing = 0
        self._begun: dict[int, int] = {}
        self._quiet: dict[tuple[object, ...], dict[str, Operation]] = {}

    def begin(self, op: Operation) -> None:
        """An invocation passes by."""
        if op.f in WRITES:
            if op.kind is Kind.FAIL:
                self._failed.update((value, id_) for id_, value in op.values.items())
                return
            self._begin_write(op)
        elif op.f is F.DELETE:
            if op.kind is Kind.FAIL:
                return
            self._begin_delete(op)
        else:
            self._begun[op.index] = self._epoch
            return
        self._stir(1 if op.kind is Kind.OK else 0)

    def end(self, op: Operation, at: int) -> None:
        """A completion passes by, at line `at`."""
        if op.f in WRITES or op.f is F.DELETE:
            if op.kind is Kind.OK:
                (self._end_write if op.f in WRITES else self._end_delete)(op, at)
                self._stir(-1)
            return
        epoch = self._begun.pop(op.index, -1)
        if op.kind is not Kind.OK:
            if op.vectors and op.ids is not None and len(op.ids) == 1 and GONE_FROM_INDEX in op.error.lower():
                self._absent(op, op.ids, "index")
            return
        if op.f is F.COUNT:
            self._count(op)
        else:
            self._read(op, at)
        if epoch == self._epoch and not self._writing and op.endpoint is not None and self.rest is None:
            self._compare(op)

    def _stir(self, change: int) -> None:
        self._epoch += 1
        self._writing += change
        if self._quiet:
            self._quiet.clear()

    def _begin_write(self, op: Operation) -> None:
        index = op.index
        end = op.done if op.kind is Kind.OK and op.done is not None else NEVER
        registers, live, gone, writes = self.registers, self.live, self.gone, self._open_writes
        for id_, value in op.values.items():
            register = registers.get(id_)
            if register is None:
                register = registers[id_] = Register()
                if id_ in self._early:
                    register.deletes = self._early.pop(id_)
            elif op.f is F.ADD and id_ not in gone:
                register.optional.add(value)  # an add of an existing id is acknowledged and changes nothing
            register.clusters[value] = new_cluster(value, index, end)
            if gone:
                gone.pop(id_, None)
            there = live.get(id_)
            if there is not None and op.f is F.UPSERT:
                there.value = None
            writes[id_] = writes.get(id_, 0) + 1
        self.version += 1

    def _end_write(self, op: Operation, at: int) -> None:
        index = op.index
        live, writes = self.live, self._open_writes
        for id_, value in op.values.items():
            left = writes[id_] - 1
            if left:
                writes[id_] = left
            else:
                del writes[id_]
            certain = not left and self._last_write.get(id_, -1) < index
            self._last_write[id_] = at
            if id_ in self._open_deletes or self._last_delete.get(id_, -1) > index:
                continue
            there = live.get(id_)
            known = value if certain and value not in self.registers[id_].optional else None
            if there is None:
                live[id_] = Live(at, known, op)
            elif op.f is F.UPSERT:
                there.value = known
        self.version += 1

    def _begin_delete(self, op: Operation) -> None:
        end = op.done if op.kind is Kind.OK and op.done is not None else NEVER
        for id_ in dict.fromkeys(op.ids or ()):
            self.live.pop(id_, None)
            for what in ("store", "index"):
                self.missing[what].pop(id_, None)
                self.missed[what].pop(id_, None)
                self.seen[what].discard(id_)
            self.exact.discard(id_)
            self._open_deletes[id_] = self._open_deletes.get(id_, 0) + 1
            register = self.registers.get(id_)
            deletes = self._early.setdefault(id_, []) if register is None else register.deletes
            deletes.append((op.index, end))
        self.version += 1

    def _end_delete(self, op: Operation, at: int) -> None:
        for id_ in dict.fromkeys(op.ids or ()):
            left = self._open_deletes[id_] - 1
            if left:
                self._open_deletes[id_] = left
            else:
                del self._open_deletes[id_]
            self._last_delete[id_] = at
            if id_ not in self.registers or id_ in self._open_writes or self._last_write.get(id_, -1) > op.index:
                continue
            self.gone.setdefault(id_, at)  # deleted again, it has been gone since the first time

    def _read(self, op: Operation, at: int) -> None:
        values = op.values
        if op.repeated:
            self.repeated.extend((id_, op) for id_ in op.repeated)
        accused = self._strange(op) if values else frozenset()
        registers = self.registers
        index = op.index
        for id_, value in values.items():
            if id_ in accused:
                continue
            cluster = registers[id_].clusters.get(value)
            if cluster is None:
                self.foreign.append((id_, op))
                continue
            cluster.read = True  # as Cluster.add_read, without the call: this is the innermost loop
            if at < cluster.first:  # noqa: PLR1730
                cluster.first = at
            if index > cluster.last:  # noqa: PLR1730
                cluster.last = index
        self._found(op)
        if op.f is F.GET:
            self._absent(op, op.ids, "index" if op.vectors else "store")
        elif op.near is not None:
            if op.near not in values and op.phase is Phase.FINAL:
                self._missed(op, op.near, "index")
            if self._watch is not None:
                self._watch(op, self)

    def _strange(self, op: Operation) -> frozenset[str]:
        """Note what nothing wrote and what was deleted; returns those ids."""
        values, registers = op.values, self.registers
        # Not `values.keys() - registers.keys()`: that looks at every id ever written, for each read.
        accused = {id_ for id_ in values if id_ not in registers}
        if self._failed:
            for id_, value in values.items():
                if self._failed.get(value) == id_ and id_ in registers and value not in registers[id_].clusters:
                    accused.add(id_)
        self.phantom.extend((id_, op) for id_ in sorted(accused))
        if self.gone:
            back = {id_ for id_ in self.gone.keys() & values.keys() if self.gone[id_] < op.index} - accused
            back = {id_ for id_ in back if values[id_] in registers[id_].clusters}
            self.resurrected.extend((id_, op) for id_ in sorted(back))
            accused |= back
        return frozenset(accused)

    def _found(self, op: Operation) -> None:
        """Note what was there: what had been missing before was stale."""
        kinds = ("store", "index") if op.vectors or op.f is F.QUERY else ("store",)
        for what in kinds:
            missing = self.missing[what]
            # A query finds a record by whatever embedding it has: that does not show the right one, absent before.
            if missing and (what == "store" or op.vectors):
                for id_ in missing.keys() & op.values.keys():
                    if missing[id_].first.index < op.index:
                        self.stale.append(Stale(id_, missing.pop(id_), op, what))
            if op.phase is Phase.FINAL:
                self.seen[what].update(op.values)
        if op.vectors and op.phase is Phase.FINAL:
            self.exact.update(op.values)

    def _absent(self, op: Operation, ids: Iterable[str] | None, what: str) -> None:
        """Note the certainly live records that a read should have found, and did not."""
        if what == "store":
            self._note_absent_registers(op)
            self.final_reads += op.phase is Phase.FINAL
        lost = self.live.keys() - op.values.keys() if ids is None else set(ids) - op.values.keys()
        for id_ in sorted(lost):
            there = self.live.get(id_)
            if there is None or there.since > op.index:
                continue
            known = self.missing[what].get(id_)
            if known is None:
                self.missing[what][id_] = Absences(there.write, op, op)
            else:
                known.last = op
                known.number += 1
            if op.phase is Phase.FINAL:
                self.missed[what][id_] = op

    def _missed(self, op: Operation, id_: str, what: str) -> None:
        there = self.live.get(id_)
        if there is not None and there.since < op.index:
            self.missed[what][id_] = op

    def _note_absent_registers(self, op: Operation) -> None:
        """Reads of "absent" of ids that someone may have written (before that, absent is trivially right)."""
        if op.ids is None:
            unread = self.registers.keys() - op.values.keys() - self.gone.keys()
            unread |= {id_ for id_ in self.gone if self.gone[id_] > op.index and id_ not in op.values}
        else:
            unread = {id_ for id_ in op.ids if id_ in self.registers and id_ not in op.values}
        for id_ in unread:
            self.registers[id_].absent.append(op)

    def _count(self, op: Operation) -> None:
        count = op.count or 0
        least = len(self.live)
        if count < least or op.phase is Phase.FINAL:
            least = sum(1 for there in self.live.values() if there.since < op.index)
        gone = len(self.gone)
        most = len(self.registers) - gone
        if count > most:
            gone = sum(1 for since in self.gone.values() if since < op.index)
            most = len(self.registers) - gone
            if count > most:
                self.miscounts.append(Miscount(op, least, most, gone))
        if count < least:  # if the youngest are those that it missed, it is the least stale
            ends = sorted(there.write.end or 0 for there in self.live.values() if there.since < op.index)
            self.short_counts.append((Miscount(op, least, most, gone), (op.start - ends[max(count, 0) - least]) / 1e9))
        if op.phase is Phase.FINAL:
            self.final_counts.append(Miscount(op, least, most, gone))

    def _compare(self, op: Operation) -> None:
        """Hold a read against the same question through other endpoints, as long as nothing is written."""
        key: tuple[object, ...]
        if op.f is F.QUERY:
            whole = op.k >= len(self.registers)
            if op.near is None and not whole:
                return
            key = (op.f, op.near, whole)
        else:
            key = (op.f, op.ids, op.vectors)
        others = self._quiet.setdefault(key, {})
        for other in others.values():
            if other.endpoint != op.endpoint:
                found = self._differ(other, op)
                if found is not None:
                    self.disagreements.append(found)
        if op.endpoint is not None:
            others.setdefault(op.endpoint, op)

    def _differ(self, one: Operation, other: Operation) -> Disagreement | None:
        in_doubt = self._open_writes.keys() | self._open_deletes.keys()  # what may still surface or vanish
        if other.f is F.COUNT:
            apart = abs((one.count or 0) - (other.count or 0))
            if apart <= len(in_doubt):
                return None
            return Disagreement(one, other, (), f"they count {one.count} and {other.count} records")
        if one.values == other.values:
            return None
        apart_ids = {id_ for id_, _ in one.values.items() ^ other.values.items()} - in_doubt
        if other.f is F.QUERY:
            near = other.near
            near_apart = near is not None and near not in in_doubt and (near in one.values) != (near in other.values)
            # The index is approximate: two healthy answers of k = all differ by up to 0.6 % of the records.
            many = other.k >= len(self.registers) and len(apart_ids) > max(5, len(self.live) // 100)
            wrong = {id_ for id_ in one.values.keys() & other.values.keys() if one.values[id_] != other.values[id_]}
            if not near_apart and not many and not wrong - in_doubt:
                return None
        if not apart_ids:
            return None
        what = "index" if other.vectors or other.f is F.QUERY else "store"
        text = f"they differ in {len(apart_ids)} records of the {what} ({len(one.values)} and {len(other.values)} read)"
        return Disagreement(one, other, tuple(sorted(apart_ids)), text)
