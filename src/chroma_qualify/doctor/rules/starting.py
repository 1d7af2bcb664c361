"""Pods that are not there, do not start, or do not get ready."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from chroma_qualify.deployment import causes
from chroma_qualify.deployment.causes import Cause, State
from chroma_qualify.deployment.migrations import guard_refusals
from chroma_qualify.deployment.objects import KubeObject
from chroma_qualify.doctor.diagnosis import Diagnosis, Issue
from chroma_qualify.doctor.look import Patient, Server, claims_of
from chroma_qualify.lint.objects import at, find, mapping, mappings, name_of, reference
from chroma_qualify.lint.rules.listening import of_workload

BEGINNING = datetime.min.replace(tzinfo=UTC)
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# What a dying Chroma 1.x wrote last → rule, what it means (with the groups of the pattern), remedy.
_LAST_WORDS = (
    (
        r'found string "tcp://[^"]*".* for key "(\w+)" in `CHROMA_`',
        "service-links",
        r"it reads CHROMA_\1=tcp://…, which Kubernetes sets for a Service named `chroma`",
        "set enableServiceLinks: false in the pod template, or give that Service another name",
    ),
    (
        r"Error loading config: (.+)",
        "config-wrong",
        r"it cannot read its configuration: \1",
        "correct that key; the server stops at a wrong type, and ignores names that it does not know",
    ),
    (
        r"Config file (\S+) does not exist",
        "config-wrong",
        r"it is told to read \1, which is not in the container",
        "mount the ConfigMap at the directory of that path",
    ),
    (
        r"\(code: 6410\)|code: 6410",
        "no-writable-tmp",
        "SQLite finds no directory for temporary files: the root file system is read-only",
        "mount an emptyDir on /tmp",
    ),
    (
        r"Permission denied|unable to open database file|readonly database|PermissionDenied|Read-only file system",
        "data-not-writable",
        "it cannot write to its data directory",
        "give the volume to the server's user (fsGroup: 1000 for UID 1000), and mount it at persist_path",
    ),
    (
        r"AddrInUse|Address already in use",
        "port-in-use",
        "another process of the pod has its port",
        "give each container of the pod a port of its own",
    ),
    (
        r"range start index \d+ out of range",
        "older-than-its-data",
        "its database was migrated by a newer Chroma, and there is no way back",
        "run the newer image again, or restore a backup that the older one made",
    ),
)
FULL = re.compile(r"database or disk is full|No space left on device|kind: StorageFull")


def starting(patient: Patient) -> Iterator[Diagnosis]:
    """Issue `pod not starting`."""
    for server in patient.servers:
        yield from _not_made(patient, server)
        for pod in server.staying:
            if not causes.pod_ready(pod):
                yield from _of_pod(patient, server, pod)


def _not_made(patient: Patient, server: Server) -> Iterator[Diagnosis]:
    """Fewer pods than asked for, because the API server refuses them."""
    if len(server.staying) >= server.wanted:
        return
    refusals = [
        {"reason": "FailedCreate", "message": item["message"], "involvedObject": {"kind": "ReplicaSet", "name": "?"}}
        for item in mappings(at(server.workload.source, "status", "conditions"))
        if item.get("type") == "ReplicaFailure" and item.get("status") == "True" and "message" in item
    ]
    refusals += [
        dict(event)
        for event in patient.of_kind("Event")
        if event.get("reason") == "FailedCreate" and at(event, "involvedObject", "name") == server.workload.name
    ]
    state = State(since=BEGINNING, events={str(n): event for n, event in enumerate(refusals)}, lasting=True)
    for cause in list(causes.not_admitted(state))[:1]:
        yield _diagnosis(cause, server.workload.reference)


def pod_state(patient: Patient, server: Server, pod: KubeObject) -> State:
    """What `causes` reads, of one pod and its claims."""
    names = claims_of(pod)
    claims = [item for item in patient.of_kind("PersistentVolumeClaim") if name_of(item) in names]
    return State(
        since=BEGINNING,
        workload=server.workload.source,
        pods={str(at(pod, "metadata", "uid")): pod},
        claims={str(at(item, "metadata", "uid")): item for item in claims},
        events={str(n): event for n, event in enumerate(patient.of_kind("Event"))},
        lasting=True,
    )


def still_starting(patient: Patient, pod: KubeObject) -> bool:
    """Whether a pod is within the time that it may take: its startup probe's, else a minute."""
    since = datetime.fromisoformat(str(at(pod, "metadata", "creationTimestamp")))
    probes = [mapping(c.get("startupProbe")) for c in mappings(at(pod, "spec", "containers"))]
    patience = max((p.get("failureThreshold", 3) * p.get("periodSeconds", 10) for p in probes if p), default=60)
    return (patient.snapshot.taken - since).total_seconds() < patience


