"""Why a deployment does not get ready, as one sentence, as soon as it is certain.

Pure: from objects as the API server shows them to a CandidateError. Called by `apply.wait_ready` at every change.
"""

from __future__ import annotations

from chroma_qualify.deployment import causes
from chroma_qualify.deployment.causes import PROBE, State, about, one_line, pod_ready, statuses, unready
from chroma_qualify.deployment.migrations import guard_refusals
from chroma_qualify.errors import CandidateError, InfraError


def is_ready(state: State) -> bool:
    """Whether the workload runs as asked: every replica of the newest revision available, none of an older one left."""
    if state.workload is None:
        return False
    status = state.workload.get("status") or {}
    wanted = state.workload["spec"].get("replicas", 1)
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
    if state.workload["kind"] == "StatefulSet" and status.get("updateRevision") == status.get("currentRevision"):
        counts[1] = counts[0]  # after a finished update a StatefulSet no longer counts updated replicas
    observed = status.get("observedGeneration", 0) >= state.workload["metadata"].get("generation", 0)
    ready = [pod for pod in state.pods.values() if pod_ready(pod)]
    gone = wanted > 0 or not state.pods  # scaled to zero: pods that still terminate use the volume
    return observed and counts == [wanted] * 3 and len(ready) >= wanted and gone


def certain_failure(state: State) -> CandidateError | None:
    """The reason why waiting on is no use, or None."""
    found = [
        *causes.not_admitted(state),
        *causes.image_pulls(state),
        *causes.pending_claims(state),
        *causes.missing_configuration(state),
        *guard_refusals(state),
        *causes.oom_kills(state, causes.unready(state)),
        *causes.crash_loops(state),
        *causes.refused_probes(state),
    ]
    if not found:
        return None
    first = found[0]
    return CandidateError(first.rule, first.message, evidence=first.evidence, remedy=first.remedy)


def late_failure(state: State, timeout: float) -> CandidateError | InfraError:
    """The most likely reason after a wait that ended without a certain one."""
    last = describe(state)
    for claim in state.claims.values():
        if claim.get("status", {}).get("phase") == "Pending":
            for event in about(state, claim["metadata"]["uid"], "ExternalProvisioning"):
                return CandidateError(
                    "pvc-pending",
                    f"PVC {claim['metadata']['name']} stays Pending after {timeout:.0f} s: nothing makes volumes of "
                    f"StorageClass {claim['spec'].get('storageClassName')} in this cluster",
                    evidence=event.get("message", ""),
                    remedy="install the driver that the class names as its provisioner, or name another class",
                )
    for pod in unready(state):
        for event in about(state, pod["metadata"]["uid"], "Unhealthy"):
            if probe := PROBE.match(event.get("message", "")):
                return CandidateError(
                    "probe-failing",
                    f"pod {pod['metadata']['name']} is not ready after {timeout:.0f} s: "
                    f"its {probe[1].lower()} probe fails with: {one_line(probe[2])}",
                    evidence=last,
                    remedy="make the probe ask what the server answers, and give it time to start",
                )
        for event in about(state, pod["metadata"]["uid"], "FailedScheduling", "FailedMount", "FailedAttachVolume"):
            said = one_line(event.get("message", ""))
            message = f"pod {pod['metadata']['name']} is not ready after {timeout:.0f} s: {said}"
            if "Insufficient" in message:  # another cluster may have the room
                return InfraError(message, evidence=last, remedy="free CPU and memory on the nodes, or give them more")
            return CandidateError("not-ready", message, evidence=last)
    return CandidateError("not-ready", f"waited {timeout:.0f} s for ready pods; last seen: {last}", evidence=last)


def describe(state: State) -> str:
    """The state in words: workload, pods and claims."""
    parts = []
    if state.workload is None:
        parts.append("the workload is not there")
    else:
        status = state.workload.get("status") or {}
        wanted = state.workload["spec"].get("replicas", 1)
        parts.append(
            f"{state.workload['kind']} {state.workload['metadata']['name']}: "
            f"{status.get('availableReplicas', 0)} of {wanted} available"
        )
    for pod in state.pods.values():
        words = [pod.get("status", {}).get("phase", "?"), "ready" if pod_ready(pod) else "not ready"]
        for container in statuses(pod):
            stuck = container["state"].get("waiting") or container["state"].get("terminated") or {}
            words += [f"{container['name']} {stuck['reason']}"] if stuck.get("reason") else []
        parts.append(f"pod {pod['metadata']['name']}: {', '.join(words)}")
    parts += [
        f"PVC {claim['metadata']['name']}: {claim['status'].get('phase')}"
        for claim in state.claims.values()
        if claim.get("status", {}).get("phase") != "Bound"
    ]
    return "; ".join(parts)
