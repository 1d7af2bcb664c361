"""NetworkPolicies that do not do what they are for. `engine` runs these.

Policies on the same pods add up; a pod that none selects is open. Names are those of the truth table that a run makes
of them where that proves the same.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import (
    CHROMA_PORT,
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
from chroma_qualify.lint.secrets import hidden
from chroma_qualify.lint.server import server

_DNS = 53
_EVERYBODY = {ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")}
# Of which we do not know what they do.
_OF_OTHERS = ("AuthorizationPolicy", "CiliumClusterwideNetworkPolicy", "CiliumNetworkPolicy", "GlobalNetworkPolicy")
_NAME = "kubernetes.io/metadata.name"


def policy_missing(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `policy-missing`: every pod of the cluster may talk to Chroma."""
    for workload in chroma_workloads(objects):
        if not _on(objects, workload, "Ingress") and not of_kind(objects, *_OF_OTHERS):
            yield Finding(
                "policy-missing",
                Severity.NOTE,
                f"No NetworkPolicy selects the pods of {workload.reference}: every pod of the cluster may connect, and "
                "Chroma asks nobody for a credential.",
                f"{len(of_kind(objects, 'NetworkPolicy'))} NetworkPolicies; labels of the pods: "
                f"{words(workload.labels)}",
                "Add a NetworkPolicy that lets in Chroma's clients and monitoring.",
                workload.reference,
            )


