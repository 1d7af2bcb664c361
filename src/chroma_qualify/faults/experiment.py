"""One experiment: traffic, a fault in the middle of it, more traffic, and at last everything is read.

It only acts and records; the judgement is of `checks.run`, from what was written down. Called by the plugin's `bench`.
"""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import CandidateError, UndecidedError
from chroma_qualify.faults.experiments import Experiment, floors
from chroma_qualify.faults.pod_delete import PodDelete
from chroma_qualify.faults.strike import Struck, log_fault, strike
from chroma_qualify.workload.final import FinalReads, final_reads
from chroma_qualify.workload.history import Clock, Outcome, Phase
from chroma_qualify.workload.recorder import Recorder
from chroma_qualify.workload.runner import Traffic
from chroma_qualify.workload.session import Session

Connect = Callable[[float], Any]  # seconds of patience → a chromadb client

PATIENCE = 10.0  # seconds that a client of the traffic waits for an answer
FINAL_PATIENCE = 60.0  # a restarted server loads its index, or replays its log, at the first read
_LULL = 1.5  # seconds; the fault strikes at a random moment of this length
_PHASE_TIMEOUT = 180.0  # seconds for the floors of a phase
_HOPELESS = 24.0  # seconds after which a collection that failed as often as half a floor is not waited for any longer
_NEAR = 40  # records of a collection that are asked for by their own embedding


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """What all experiments of a run share."""

    recorder: Recorder
    clock: Clock
    run_dir: Path
    seed: int


@dataclasses.dataclass(frozen=True, slots=True)
class Done:
    """An experiment that came to its end; `final` by collection."""

    struck: Struck
    final: dict[str, FinalReads]


def perform(
    experiment: Experiment, deployed: Deployed, connect: Connect, context: Context, connect_patiently: Connect
) -> Done:
    """Do it.

    Args:
        experiment: which.
        deployed: with one ready server.
        connect: how clients reach it, also while it is struck.
        context: of the run; history and faults are written there.
        connect_patiently: the same for what is loaded before, and for the final reads, which outlast a restart of
            the server.

    Raises:
        UndecidedError: the fault has no proof, or the clients could not begin.
        CandidateError: the server did not come back; the final reads are not made then.
    """
    chance = random.Random(f"{context.seed}/{experiment.name}")  # noqa: S311 (no secret)
    traffic = Traffic(
        context.recorder,
        lambda: connect(PATIENCE),
        experiment.workloads,
        context.seed,
        context.clock,
        lambda: connect_patiently(FINAL_PATIENCE),
    )
    with traffic:
        wait_for_floors(experiment, traffic, context.recorder, Phase.BEFORE)
        threading.Event().wait(chance.uniform(0, _LULL))
        traffic.enter(Phase.DURING)
        struck = strike(
            experiment.fault, deployed, context.run_dir, context.clock, experiment=experiment.name, hold=experiment.hold
        )
        wait_for_floors(experiment, traffic, context.recorder, Phase.DURING)
        traffic.enter(Phase.AFTER)
        wait_for_floors(experiment, traffic, context.recorder, Phase.AFTER)
    if experiment.restart:
        _restart(experiment, deployed, context, struck)
    client = connect_patiently(FINAL_PATIENCE)
    final = {
        workload.collection: final_reads(
            Session(context.recorder, client, workload.collection), traffic.written(workload), near=_NEAR
        )
        for workload in experiment.workloads
    }
    return Done(struck, final)


def _restart(experiment: Experiment, deployed: Deployed, context: Context, struck: Struck) -> None:
    """Restart the server; if it does not come back that is the experiment's end, also for who judges the files."""
    again = PodDelete("restart", grace=0)  # in order it would wait for requests that hang
    try:
        injected = again.inject(deployed)
        again.prove(deployed, injected)
        again.prove_undone(deployed, injected)
    except CandidateError as error:
        log_fault(
            context.run_dir,
            experiment.name,
            struck.fault,
            begin=struck.begin,
            asked="restart of the server after the fault",
            error=error.message,
            rule=error.rule,
        )
        raise


def wait_for_floors(
    experiment: Experiment, traffic: Traffic, recorder: Recorder, phase: Phase, timeout: float = _PHASE_TIMEOUT
) -> None:
    """Wait until each collection has had the operations that the phase needs, or plainly never will.

    A phase that stays below its floors after `timeout` s is for the judgement to find: `too-little-traffic`.

    Raises:
        UndecidedError: a client ended with an error of ours.
    """
    least = {workload.collection: floors(workload)[phase] for workload in experiment.workloads}
    began = time.monotonic()

    def enough(collection: str, floor: int) -> bool:
        if phase is Phase.DURING:
            return recorder.invoked(collection, phase) >= floor
        if recorder.ended(collection, phase, Outcome.OK) >= floor:
            return True
        failed = sum(recorder.ended(collection, phase, outcome) for outcome in (Outcome.FAIL, Outcome.INFO))
        return phase is Phase.AFTER and time.monotonic() - began > _HOPELESS and failed >= max(4, floor / 2)

    recorder.wait(lambda: traffic.failed or all(enough(*each) for each in least.items()), timeout)
    if traffic.failed:
        raise traffic.error or UndecidedError(f"a client of experiment {experiment.name} ended before its time")
