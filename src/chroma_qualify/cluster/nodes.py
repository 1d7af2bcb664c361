"""What can be done to a node that is a container."""

from __future__ import annotations

import time

import kubernetes.client

from chroma_qualify.cluster.addons import wait_addons
from chroma_qualify.cluster.model import Cluster, Node, run
from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.errors import InfraError


def restart_node(cluster: Cluster, node: Node, timeout: float = 480) -> float:
    """Restart a node's container, as a machine that is rebooted; returns seconds until it is ready again.

    Metrics take two scrapes more; nothing that follows a restart waits for them.

    Raises:
        InfraError: it did not come back in time.
    """
    began = time.monotonic()
    run(["docker", "restart", "--time", "10", node.name], timeout=timeout)
    started = run(["docker", "inspect", "--format", "{{.State.StartedAt}}", node.name]).stdout.strip()
    try:
        # Until the new kubelet speaks, the API server shows the node as it was before.
        wait_node_speaks(cluster, node.name, since=started, timeout=timeout)
    except WaitTimeoutError as error:
        raise InfraError(error.message) from error
    wait_addons(cluster, timeout=max(60.0, timeout - (time.monotonic() - began)), metrics=False)
    return time.monotonic() - began


def wait_node_speaks(cluster: Cluster, name: str, *, since: str = "", timeout: float = 300) -> None:
    """Wait until a node's kubelet says that the node is ready.

    Args:
        cluster: whose node.
        name: of the node.
        since: RFC 3339; only what it said then or later counts.
        timeout: seconds.

    Raises:
        WaitTimeoutError: it does not.
    """
    with cluster.api_client() as api:
        wait_for(
            f"the kubelet of {name} to say that it is ready",
            kubernetes.client.CoreV1Api(api).list_node,
            lambda nodes: name in nodes and _last_word(nodes[name]) >= (since[:19] or "0"),
            timeout=timeout,
            field_selector=f"metadata.name={name}",
        )


def _last_word(node: kubernetes.client.V1Node) -> str:
    """When the kubelet last reported ready, RFC 3339 to the second; "" if it is not. All clocks are this machine's."""
    beats = [
        condition.last_heartbeat_time
        for condition in node.status.conditions
        if condition.type == "Ready" and condition.status == "True"
    ]
    return beats[0].strftime("%Y-%m-%dT%H:%M:%S") if beats else ""
