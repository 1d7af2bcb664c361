"""Several servers on one volume, each written to: what an autoscaler on a shared claim makes of a write load.

No fault of `FAULTS`, for it needs clients of each replica and a scaling that the scenario chooses. Every replica
acknowledges, `get` finds everything, and each index holds another part; after the scale-in some records are in none.
Called by the scale-out scenarios.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import kubernetes.client

from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.deployment.apply import Deployed, scale
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults.base import RECOVERY_TIMEOUT, selector, wait_for_server
from chroma_qualify.faults.experiment import FINAL_PATIENCE, Context
from chroma_qualify.faults.experiments import ROUNDS, SCALED_OUT_WRITES, SHARED
from chroma_qualify.faults.pod_delete import PodDelete
from chroma_qualify.faults.strike import log_fault
from chroma_qualify.workload.client import create_collection
from chroma_qualify.workload.final import final_reads
from chroma_qualify.workload.history import Phase
from chroma_qualify.workload.plans import MOST_LANES, lane_values
from chroma_qualify.workload.records import Record
from chroma_qualify.workload.session import Session

BATCH = 100  # records; with ROUNDS of them each index passes two flushes
_READ = 2000  # ids per read of the index
_ONE_LEFT = 240.0  # seconds
_HANGS_AFTER = 20.0  # seconds without an answer to a count

Connect = Callable[[], Any]  # a chromadb client of one replica


def write_and_compare(replicas: Mapping[str, Connect], context: Context) -> dict[str, int]:
    """Write through all replicas at once, then ask each of them for everything, while nobody writes.

    Args:
        replicas: pod to a way to it; all are ready.
        context: of the run; the history is written there.

    Returns:
        Id to value of all that was tried.
    """
    create_collection(next(iter(replicas.values()))(), SHARED)
    sessions = {pod: Session(context.recorder, connect(), SHARED, endpoint=pod) for pod, connect in replicas.items()}
    parts = {
        pod: [Record(f"r-{number}-{n}", value) for n, value in enumerate(_take(context.seed, number))]
        for number, pod in enumerate(sessions)
    }
    _all_at_once([_writer(session, parts[pod]) for pod, session in sessions.items()])
    written = {record.id: record.value for part in parts.values() for record in part}
    near = next(Record(*item) for item in written.items())
    ids = sorted(written)
    for session in sessions.values():  # one after the other: the same questions, in one quiet period
        session.get(Phase.AFTER)
        session.query(Phase.AFTER, near, len(written))
        for start in range(0, len(ids), _READ):
            session.get_vectors(Phase.AFTER, ids[start : start + _READ])
    return written


def back_to_one(deployed: Deployed) -> None:
    """Scale to one server, and restart it, so that it reads its index anew.

    Raises:
        UndecidedError: more than one is left.
        CandidateError: none gets ready.
    """
    scale(deployed, 1)
    with deployed.cluster.api_client() as api:
        try:
            wait_for(
                "one server to be left",
                kubernetes.client.CoreV1Api(api).list_namespaced_pod,
                lambda pods: len(pods) == 1,
                timeout=_ONE_LEFT,
                namespace=deployed.namespace,
                label_selector=selector(deployed),
            )
        except WaitTimeoutError as error:
            raise UndecidedError(error.message) from error
    wait_for_server(deployed, "the one server to be ready", lambda state: state.ready, RECOVERY_TIMEOUT)
    _restart(deployed)


def _restart(deployed: Deployed, grace: int | None = None) -> None:
    restart = PodDelete("pod-delete", grace)
    injected = restart.inject(deployed)
    restart.prove(deployed, injected)
    restart.prove_undone(deployed, injected)


def read_finally(
    deployed: Deployed,
    connect: Callable[[float], Any],
    written: Mapping[str, int],
    context: Context,
    collection: str = SHARED,
) -> None:
    """The final reads of a collection, through the one server that is left."""
    if not Session(context.recorder, connect(_HANGS_AFTER), collection).count(Phase.FINAL).ok:
        # In one of twenty runs it reads its damaged index for ever; the liveness probe would end it after two minutes.
        _restart(deployed, grace=0)
    final_reads(Session(context.recorder, connect(FINAL_PATIENCE), collection), written)


def log(context: Context, begin: int, pods: Sequence[str], proven: int, healed: int) -> None:
    """Write down that several servers ran, and that one is left."""
    proof = {"claim": f"{len(pods)} servers were ready on one volume", "seen": ", ".join(pods)}
    undone = {"claim": "one server is left, restarted", "seen": ""}
    log_fault(
        context.run_dir,
        SCALED_OUT_WRITES,
        SCALED_OUT_WRITES,
        begin=begin,
        asked="scale out",
        proof=proof,
        proven=proven,
        undone=undone,
        healed=healed,
    )


def _take(seed: int, number: int) -> list[int]:
    values = lane_values(seed, MOST_LANES - 1 - number)
    return [next(values) for _ in range(ROUNDS * BATCH)]


def _writer(session: Session, records: Sequence[Record]) -> Callable[[], None]:
    def write() -> None:
        for start in range(0, len(records), BATCH):
            session.add(records[start : start + BATCH], Phase.DURING)

    return write


def _all_at_once(calls: Sequence[Callable[[], None]]) -> None:
    errors: list[BaseException] = []

    def guarded(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 (raised again by the thread that waits)
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
