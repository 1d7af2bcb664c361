"""Where Prometheus is pointed. `engine` runs this.

Chroma speaks no Prometheus format anywhere: `/metrics` is 404, the heartbeat is JSON, and a target on either is down
for ever. Its metrics leave over OTLP only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

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
    strings,
)


def scrape_not_metrics(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `scrape-not-metrics`: something has Prometheus scrape the Chroma server itself."""
    for workload in chroma_workloads(objects):
        services = _services(objects, workload)
        for monitor in of_kind(objects, "ServiceMonitor"):
            for service in services:
                if _watches(monitor, mapping(at(service, "metadata", "labels")), workload.namespace):
                    for number, endpoint in enumerate(mappings(at(monitor, "spec", "endpoints"))):
                        if _is_chroma_port(workload, _behind(service, endpoint)):
                            yield _finding(
                                reference(monitor), endpoint, f"Service/{name_of(service)}", f"spec.endpoints[{number}]"
                            )
        for monitor in of_kind(objects, "PodMonitor"):
            if _watches(monitor, workload.labels, workload.namespace):
                for number, endpoint in enumerate(mappings(at(monitor, "spec", "podMetricsEndpoints"))):
                    port = endpoint.get("port") or endpoint.get("portNumber") or endpoint.get("targetPort")
                    if _is_chroma_port(workload, port):
                        by = f"the pods of {workload.reference}"
                        yield _finding(reference(monitor), endpoint, by, f"spec.podMetricsEndpoints[{number}]")
        yield from _annotated(workload, services)
        yield from _in_files(objects, workload, services)


def _annotated(workload: Workload, services: Sequence[KubeObject]) -> Iterator[Finding]:
    """Findings for `prometheus.io/*` annotations on the pods and on their Services."""
    path = "prometheus.io/path"
    if _asks(workload.annotations):
        given = workload.annotations.get("prometheus.io/port")
        # Without a port the usual configuration takes each declared one.
        ports = [_number(given)] if given else _declared(workload)
        if any(_is_chroma_port(workload, port) for port in ports):
            where = f"annotations of the pods of {workload.reference}"
            place = "metadata" if workload.kind == "Pod" else "spec.template.metadata"
            said = {"port": given, "path": workload.annotations.get(path)}
            yield _finding(workload.reference, said, where, f"{place}.annotations")
    for service in services:
        annotations = mapping(at(service, "metadata", "annotations"))
        if _asks(annotations):
            given = annotations.get("prometheus.io/port")
            # The port goes to the endpoints' address, so it is a container port here, too.
            ports = [_number(given)] if given else [_target(port) for port in mappings(at(service, "spec", "ports"))]
            if any(_is_chroma_port(workload, port) for port in ports):
                where = f"annotations of {reference(service)}"
                said = {"port": given, "path": annotations.get(path)}
                yield _finding(reference(service), said, where, "metadata.annotations")


def _in_files(objects: Sequence[KubeObject], workload: Workload, services: Sequence[KubeObject]) -> Iterator[Finding]:
    """Findings for the `static_configs` of a Prometheus without operator, whose file is in a ConfigMap."""
    for obj in of_kind(objects, "ConfigMap"):
        for key, text in mapping(obj.get("data")).items():
            for job in _jobs(text):
                # A blackbox exporter's job names what is to be probed, not what is scraped.
                probed = str(job.get("metrics_path")) == "/probe"
                groups = [] if probed else mappings(job.get("static_configs"))
                for target in (target for group in groups for target in strings(group.get("targets"))):
                    for service in services:
                        if _is_chroma_port(workload, _target_of(target, service, namespace_of(obj))):
                            said = {"port": target.rpartition(":")[2], "path": job.get("metrics_path")}
                            where = f"job {job.get('job_name')}, Service/{name_of(service)}"
                            yield _finding(reference(obj), said, where, f"data[{str(key)!r}]")


def _jobs(text: object) -> list[Mapping[str, Any]]:
    if not isinstance(text, str) or "scrape_configs" not in text:
        return []
    try:
        return mappings(mapping(yaml.safe_load(text)).get("scrape_configs"))
    except (yaml.YAMLError, ValueError, RecursionError):
        return []


def _target_of(target: str, service: KubeObject, namespace: str) -> object:
    """The container port behind `host:port`, if that is this Service; None if not. `namespace`: of who names it."""
    host, _, number = target.rpartition(":")
    name, _, rest = host.partition(".")
    if name != name_of(service) or (rest.partition(".")[0] or namespace) != namespace_of(service):
        return None
    ports = mappings(at(service, "spec", "ports"))
    return next((_target(port) for port in ports if str(port.get("port")) == number), None)


def _asks(annotations: Mapping[str, Any]) -> bool:
    return str(annotations.get("prometheus.io/scrape", "")).lower() == "true"


def _declared(workload: Workload) -> list[object]:
    ports = [p.get("containerPort") for c in workload.containers for p in mappings(c.get("ports"))]
    return ports or [8000]


def _number(port: object) -> object:
    """An annotation's port, which is a string, as the number that a container port is."""
    return int(port) if isinstance(port, str) and port.isdecimal() else port


def _services(objects: Sequence[KubeObject], workload: Workload) -> list[KubeObject]:
    """The Services whose selector takes this workload's pods."""
    return [
        service
        for service in of_kind(objects, "Service")
        if namespace_of(service) == workload.namespace
        and mapping(at(service, "spec", "selector"))
        and selects({"matchLabels": at(service, "spec", "selector")}, workload.labels)
    ]


def _watches(monitor: KubeObject, labels: Mapping[str, Any], namespace: str) -> bool:
    """Whether a ServiceMonitor or PodMonitor takes an object with these labels in this namespace."""
    scope = mapping(at(monitor, "spec", "namespaceSelector"))
    in_scope = scope.get("any") is True or namespace in (strings(scope.get("matchNames")) or [namespace_of(monitor)])
    return in_scope and selects(at(monitor, "spec", "selector"), labels)


def _target(port: Mapping[str, Any]) -> object:
    """The container port behind a Service's port."""
    return port.get("targetPort") or port.get("port")


def _behind(service: KubeObject, endpoint: Mapping[str, Any]) -> object:
    """The container port that an endpoint of a ServiceMonitor means: by the Service's port name, or straight."""
    if endpoint.get("port") is None:
        return endpoint.get("targetPort")
    for port in mappings(at(service, "spec", "ports")):
        if port.get("name") == endpoint["port"]:
            return _target(port)
    return None  # the Service has no such port: the target does not exist


def _is_chroma_port(workload: Workload, port: object) -> bool:
    owner = workload.answers_on(port)
    return owner is not None and workload.runs_chroma(owner)


def _finding(obj: str, endpoint: Mapping[str, Any], where: str, place: str) -> Finding:
    path = str(endpoint.get("path") or "/metrics").partition("?")[0]  # its query may hold a token
    if path.startswith("/api/v1"):
        answer = "answers 410 since Chroma 1.0"
    elif path.startswith("/api/"):
        answer = "answers JSON"
    else:
        answer = "answers 404"
    return Finding(
        rule="scrape-not-metrics",
        severity=Severity.FAIL,
        message=f"Prometheus is to scrape {path} of Chroma itself, which {answer}: the target is down for ever.",
        evidence=f"path {path}, port {endpoint.get('port') or 'not given'}, by {where}",
        remedy="Scrape an OpenTelemetry Collector that Chroma exports to, or a blackbox exporter on its heartbeat.",
        object=obj,
        path=place,
    )
