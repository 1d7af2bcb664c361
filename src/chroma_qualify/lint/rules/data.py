"""Whether what Chroma writes is still there when its pod is gone. `engine` runs these."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import (
    KubeObject,
    Workload,
    at,
    autoscalers,
    chroma_workloads,
    find,
    is_before_1_0,
    mappings,
    name_of,
    of_kind,
    reference,
    selects,
    strings,
    whole,
)
from chroma_qualify.lint.server import UNSEEN, environment, server

_BEFORE_1_0 = "/chroma/chroma"
_GONE_WITH_THE_POD = {
    "emptyDir": "an emptyDir, which is deleted with the pod",
    "ephemeral": "an ephemeral volume, which is deleted with the pod",
}
_READ_ONLY = frozenset({"configMap", "downwardAPI", "image", "projected", "secret"})


def data_not_on_volume(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `data-not-on-volume`: the directory that Chroma writes to is on no volume that outlives its pod."""
    for workload in chroma_workloads(objects):
        for container in workload.chroma_containers:
            where = workload.path_of(container)
            place, said = _directory(objects, workload, container)
            if place is None:
                why, severity = _nothing_lasts(workload, container), Severity.FAIL
                place = "its data"
            else:
                why, severity = _why_not(workload, container, place)
            if why:
                mounts = [f"{m.get('name')} on {m.get('mountPath')}" for m in mappings(container.get("volumeMounts"))]
                yield Finding(
                    "data-not-on-volume",
                    severity,
                    f"Container {container.get('name')} of {workload.reference} keeps {place} {why}.",
                    f"{said or 'persist_path not to be seen'}; mounted: {', '.join(mounts) or 'nothing'}",
                    "Mount the persistent volume on the directory that Chroma writes to (persist_path; /data in its "
                    "image, /chroma/chroma before 1.0).",
                    workload.reference,
                    path=f"{where}.volumeMounts",
                )


