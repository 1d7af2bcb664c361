"""Who may talk to Chroma, read from the candidate's own NetworkPolicies: the labels that our pods must carry.

Used by `generator` (a backend pod sends the load) and by the truth table of the policy scenario. Nothing else knows
what the backend is called.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from chroma_qualify.deployment.objects import Candidate

NAME_LABEL = "kubernetes.io/metadata.name"
"""The label that the API server itself gives every namespace: its name."""


@dataclasses.dataclass(frozen=True, slots=True)
class Peer:
    """One kind of pod that an ingress rule admits.

    Attributes:
        pod_labels: labels such a pod must carry.
        namespace_labels: labels its namespace must carry; None: it is in the policy's own namespace.
    """

    pod_labels: Mapping[str, str]
    namespace_labels: Mapping[str, str] | None = None

    @property
    def monitors(self) -> bool:
        """Whether its labels speak of monitoring."""
        words = json.dumps([self.pod_labels, self.namespace_labels]).lower()
        return "monitoring" in words or "prometheus" in words


def pod_labels(candidate: Candidate) -> Mapping[str, str]:
    """Labels of the candidate's Chroma pods."""
    labels: Mapping[str, str] = candidate.deployment["spec"]["template"]["metadata"].get("labels") or {}
    return labels


def policies(candidate: Candidate) -> tuple[Mapping[str, Any], ...]:
    """The NetworkPolicies that select the Chroma pods."""
    labels = pod_labels(candidate)
    return tuple(
        policy for policy in candidate.network_policies if selects(policy["spec"].get("podSelector") or {}, labels)
    )


def peers(candidate: Candidate) -> tuple[Peer, ...]:
    """The peers that ingress rules admit to Chroma's port, in the order written; address blocks are left out."""
    return tuple(_peers(candidate))


def backend(candidate: Candidate) -> Peer | None:
    """The first admitted peer that is not monitoring; with no policy on the pods any pod will do; None: nobody."""
    if not policies(candidate):
        return Peer({"app": "backend"})
    return next((peer for peer in peers(candidate) if not peer.monitors), None)


def monitoring(candidate: Candidate) -> Peer | None:
    """The first admitted peer that speaks of monitoring, or None."""
    return next((peer for peer in peers(candidate) if peer.monitors), None)


def _peers(candidate: Candidate) -> Iterator[Peer]:
    for policy in policies(candidate):
        for rule in policy["spec"].get("ingress") or []:
            ports = [entry.get("port") for entry in rule.get("ports") or []]
            if ports and not any(isinstance(port, str) or port in {candidate.container_port, None} for port in ports):
                continue
            for source in rule.get("from") or [{}]:
                if "ipBlock" in source:
                    continue
                # An empty rule, or a selector that is there but empty, admits everybody it speaks of.
                namespaces = source.get("namespaceSelector")
                yield Peer(
                    satisfying(source.get("podSelector") or {}),
                    None if namespaces is None else satisfying(namespaces),
                )


def satisfying(selector: Mapping[str, Any]) -> dict[str, str]:
    """Labels that a label selector selects (the smallest such set)."""
    labels = dict(selector.get("matchLabels") or {})
    for expression in selector.get("matchExpressions") or []:
        if expression["operator"] == "In":
            labels.setdefault(expression["key"], expression["values"][0])
        elif expression["operator"] == "Exists":
            labels.setdefault(expression["key"], "any")
    return labels


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects these labels."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for expression in selector.get("matchExpressions") or []:
        value = labels.get(expression["key"])
        held = {
            "In": value in (expression.get("values") or []),
            "NotIn": value not in (expression.get("values") or []),
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not held[expression["operator"]]:
            return False
    return True
