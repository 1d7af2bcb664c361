"""A snapshot in order: each Chroma server with its pods, claims, Services, policies and logs.

Pure. Made once, read by every rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chroma_qualify.deployment.causes import pod_ready
from chroma_qualify.deployment.objects import KubeObject
from chroma_qualify.doctor.snapshot import Log, MemoryUse, Snapshot, VolumeUse
from chroma_qualify.lint import objects
from chroma_qualify.lint.objects import (
    Workload,
    at,
    chroma_workloads,
    mapping,
    mappings,
    name_of,
    of_kind,
    selects,
    strings,
)
from chroma_qualify.lint.server import Listening, server

# What a rule of `lint` judges: what people write, not what controllers make of it.
_WRITTEN = (
    "ConfigMap",
    "DaemonSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "LimitRange",
    "PersistentVolumeClaim",
    "PodMonitor",
    "Service",
    "ServiceMonitor",
    "StatefulSet",
)


@dataclasses.dataclass(frozen=True, slots=True)
class Server:
    """A Chroma workload and what belongs to it.

    Attributes:
        workload: a Deployment, StatefulSet, DaemonSet, or a Pod that nobody manages.
        container: the one that runs Chroma.
        listening: where it listens, or None where that cannot be told.
        pods: its pods.
        claims: names of the claims that its pods use.
        logs: of its container.
        memory: of its pods' containers.
    """

    workload: Workload
    container: Mapping[str, Any]
    listening: Listening | None
    pods: tuple[KubeObject, ...]
    claims: tuple[str, ...]
    logs: tuple[Log, ...]
    memory: tuple[MemoryUse, ...]

    @property
    def wanted(self) -> int:
        """How many pods are asked for."""
        replicas = at(self.workload.source, "spec", "replicas")
        return replicas if isinstance(replicas, int) else 1

    @property
    def staying(self) -> tuple[KubeObject, ...]:
        """Its pods without those that are about to go, and those that have ended."""
        return tuple(
            pod
            for pod in self.pods
            if not at(pod, "metadata", "deletionTimestamp")
            and at(pod, "status", "phase") not in ("Failed", "Succeeded")
        )

    @property
    def ready(self) -> tuple[KubeObject, ...]:
        """Those that are ready."""
        return tuple(pod for pod in self.staying if pod_ready(pod))

    def log(self, pod: KubeObject, *, previous: bool) -> str:
        """The end of a log of its container in a pod; "" if there is none."""
        return next((log.text for log in self.logs if (log.pod, log.previous) == (name_of(pod), previous)), "")


@dataclasses.dataclass(frozen=True, slots=True)
class Patient:
    """A namespace with what is of interest in it.

    Attributes:
        snapshot: what was seen.
        servers: the Chroma servers.
        written: the objects that people write, for the linter.
    """

    snapshot: Snapshot
    servers: tuple[Server, ...]
    written: tuple[KubeObject, ...]

    def of_kind(self, *kinds: str) -> list[KubeObject]:
        """The objects of these kinds."""
        return of_kind(self.snapshot.objects, *kinds)

    def volume(self, claim: str) -> VolumeUse | None:
        """How full a claim's volume is, where it was measured."""
        return next((use for use in self.snapshot.volumes if use.claim == claim), None)

    def policies(self, server: Server) -> list[KubeObject]:
        """The network policies that restrict who may connect to a server's pods."""
        return [
            policy
            for policy in self.of_kind("NetworkPolicy")
            if selects(at(policy, "spec", "podSelector"), server.workload.labels)
            and "Ingress" in (strings(at(policy, "spec", "policyTypes")) or ["Ingress"])
        ]


def look(snapshot: Snapshot) -> Patient:
    """Put a snapshot in order."""
    alone = [pod for pod in of_kind(snapshot.objects, "Pod") if not at(pod, "metadata", "ownerReferences")]
    written = [*of_kind(snapshot.objects, *_WRITTEN), *alone]
    servers = tuple(_server(snapshot, workload) for workload in chroma_workloads(written))
    return Patient(snapshot, servers, tuple(written))


def chroma_pods(objects: Sequence[KubeObject]) -> list[KubeObject]:
    """The pods that run Chroma, whoever made them."""
    return [workload.source for workload in chroma_workloads(of_kind(objects, "Pod"))]


def quantity(text: object) -> int | None:
    """A Kubernetes quantity of memory or storage in bytes; None where there is none."""
    found = objects.quantity(text)
    return None if found is None else int(found)


def claims_of(pod: KubeObject) -> list[str]:
    """Names of the claims that a pod uses."""
    volumes = mappings(at(pod, "spec", "volumes"))
    return [str(at(v, "persistentVolumeClaim", "claimName")) for v in volumes if "persistentVolumeClaim" in v]


def _server(snapshot: Snapshot, workload: Workload) -> Server:
    container = workload.chroma_containers[0]
    pods = tuple(_pods(snapshot, workload))
    names = {name_of(pod) for pod in pods}
    here = str(container.get("name"))
    template = [{"spec": workload.pod}]
    return Server(
        workload=workload,
        container=container,
        listening=server(snapshot.objects, workload, container).listening,
        pods=pods,
        claims=tuple(sorted({claim for item in (*pods, *template) for claim in claims_of(item)})),
        logs=tuple(log for log in snapshot.logs if log.pod in names and log.container == here),
        memory=tuple(use for use in snapshot.memory if use.pod in names),
    )


def _pods(snapshot: Snapshot, workload: Workload) -> Iterable[KubeObject]:
    if workload.kind == "Pod":
        return [workload.source]
    owners = {workload.reference}
    owners |= {
        f"ReplicaSet/{name_of(item)}"
        for item in of_kind(snapshot.objects, "ReplicaSet")
        if workload.reference in _owners(item)
    }
    if len(owners) == 1 and workload.kind == "Deployment":  # the ReplicaSets could not be listed: by labels then
        selector = at(workload.source, "spec", "selector")
        return [
            pod for pod in of_kind(snapshot.objects, "Pod") if selects(selector, mapping(at(pod, "metadata", "labels")))
        ]
    return [pod for pod in of_kind(snapshot.objects, "Pod") if owners & _owners(pod)]


def _owners(item: KubeObject) -> set[str]:
    return {f"{owner.get('kind')}/{owner.get('name')}" for owner in mappings(at(item, "metadata", "ownerReferences"))}
