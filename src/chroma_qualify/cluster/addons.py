"""What a cluster has beside Kubernetes: applied as soon as the API server answers, then waited for."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import kubernetes.client

from chroma_qualify.cluster.model import Cluster, Role
from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.errors import InfraError

# metrics-server is ready after two scrapes, 15 s apart; usually that is last.
TIMEOUT = 420.0
_CONTROL_PLANE = "control-plane.invalid"  # in images/cilium/values.yaml


def apply_addons(cluster: Cluster, directory: Path) -> None:
    """Apply the manifests of Cilium and metrics-server, after the definitions that they and Chroma's need."""
    control = next(node.name for node in cluster.nodes if node.role is Role.CONTROL_PLANE)
    names = sorted((path.name for path in directory.glob("*.yaml")), key=lambda name: name != "crds.yaml")
    text = "\n---\n".join((directory / name).read_text() for name in names).replace(_CONTROL_PLANE, control)
    cluster.run_kubectl("apply", "--server-side", "--force-conflicts", "--filename", "-", stdin=text)
    if len(cluster.nodes) == 1:
        # kubeadm's second one would only take CPU that Chroma's replicas ask for.
        cluster.run_kubectl("scale", "deployment/coredns", "--namespace=kube-system", "--replicas=1")


def wait_addons(cluster: Cluster, timeout: float = TIMEOUT, *, metrics: bool = True) -> None:
    """Wait until every node is ready, every system pod runs, and (with `metrics`) metrics are served.

    Raises:
        InfraError: with what was not ready.
    """
    with cluster.api_client() as api:
        core, apps = kubernetes.client.CoreV1Api(api), kubernetes.client.AppsV1Api(api)
        registration = kubernetes.client.ApiregistrationV1Api(api)
        skip = "" if metrics else "kube-system/metrics-server"
        try:
            wait_for("every node to be ready", core.list_node, _all_ready, timeout=timeout, describe=_unready)
            for call, what in (
                (apps.list_daemon_set_for_all_namespaces, "every system daemon to run"),
                (apps.list_deployment_for_all_namespaces, "every system deployment to run"),
            ):
                wait_for(
                    what, call, partial(_all_available, skip), timeout=timeout, describe=partial(_unavailable, skip)
                )
            if metrics:
                listed = registration.list_api_service
                wait_for("metrics to be served", listed, _all_ready, timeout=timeout, describe=_unready)
        except WaitTimeoutError as error:
            raise InfraError(f"the cluster did not become ready: {error.message}") from error


def _all_ready(objects: Mapping[str, Any]) -> bool:
    return bool(objects) and not _unready(objects)


def _unready(objects: Mapping[str, Any]) -> str:
    """Nodes and API services that say of themselves that they are not ready, with why."""
    wrong = []
    for name, item in objects.items():
        conditions = {
            condition.type: condition for condition in (item.status.conditions if item.status else None) or []
        }
        condition = conditions.get("Ready") or conditions.get("Available")
        if condition is None or condition.status != "True":
            wrong.append(f"{name} ({condition.message if condition else 'no condition yet'})")
    return "; ".join(wrong)


def _all_available(skip: str, objects: Mapping[str, Any]) -> bool:
    return bool(objects) and not _unavailable(skip, objects)


def _unavailable(skip: str, objects: Mapping[str, Any]) -> str:
    wrong = []
    for name, item in objects.items():
        if not name.startswith(("kube-system/", "local-path-storage/")) or name == skip:
            continue
        status = item.status
        daemon = hasattr(status, "desired_number_scheduled")
        wanted = status.desired_number_scheduled if daemon else item.spec.replicas
        there = (status.number_available if daemon else status.available_replicas) or 0
        if there < (wanted or 1) or (status.observed_generation or 0) < item.metadata.generation:
            wrong.append(f"{name} ({there} of {wanted} available)")
    return "; ".join(wrong)
