"""Why a deployment does not get ready, as one sentence, as soon as it is certain.

Pure: from objects as the API server shows them to a CandidateError. Called by `apply.wait_ready` at every change.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from chroma_qualify.deployment.objects import KubeObject
from chroma_qualify.errors import CandidateError, InfraError

_PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
_NO_SUCH_IMAGE = re.compile(
    r"not found|no such image|manifest unknown|does not exist|InvalidImageName|NeverPull", re.IGNORECASE
)
_PULL_CAUSES = (
    (r"InvalidImageName|couldn't parse image|invalid reference", "that is no valid image name"),
    (r"NeverPull|imagePullPolicy|pull policy of Never", "the node does not have it and its pull policy is Never"),
    (
        r"lookup (\S+?)[: ]",
        r"the nodes do not have it, and its registry \1 cannot be reached (its name cannot be looked up)",
    ),
    (r"dial tcp (\S+?): (?:.*: )?([\w /]+)", r"the nodes do not have it, and its registry cannot be reached (\2)"),
    (r"unauthorized|authorization failed|denied|403", "its registry refuses access, or has no such image"),
    (r"not found|manifest unknown|does not exist|no such image", "its registry has no such image"),
)
_PROBE = re.compile(r"(Startup|Readiness|Liveness) probe failed: (.*)", re.DOTALL)
_STATUS = re.compile(r"statuscode: (\d+)")


@dataclasses.dataclass(slots=True)
class State:
    """What is known while waiting; each by uid, as the watchers tell.

    Attributes:
        workload: the Deployment or StatefulSet, or None before it is seen.
        pods: its pods.
        claims: all PersistentVolumeClaims of the namespace.
        events: all events of the namespace that came since the wait began, or belong to pods younger than it.
        restarts: restarts per pod uid and container name that were there before the wait began.
        since: when the wait began (UTC); older deaths of a container are not this wait's.
    """

    since: datetime
    workload: KubeObject | None = None
    pods: dict[str, KubeObject] = dataclasses.field(default_factory=dict)
    claims: dict[str, KubeObject] = dataclasses.field(default_factory=dict)
    events: dict[str, KubeObject] = dataclasses.field(default_factory=dict)
    restarts: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)


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


def pod_ready(pod: KubeObject) -> bool:
    """Ready, and not about to go."""
    conditions = pod.get("status", {}).get("conditions") or ()
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def certain_failure(state: State) -> CandidateError | None:
    """The reason why waiting on is no use, or None."""
    found = [
        *_not_admitted(state),
        *_images(state),
        *_claims(state),
        *_oom(state),
        *_crashes(state),
        *_probes(state),
    ]
    return found[0] if found else None


def late_failure(state: State, timeout: float) -> CandidateError | InfraError:
    """The most likely reason after a wait that ended without a certain one."""
    last = describe(state)
    for pod in _unready(state):
        for event in _about(state, pod["metadata"]["uid"], "Unhealthy"):
            if probe := _PROBE.match(event.get("message", "")):
                return CandidateError(
                    "probe-failing",
                    f"pod {pod['metadata']['name']} is not ready after {timeout:.0f} s: "
                    f"its {probe[1].lower()} probe fails with: {_line(probe[2])}",
                    evidence=last,
                    remedy="make the probe ask what the server answers, and give it time to start",
                )
        for event in _about(state, pod["metadata"]["uid"], "FailedScheduling", "FailedMount", "FailedAttachVolume"):
            message = (
                f"pod {pod['metadata']['name']} is not ready after {timeout:.0f} s: {_line(event.get('message', ''))}"
            )
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
        for container in _statuses(pod):
            stuck = container["state"].get("waiting") or container["state"].get("terminated") or {}
            words += [f"{container['name']} {stuck['reason']}"] if stuck.get("reason") else []
        parts.append(f"pod {pod['metadata']['name']}: {', '.join(words)}")
    parts += [
        f"PVC {claim['metadata']['name']}: {claim['status'].get('phase')}"
        for claim in state.claims.values()
        if claim.get("status", {}).get("phase") != "Bound"
    ]
    return "; ".join(parts)


def _not_admitted(state: State) -> Iterator[CandidateError]:
    for event in _events(state, "FailedCreate"):
        message = event.get("message", "")
        if event["involvedObject"].get("kind") not in {"ReplicaSet", "StatefulSet"} or not _refused(message):
            continue
        cause = re.sub(r"^.*?is forbidden: |^Error creating: ", "", _line(message))
        yield CandidateError(
            "not-admitted",
            f"the cluster refuses the pods: {cause}",
            evidence=message,
            remedy="change the pod template until it meets the namespace's policy or quota",
        )


def _refused(message: str) -> bool:
    # "forbidden … service account not found" passes by itself when the account has been made.
    refused = any(word in message for word in ("is forbidden", "denied the request", "exceeded quota", "is invalid"))
    return refused and "service account" not in message


def _images(state: State) -> Iterator[CandidateError]:
    for pod in _unready(state):
        pulls = [
            event
            for event in _about(state, pod["metadata"]["uid"], "Failed", "InspectFailed", "ErrImageNeverPull")
            if "image" in event.get("message", "").lower()
        ]
        for container in _statuses(pod):
            waiting = container.get("state", {}).get("waiting") or {}
            if waiting.get("reason") not in _PULL:
                continue
            messages = [waiting.get("message", ""), *(event.get("message", "") for event in pulls)]
            said = "\n".join(messages)
            tries = sum(int(event.get("count") or 1) for event in pulls if "pull image" in event.get("message", ""))
            if tries >= 2 or _NO_SUCH_IMAGE.search(f"{waiting['reason']} {said}"):
                yield CandidateError(
                    "image-pull",
                    f"the image {container['image']} cannot be pulled: {_pull_cause(said)}",
                    evidence=max(messages, key=len),
                    remedy="name an image that the cluster's nodes have or can pull",
                )


def _pull_cause(said: str) -> str:
    """What a container runtime said about a pull, in a few words."""
    for pattern, cause in _PULL_CAUSES:
        if found := re.search(pattern, said, re.IGNORECASE):
            return found.expand(cause)
    last = _line(said.strip().splitlines()[-1]) if said.strip() else ""
    return last.rpartition(": ")[2] or "the container runtime gave no reason"


def _claims(state: State) -> Iterator[CandidateError]:
    for claim in state.claims.values():
        if claim.get("status", {}).get("phase") != "Pending":
            continue
        name, wanted = claim["metadata"]["name"], claim["spec"].get("storageClassName")
        for event in _about(state, claim["metadata"]["uid"], "ProvisioningFailed", "FailedBinding"):
            message = event.get("message", "")
            if "storageclass" in message.lower() and "not found" in message:
                why = f"no StorageClass named {wanted}"
            elif "no storage class is set" in message:
                why = "it names no StorageClass and the cluster has no default one"
            else:
                continue
            yield CandidateError(
                "pvc-pending",
                f"PVC {name} stays Pending: {why}",
                evidence=message,
                remedy="name a StorageClass of the cluster (`kubectl get storageclass`)",
            )


def _oom(state: State) -> Iterator[CandidateError]:
    for pod in _unready(state):
        limits = {
            container["name"]: container.get("resources", {}).get("limits", {}).get("memory")
            for container in pod["spec"]["containers"]
        }
        for container in _statuses(pod):
            for died in _deaths(state, container):
                # The second: the limit is too low for the runtime's own first process.
                if died.get("reason") == "OOMKilled" or "OOM-killed" in died.get("message", ""):
                    limit = limits.get(container["name"])
                    yield CandidateError(
                        "oom-killed",
                        f"container {container['name']} was OOM-killed" + (f" (limit {limit})" if limit else ""),
                        evidence=f"{container.get('restartCount', 0)} restarts; exit code {died.get('exitCode')}",
                        remedy="raise the memory limit; Chroma's documented floor is 2Gi",
                    )


def _crashes(state: State) -> Iterator[CandidateError]:
    for pod in _unready(state):
        for container in _statuses(pod):
            waiting = container.get("state", {}).get("waiting") or {}
            before = state.restarts.get((pod["metadata"]["uid"], container["name"]), 0)
            if waiting.get("reason") != "CrashLoopBackOff" or container.get("restartCount", 0) - before < 2:
                continue
            died = (container.get("lastState") or {}).get("terminated") or {}
            yield CandidateError(
                "crash-loop",
                f"container {container['name']} of pod {pod['metadata']['name']} keeps crashing: "
                f"{container['restartCount']} restarts, last exit code {died.get('exitCode', '?')}",
                evidence=died.get("message", "") or died.get("reason", ""),
                remedy="read the container's log",
            )


def _probes(state: State) -> Iterator[CandidateError]:
    """A probe that is answered 4xx: 410 is Chroma's word for its v1 API and certain at once, others when repeated."""
    for pod in _unready(state):
        for event in _about(state, pod["metadata"]["uid"], "Unhealthy"):
            probe = _PROBE.match(event.get("message", ""))
            status = _STATUS.search(probe[2]) if probe else None
            if probe is None or status is None or not status[1].startswith("4"):
                continue
            path = _probe_path(pod, event, probe[1].lower())
            asked = f"the {probe[1].lower()} probe GET {path or '?'} is answered {status[1]}"
            if status[1] == "410" and (path is None or "/api/v1" in path):
                yield CandidateError(
                    "probe-v1-api",
                    f"{asked} (Chroma 1.x removed the v1 API)",
                    evidence=event["message"],
                    remedy="probe /api/v2/heartbeat",
                )
            elif int(event.get("count") or 1) >= 3:
                yield CandidateError(
                    "probe-failing", asked, evidence=event["message"], remedy="probe a path that the server answers"
                )


