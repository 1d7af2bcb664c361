"""The server's node goes away while others stay: drained in order, or lost at once. Needs a second node.

A volume that is local to its node cannot follow: the server has to wait for its node, and says so; what counts is that
nothing is lost and that it is back when the node is.
"""

from __future__ import annotations

import dataclasses
import time

import kubernetes.client

from chroma_qualify.cluster.model import Role, run
from chroma_qualify.cluster.nodes import wait_node_speaks
from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import InfraError, UndecidedError
from chroma_qualify.faults.base import Injected, Proof, ready_again, server_states, the_server
from chroma_qualify.faults.processes import node_of

_LOST_WITHIN = 240.0  # s; the node controller's grace is 40 to 50 s
_BACK_TIMEOUT = 480.0  # s


def _why_not(deployed: Deployed) -> str | None:
    if len(deployed.cluster.nodes) < 2:
        return (
            "needs a second node (NODES=3)"
            if deployed.cluster.nodes
            else "the nodes of an existing cluster are not ours"
        )
    states = server_states(deployed)
    workers = {node.name for node in deployed.cluster.nodes if node.role is Role.WORKER}
    return None if all(state.node in workers for state in states) else "the server runs on the control plane"


@dataclasses.dataclass(frozen=True, slots=True)
class NodeDrain:
    """`kubectl drain`, and uncordon."""

    name: str

    def available(self, deployed: Deployed) -> str | None:
        """With a second node, on workers of our own."""
        return _why_not(deployed)

    def inject(self, deployed: Deployed) -> Injected:
        """Drain the server's node."""
        before = the_server(deployed)
        try:
            self._drain(deployed, before.node)
        except BaseException:  # half done, it must not keep the node from those who come next
            deployed.cluster.run_kubectl("uncordon", before.node)
            raise
        return Injected(self.name, before, f"kubectl drain {before.node}")

    def _drain(self, deployed: Deployed, node: str) -> None:
        deployed.cluster.run_kubectl(
            "drain",
            node,
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--force",
            "--timeout=200s",
            timeout=240,
        )

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:
        """The node takes no pods, and the server's pod was evicted."""
        node = deployed.cluster.get_json("node", injected.before.node)
        left = [state for state in server_states(deployed) if state.uid == injected.before.uid]
        if not node["spec"].get("unschedulable") or left:
            raise UndecidedError(f"node {injected.before.node} was not drained: {'; '.join(map(str, left))}")
        after = "; ".join(map(str, server_states(deployed))) or "no pod"
        return Proof(f"node {injected.before.node} was drained", f"before: {injected.before}; after: {after}")

    def undo(self, deployed: Deployed, injected: Injected) -> None:
        """Let it take pods again."""
        deployed.cluster.run_kubectl("uncordon", injected.before.node)

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """A new server is ready."""
        return ready_again(deployed, injected)


@dataclasses.dataclass(frozen=True, slots=True)
class NodeLoss:
    """The node's container is killed; later it is started again."""

    name: str

    def available(self, deployed: Deployed) -> str | None:
        """With a second node, on workers of our own."""
        return _why_not(deployed)

    def inject(self, deployed: Deployed) -> Injected:
        """Kill it, as a pulled plug does (its disk lives: for power loss see `power_loss`)."""
        before = the_server(deployed)
        run(["docker", "kill", node_of(deployed, before).name])
        return Injected(self.name, before, f"docker kill {before.node}")

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:
        """The node controller has given it up."""
        name = injected.before.node
        with deployed.cluster.api_client() as api:
            try:
                wait_for(
                    f"node {name} to be given up",
                    kubernetes.client.CoreV1Api(api).list_node,
                    lambda nodes: any(
                        condition.type == "Ready" and condition.status != "True"
                        for condition in nodes[name].status.conditions
                    ),
                    timeout=_LOST_WITHIN,
                    field_selector=f"metadata.name={name}",
                )
            except WaitTimeoutError as error:
                raise UndecidedError(f"no proof of the fault: {error.message}") from error
        return Proof(f"node {name} is lost", "its condition Ready is not True any more")

    def undo(self, deployed: Deployed, injected: Injected) -> None:  # noqa: ARG002
        """Start it again."""
        run(["docker", "start", injected.before.node])

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """The node is back, and a new server is ready."""
        began = time.monotonic()
        try:
            wait_node_speaks(deployed.cluster, injected.before.node, timeout=_BACK_TIMEOUT)
        except WaitTimeoutError as error:
            raise InfraError(error.message) from error
        return ready_again(deployed, injected, timeout=max(60.0, _BACK_TIMEOUT - (time.monotonic() - began)))
