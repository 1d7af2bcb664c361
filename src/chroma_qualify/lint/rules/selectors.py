"""Selectors that take nothing, or more than they should. `engine` runs these; `services` has Chroma's own Service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import (
    KubeObject,
    Workload,
    all_pod_labels,
    at,
    chroma_workloads,
    mapping,
    mappings,
    name_of,
    namespace_of,
    of_kind,
    reference,
    selects,
    strings,
    words,
    workloads,
)
from chroma_qualify.lint.rules.services import leads_to, meant_for

_SELECTING = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")


def selector_mismatch(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `selector-mismatch`: a workload does not select the pods that it makes; the API server refuses it."""
    for workload in workloads(objects):
        selector = mapping(at(workload.source, "spec", "selector"))
        if workload.kind in _SELECTING and selector and not selects(selector, workload.labels):
            yield Finding(
                "selector-mismatch",
                Severity.FAIL,
                f"{workload.reference} does not select the pods of its own template: Kubernetes refuses it.",
                f"spec.selector: {words(mapping(selector.get('matchLabels')))}; labels of the template: "
                f"{words(workload.labels)}",
                "Give the template the labels that spec.selector names.",
                workload.reference,
                path="spec.selector",
            )


def selector_too_wide(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `selector-too-wide`: Chroma's Service leads to pods of another program, too."""
    for workload in chroma_workloads(objects):
        for service in of_kind(objects, "Service"):
            selector = mapping(at(service, "spec", "selector"))
            if namespace_of(service) != workload.namespace or not leads_to(service, workload):
                continue
            others = [
                other
                for other in workloads(objects)
                if other.source is not workload.source
                and other.namespace == workload.namespace
                and not other.chroma_containers
                and selects({"matchLabels": selector}, other.labels)
                and _takes(service, other)
            ]
            for other in others:
                yield Finding(
                    "selector-too-wide",
                    Severity.FAIL,
                    f"Service {name_of(service)} leads to Chroma and to the pods of {other.reference}, which are no "
                    "Chroma: a part of the requests goes astray.",
                    f"spec.selector: {words(selector)}; labels of the pods of {other.reference}: {words(other.labels)}",
                    f"Select a label that only the pods of {workload.reference} have.",
                    reference(service),
                    path="spec.selector",
                )


def selector_matches_nothing(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `selector-matches-nothing`: one of several Services that are meant for Chroma selects no pod at all.

    Where none leads to Chroma, that is `unreachable`. Services with other names may be for what is not among the
    objects.
    """
    pods = all_pod_labels(objects)
    for workload in chroma_workloads(objects):
        services = [s for s in of_kind(objects, "Service") if namespace_of(s) == workload.namespace]
        if not any(leads_to(service, workload) for service in services):
            continue
        for service in meant_for(services, workload):
            selector = mapping(at(service, "spec", "selector"))
            taken = any(
                namespace == workload.namespace and selects({"matchLabels": selector}, labels)
                for namespace, labels in pods
            )
            if not taken:
                yield Finding(
                    "selector-matches-nothing",
                    Severity.NOTE,
                    f"Service {name_of(service)} selects none of the pods that are described here.",
                    f"spec.selector: {words(selector)}; labels of the pods of {workload.reference}: "
                    f"{words(workload.labels)}",
                    "Correct its selector, or remove it.",
                    reference(service),
                    path="spec.selector",
                )


def monitor_matches_nothing(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `monitor-matches-nothing`: a ServiceMonitor with labels of pods, or a port that its Service has not.

    One whose labels nothing here has may be for what is deployed elsewhere, so it is left alone.
    """
    services = of_kind(objects, "Service")
    for monitor in of_kind(objects, "ServiceMonitor"):
        selector = at(monitor, "spec", "selector")
        scope = mapping(at(monitor, "spec", "namespaceSelector"))
        places = strings(scope.get("matchNames")) or [namespace_of(monitor)]
        taken = [
            s for s in services if _inside(s, scope, places) and selects(selector, mapping(at(s, "metadata", "labels")))
        ]
        of_pods = [w for w in workloads(objects) if _inside(w.source, scope, places) and selects(selector, w.labels)]
        if not taken and of_pods and mapping(selector):
            yield Finding(
                "monitor-matches-nothing",
                Severity.FAIL,
                f"{reference(monitor)} selects labels of pods, and a ServiceMonitor goes by labels of Services: it "
                "has no target.",
                f"spec.selector takes the pods of {of_pods[0].reference}, and none of the Services "
                f"{', '.join(name_of(s) for s in services if _inside(s, scope, places)) or '(there are none)'}",
                "Give the Service these labels, or use a PodMonitor.",
                reference(monitor),
                path="spec.selector",
            )
        for number, endpoint in enumerate(mappings(at(monitor, "spec", "endpoints"))):
            port = endpoint.get("port")
            names = {p.get("name") for s in taken for p in mappings(at(s, "spec", "ports")) if _hashable(p.get("name"))}
            if taken and isinstance(port, str) and port not in names:
                yield Finding(
                    "monitor-matches-nothing",
                    Severity.FAIL,
                    f"{reference(monitor)} asks for port {port}, and Service {name_of(taken[0])} has no port of that "
                    "name: it has no target.",
                    f"endpoints[{number}].port: {port}; named ports: {', '.join(sorted(map(str, names))) or 'none'}",
                    "Name a port of the Service, by its name and not its number.",
                    reference(monitor),
                    path=f"spec.endpoints[{number}].port",
                )


def _inside(obj: KubeObject, scope: Mapping[str, Any], places: Sequence[str]) -> bool:
    return scope.get("any") is True or namespace_of(obj) in places


def _hashable(value: object) -> bool:
    return value is None or isinstance(value, str | int)


def _takes(service: KubeObject, other: Workload) -> bool:
    """Whether the Service's port exists in those pods; one by name that they lack makes no endpoint."""
    declared = [port for container in other.containers for port in mappings(container.get("ports"))]
    names = [port.get("name") for port in declared]
    ports = mappings(at(service, "spec", "ports"))
    return any(not isinstance(target := p.get("targetPort") or p.get("port"), str) or target in names for p in ports)
