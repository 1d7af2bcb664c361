"""Whether connections that arrive in the pod find Chroma there. `engine` runs these, and the doctor asks, too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import (
    KubeObject,
    Workload,
    at,
    chroma_workloads,
    is_published,
    mapping,
    mappings,
    name_of,
    namespace_of,
    of_kind,
    reference,
    selects,
)
from chroma_qualify.lint.rules.services import leads_to
from chroma_qualify.lint.server import Listening, server

_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def loopback_only(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `loopback-only`: Chroma listens inside its pod only, and nothing in the pod stands before it."""
    return (finding for finding in listens_elsewhere(objects) if finding.rule == "loopback-only")


def wrong_target_port(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `wrong-target-port`: a Service sends to a port of the pod on which nobody listens."""
    return (finding for finding in listens_elsewhere(objects) if finding.rule == "wrong-target-port")


def listens_elsewhere(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Services that lead to the pods, but to no port that Chroma, or a proxy before it, answers on from outside."""
    for workload in chroma_workloads(objects):
        yield from of_workload(objects, workload)


def of_workload(objects: Sequence[KubeObject], workload: Workload) -> Iterator[Finding]:
    """The same for one workload."""
    container = workload.chroma_containers[0]
    listening = server(objects, workload, container).listening
    for service in of_kind(objects, "Service") if listening else ():
        if listening and namespace_of(service) == workload.namespace and leads_to(service, workload):
            yield from _of_service(workload, container, listening, service)


def _of_service(
    workload: Workload, container: Mapping[str, Any], listening: Listening, service: KubeObject
) -> Iterator[Finding]:
    given = [port.get("targetPort") or port.get("port") for port in mappings(at(service, "spec", "ports"))]
    targets = [_number(workload, target) for target in given]
    if any(target is not None and answered(workload, container, listening, target) for target in targets):
        return
    where = ", ".join(str(target) for target in targets if target) or "no port"
    if listening.port in targets:
        yield Finding(
            "loopback-only",
            Severity.FAIL,
            f"Chroma listens on {listening.address} only, inside its pod, so every connection to Service "
            f"{name_of(service)} is refused.",
            f"listen_address: {listening.address}; the Service sends to port {where}, where no other container is",
            "Set listen_address (or CHROMA_LISTEN_ADDRESS, or --host) to 0.0.0.0, or put a proxy into the pod on that "
            "port.",
            workload.reference,
            path=workload.path_of(container),
        )
    else:
        yield Finding(
            "wrong-target-port",
            Severity.FAIL,
            f"Service {name_of(service)} sends to port {where} of the pods, and Chroma listens on {listening.port}.",
            f"targetPort: {', '.join(str(t) for t in given)}; {listening.source}: {listening.port}",
            f"Make targetPort of Service {name_of(service)} the port that Chroma listens on.",
            reference(service),
            path="spec.ports",
        )


def probe_wrong_port(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `probe-wrong-port`: a probe of Chroma's container asks a port on which nobody listens.

    Where the Services lead astray, too, one wrong setting is behind both, and is told once.
    """
    for workload in chroma_workloads(objects):
        if any(of_workload(objects, workload)):
            continue
        for container in workload.chroma_containers:
            listening = server(objects, workload, container).listening
            names = [port.get("name") for port in mappings(container.get("ports"))]
            for probe in _PROBES:
                for kind in ("httpGet", "tcpSocket"):
                    asked = mapping(at(container, probe, kind))
                    port = asked.get("port")
                    if asked.get("host") or not isinstance(port, int | str) or isinstance(port, bool):
                        continue
                    if isinstance(port, str) and not port.isdecimal():
                        number = _named(container, port)
                        why = "" if port in names else f"container {container.get('name')} has no port named {port}"
                    else:
                        number, why = int(port), ""
                    # Somebody else in the pod may listen there, unless it is Chroma's own port, on the loopback only.
                    alone = len(workload.containers) == 1 or (listening and number == listening.port)
                    if number and alone and listening and not _reaches(container, listening, number):
                        why = f"Chroma listens on {listening.address}:{listening.port} ({listening.source})"
                    if why:
                        yield Finding(
                            "probe-wrong-port",
                            Severity.FAIL,
                            f"The {probe} of container {container.get('name')} of {workload.reference} can never "
                            f"succeed: {why}.",
                            f"{probe}.{kind}.port: {port}",
                            "Ask the port that Chroma, or the proxy in front of it, listens on.",
                            workload.reference,
                            path=f"{workload.path_of(container)}.{probe}.{kind}.port",
                        )


def _reaches(container: Mapping[str, Any], listening: Listening, port: int) -> bool:
    """Whether Chroma answers there; an image of somebody's own may listen elsewhere by default."""
    if port == listening.port:
        return not listening.loopback
    return listening.source == "the default" and not is_published(container)


def headless_service(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `headless-service`: clients connect to the pod itself, so the Service's own port leads nowhere."""
    for workload in chroma_workloads(objects):
        for service in of_kind(objects, "Service"):
            selector = mapping(at(service, "spec", "selector"))
            same = namespace_of(service) == workload.namespace and selects({"matchLabels": selector}, workload.labels)
            if not selector or not same or at(service, "spec", "clusterIP") != "None":
                continue
            for number, port in enumerate(mappings(at(service, "spec", "ports"))):
                target = _number(workload, port.get("targetPort") or port.get("port"))
                if isinstance(target, int) and isinstance(port.get("port"), int) and target != port["port"]:
                    yield Finding(
                        "headless-service",
                        Severity.FAIL,
                        f"Service {name_of(service)} is headless: its name leads straight to the pod, where nobody "
                        f"listens on {port['port']}, and every connection is refused.",
                        f"clusterIP: None; port: {port['port']}; targetPort: {target}",
                        "Remove clusterIP: None, or make port the same as targetPort.",
                        reference(service),
                        path=f"spec.ports[{number}].port",
                    )


def _number(workload: Workload, target: object) -> object:
    """The number of a container port that may be given by name; None where no container has that name."""
    for container in workload.containers:
        for port in mappings(container.get("ports")):
            if target is not None and port.get("name") == target:
                return port.get("containerPort")
    return None if isinstance(target, str) else target


def _named(container: Mapping[str, Any], name: str) -> int | None:
    for port in mappings(container.get("ports")):
        number = port.get("containerPort")
        if port.get("name") == name and isinstance(number, int):
            return number
    return None


def answered(workload: Workload, container: Mapping[str, Any], listening: Listening | None, target: object) -> bool:
    """Whether connections to a port of the pods are answered, as far as that can be told."""
    if listening is None:
        return True
    if target == listening.port and not listening.loopback:
        return True
    if listening.source == "the default" and not is_published(container) and target != listening.port:
        return True  # an image of somebody's own may listen elsewhere
    owner = next(
        (
            one
            for one in workload.containers
            if any(port.get("containerPort") == target for port in mappings(one.get("ports")))
        ),
        None,
    )
    if owner is None:  # nobody says so, but one of several containers may
        return len(workload.containers) > 1
    return owner is not container
