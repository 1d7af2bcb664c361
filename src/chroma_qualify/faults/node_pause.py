"""The server's node stands still: every process on it is frozen, then goes on."""

from __future__ import annotations

import dataclasses

from chroma_qualify.cluster.model import run
from chroma_qualify.cluster.nodes import wait_node_speaks
from chroma_qualify.cluster.wait import WaitTimeoutError
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import InfraError, UndecidedError
from chroma_qualify.faults.base import Injected, Proof, ready_now, the_server
from chroma_qualify.faults.processes import node_of


@dataclasses.dataclass(frozen=True, slots=True)
class NodePause:
    """A pause of the node's container."""

    name: str

    def available(self, deployed: Deployed) -> str | None:
        """Only on our own nodes, which are containers."""
        return None if deployed.cluster.nodes else "the nodes of an existing cluster are not ours to pause"

    def inject(self, deployed: Deployed) -> Injected:
        """Freeze it."""
        before = the_server(deployed)
        node = node_of(deployed, before)
        try:
            run(["docker", "pause", node.name])
        except BaseException:  # interrupted, it may be frozen all the same
            run(["docker", "unpause", node.name], check=False)
            raise
        return Injected(self.name, before, f"docker pause {node.name}")

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:  # noqa: ARG002
        """The engine says that it is frozen."""
        if _state(injected) != "true":
            raise UndecidedError(f"node {injected.before.node} was told to pause and is not paused")
        return Proof(f"node {injected.before.node} is frozen", "State.Paused is true")

    def undo(self, deployed: Deployed, injected: Injected) -> None:  # noqa: ARG002
        """Let it go on."""
        if _state(injected) == "true":
            run(["docker", "unpause", injected.before.node])

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """Its kubelet speaks, and the server is ready."""
        if _state(injected) == "true":
            raise UndecidedError(f"node {injected.before.node} is still paused")
        try:
            wait_node_speaks(deployed.cluster, injected.before.node)
        except WaitTimeoutError as error:
            raise InfraError(error.message) from error
        return Proof(f"node {injected.before.node} goes on", str(ready_now(deployed, injected)))


def _state(injected: Injected) -> str:
    return run(["docker", "inspect", "--format", "{{.State.Paused}}", injected.before.node]).stdout.strip()
