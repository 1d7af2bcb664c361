"""A real out-of-memory kill: the container's memory is filled from the node until the kernel kills the server.

The filler is put into the container's own cgroup, so the container's own limit is what strikes. A server that grew by
itself would be alone in there and be killed; beside a filler the kernel takes the one with the higher score, and the
kubelet gives pods that request much memory a low one. So the server's is raised first, which anybody may do.
"""

from __future__ import annotations

import dataclasses

from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults.base import (
    Injected,
    Proof,
    ServerState,
    memory_limit,
    ready_again,
    restarted,
    the_server,
    wait_for_server,
)
from chroma_qualify.faults.processes import CGROUP, NO_NODES, node_of, shell

# tail keeps all of an endless line in memory; the time-out is for a limit that never strikes.
_FILL = (
    CGROUP
    + """
place=$(cgroup memory "$1") || exit 1
for process in $(cat "$place/cgroup.procs"); do echo 1000 > "/proc/$process/oom_score_adj"; done
( echo 0 > "$place/cgroup.procs" && exec timeout 120 tail /dev/zero ) >/dev/null 2>&1 &
"""
)


# The kernel's own word, by the container's cgroup: the runtime says nothing if it looks when that cgroup is gone.
_KERNEL_SAYS = 'dmesg | grep -F "oom-kill:" | grep -F "$1" | tail -n 1 | cut -c 1-1500'
_WORD_WITHIN = 30.0  # s


@dataclasses.dataclass(frozen=True, slots=True)
class OutOfMemory:
    """An OOM kill of the server."""

    name: str

    def available(self, deployed: Deployed) -> str | None:
        """Only on our own nodes, and only where there is a limit to reach."""
        if not deployed.cluster.nodes:
            return NO_NODES
        return (
            None if memory_limit(deployed) else "the container has no memory limit: nothing but the node's end stops it"
        )

    def inject(self, deployed: Deployed) -> Injected:
        """Fill the container's memory."""
        before = the_server(deployed)
        shell(deployed, node_of(deployed, before), _FILL, before.container_id)
        return Injected(self.name, before, f"fill the memory of pod {before.pod} up to its limit")

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:
        """The container restarted in the same pod, and the kubelet says OOMKilled, or else the kernel does."""
        before = injected.before
        after = restarted(deployed, before)
        seen = f"before: {before}; after: {after}"
        if after.reason != "OOMKilled":
            told = shell(deployed, node_of(deployed, before), _KERNEL_SAYS, before.container_id, check=False).strip()
            if told:
                seen += f"; the kernel: {told}"
            else:
                seen = f"before: {before}; after: {_told_late(deployed, before, after)}"
        return Proof("the server was killed for memory", seen)

    def undo(self, deployed: Deployed, injected: Injected) -> None:
        """Nothing: the kubelet starts the container again, in a new cgroup."""

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """The container is ready."""
        return ready_again(deployed, injected)


def _told_late(deployed: Deployed, before: ServerState, after: ServerState) -> ServerState:
    """The runtime may hear of the kill after the exit."""
    try:
        return wait_for_server(deployed, "the word OOMKilled", lambda state: _killed(state, before), _WORD_WITHIN)
    except UndecidedError as error:
        raise UndecidedError(f"the server ended otherwise than for memory: {after}") from error


def _killed(state: ServerState, before: ServerState) -> bool:
    return state.uid == before.uid and state.restarts > before.restarts and state.reason == "OOMKilled"
