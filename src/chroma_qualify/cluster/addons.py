"""What a cluster has beside Kubernetes: applied as soon as the API server answers, then waited for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes.client

from chroma_qualify.cluster.model import Cluster
from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.errors import InfraError

# metrics-server is ready after two scrapes, 15 s apart; the rest within 20 s.
TIMEOUT = 180.0


def apply_addons(cluster: Cluster, directory: Path) -> None:
    """Apply the manifests of Cilium, metrics-server and the ServiceMonitor's definition."""
    files = [option for path in sorted(directory.glob("*.yaml")) for option in ("--filename", str(path))]
    cluster.run_kubectl("apply", "--server-side", "--force-conflicts", *files, timeout=60)


def wait_addons(cluster: Cluster, timeout: float = TIMEOUT) -> None:
    """Wait until every node is ready, every system pod runs, and metrics are served.

    Raises:
        InfraError: with what was not ready.
    """
    with cluster.api_client() as api:
        core, apps = kubernetes.client.CoreV1Api(api), kubernetes.client.AppsV1Api(api)
        registration = kubernetes.client.ApiregistrationV1Api(api)
        try:
            wait_for("every node to be ready", core.list_node, _all_ready, timeout=timeout, describe=_unready)
            for call, what in (
                (apps.list_daemon_set_for_all_namespaces, "every system daemon to run"),
                (apps.list_deployment_for_all_namespaces, "every system deployment to run"),
            ):
                wait_for(what, call, _all_available, timeout=timeout, describe=_unavailable)
            wait_for(
                "metrics to be served", registration.list_api_service, _all_ready, timeout=timeout, describe=_unready
            )
        except WaitTimeoutError as error:
            raise InfraError(f"the cluster did not become ready: {error.message}") from error


def _all_ready(objects: Mapping[str, Any]) -> bool:
    return bool(objects) and not _unready(objects)


def _unready(objects: Mapping[str, Any]) -> str:
    """Nodes and API services that say of themselves that they are not ready, with why."""
    wrong = []
    for name, item in objects.items():
        conditions = {condition.type: condition for condition in (item.status.conditions if item.status else None) or []}
        condition = conditions.get("Ready") or conditions.get("Available")
        if condition is None or condition.status != "True":
            wrong.append(f"{name} ({condition.message if condition else 'no condition yet'})")
    return "; ".join(wrong)


def _all_available(objects: Mapping[str, Any]) -> bool:
    return bool(objects) and not _unavailable(objects)


def _unavailable(objects: Mapping[str, Any]) -> str:
    wrong = []
    for name, item in objects.items():
        if not name.startswith(("kube-system/", "local-path-storage/")):
            continue
        status = item.status
        daemon = hasattr(status, "desired_number_scheduled")
        wanted = status.desired_number_scheduled if daemon else item.spec.replicas
        there = (status.number_available if daemon else status.available_replicas) or 0
        if there < (wanted or 1) or (status.observed_generation or 0) < item.metadata.generation:
            wrong.append(f"{name} ({there} of {wanted} available)")
    return "; ".join(wrong)