def _probe_path(pod: KubeObject, event: KubeObject, kind: str) -> str | None:
    """The path that a probe asks; the event names its container as `spec.containers{NAME}`."""
    for container in pod["spec"]["containers"]:
        if event["involvedObject"].get("fieldPath", "").endswith(f"{{{container['name']}}}"):
            path: str | None = ((container.get(f"{kind}Probe") or {}).get("httpGet") or {}).get("path")
            return path
    return None


def _deaths(state: State, container: KubeObject) -> Iterator[Mapping[str, str]]:
    """How this container died since the wait began."""
    for key in ("state", "lastState"):
        died = (container.get(key) or {}).get("terminated") or {}
        if died.get("finishedAt") and datetime.fromisoformat(died["finishedAt"]) >= state.since:
            yield died


def _unready(state: State) -> Iterator[KubeObject]:
    return (pod for pod in state.pods.values() if not pod_ready(pod) and not pod["metadata"].get("deletionTimestamp"))


def _statuses(pod: KubeObject) -> list[KubeObject]:
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _events(state: State, *reasons: str) -> Iterable[KubeObject]:
    return [event for event in state.events.values() if event.get("reason") in reasons]


def _about(state: State, uid: str, *reasons: str) -> list[KubeObject]:
    return [event for event in _events(state, *reasons) if event["involvedObject"].get("uid") == uid]


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
