"""One fault from asking to healed, written down in faults.jsonl. Called by `experiment`."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable
from pathlib import Path

from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import CandidateError, InfraError, UndecidedError
from chroma_qualify.faults.base import Fault, Proof

Clock = Callable[[], int]


@dataclasses.dataclass(frozen=True, slots=True)
class Struck:
    """A fault that took effect and is over.

    Attributes:
        fault: its name.
        asked: what was done.
        proof: that it took effect.
        undone: that it is over.
        begin: on the run's clock (ns), when it was asked for.
        proof_seconds: from then to the proof.
        ready_seconds: from then until the server was ready again.
    """

    fault: str
    asked: str
    proof: Proof
    undone: Proof
    begin: int
    proof_seconds: float
    ready_seconds: float


def strike(
    fault: Fault, deployed: Deployed, run_dir: Path, clock: Clock, *, experiment: str, hold: float = 0
) -> Struck:
    """Inject a fault, prove it, let it last, undo it, prove that.

    Args:
        fault: what to do.
        deployed: to which server.
        run_dir: its `faults.jsonl` gets one line, also when there is no proof.
        clock: of the run's history.
        experiment: for which it is done.
        hold: seconds between the proof and the undoing.

    Raises:
        UndecidedError: it is not available here, or its proof is missing.
        CandidateError: the server did not survive it.
    """
    reason = fault.available(deployed)
    if reason is not None:
        _log(run_dir, deployed, fault.name, experiment, {"error": reason})
        raise UndecidedError(f"fault {fault.name} is not available: {reason}")
    begin = clock()
    entry: dict[str, object] = {"begin": begin}
    try:
        injected = fault.inject(deployed)
        entry["asked"] = injected.asked
        try:
            proof = fault.prove(deployed, injected)
            proven = clock()
            entry |= {"proof": dataclasses.asdict(proof), "proven": proven}
            threading.Event().wait(hold)  # how long it lasts is part of the fault
        finally:
            fault.undo(deployed, injected)
        undone = fault.prove_undone(deployed, injected)
        healed = clock()
        entry |= {"undone": dataclasses.asdict(undone), "healed": healed}
    except CandidateError as error:
        entry |= {"error": error.message, "rule": error.rule, "evidence": error.evidence}
        raise
    except InfraError as error:
        entry |= {"error": error.message, "infra": True}
        raise
    except BaseException as error:
        entry["error"] = str(error) or type(error).__name__
        raise
    finally:
        _log(run_dir, deployed, fault.name, experiment, entry)
    return Struck(fault.name, injected.asked, proof, undone, begin, (proven - begin) / 1e9, (healed - begin) / 1e9)


def unavailable(fault: Fault, run_dir: Path, experiment: str, reason: str) -> None:
    """Write down that a fault cannot be done here: it is in the plan, so it must be in faults.jsonl."""
    _write(run_dir, {"experiment": experiment, "fault": fault.name, "unavailable": reason})


def log_fault(run_dir: Path, experiment: str, fault: str, **entry: object) -> None:
    """Write down a fault that is no `Fault` but a procedure of its own; the fields are those of `checks.plan`."""
    _write(run_dir, {"experiment": experiment, "fault": fault, **entry})


def _log(run_dir: Path, deployed: Deployed, fault: str, experiment: str, entry: dict[str, object]) -> None:
    _write(run_dir, {"experiment": experiment, "fault": fault, "namespace": deployed.namespace, **entry})


def _write(run_dir: Path, line: dict[str, object]) -> None:
    with (run_dir / "faults.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
