"""Servers that run, and that nobody can connect to."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from chroma_qualify.deployment.objects import KubeObject
from chroma_qualify.doctor.diagnosis import Diagnosis, Issue
from chroma_qualify.doctor.look import Patient, Server
from chroma_qualify.lint.objects import at, mapping, mappings, name_of, reference
from chroma_qualify.lint.rules.listening import answered
from chroma_qualify.lint.rules.services import leads_to

# A pod's readiness is told first, and Services hear of it from controllers that may be busy.
_TOLD_WITHIN = timedelta(seconds=30)


def reaching(patient: Patient) -> Iterator[Diagnosis]:
    """Issue `connection refused`; what the linter sees of it is in `setup`."""
    for server in patient.servers:
        if server.wanted == 0:
            yield Diagnosis(
                Issue.REACHING,
                "scaled-to-zero",
                f"{server.workload.reference} is scaled to 0: there is no server to connect to",
                "spec.replicas: 0",
                f"kubectl scale {server.workload.kind.lower()}/{server.workload.name} --replicas=1",
                server.workload.reference,
            )
        yield from _without_endpoints(patient, server)
        yield from _closed(patient, server)


def _services(patient: Patient, server: Server) -> list[KubeObject]:
    return [service for service in patient.of_kind("Service") if leads_to(service, server.workload)]


def _targets(service: KubeObject) -> list[object]:
    return [port.get("targetPort") or port.get("port") for port in mappings(at(service, "spec", "ports"))]


def _number(server: Server, target: object) -> object:
    """The number of a container port that may be given by name; None where no container has that name."""
    for container in server.workload.containers:
        for port in mappings(container.get("ports")):
            if port.get("name") == target:
                return port.get("containerPort")
    return None if isinstance(target, str) else target


def _without_endpoints(patient: Patient, server: Server) -> Iterator[Diagnosis]:
    """Ready pods, and a Service that knows of none; pods that are not ready are told of elsewhere."""
    slices = patient.of_kind("EndpointSlice")
    known = [pod for pod in server.ready if _ready_for_long(patient, pod)]
    if not known or not slices:
        return
    for service in _services(patient, server):
        own = [
            item
            for item in slices
            if mapping(at(item, "metadata", "labels")).get("kubernetes.io/service-name") == name_of(service)
        ]
        endpoints = [endpoint for item in own if item.get("ports") for endpoint in mappings(item.get("endpoints"))]
        if own and not any(mapping(endpoint.get("conditions")).get("ready") is not False for endpoint in endpoints):
            yield Diagnosis(
                Issue.REACHING,
                "no-ready-endpoints",
                f"Service {name_of(service)} has no ready endpoint, though {len(known)} of its pods are ready",
                f"{len(endpoints)} endpoints in {', '.join(name_of(item) for item in own)}",
                "see `kubectl get endpointslices`, and whether the controller manager runs",
                reference(service),
            )


def _ready_for_long(patient: Patient, pod: KubeObject) -> bool:
    """Whether a pod has been ready so long that others must know."""
    told = [
        item.get("lastTransitionTime")
        for item in mappings(at(pod, "status", "conditions"))
        if item.get("type") == "Ready"
    ]
    since = next(filter(None, told), at(pod, "metadata", "creationTimestamp"))
    return since is None or patient.snapshot.taken - datetime.fromisoformat(str(since)) > _TOLD_WITHIN


def _closed(patient: Patient, server: Server) -> Iterator[Diagnosis]:
    """Network policies that together let nobody through to the port that the Service sends to."""
    policies = patient.policies(server)
    if not policies:
        return
    for service in _services(patient, server):
        numbers = [_number(server, target) for target in _targets(service)]
        targets = [
            number
            for number in numbers
            if isinstance(number, int) and answered(server.workload, server.container, server.listening, number)
        ]
        rules = [rule for policy in policies for rule in mappings(at(policy, "spec", "ingress"))]
        if not targets or any(_opens(server, rule, target) for rule in rules for target in targets):
            continue
        names = ", ".join(name_of(policy) for policy in policies)
        opened = [str(port.get("port")) for rule in rules for port in mappings(rule.get("ports"))]
        yield Diagnosis(
            Issue.REACHING,
            "policy-lets-nobody-in",
            f"the network policies let nobody connect to port {', '.join(map(str, targets))} of Chroma's pods",
            f"NetworkPolicy {names}: ingress to port {', '.join(opened) or 'none'}",
            f"add an ingress rule for port {targets[0]} that names the clients (`from:` with their labels)",
            f"NetworkPolicy/{name_of(policies[0])}",
        )
        return


def _opens(server: Server, rule: KubeObject, target: int) -> bool:
    ports = [port for port in mappings(rule.get("ports")) if (port.get("protocol") or "TCP") == "TCP"]
    return not rule.get("ports") or any(_covers(server, port, target) for port in ports)


def _covers(server: Server, port: KubeObject, target: int) -> bool:
    if port.get("port") is None:  # every port
        return True
    first, last = _number(server, port["port"]), port.get("endPort")
    return isinstance(first, int) and first <= target <= (last if isinstance(last, int) else first)
