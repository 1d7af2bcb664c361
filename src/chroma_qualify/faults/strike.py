"""One fault from asking to healed, written down in faults.jsonl. Called by the scenarios."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults.base import Fault, Proof


@dataclasses.dataclass(frozen=True, slots=True)
class Struck:
    """A fault that took effect and is over.

    Attributes:
        fault: its name.
        asked: what was done.
        proof: that it took effect.
        undone: that it is over.
        started: `time.monotonic()` when it was asked for.
        proof_seconds: from then to the proof.
        ready_seconds: from then until the server was ready again.
    """

    fault: str
    asked: str
    proof: Proof
    undone: Proof
    started: float
    proof_seconds: float
    ready_seconds: float


def strike(fault: Fault, deployed: Deployed, run_dir: Path) -> Struck:
    """Inject a fault, prove it, undo it, prove that.

    Args:
        fault: what to do.
        deployed: to which server.
        run_dir: its `faults.jsonl` gets one line, also when there is no proof.

    Raises:
        UndecidedError: it is not available here, or its proof is missing.
    """
    reason = fault.available(deployed)
    if reason is not None:
        _log(run_dir, deployed, fault.name, {"unavailable": reason})
        raise UndecidedError(f"fault {fault.name} is not available: {reason}")
    entry: dict[str, object] = {}
    started = time.monotonic()
    try:
        injected = fault.inject(deployed)
        entry["asked"] = injected.asked
        try:
            proof = fault.prove(deployed, injected)
            entry |= {"proof": dataclasses.asdict(proof), "proof_seconds": time.monotonic() - started}
        finally:
            fault.undo(deployed, injected)
        undone = fault.prove_undone(deployed, injected)
        entry |= {"undone": dataclasses.asdict(undone), "ready_seconds": time.monotonic() - started}
    except Exception as error:
        entry["error"] = str(error)
        raise
    finally:
        _log(run_dir, deployed, fault.name, entry)
    return Struck(
        fault.name,
        injected.asked,
        proof,
        undone,
        started,
        float(str(entry["proof_seconds"])),
        float(str(entry["ready_seconds"])),
    )


def _log(run_dir: Path, deployed: Deployed, fault: str, entry: dict[str, object]) -> None:
    line = {"fault": fault, "namespace": deployed.namespace, **entry}
    with (run_dir / "faults.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
