"""Whether an autoscaler can compute what it promises. `engine` runs this."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import (
    KubeObject,
    Workload,
    at,
    autoscalers,
    chroma_workloads,
    mapping,
    mappings,
    namespace_of,
    of_kind,
    reference,
    whole,
    workloads,
)

_SCALED = ("Deployment", "ReplicaSet", "StatefulSet")


def hpa_without_request(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `hpa-without-request`: utilization of a resource for which a container states no request."""
    for workload in chroma_workloads(objects):
        defaulted = _defaulted_by_limit_range(objects, workload.namespace)
        for scaler in autoscalers(objects, workload):
            for resource, only in _utilization_targets(scaler.source):
                missing = [
                    str(container.get("name"))
                    for container in workload.containers
                    if only in ("", container.get("name"))
                    and resource not in defaulted
                    and not _requests(workload, container, resource)
                ]
                if missing:
                    yield Finding(
                        rule="hpa-without-request",
                        severity=Severity.FAIL,
                        message=f"{reference(scaler.source)} scales on {resource} utilization, a share of the request, "
                        f"but {', '.join(missing)} of {workload.reference} states no {resource} request, so it can "
                        "never compute it.",
                        evidence=f"no resources.requests.{resource} in container {', '.join(missing)}",
                        remedy=f"Set resources.requests.{resource} on every container of the pod.",
                        object=reference(scaler.source),
                        path="spec.metrics",
                    )


def hpa_target_missing(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `hpa-target-missing`: an autoscaler of what is not there."""
    for scaler in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject"):
        target = mapping(at(scaler, "spec", "scaleTargetRef"))
        kind, name = str(target.get("kind") or "Deployment"), target.get("name")
        there = [w for w in workloads(objects) if w.kind == kind and w.name == name]
        if kind not in _SCALED or any(w.namespace == namespace_of(scaler) for w in there):
            continue
        meant = "chroma" in str(name) or any(w.name == name for w in chroma_workloads(objects))
        if not there and not meant:
            continue  # it may be for what is deployed elsewhere
        yield Finding(
            "hpa-target-missing",
            Severity.FAIL,
            f"{reference(scaler)} is to scale {kind}/{name}, which is not there: it does nothing."
            if not there
            else f"{reference(scaler)} is in another namespace than {kind}/{name}, so it does nothing.",
            f"spec.scaleTargetRef: {kind}/{name}; there are "
            f"{', '.join(w.reference for w in workloads(objects)) or 'none'}",
            "Correct spec.scaleTargetRef, or remove the autoscaler: Chroma does not scale out.",
            reference(scaler),
            path="spec.scaleTargetRef",
        )


def hpa_bounds(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `hpa-bounds`: the least is more than the most; the API server refuses it."""
    for scaler in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject"):
        least, most = ("minReplicas", "maxReplicas")
        if scaler.get("kind") == "ScaledObject":
            least, most = ("minReplicaCount", "maxReplicaCount")
        low, high = whole(at(scaler, "spec", least), 0), at(scaler, "spec", most)
        if isinstance(high, int) and not isinstance(high, bool) and (low > high or high < 1):
            yield Finding(
                "hpa-bounds",
                Severity.FAIL,
                f"{reference(scaler)} asks for at least {low} and at most {high} replicas: Kubernetes refuses it.",
                f"spec.{least}: {low}; spec.{most}: {high}",
                f"Make {most} at least 1, and at least {least}.",
                reference(scaler),
                path=f"spec.{least}",
            )


def _utilization_targets(scaler: KubeObject) -> Iterator[tuple[str, str]]:
    """(resource, container or "" for all) of each metric that is a share of the request."""
    if whole(at(scaler, "spec", "targetCPUUtilizationPercentage"), 0):  # autoscaling/v1
        yield "cpu", ""
    for metric in mappings(at(scaler, "spec", "metrics")):
        if metric.get("type") == "Resource" and "averageUtilization" in mapping(at(metric, "resource", "target")):
            yield str(at(metric, "resource", "name")), ""
        one = mapping(metric.get("containerResource"))
        if metric.get("type") == "ContainerResource" and "averageUtilization" in mapping(one.get("target")):
            yield str(one.get("name")), str(one.get("container"))
    for trigger in mappings(at(scaler, "spec", "triggers")):  # KEDA
        kind = trigger.get("metricType") or at(trigger, "metadata", "type")
        if trigger.get("type") in ("cpu", "memory") and kind == "Utilization":
            yield str(trigger["type"]), str(at(trigger, "metadata", "containerName") or "")


def _requests(workload: Workload, container: Mapping[str, Any], resource: str) -> bool:
    """Whether the container has a request: its own, its limit (which the API server copies), or the whole pod's."""
    return any(
        at(owner, "resources", level, resource) is not None
        for owner in (container, workload.pod)
        for level in ("requests", "limits")
    )


def _defaulted_by_limit_range(objects: Sequence[KubeObject], namespace: str) -> set[str]:
    """The resources for which a LimitRange of the namespace fills in a container's request."""
    return {
        str(resource)
        for obj in of_kind(objects, "LimitRange")
        if namespace_of(obj) == namespace
        for limit in mappings(at(obj, "spec", "limits"))
        if limit.get("type") == "Container"
        for level in ("defaultRequest", "default")
        for resource in mapping(limit.get(level))
    }