def _of_pod(patient: Patient, server: Server, pod: KubeObject) -> Iterator[Diagnosis]:
    known = list(_known(patient, server, pod))
    yield from (item for item in known if item.issue is not Issue.STORAGE and item.issue is not Issue.MEMORY)
    if known or any(of_workload(patient.written, server.workload)) or still_starting(patient, pod):
        return
    state = pod_state(patient, server, pod)
    uid = str(at(pod, "metadata", "uid"))
    rules = {
        "Unhealthy": ("probe-failing", "make the probe ask what the server answers, and give it time to start"),
        "FailedMount": ("volume-not-mounted", "see what the message names; `kubectl describe pod` shows all of them"),
        "FailedAttachVolume": ("volume-not-mounted", "let go of the volume where it is attached, or wait for it"),
        "FailedCreatePodSandBox": ("no-sandbox", "see to the node's network plugin and container runtime"),
    }
    for event in causes.about(state, uid, *rules):
        rule, remedy = rules[str(event["reason"])]
        said = causes.one_line(str(event.get("message", "")))
        message = f"pod {name_of(pod)} is not ready: {said}"
        yield Diagnosis(Issue.STARTING, rule, message, said, remedy, reference(pod))
        return
    yield Diagnosis(
        Issue.STARTING,
        "not-ready",
        f"pod {name_of(pod)} is not ready, and nothing says why",
        _state_of(pod),
        "see its events and its log (`kubectl describe pod`, `kubectl logs`)",
        reference(pod),
    )


def _known(patient: Patient, server: Server, pod: KubeObject) -> Iterator[Diagnosis]:
    """The reasons that are known for a pod that is not ready."""
    state = pod_state(patient, server, pod)
    missing = [name for name in claims_of(pod) if _absent(patient, name)]
    for name in missing:
        yield Diagnosis(
            Issue.STARTING,
            "pvc-missing",
            f"pod {name_of(pod)} needs PersistentVolumeClaim {name}, which does not exist",
            next((c.evidence for c in causes.unschedulable(state)), ""),
            f"create the claim {name} in the namespace, or name the right one in the pod template",
            f"PersistentVolumeClaim/{name}",
        )
    pending = [*causes.pending_claims(state)]
    pending = pending or list(_unprovisioned(state))
    found = [*pending, *causes.image_pulls(state), *causes.missing_configuration(state)]
    if not found and not missing:
        found = [*causes.unschedulable(state)]
    yield from (_diagnosis(cause) for cause in found)
    yield from (_diagnosis(cause, issue=Issue.MEMORY) for cause in causes.oom_kills(state, [pod]))
    about = server.workload.reference
    probes = [_diagnosis(cause, about, issue=Issue.REACHING) for cause in causes.refused_probes(state)]
    yield from probes
    refused = [_diagnosis(cause) for cause in guard_refusals(state)]
    yield from refused
    if not probes and not refused:
        yield from _crashes(server, pod)


