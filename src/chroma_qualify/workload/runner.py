"""Sends workloads at their rates, in threads, while the caller makes faults.

    with Traffic(recorder, connect, workloads, seed, clock) as traffic:
        ...                          # phase `before`
        traffic.enter(Phase.DURING)  # then the fault
        traffic.enter(Phase.AFTER)
    traffic.report()                 # was it enough, per phase
    final_reads(...)                 # workload.final

The pace is a schedule (open loop): an operation is due when the schedule says so, whatever the
server does. A lane that was held up by a slow answer sends what is overdue at once, so that
a stalled server shows as traffic that waits, not as traffic that was never meant.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from chroma_qualify.errors import UsageError
from chroma_qualify.workload import client as chroma_client
from chroma_qualify.workload.history import Answer, Clock, Op, Outcome, Phase
from chroma_qualify.workload.plans import PRELOAD_BATCH, Step, Workload, preload, steps
from chroma_qualify.workload.recorder import Recorder
from chroma_qualify.workload.records import batches
from chroma_qualify.workload.session import Session

Connect = Callable[[], Any]  # gives a chromadb client, see workload.client.connect
_DURING_FLOOR = 0.1  # of the traffic due: while a fault lasts, waiting for it is no fault of the run


@dataclasses.dataclass(frozen=True, slots=True)
class PhaseTraffic:
    """What one workload did in one phase.

    Attributes:
        collection: of the workload.
        phase: which.
        seconds: how long it lasted.
        due: operations that the rate asks for in that time.
        invoked: operations sent.
        ok: of those, acknowledged.
        fail: that certainly did not happen.
        info: that may have happened.
        floor: how many are needed: acknowledged ones before and after a fault, sent ones while it lasts.
    """

    collection: str
    phase: Phase
    seconds: float
    due: int
    invoked: int
    ok: int
    fail: int
    info: int
    floor: int

    @property
    def enough(self) -> bool:
        """Does the phase count."""
        return (self.invoked if self.phase is Phase.DURING else self.ok) >= self.floor

    def as_json(self) -> dict[str, str | int | float | bool]:
        """For the run directory."""
        return {**dataclasses.asdict(self), "phase": self.phase.value, "enough": self.enough}


def floors(report: Iterable[PhaseTraffic]) -> dict[str, int]:
    """What plan.json carries as `limits.floors`: per phase, the acknowledged operations needed in all.

    Of a fault's own time only what was sent counts (`PhaseTraffic.enough`): no floor for `during`.
    """
    needed: dict[str, int] = {}
    for each in report:
        if each.phase is not Phase.DURING:
            needed[each.phase.value] = needed.get(each.phase.value, 0) + each.floor
    return needed


class Traffic:
    """Workloads on their way. Made by one thread, which also sets the phases."""

    def __init__(
        self,
        recorder: Recorder,
        connect: Connect,
        workloads: Sequence[Workload],
        seed: int,
        clock: Clock,
        connect_patiently: Connect | None = None,
    ) -> None:
        """Plan only; nothing is sent before `with`.

        Args:
            recorder: of the run.
            connect: for each lane.
            workloads: what to send.
            seed: the run's.
            clock: the run's.
            connect_patiently: for what comes before the traffic; None: `connect`.

        Raises:
            UsageError: two workloads share lanes, and so values.
        """
        taken: set[int] = set()
        for workload in workloads:
            lanes = set(range(workload.first_lane, workload.first_lane + workload.lanes))
            if lanes & taken:
                raise UsageError(f"two workloads have the lane {min(lanes & taken)}", remedy="choose first_lane apart")
            taken |= lanes
        self._recorder = recorder
        self._connect = connect
        self._connect_patiently = connect_patiently or connect
        self._workloads = tuple(workloads)
        self._seed = seed
        self._clock = clock
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._errors: list[BaseException] = []
        self._lock = threading.Lock()
        self._written: dict[str, dict[str, int]] = {workload.collection: {} for workload in workloads}
        self._phase = Phase.BEFORE
        self._entered: list[tuple[Phase, int]] = []
        self._ended = 0

    def __enter__(self) -> Self:
        """Make the collections, load what is to be loaded, start the lanes."""
        lanes: list[tuple[Workload, int, Session]] = []
        for workload in self._workloads:
            client = self._connect_patiently()
            chroma_client.create_collection(client, workload.collection, sync_threshold=workload.sync_threshold)
            self._load(workload, Session(self._recorder, client, workload.collection))
            lanes += [
                (workload, lane, Session(self._recorder, self._connect(), workload.collection))
                for lane in range(workload.lanes)
            ]
        start = self._clock()
        self._entered = [(Phase.BEFORE, start)]
        for workload, lane, session in lanes:
            self._threads.append(
                threading.Thread(
                    target=self._guarded,
                    args=(workload, lane, session, start),
                    name=f"{workload.collection}/{lane}",
                    daemon=True,
                )
            )
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and wait until every lane has its last answer; when interrupted (Ctrl-C), wait for none.

        Raises:
            BaseException: what ended a lane, unless something else is on its way.
        """
        self._ended = self._clock()
        self._stop.set()
        if error is not None and not isinstance(error, Exception):
            return  # they are daemons, and their calls stay open in the history
        for thread in self._threads:
            thread.join()
        if self._errors and error is None:
            raise self._errors[0]

    @property
    def failed(self) -> bool:
        """Did a lane end by an error of ours; `with` raises it at its end."""
        return bool(self._errors)

    @property
    def error(self) -> BaseException | None:
        """What ended the first lane that ended before its time."""
        return self._errors[0] if self._errors else None

    def enter(self, phase: Phase) -> None:
        """Operations sent from now on belong to this phase."""
        self._entered.append((phase, self._clock()))
        self._phase = phase

    def written(self, workload: Workload) -> dict[str, int]:
        """Id to the value last tried for it: whatever may be there, `final_reads` asks for."""
        with self._lock:
            return dict(self._written[workload.collection])

    def report(self) -> tuple[PhaseTraffic, ...]:
        """The traffic of each workload in each phase; after the end of `with`."""
        lasted: dict[Phase, int] = {}
        ends = [start for _, start in self._entered[1:]] + [self._ended]
        for (phase, start), end in zip(self._entered, ends, strict=True):
            lasted[phase] = lasted.get(phase, 0) + end - start
        return tuple(
            self._traffic(workload, phase, time / 1e9) for workload in self._workloads for phase, time in lasted.items()
        )

    def _traffic(self, workload: Workload, phase: Phase, seconds: float) -> PhaseTraffic:
        due = int(workload.rate * seconds)
        name = workload.collection
        ok, fail, info = (self._recorder.ended(name, phase, outcome) for outcome in Outcome)
        loaded = -(-workload.preload // PRELOAD_BATCH) if phase is Phase.BEFORE else 0  # not traffic
        return PhaseTraffic(
            collection=name,
            phase=phase,
            seconds=round(seconds, 3),
            due=due,
            invoked=self._recorder.invoked(name, phase) - loaded,
            ok=ok - loaded,
            fail=fail,
            info=info,
            floor=max(1, int(due * (min(workload.floor, _DURING_FLOOR) if phase is Phase.DURING else workload.floor))),
        )

    def _load(self, workload: Workload, session: Session) -> None:
        for part in batches(preload(workload, self._seed), PRELOAD_BATCH):
            answer = session.add(part, Phase.BEFORE)
            if not answer.ok:
                raise UsageError(f"cannot load the records of {workload.collection}: {answer.error}")
            self._written[workload.collection].update((record.id, record.value) for record in part)

    def _guarded(self, workload: Workload, lane: int, session: Session, start: int) -> None:
        try:
            self._lane(workload, lane, session, start)
        except BaseException as error:  # noqa: BLE001 (raised again by the thread that waits)
            self._errors.append(error)

    def _lane(self, workload: Workload, lane: int, session: Session, start: int) -> None:
        doubtful: set[str] = set()
        for number, step in enumerate(steps(workload, self._seed, lane)):
            wait = workload.due(lane, number) - (self._clock() - start) / 1e9
            if self._stop.wait(max(0, wait)):
                return
            if step.records:
                with self._lock:
                    self._written[workload.collection].update((record.id, record.value) for record in step.records)
            answer = send(session, step, self._phase, doubtful)
            if not answer.ok and step.f.writes:
                doubtful.update(record.id for record in step.records)
                doubtful.update(step.ids or ())


def send(session: Session, step: Step, phase: Phase, doubtful: set[str]) -> Answer:  # noqa: PLR0911 (one per operation)
    """Send one step.

    Chroma acknowledges an `add` of an id that it has and ignores it. After a delete that did
    not surely happen, such an `add` says nothing, so it is sent as `upsert`.

    Args:
        session: by whom.
        step: what.
        phase: when.
        doubtful: ids of the lane with a write that was not acknowledged.
    """
    match step.f:
        case Op.ADD if doubtful.isdisjoint(record.id for record in step.records):
            return session.add(step.records, phase)
        case Op.ADD | Op.UPSERT:
            return session.upsert(step.records, phase)
        case Op.DELETE if step.ids is not None:
            return session.delete(step.ids, phase)
        case Op.GET if step.vectors and step.ids is not None:
            return session.get_vectors(phase, step.ids)
        case Op.GET:
            return session.get(phase, step.ids)
        case Op.QUERY if step.near is not None:
            return session.query(phase, step.near, step.k)
        case Op.COUNT:
            return session.count(phase)
    raise ValueError(f"no such step: {step}")