def policy_ingress_open(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `policy-ingress-open`: a policy on Chroma's pods lets everybody in."""
    for workload in chroma_workloads(objects):
        for policy in _on(objects, workload, "Ingress"):
            for number, rule in enumerate(_rules(policy, "ingress")):
                ports = [port for port in _ports(rule) if _is_chromas(workload, port)]
                why = _everybody(rule)
                if why and (ports or not rule.get("ports")) and not _behind_a_proxy(workload, rule):
                    yield Finding(
                        "policy-ingress-open",
                        Severity.FAIL,
                        f"{reference(policy)} lets everybody in to {workload.reference}: {why}.",
                        f"spec.ingress[{number}]: {why}",
                        "Name the clients: a podSelector, with a namespaceSelector in the same entry for other "
                        "namespaces.",
                        reference(policy),
                        path=f"spec.ingress[{number}].from",
                    )


def policy_egress_blocked(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `policy-egress-blocked`: what is allowed out needs names, and DNS is not; or telemetry has no way."""
    for workload in workloads(objects):
        policies = _on(objects, workload, "Egress")
        rules = [rule for policy in policies for rule in _rules(policy, "egress")]
        if not policies:
            continue
        collector = _collector(objects, workload)
        asks = collector if _by_name(collector) else _names_a_service(objects, workload)
        mine = bool(workload.chroma_containers) and not collector
        if (asks or (mine and rules)) and not any(_allows_dns(rule) for rule in rules):
            yield Finding(
                "policy-egress-blocked",
                Severity.FAIL if asks else Severity.NOTE,
                f"The policies on {workload.reference} let no DNS out, so "
                + (
                    f"the name {hidden(asks)} is never resolved."
                    if asks
                    else "no name of what they allow is ever resolved."
                ),
                f"{', '.join(reference(policy) for policy in policies)}: no egress rule with port 53 to kube-system",
                "Allow UDP and TCP port 53 to the cluster's DNS (namespace kube-system, k8s-app: kube-dns).",
                reference(policies[0]),
                path="spec.egress",
            )
        port = collector.rpartition(":")[2].rstrip("/")
        if port.isdecimal() and not any(_admits(workload, rule, int(port)) for rule in rules):
            yield Finding(
                "policy-egress-blocked",
                Severity.FAIL,
                f"The policies on {workload.reference} let nothing out to port {port}, where it is to send its "
                "telemetry.",
                f"open_telemetry.endpoint: {hidden(collector)}; {', '.join(reference(policy) for policy in policies)}",
                f"Allow port {port} to the pods of the OpenTelemetry Collector.",
                reference(policies[0]),
                path="spec.egress",
            )


def policy_matches_nothing(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `policy-matches-nothing`: a policy that is, or may be, meant for Chroma selects no pod."""
    pods = all_pod_labels(objects)
    here = {workload.namespace: workload for workload in chroma_workloads(objects)}
    for policy in of_kind(objects, "NetworkPolicy"):
        selector = mapping(at(policy, "spec", "podSelector"))
        said = [name_of(policy), *map(str, mapping(selector.get("matchLabels")).values())]
        place = namespace_of(policy)
        # Under another name it may be for pods that are described elsewhere; not where only Chroma is, and lies open.
        others = sum(ns == place for ns, _ in pods) > sum(w.namespace == place for w in chroma_workloads(objects))
        meant = any("chroma" in word for word in said) or not (
            others or place not in here or _on(objects, here[place], "Ingress")
        )
        if place in here and not any(ns == place and selects(selector, labels) for ns, labels in pods):
            yield Finding(
                "policy-matches-nothing",
                Severity.FAIL if meant else Severity.NOTE,
                f"{reference(policy)} selects none of the pods"
                + (", so it protects nothing." if meant else " that are described here; is it for others?"),
                f"spec.podSelector: {words(mapping(selector.get('matchLabels')))}; labels of pods: "
                f"{'; '.join(sorted({words(labels) for ns, labels in pods if ns == place}))}",
                "Make spec.podSelector match the labels of Chroma's pods.",
                reference(policy),
                path="spec.podSelector",
            )


def policy_types(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `policy-types`: rules for a direction that `policyTypes` leaves out count for nothing."""
    for workload in chroma_workloads(objects):
        for policy in _selecting(objects, workload):
            types = strings(at(policy, "spec", "policyTypes"))
            spec = mapping(policy.get("spec"))
            for kind, field in (("Ingress", "ingress"), ("Egress", "egress")):
                given = field in spec and spec[field] is not None
                # Without policyTypes Kubernetes takes Ingress, and Egress only where it has rules.
                unread = given and (kind not in types if types else kind == "Egress" and not spec[field])
                if unread:
                    yield Finding(
                        "policy-types",
                        Severity.FAIL if kind == "Ingress" else Severity.NOTE,
                        f"{reference(policy)} has {field} rules, and they count for nothing: its policyTypes leave "
                        f"{kind} out, so all of it stays allowed.",
                        f"policyTypes: {', '.join(types) or 'not set'}; {field}: {len(mappings(spec[field]))} rules",
                        f"Add {kind} to policyTypes.",
                        reference(policy),
                        path="spec.policyTypes",
                    )


def policy_namespace_label(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `policy-namespace-label`: a namespace is selected by a label `name`, which Kubernetes does not set."""
    known = [mapping(at(obj, "metadata", "labels")) for obj in of_kind(objects, "Namespace")]
    for policy in of_kind(objects, "NetworkPolicy"):
        for direction, peers in (("ingress", "from"), ("egress", "to")):
            for number, rule in enumerate(_rules(policy, direction)):
                for place, peer in enumerate(mappings(rule.get(peers))):
                    labels = mapping(at(peer, "namespaceSelector", "matchLabels"))
                    if "name" not in labels or any(selects(peer["namespaceSelector"], each) for each in known):
                        continue
                    shut = "those pods are shut out" if direction == "ingress" else "nothing gets there"
                    yield Finding(
                        "policy-namespace-label",
                        Severity.FAIL,
                        f"{reference(policy)} selects the namespace {labels['name']} by the label `name`, which "
                        f"Kubernetes gives no namespace: unless somebody does, {shut}.",
                        f"spec.{direction}[{number}].{peers}[{place}].namespaceSelector: {words(labels)}",
                        f"Select {_NAME}: {labels['name']}, which every namespace has.",
                        reference(policy),
                        path=f"spec.{direction}[{number}].{peers}[{place}].namespaceSelector",
                    )


def policy_no_monitoring(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `policy-no-monitoring`: Prometheus is to scrape pods, and their policies let nobody in who could be it."""
    for workload in workloads(objects):
        policies = _on(objects, workload, "Ingress")
        for monitor, port in _scraped(objects, workload) if policies else ():
            if _answers(workload, port):
                continue  # no policy helps: there are no metrics there (`scrape-not-metrics`)
            rules = [rule for policy in policies for rule in _rules(policy, "ingress") if _admits(workload, rule, port)]
            if not any(_may_be_prometheus(rule) for rule in rules):
                yield Finding(
                    "policy-no-monitoring",
                    Severity.FAIL,
                    f"{reference(monitor)} has Prometheus scrape port {port} of {workload.reference}, and no ingress "
                    "rule of its policies lets it in.",
                    f"{', '.join(reference(policy) for policy in policies)}: no rule for port {port} with a namespace "
                    "or pods of monitoring",
                    f"Let Prometheus in: namespaceSelector {_NAME}: monitoring, with its podSelector.",
                    reference(policies[0]),
                    path="spec.ingress",
                )


def _selecting(objects: Sequence[KubeObject], workload: Workload) -> list[KubeObject]:
    return [
        policy
        for policy in of_kind(objects, "NetworkPolicy")
        if namespace_of(policy) == workload.namespace and selects(at(policy, "spec", "podSelector"), workload.labels)
    ]


def _on(objects: Sequence[KubeObject], workload: Workload, direction: str) -> list[KubeObject]:
    """The policies that restrict a workload's pods in this direction."""
    found = []
    for policy in _selecting(objects, workload):
        types = strings(at(policy, "spec", "policyTypes"))
        if direction in types or (not types and (direction == "Ingress" or at(policy, "spec", "egress"))):
            found.append(policy)
    return found


def _rules(policy: KubeObject, field: str) -> list[Mapping[str, Any]]:
    """The rules as they stand, an empty one for what is none."""
    listed = at(policy, "spec", field)
    return [mapping(rule) for rule in listed] if isinstance(listed, list | tuple) else []


def _ports(rule: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return mappings(rule.get("ports"))


def _everybody(rule: Mapping[str, Any]) -> str:
    """How this rule lets everybody in, or ""."""
    peers = rule.get("from")
    if not peers:
        return "it names nobody (no `from`)"
    blocks = [str(at(peer, "ipBlock", "cidr")) for peer in mappings(peers) if not at(peer, "ipBlock", "except")]
    if _all_addresses(blocks):
        return f"ipBlock {', '.join(block for block in blocks if block != 'None')}"
    for peer in mappings(peers):
        namespaces = peer.get("namespaceSelector")
        if isinstance(namespaces, Mapping) and not any(namespaces.values()):
            pods = mapping(peer.get("podSelector"))
            if not any(pods.values()):
                return "all pods of all namespaces (an empty namespaceSelector)"
    return ""


def _all_addresses(blocks: Sequence[str]) -> bool:
    """Whether they leave out no address, alone or together: 0.0.0.0/1 and 128.0.0.0/1 are everybody, too."""
    four: list[ipaddress.IPv4Network] = []
    six: list[ipaddress.IPv6Network] = []
    for block in blocks:
        try:
            network = ipaddress.ip_network(block, strict=False)
        except ValueError:
            continue
        if isinstance(network, ipaddress.IPv4Network):
            four.append(network)
        else:
            six.append(network)
    return bool(_EVERYBODY.intersection([*ipaddress.collapse_addresses(four), *ipaddress.collapse_addresses(six)]))


def _is_chromas(workload: Workload, port: Mapping[str, Any]) -> bool:
    first, last = port.get("port"), port.get("endPort")
    if first is None:  # of all ports, one protocol
        return port.get("protocol") in (None, "TCP")
    if isinstance(first, int) and isinstance(last, int):
        chromas = [one.get("containerPort") for c in workload.chroma_containers for one in mappings(c.get("ports"))]
        return any(isinstance(one, int) and first <= one <= last for one in chromas or [CHROMA_PORT])
    return _answers(workload, first)


def _answers(workload: Workload, port: object) -> bool:
    """Whether it is Chroma that answers on a port, and not what stands beside it."""
    owner = workload.answers_on(port)
    return owner is not None and workload.runs_chroma(owner)


def _behind_a_proxy(workload: Workload, rule: Mapping[str, Any]) -> bool:
    """Whether a rule for all ports is for a pod whose declared ports are all those of a proxy."""
    if rule.get("ports"):
        return False
    others = [one for one in workload.containers if not workload.runs_chroma(one) and mappings(one.get("ports"))]
    return bool(others) and not any(mappings(one.get("ports")) for one in workload.chroma_containers)


def _numbers(workload: Workload, name: object) -> list[object]:
    if not isinstance(name, str):
        return [name]
    declared = [port for container in workload.containers for port in mappings(container.get("ports"))]
    return [port.get("containerPort") for port in declared if port.get("name") == name]


def _admits(workload: Workload, rule: Mapping[str, Any], port: int) -> bool:
    """Whether a rule is for this port, or for all; a name is one of the pod's own."""
    if not rule.get("ports"):
        return True
    for entry in _ports(rule):
        first, last = entry.get("port"), entry.get("endPort")
        if first is None or port in _numbers(workload, first):
            return True
        if isinstance(first, int) and isinstance(last, int) and first <= port <= last:
            return True
    return False


def _allows_dns(rule: Mapping[str, Any]) -> bool:
    """Whether a rule could be the way to the cluster's DNS."""
    ports = _ports(rule)
    spans = any(
        isinstance(p.get("port"), int) and isinstance(p.get("endPort"), int) and p["port"] <= _DNS <= p["endPort"]
        for p in ports
    )
    if ports and not spans and not any(p.get("port") in (_DNS, None, "dns", "dns-tcp") for p in ports):
        return False
    peers = mappings(rule.get("to"))
    # Pods of the own namespace only: the cluster's DNS is elsewhere.
    return not peers or any("ipBlock" in peer or "namespaceSelector" in peer for peer in peers)


def _collector(objects: Sequence[KubeObject], workload: Workload) -> str:
    """Where Chroma is told to send telemetry, or ""."""
    for container in workload.chroma_containers:
        setting = server(objects, workload, container).settings.get("open_telemetry.endpoint")
        if setting is not None and isinstance(setting.value, str) and setting.value:
            return setting.value
    return ""


def _by_name(endpoint: str) -> bool:
    """Whether an endpoint names its host, so that DNS is needed."""
    host = endpoint.partition("://")[2] or endpoint
    return bool(host) and not host[0].isdigit() and host[0] != "["


def _names_a_service(objects: Sequence[KubeObject], workload: Workload) -> str:
    """A Service of these objects that the pods are told of by a URL in a variable, or ""."""
    names = {name_of(service) for service in of_kind(objects, "Service")}
    for container in workload.containers:
        for variable in mappings(container.get("env")):
            host = str(variable.get("value") or "").partition("://")[2].partition("/")[0].partition(":")[0]
            if host.partition(".")[0] in names and host:
                return host
    return ""


def _scraped(objects: Sequence[KubeObject], workload: Workload) -> Iterator[tuple[KubeObject, int]]:
    """(monitor, container port) of this workload's pods."""
    for monitor in of_kind(objects, "ServiceMonitor"):
        for service in of_kind(objects, "Service"):
            selector = mapping(at(service, "spec", "selector"))
            leads = selector and selects({"matchLabels": selector}, workload.labels)
            labels = mapping(at(service, "metadata", "labels"))
            if not leads or namespace_of(service) != workload.namespace or not _in_scope(monitor, workload):
                continue
            if not selects(at(monitor, "spec", "selector"), labels):
                continue
            for endpoint in mappings(at(monitor, "spec", "endpoints")):
                for port in mappings(at(service, "spec", "ports")):
                    if endpoint.get("port") is not None and port.get("name") == endpoint["port"]:
                        numbers = _numbers(workload, port.get("targetPort") or port.get("port"))
                        yield from ((monitor, n) for n in numbers if isinstance(n, int))
    for monitor in of_kind(objects, "PodMonitor"):
        if _in_scope(monitor, workload) and selects(at(monitor, "spec", "selector"), workload.labels):
            for endpoint in mappings(at(monitor, "spec", "podMetricsEndpoints")):
                numbers = _numbers(workload, endpoint.get("port"))
                yield from ((monitor, n) for n in numbers if isinstance(n, int))


def _in_scope(monitor: KubeObject, workload: Workload) -> bool:
    scope = mapping(at(monitor, "spec", "namespaceSelector"))
    places = strings(scope.get("matchNames")) or [namespace_of(monitor)]
    return scope.get("any") is True or workload.namespace in places


def _may_be_prometheus(rule: Mapping[str, Any]) -> bool:
    """Whether a rule's peers could be Prometheus: another namespace, an address, or pods that are called so."""
    peers = mappings(rule.get("from"))
    return not peers or any(
        "namespaceSelector" in peer
        or "ipBlock" in peer
        or not any(mapping(peer.get("podSelector")).values())
        or any(word in str(peer.get("podSelector")).lower() for word in ("prometheus", "monitor", "metrics"))
        for peer in peers
    )