def _absent(patient: Patient, claim: str) -> bool:
    """Whether a claim is not there; a claim that we may not see is."""
    blind = any("persistentvolumeclaims" in gap.right for gap in patient.snapshot.gaps)
    return (
        not blind and find(patient.snapshot.objects, "PersistentVolumeClaim", claim, patient.snapshot.namespace) is None
    )


def _unprovisioned(state: State) -> Iterator[Cause]:
    """Claims that wait for a provisioner which says that it cannot, or says nothing."""
    for uid, claim in state.claims.items():
        if at(claim, "status", "phase") == "Lost":
            yield Cause(
                "pvc-lost",
                f"PVC {name_of(claim)} is Lost: its volume {at(claim, 'spec', 'volumeName')} is gone",
                remedy="make a new claim, and restore a backup into it",
                object=reference(claim),
            )
        if at(claim, "status", "phase") != "Pending":
            continue
        for event in causes.about(state, uid, "ProvisioningFailed", "ExternalProvisioning"):
            said = causes.one_line(str(event.get("message", "")))
            yield Cause(
                "pvc-pending",
                f"PVC {name_of(claim)} stays Pending: {said}",
                said,
                "see whether the provisioner of its StorageClass runs, and what its log says",
                reference(claim),
            )
            break


def _crashes(server: Server, pod: KubeObject) -> Iterator[Diagnosis]:
    """Containers that end by themselves; Chroma's last words say why."""
    for status in causes.statuses(pod):
        died = at(status, "state", "terminated") or at(status, "lastState", "terminated") or {}
        again = status.get("restartCount", 0) > 0 or bool(at(status, "state", "terminated"))
        if not again or not died or died.get("exitCode") == 0 or "OOM" in f"{died.get('reason')} {died.get('message')}":
            continue
        if status["name"] == server.container.get("name"):
            previous = not at(status, "state", "terminated")
            log = server.log(pod, previous=previous) or server.log(pod, previous=not previous)
            yield _of_last_words(server, pod, status, died, COLOUR.sub("", log))
        else:
            yield _crash(pod, status, died, str(died.get("message") or died.get("reason") or ""))


def _of_last_words(
    server: Server, pod: KubeObject, status: KubeObject, died: Mapping[str, object], log: str
) -> Diagnosis:
    end = "\n".join(log.strip().splitlines()[-60:])
    if FULL.search(end):
        return Diagnosis(Issue.STORAGE, "volume-full", "", object=reference(pod))  # said by the rules of storage
    for pattern, rule, meaning, remedy in _LAST_WORDS:
        if found := re.search(pattern, end):
            message = f"container {status['name']} of pod {name_of(pod)} keeps crashing: {found.expand(meaning)}"
            line = next(line for line in end.splitlines() if found[0].splitlines()[0] in line)
            return Diagnosis(Issue.STARTING, rule, message, causes.one_line(line), remedy, server.workload.reference)
    return _crash(pod, status, died, end[-600:])


def _crash(pod: KubeObject, status: KubeObject, died: Mapping[str, object], evidence: str) -> Diagnosis:
    return Diagnosis(
        Issue.STARTING,
        "crash-loop",
        f"container {status['name']} of pod {name_of(pod)} keeps crashing: {status.get('restartCount', 0)} restarts, "
        f"last exit code {died.get('exitCode', '?')}",
        evidence,
        f"read its log: kubectl logs {name_of(pod)} -c {status['name']} --previous",
        reference(pod),
    )


def _diagnosis(cause: Cause, about: str = "", *, issue: Issue = Issue.STARTING) -> Diagnosis:
    return Diagnosis(issue, cause.rule, cause.message, cause.evidence, cause.remedy, about or cause.object)


def _state_of(pod: KubeObject) -> str:
    words = [str(at(pod, "status", "phase"))]
    for status in causes.statuses(pod):
        words += [f"{status['name']} {key}" for key in status.get("state") or {}]
    return ", ".join(words)
