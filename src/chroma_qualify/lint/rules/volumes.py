"""How many servers can open one volume. `engine` runs this.

Chroma keeps its index in the memory of each process and writes it over the files of the others: with more than one
server on a directory, acknowledged vectors leave the index for good, without an error.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import (
    KubeObject,
    Workload,
    at,
    autoscalers,
    chroma_workloads,
    find,
    mapping,
    mappings,
    reference,
    strings,
    whole,
)

# Volumes that each pod has for itself, or that nobody writes to. All others can be one directory for several pods.
_OWN_OR_READ_ONLY = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "gitRepo", "image", "projected", "secret"}
)
_LOSS = "servers on one volume overwrite each other's index, and acknowledged vectors are lost without an error"


def two_servers_one_volume(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `two-servers-one-volume`: replicas, autoscaler, update strategy or a second workload share a volume."""
    users: dict[tuple[str, str], list[Workload]] = defaultdict(list)
    for workload in chroma_workloads(objects):
        for volume in _shared_volumes(objects, workload):
            users[(workload.namespace, volume)].append(workload)
            yield from _of_one_workload(objects, workload, volume)
    for (_, volume), sharing in users.items():
        if len(sharing) > 1:
            names = ", ".join(workload.reference for workload in sharing)
            yield _finding(
                sharing[1].reference,
                f"{len(sharing)} workloads run Chroma on {volume}; {_LOSS}.",
                f"{volume} is mounted by {names}",
                "Give each server a volume of its own.",
                "spec.template.spec.volumes",
            )


def _of_one_workload(objects: Sequence[KubeObject], workload: Workload, volume: str) -> Iterator[Finding]:
    replicas = whole(at(workload.source, "spec", "replicas"), 1)
    if workload.kind != "DaemonSet" and replicas > 1:
        yield _finding(
            workload.reference,
            f"{replicas} replicas of Chroma share {volume}; {_LOSS}.",
            f"spec.replicas: {replicas}; {volume} in the pod template",
            "Set replicas to 1 and give the one server more CPU and memory.",
            "spec.replicas",
        )
    if workload.kind == "DaemonSet" and not volume.startswith("hostPath"):
        yield _finding(
            workload.reference,
            f"A DaemonSet runs one Chroma per node, all on {volume}; {_LOSS}.",
            f"kind: DaemonSet; {volume} in the pod template",
            "Use a Deployment with one replica and strategy Recreate, or a StatefulSet.",
            "kind",
        )
    strategy = at(workload.source, "spec", "strategy", "type")
    if workload.kind == "Deployment" and strategy != "Recreate":
        yield _finding(
            workload.reference,
            f"A rolling update starts the new Chroma server before the old one is gone, both on {volume}; {_LOSS}.",
            f"spec.strategy.type: {strategy or 'not set, so RollingUpdate'}; {volume} in the pod template",
            "Set spec.strategy.type to Recreate.",
            "spec.strategy.type",
        )
    for scaler in autoscalers(objects, workload):
        if scaler.maximum > 1:
            yield _finding(
                reference(scaler.source),
                f"{reference(scaler.source)} may start up to {scaler.maximum} Chroma servers on {volume}; {_LOSS}.",
                f"at most {scaler.maximum} replicas of {workload.reference}; {volume} in its pod template",
                "Remove the autoscaler and give the one server more CPU and memory.",
                "spec.maxReplicas" if scaler.source.get("kind") != "ScaledObject" else "spec.maxReplicaCount",
            )


def _shared_volumes(objects: Sequence[KubeObject], workload: Workload) -> list[str]:
    """The volumes that a Chroma container can write to and that another pod may have too, as words for a person."""
    found = {}
    for container in workload.chroma_containers:
        for mount in mappings(container.get("volumeMounts")):
            volume = workload.volume(str(mount.get("name")))
            source = next((key for key in volume if key != "name"), "")
            if not source or source in _OWN_OR_READ_ONLY or mount.get("readOnly") is True:
                continue
            details = mapping(volume[source])
            if details.get("readOnly") is True:
                continue
            if source == "persistentVolumeClaim":
                claim = str(details.get("claimName"))
                if not _one_pod_only(objects, claim, workload.namespace):
                    found[f"PersistentVolumeClaim {claim}"] = True
            elif source == "hostPath":
                found[f"hostPath {details.get('path')}"] = True
            else:
                found[f"{source} volume {volume.get('name')}"] = True
    return list(found)


def _one_pod_only(objects: Sequence[KubeObject], claim: str, namespace: str) -> bool:
    """Whether Kubernetes itself keeps a second pod from the claim."""
    known = find(objects, "PersistentVolumeClaim", claim, namespace)
    return strings(at(known, "spec", "accessModes")) == ["ReadWriteOncePod"]


def _finding(obj: str, message: str, evidence: str, remedy: str, path: str) -> Finding:
    return Finding(
        rule="two-servers-one-volume",
        severity=Severity.FAIL,
        message=message,
        evidence=evidence,
        remedy=remedy,
        object=obj,
        path=path,
    )
