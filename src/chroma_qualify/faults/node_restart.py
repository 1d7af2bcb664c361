"""Restart the container that is the server's node: everything on it stops and comes back."""

from __future__ import annotations

import dataclasses

from chroma_qualify.cluster.model import Node, run
from chroma_qualify.cluster.nodes import restart_node
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults.base import Injected, Proof, ready_again, the_server, wait_for_server
from chroma_qualify.faults.processes import node_of

NODE_TIMEOUT = 480  # seconds until API, node and add-ons are back


@dataclasses.dataclass(frozen=True, slots=True)
class NodeRestart:
    """A restart of the node's container."""

    name: str

    def available(self, deployed: Deployed) -> str | None:
        """Only on our own nodes, which are containers."""
        return None if deployed.cluster.nodes else "the nodes of an existing cluster are not ours to restart"

    def inject(self, deployed: Deployed) -> Injected:
        """Restart it and wait until the cluster is back: before that nothing can be asked."""
        before = the_server(deployed)
        node = node_of(deployed, before)
        mark = _started(node)
        seconds = restart_node(deployed.cluster, node, timeout=NODE_TIMEOUT)
        return Injected(self.name, before, f"restart of node {node.name}, back after {seconds:.0f} s", mark)

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:
        """The node's container has a new start time, and the server's container is another one."""
        before = injected.before
        started = _started(node_of(deployed, before))
        if started == injected.mark:
            raise UndecidedError(f"node {before.node} still runs since {started}: it was not restarted")
        after = wait_for_server(
            deployed,
            f"a new container of the server on node {before.node}",
            lambda state: state.container_id not in {"", before.container_id},
            NODE_TIMEOUT,
        )
        seen = f"node started {injected.mark} -> {started}; before: {before}; after: {after}"
        return Proof(f"node {before.node} was restarted, and the server with it", seen)

    def undo(self, deployed: Deployed, injected: Injected) -> None:
        """Nothing: the node is already back."""

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """The new container is ready; readiness of the old one, as last reported, does not count."""
        return ready_again(deployed, injected)


def _started(node: Node) -> str:
    """When the node's container started, as the engine says it."""
    return run(["docker", "inspect", "--format", "{{.State.StartedAt}}", node.name]).stdout.strip()
