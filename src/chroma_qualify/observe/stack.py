"""Prometheus and its operator in a cluster, from manifests/platform/prometheus, for the scenarios about monitoring.

The namespace is `monitoring`, for Chroma's network policy names it; so there is one of it in a cluster, whoever wants
it. It is left in place when its contents are removed: another scenario may have pods in it at the same time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import kubernetes.client

from chroma_qualify.cluster.model import Cluster
from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.deployment.forward import open_forward
from chroma_qualify.deployment.manifests import load_objects
from chroma_qualify.deployment.objects import KubeObject, dump
from chroma_qualify.errors import InfraError
from chroma_qualify.observe.hurry import hurried
from chroma_qualify.observe.prometheus import Prometheus

NAMESPACE = "monitoring"
PORT = 9090
READY_WITHIN = 480.0  # s, on a machine that others use as well


@contextlib.contextmanager
def monitoring_stack(cluster: Cluster, manifests: Path, *, keep: bool = False) -> Iterator[Prometheus]:
    """A Prometheus that works, in a hurry; used as it is when it is there already.

    Args:
        cluster: where.
        manifests: the directory of the platform's kustomization.
        keep: leave it there at the end.

    Raises:
        InfraError: it does not get ready: it is ours, never the candidate's fault.
    """
    objects = hurried(load_objects(manifests, cluster.kubectl))
    cluster.run_kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=dump(objects), timeout=120)
    try:
        _wait_ready(cluster)
        with (
            open_forward(cluster, NAMESPACE, "prometheus", PORT, patience=READY_WITHIN) as way,
            Prometheus(way.url, lambda: _nudge(cluster)) as prometheus,
        ):
            yield prometheus
    finally:
        if not keep:
            _remove(cluster, objects)


def _nudge(cluster: Cluster) -> None:
    """The kubelet brings a changed Secret to a pod once a minute, and at once when the pod changes: so change it."""
    told = f"chroma-qualify/nudged={time.time():.0f}"
    pod = [f"--namespace={NAMESPACE}", "pod", "--selector=prometheus=prometheus"]
    cluster.run_kubectl("annotate", *pod, told, "--overwrite", check=False)


def _wait_ready(cluster: Cluster) -> None:
    with cluster.api_client() as api:
        apps = kubernetes.client.AppsV1Api(api)
        try:
            wait_for(
                "the Prometheus Operator and kube-state-metrics to run",
                apps.list_namespaced_deployment,
                _available,
                timeout=READY_WITHIN,
                describe=_described,
                namespace=NAMESPACE,
            )
            wait_for(
                "Prometheus to run",
                apps.list_namespaced_stateful_set,
                lambda sets: "prometheus-prometheus" in sets and _available(sets),
                timeout=READY_WITHIN,
                describe=_described,
                namespace=NAMESPACE,
            )
        except WaitTimeoutError as error:
            pods = cluster.run_kubectl("describe", "pods", f"--namespace={NAMESPACE}", check=False).stdout
            raise InfraError(error.message, evidence=pods[-4000:]) from error


def _remove(cluster: Cluster, objects: Sequence[KubeObject]) -> None:
    """Delete all but the namespace; Prometheus first, as nobody else deletes what the operator made of it."""
    kept = [item for item in objects if item["kind"] != "Namespace"]
    kept.sort(key=lambda item: item["kind"] != "Prometheus")
    cluster.run_kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=dump(kept), timeout=120)


def _available(workloads: Mapping[str, Any]) -> bool:
    return bool(workloads) and all(
        (item.status.available_replicas or 0) >= (item.spec.replicas or 0)
        and (item.status.observed_generation or 0) >= item.metadata.generation
        for item in workloads.values()
    )


def _described(workloads: Mapping[str, Any]) -> str:
    words = (
        f"{name}: {item.status.available_replicas or 0} of {item.spec.replicas}" for name, item in workloads.items()
    )
    return ", ".join(words) or "nothing"
