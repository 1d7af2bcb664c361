"""Ways from outside the cluster straight to Chroma, which asks nobody for a credential. `engine` runs this."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import (
    KubeObject,
    Workload,
    at,
    chroma_workloads,
    is_before_1_0,
    mapping,
    mappings,
    name_of,
    namespace_of,
    of_kind,
    reference,
    strings,
)
from chroma_qualify.lint.rules.services import leads_to

_ROUTES = ("HTTPRoute", "Ingress", "IngressRoute", "Route", "TCPRoute", "VirtualService")
# Somebody sees to it: which of them covers which route is not ours to tell.
_AUTH_KINDS = ("AuthorizationPolicy", "RequestAuthentication", "SecurityPolicy")
_AUTH_ANNOTATIONS = (
    "auth",
    "oauth",
    "middlewares",
    "whitelist-source-range",
    "allowlist-source-range",
    "inbound-cidrs",
)
_INTERNAL = ("internal", "tailscale")


def exposed(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `exposed`: a LoadBalancer, NodePort, Ingress or route leads to Chroma itself."""
    if of_kind(objects, *_AUTH_KINDS):
        return
    for workload in chroma_workloads(objects):
        if any(is_before_1_0(container) for container in workload.chroma_containers):
            continue  # it may have authentication of its own
        straight = [service for service in of_kind(objects, "Service") if _straight(service, workload)]
        for service in straight:
            kind = at(service, "spec", "type")
            if kind in ("LoadBalancer", "NodePort"):
                guarded = strings(at(service, "spec", "loadBalancerSourceRanges")) or _internal(service)
                yield _finding(
                    service,
                    Severity.NOTE if guarded else Severity.FAIL,
                    f"{reference(service)} (type {kind}) leads from outside the cluster straight to Chroma",
                    f"spec.type: {kind}; its targetPort is Chroma's own",
                    "spec.type",
                )
        names = {name_of(service) for service in straight}
        for route in of_kind(objects, *_ROUTES):
            backends = names & set(_backends(route.get("spec")))
            if namespace_of(route) == workload.namespace and backends and not _authenticates(route):
                yield _finding(
                    route,
                    Severity.FAIL,
                    f"{reference(route)} leads from outside the cluster straight to Chroma",
                    f"backend: Service {', '.join(sorted(backends))}, whose targetPort is Chroma's own; nothing in it "
                    "asks for authentication",
                    "spec",
                )


def _straight(service: KubeObject, workload: Workload) -> bool:
    """Whether it leads to Chroma's own container, and not to a proxy beside it."""
    if namespace_of(service) != workload.namespace or not leads_to(service, workload):
        return False
    for port in mappings(at(service, "spec", "ports")):
        owner = workload.answers_on(port.get("targetPort") or port.get("port"))
        if owner is not None and workload.runs_chroma(owner):
            return True
    return False


def _internal(service: KubeObject) -> bool:
    annotations = mapping(at(service, "metadata", "annotations"))
    words = [f"{key}={value}" for key, value in annotations.items()]
    words.append(str(at(service, "spec", "loadBalancerClass")))
    return any(inner in word.lower() and "=false" not in word.lower() for word in words for inner in _INTERNAL)


def _authenticates(route: KubeObject) -> bool:
    """Whether something in a route looks like authentication, or like an allow list."""
    annotations = mapping(at(route, "metadata", "annotations"))
    if any(word in str(key).lower() for key in annotations for word in _AUTH_ANNOTATIONS):
        return True
    return any(word in str(route.get("spec")) for word in ("ExtensionRef", "middlewares"))


def _backends(value: object, depth: int = 0) -> Iterator[str]:
    """Names of Services in a route of whatever kind: `service.name`, `backendRefs`, `services`, `host`, `to`."""
    if depth > 12:
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key in ("service", "serviceName", "backend", "defaultBackend", "destination", "to", "backendRefs",
                       "services"):  # fmt: skip
                yield from _names(inner)
            yield from _backends(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _backends(inner, depth + 1)


def _names(value: object) -> Iterator[str]:
    for one in value if isinstance(value, list | tuple) else [value]:
        if isinstance(one, str):
            yield one
        for field in ("name", "serviceName", "host"):
            if isinstance(name := mapping(one).get(field), str):
                yield name.partition(".")[0]


def _finding(obj: KubeObject, severity: Severity, message: str, evidence: str, path: str) -> Finding:
    return Finding(
        "exposed",
        severity,
        f"{message}, which asks nobody for a credential: who reaches it reads, changes and deletes everything.",
        evidence,
        "Put an authenticating proxy in front of Chroma and let this lead there, or use type ClusterIP and keep it in "
        "the cluster.",
        reference(obj),
        path=path,
    )
