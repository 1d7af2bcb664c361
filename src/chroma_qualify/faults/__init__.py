"""What is broken on purpose: one file per family, each with proof that it took effect."""

from __future__ import annotations

from chroma_qualify.faults.base import Fault
from chroma_qualify.faults.node_restart import NodeRestart
from chroma_qualify.faults.pod_delete import PodDelete
from chroma_qualify.faults.process_kill import ProcessKill
from chroma_qualify.faults.rollout import RolloutRestart

FAULTS: tuple[Fault, ...] = (
    PodDelete("pod-delete"),
    PodDelete("pod-delete-now", grace=0),
    ProcessKill("process-kill"),
    RolloutRestart("rollout-restart"),
    NodeRestart("node-restart"),
)


def by_name(name: str) -> Fault:
    """The fault of that name.

    Raises:
        KeyError: there is none; the message lists those there are.
    """
    for fault in FAULTS:
        if fault.name == name:
            return fault
    raise KeyError(f"no fault {name!r}; there are {', '.join(fault.name for fault in FAULTS)}")
