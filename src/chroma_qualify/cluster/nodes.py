"""What can be done to a node that is a container."""

from __future__ import annotations

import time

import kubernetes.client

from chroma_qualify.cluster.addons import wait_addons
from chroma_qualify.cluster.model import Cluster, Node, run
from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.errors import InfraError


def restart_node(cluster: Cluster, node: Node, timeout: float = 300) -> float:
    """Restart a node's container, as a machine that is rebooted; returns seconds until it is ready again.

    Metrics take two scrapes more; nothing that follows a restart waits for them.

    Raises:
        InfraError: it did not come back in time.
    """
    began = time.monotonic()
    run(["docker", "restart", "--time", "10", node.name], timeout=timeout)
    started = run(["docker", "inspect", "--format", "{{.State.StartedAt}}", node.name]).stdout.strip()
    with cluster.api_client() as api:
        core = kubernetes.client.CoreV1Api(api)
        try:
            # Until the new kubelet speaks, the API server shows the node as it was before.
            wait_for(
                f"the kubelet of {node.name} to speak after its restart",
                core.list_node,
                lambda nodes: node.name in nodes and _last_word(nodes[node.name]) >= started[:19],
                timeout=timeout,
                field_selector=f"metadata.name={node.name}",
            )
        except WaitTimeoutError as error:
            raise InfraError(error.message) from error
    wait_addons(cluster, timeout=max(60.0, timeout - (time.monotonic() - began)), metrics=False)
    return time.monotonic() - began


def _last_word(node: kubernetes.client.V1Node) -> str:
    """When the kubelet last reported, as RFC 3339 to the second; both clocks are this machine's."""
    beats = [condition.last_heartbeat_time for condition in node.status.conditions if condition.type == "Ready"]
    return beats[0].strftime("%Y-%m-%dT%H:%M:%S") if beats else ""
