"""SIGKILL the server process inside its container, from the node.

The container's first process is an init (dumb-init), so the server itself is killed; init
then ends with 128 + 9 = 137, the container with it, and the kubelet starts it again in the
same pod. SIGKILL leaves the page cache: it proves less than a power loss.
"""

from __future__ import annotations

import dataclasses

from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults.base import Injected, Proof, ready_again, restarted, the_server
from chroma_qualify.faults.processes import NO_NODES, find_server

SIGKILLED = 137  # 128 + SIGKILL


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessKill:
    """SIGKILL of the server."""

    name: str

    def available(self, deployed: Deployed) -> str | None:
        """Only on our own nodes: a remote cluster's node cannot be entered."""
        return None if deployed.cluster.nodes else NO_NODES

    def inject(self, deployed: Deployed) -> Injected:
        """Find the server process from its node and kill it."""
        before = the_server(deployed)
        server = find_server(deployed, before)
        server.signal("KILL")
        asked = f"SIGKILL to process {server.pid} ({server.process.command}) of pod {before.pod} on {before.node}"
        return Injected(self.name, before, asked)

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:
        """One restart more in the same pod, and the last life ended with 137 (and not for memory)."""
        before = injected.before
        after = restarted(deployed, before)
        if after.restarts != before.restarts + 1 or after.exit_code != SIGKILLED or after.reason == "OOMKilled":
            raise UndecidedError(f"the server ended otherwise than by one SIGKILL: {after}")
        return Proof("the server process was killed and its container restarted", f"before: {before}; after: {after}")

    def undo(self, deployed: Deployed, injected: Injected) -> None:
        """Nothing: the kubelet starts the container again."""

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """The container is ready."""
        return ready_again(deployed, injected)
