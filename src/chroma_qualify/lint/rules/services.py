"""Whether the Service that is meant for Chroma leads to it. `engine` runs this.

A pod is ready whatever its Service says, so a selector with a typo shows nowhere but in refused connections.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import (
    KubeObject,
    Workload,
    at,
    chroma_workloads,
    mapping,
    mappings,
    name_of,
    namespace_of,
    of_kind,
    reference,
    selects,
    words,
)


def unreachable(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `unreachable`: there are Services, and the one that is meant for Chroma does not lead to it."""
    for workload in chroma_workloads(objects):
        services = [s for s in of_kind(objects, "Service") if namespace_of(s) == workload.namespace]
        if any(leads_to(service, workload) for service in services):
            continue
        for service in meant_for(services, workload):
            why, evidence, remedy = _why_not(service, workload)
            yield Finding(
                rule="unreachable",
                severity=Severity.FAIL,
                message=f"Service {name_of(service)} leads nowhere, so every connection to it is refused: {why}.",
                evidence=evidence,
                remedy=remedy,
                object=reference(service),
                path="spec",
            )


def leads_to(service: KubeObject, workload: Workload) -> bool:
    """Whether a Service selects a workload's pods, and one of its ports is one that they have or may have."""
    return _selects(service, workload) and any(
        not isinstance(target, str) or target in _port_names(workload) for target in _targets(service)
    )


def meant_for(services: Sequence[KubeObject], workload: Workload) -> list[KubeObject]:
    """The Services that are meant for Chroma, by their names, their selectors, or for want of another one."""
    with_selector = [service for service in services if _selector(service)]
    meant = [
        service
        for service in with_selector
        if _selects(service, workload)
        or any("chroma" in str(word) for word in (name_of(service), *_selector(service).values()))
    ]
    return meant or (with_selector if len(with_selector) == 1 else [])


def _why_not(service: KubeObject, workload: Workload) -> tuple[str, str, str]:
    """Why it does not lead there, what was seen, and what to change."""
    selector, labels = words(_selector(service)), words(workload.labels)
    if not _selects(service, workload):
        return (
            f"its selector {selector} matches none of Chroma's pods, which are labelled {labels}",
            f"spec.selector: {selector}; labels of the pods of {workload.reference}: {labels}",
            f"Make spec.selector of Service {name_of(service)} match the labels of Chroma's pods.",
        )
    targets = ", ".join(str(target) for target in _targets(service)) or "none"
    declared = ", ".join(sorted(_port_names(workload))) or "none"
    return (
        f"its targetPort {targets} is no port of Chroma's pods, whose named ports are {declared}",
        f"targetPort: {targets}; named container ports of {workload.reference}: {declared}",
        f"Make targetPort of Service {name_of(service)} the name or number of the port that Chroma listens on.",
    )


def _selector(service: KubeObject) -> Mapping[str, Any]:
    return mapping(at(service, "spec", "selector"))


def _selects(service: KubeObject, workload: Workload) -> bool:
    return bool(_selector(service)) and selects({"matchLabels": _selector(service)}, workload.labels)


def _targets(service: KubeObject) -> list[object]:
    """The container ports behind a Service's ports, by name or number."""
    return [port.get("targetPort") or port.get("port") for port in mappings(at(service, "spec", "ports"))]


def _port_names(workload: Workload) -> set[str]:
    return {str(p["name"]) for c in workload.containers for p in mappings(c.get("ports")) if p.get("name")}
