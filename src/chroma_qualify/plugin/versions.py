"""Variants of a candidate that a test needs, which differ from it in one thing only."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from chroma_qualify.deployment.objects import Candidate, of_kind
from chroma_qualify.plugin.candidates import with_objects

# What a container may ask for at most, where several environments share the node of a test.
MODEST = {"cpu": "100m", "memory": "256Mi"}
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob")


def modest(candidate: Candidate) -> Candidate:
    """The same candidate, whose containers ask the scheduler for little CPU and memory, and for no priority.

    A pod with a priority would take the place of other scenarios' pods, which run beside it.
    Limits stay, and so does what the server may use; a node gives the rest as long as it has it. A workload that has an
    autoscaler is left as it is, for it scales by shares of the request. The digest is still that of the manifests.
    """
    scaled = {
        (target.get("kind"), target.get("name"))
        for scaler in of_kind(candidate.objects, "HorizontalPodAutoscaler")
        if (target := scaler["spec"].get("scaleTargetRef") or {})
    }
    objects = [
        _lowered(item)
        if item.get("kind") in _WORKLOADS and (item["kind"], item["metadata"]["name"]) not in scaled
        else item
        for item in candidate.objects
    ]
    return dataclasses.replace(with_objects(candidate, objects), digest=candidate.digest)


def _lowered(value: Any) -> Any:  # noqa: ANN401 (a value of somebody's YAML)
    """A copy in which every `resources` of a pod or a container asks for less."""
    if isinstance(value, Mapping):
        return {
            key: _asks_less(inner) if key == "resources" else _lowered(inner)
            for key, inner in value.items()
            if key != "priorityClassName"
        }
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_lowered(inner) for inner in value]
    return value


def _asks_less(resources: Any) -> Any:  # noqa: ANN401 (a value of somebody's YAML)
    """Lower the requests; a limit without a request is one, for the API server takes it for both."""
    if not isinstance(resources, Mapping) or "storage" in (resources.get("requests") or {}):
        return resources  # that of a volume claim
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    requests = {name: _least(name, value) for name, value in asked.items()}
    return {**resources, "requests": requests} if requests else resources


def _least(name: str, value: Any) -> Any:  # noqa: ANN401 (a quantity: a string or a number)
    most = MODEST.get(name)
    if most is None:
        return value
    wanted: Decimal = parse_quantity(value)
    return most if wanted > parse_quantity(most) else value