def replicas_apart(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `replicas-apart`: several servers, each with a database of its own, behind one Service."""
    for workload in chroma_workloads(objects):
        own = _own_volumes(workload)
        services = [
            service
            for service in of_kind(objects, "Service")
            if at(service, "spec", "selector")
            and selects({"matchLabels": at(service, "spec", "selector")}, workload.labels)
            and at(service, "metadata", "namespace") == at(workload.source, "metadata", "namespace")
            and at(service, "spec", "clusterIP") != "None"
        ]
        if not own or not services:
            continue
        replicas = whole(at(workload.source, "spec", "replicas"), 1)
        makers = [(workload.reference, replicas, "spec.replicas")] if replicas > 1 else []
        makers += [
            (reference(s.source), s.maximum, "spec.maxReplicas")
            for s in autoscalers(objects, workload)
            if s.maximum > 1
        ]
        for maker, number, path in makers:
            yield Finding(
                "replicas-apart",
                Severity.FAIL,
                f"Up to {number} servers of {workload.reference} each keep a database of their own behind Service "
                f"{name_of(services[0])}: Chroma does not share data between servers, so what one stored, the next "
                "request does not find.",
                f"{path}: {number}; {own} for each pod",
                "Run one server and give it more CPU and memory.",
                maker,
                path=path,
            )


def claim_deleted(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `claim-deleted`: the StatefulSet takes its volumes with it."""
    for workload in chroma_workloads(objects):
        if workload.kind != "StatefulSet":
            continue
        for field, severity, when in (
            ("whenScaled", Severity.FAIL, "it is scaled to 0, as for maintenance"),
            ("whenDeleted", Severity.NOTE, "it is deleted, which also a change of a field that is fixed requires"),
        ):
            if at(workload.source, "spec", "persistentVolumeClaimRetentionPolicy", field) == "Delete":
                yield Finding(
                    "claim-deleted",
                    severity,
                    f"The data of {workload.reference} is deleted when {when}.",
                    f"spec.persistentVolumeClaimRetentionPolicy.{field}: Delete",
                    f"Set {field} to Retain.",
                    workload.reference,
                    path=f"spec.persistentVolumeClaimRetentionPolicy.{field}",
                )


def claim_access(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `claim-access`: Chroma's claim is for reading only, or for many nodes at once."""
    for workload in chroma_workloads(objects):
        for source, path, spec in _claims(objects, workload):
            modes = strings(at(spec, "accessModes"))
            if modes == ["ReadOnlyMany"]:
                severity, why = Severity.FAIL, "can only be read, and Chroma writes"
            elif "ReadWriteMany" in modes:
                severity = Severity.NOTE
                why = (
                    "may be mounted on several nodes at once, so that nothing keeps two servers apart; and most of its "
                    "kind are network file systems, with whose locks SQLite has trouble"
                )
            else:
                continue
            yield Finding(
                "claim-access",
                severity,
                f"The volume of {workload.reference} {why}.",
                f"accessModes: {', '.join(modes)}",
                "Use ReadWriteOncePod, or ReadWriteOnce where the driver has no other.",
                source,
                path=f"{path}.accessModes",
            )


def _claims(objects: Sequence[KubeObject], workload: Workload) -> Iterator[tuple[str, str, object]]:
    """(object, path, spec) of the claims that Chroma's containers mount, where they are among the objects."""
    mounted = {str(m.get("name")) for c in workload.chroma_containers for m in mappings(c.get("volumeMounts"))}
    for volume in mappings(workload.pod.get("volumes")):
        claim = at(volume, "persistentVolumeClaim", "claimName")
        found = find(objects, "PersistentVolumeClaim", str(claim), workload.namespace)
        if str(volume.get("name")) in mounted and found is not None:
            yield reference(found), "spec", found.get("spec")
    for number, template in enumerate(mappings(at(workload.source, "spec", "volumeClaimTemplates"))):
        if name_of(template) in mounted:
            yield workload.reference, f"spec.volumeClaimTemplates[{number}].spec", template.get("spec")


def _directory(
    objects: Sequence[KubeObject], workload: Workload, container: Mapping[str, Any]
) -> tuple[str | None, str]:
    """Where Chroma writes, and how that is known; None where it is not."""
    if is_before_1_0(container):
        told = {one.name: one.value for one in environment(objects, workload, container)}.get("PERSIST_DIRECTORY")
        if told is UNSEEN:
            return None, ""
        name = "PERSIST_DIRECTORY" if told else "the default before 1.0"
        return _absolute(container, str(told or _BEFORE_1_0), name)
    setting = server(objects, workload, container).get("persist_path")
    if setting is None or not isinstance(setting.value, str):
        return None, ""
    return _absolute(container, setting.value, setting.name if setting.object else f"{setting.name} by default")


def _absolute(container: Mapping[str, Any], path: str, name: str) -> tuple[str | None, str]:
    base = container.get("workingDir")
    if path.startswith("/"):
        return path, f"{name}: {path}"
    return (str(PurePosixPath(str(base), path)), f"{name}: {path} in {base}") if base else (None, f"{name}: {path}")


def _why_not(workload: Workload, container: Mapping[str, Any], place: str) -> tuple[str, Severity]:
    """Why what is written there does not last, or ""."""
    path = PurePosixPath(place)
    covering = [
        mount
        for mount in mappings(container.get("volumeMounts"))
        if path.is_relative_to(str(mount.get("mountPath") or "/nowhere"))
    ]
    mount = max(covering, key=lambda one: len(str(one.get("mountPath"))), default=None)
    if mount is None:
        return "on no volume: it is gone with the container", Severity.FAIL
    volume = workload.volume(str(mount.get("name")))
    kinds = set(volume) - {"name"}
    for kind, why in _GONE_WITH_THE_POD.items():
        if kind in kinds:
            return f"in {why}", Severity.FAIL
    if kinds & _READ_ONLY:
        return f"in a {kinds.pop()} volume, which cannot be written", Severity.FAIL
    if "$(" in str(mount.get("subPathExpr") or "") and workload.kind in ("Deployment", "DaemonSet", "ReplicaSet"):
        expression = mount.get("subPathExpr")
        return f"in {expression} of the volume, another directory for each new pod", Severity.FAIL
    if "hostPath" in kinds:
        return "on its node (hostPath): on another node it starts with an empty database", Severity.NOTE
    return "", Severity.FAIL


def _nothing_lasts(workload: Workload, container: Mapping[str, Any]) -> str:
    """Where Chroma writes is not known: does it have a volume at all?"""
    for mount in mappings(container.get("volumeMounts")):
        kinds = set(workload.volume(str(mount.get("name")))) - {"name"}
        if not kinds & (_READ_ONLY | set(_GONE_WITH_THE_POD)):
            return ""
    return "on no persistent volume, for it mounts none"


def _own_volumes(workload: Workload) -> str:
    """What of its own each pod keeps its data on, in words, or ""."""
    mounted = {
        str(mount.get("name"))
        for container in workload.chroma_containers
        for mount in mappings(container.get("volumeMounts"))
    }
    templates = [name_of(one) for one in mappings(at(workload.source, "spec", "volumeClaimTemplates"))]
    names = [name for name in templates if name in mounted]
    return f"volumeClaimTemplates {', '.join(names)}" if names else ""
