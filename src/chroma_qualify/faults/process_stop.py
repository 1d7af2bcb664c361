"""SIGSTOP the server: it neither answers nor dies, as one whose machine stands still or swaps.

The kubelet's probes time out meanwhile; a stop that is shorter than their patience must end without a restart.
"""

from __future__ import annotations

import dataclasses

from chroma_qualify.cluster.wait import WaitTimeoutError, poll_for
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults.base import PROOF_TIMEOUT, Injected, Proof, ready_now, the_server
from chroma_qualify.faults.processes import NO_NODES, find_server, shell


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessStop:
    """SIGSTOP, and SIGCONT after a while."""

    name: str

    def available(self, deployed: Deployed) -> str | None:
        """Only on our own nodes."""
        return None if deployed.cluster.nodes else NO_NODES

    def inject(self, deployed: Deployed) -> Injected:
        """Stop it."""
        before = the_server(deployed)
        server = find_server(deployed, before)
        server.signal("STOP")
        return Injected(self.name, before, f"SIGSTOP to process {server.pid} of pod {before.pod}", str(server.pid))

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:
        """The kernel says that it is stopped."""
        server = find_server(deployed, injected.before)
        try:
            poll_for("the server to stand still", server.states, lambda states: states == {"T"}, PROOF_TIMEOUT)
        except WaitTimeoutError as error:
            raise UndecidedError(f"no proof of the fault: {error.message}") from error
        return Proof("the server process stands still", f"state T of process {injected.mark}")

    def undo(self, deployed: Deployed, injected: Injected) -> None:
        """Let it go on; if it was killed and replaced meanwhile, there is nothing to do."""
        node = next(node for node in deployed.cluster.nodes if node.name == injected.before.node)
        shell(deployed, node, 'kill -s CONT "$1" 2>/dev/null || true', injected.mark)

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """The server runs and is ready; whether it is another one is told."""
        state = ready_now(deployed, injected)
        if "T" in find_server(deployed, state).states():
            raise UndecidedError("the server is still stopped")
        kept = state.container_id == injected.before.container_id
        return Proof(f"the server runs, {'the same process' if kept else 'restarted meanwhile'}", str(state))
