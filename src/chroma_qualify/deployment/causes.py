"""What keeps pods from running, read from objects as the API server shows them; each cause as one sentence.

Pure. `diagnose` asks while it waits for a deployment, and needs certainty; `doctor` asks of what is there, by which
time everything has been tried often enough.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from chroma_qualify.deployment.objects import KubeObject

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
PROBE = re.compile(r"(Startup|Readiness|Liveness) probe failed: (.*)", re.DOTALL)
_STATUS = re.compile(r"statuscode: (\d+)")


# What the kubelet says of a mount and of a container's environment, where something is named that is not there.
_ABSENT = re.compile(r'(?P<kind>secret|configmap) "(?P<name>[^"]+)" not found', re.IGNORECASE)
_NO_KEY = re.compile(r"couldn't find key (?P<key>\S+) in (?P<kind>Secret|ConfigMap) \S+?/(?P<name>[^\s/]+)")
_NO_FILE = re.compile(
    r'volume "(?P<volume>[^"]+)" : (?:references|configmap references) non-existent (?:secret|config) key: (?P<key>\S+)'
)
_NOT_BEGUN = {"ContainerCreating", "PodInitializing"}
_KINDS = {"secret": "Secret", "configmap": "ConfigMap"}


@dataclasses.dataclass(frozen=True, slots=True)
class Cause:
    """Why something does not run.

    Attributes:
        rule: name of the rule, kebab-case, as verdict.json has it.
        message: one sentence for a person.
        evidence: what was seen, in the cluster's own words.
        remedy: what to do.
        object: `Kind/name` that it is about.
    """

    rule: str
    message: str
    evidence: str = ""
    remedy: str = ""
    object: str = ""


@dataclasses.dataclass(slots=True)
class State:
    """What is known of a deployment; each by uid, as the watchers tell.

    Attributes:
        workload: the Deployment or StatefulSet, or None before it is seen.
        pods: its pods.
        claims: all PersistentVolumeClaims of the namespace.
        events: all events of the namespace that came since the wait began, or belong to pods younger than it.
        restarts: restarts per pod uid and container name that were there before the wait began.
        since: when the wait began (UTC); older deaths of a container are not this wait's.
        lasting: nobody waits: what is seen counts, also where a wait would give it another try.
    """

    since: datetime
    workload: KubeObject | None = None
    pods: dict[str, KubeObject] = dataclasses.field(default_factory=dict)
    claims: dict[str, KubeObject] = dataclasses.field(default_factory=dict)
    events: dict[str, KubeObject] = dataclasses.field(default_factory=dict)
    restarts: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)
    lasting: bool = False


def pod_ready(pod: KubeObject) -> bool:
    """Ready, and not about to go."""
    conditions = pod.get("status", {}).get("conditions") or ()
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def not_admitted(state: State) -> Iterator[Cause]:
    """Pods that the API server refuses: Pod Security, a quota, a webhook."""
    for event in events(state, "FailedCreate"):
        message = event.get("message", "")
        if event["involvedObject"].get("kind") not in {"ReplicaSet", "StatefulSet"} or not _refused(message):
            continue
        cause = re.sub(r"^.*?is forbidden: |^Error creating: ", "", one_line(message))
        yield Cause(
            "not-admitted",
            f"the cluster refuses the pods: {cause}",
            evidence=message,
            remedy="change the pod template until it meets the namespace's policy or quota",
            object=f"{event['involvedObject']['kind']}/{event['involvedObject'].get('name', '?')}",
        )


def _refused(message: str) -> bool:
    # "forbidden … service account not found" passes by itself when the account has been made.
    refused = any(word in message for word in ("is forbidden", "denied the request", "exceeded quota", "is invalid"))
    return refused and "service account" not in message


def image_pulls(state: State) -> Iterator[Cause]:
    """Images that do not come."""
    for pod in unready(state):
        pulls = [
            event
            for event in about(state, pod["metadata"]["uid"], "Failed", "InspectFailed", "ErrImageNeverPull")
            if "image" in event.get("message", "").lower()
        ]
        for container in statuses(pod):
            waiting = container.get("state", {}).get("waiting") or {}
            if waiting.get("reason") not in _PULL:
                continue
            messages = [waiting.get("message", ""), *(event.get("message", "") for event in pulls)]
            said = "\n".join(messages)
            tries = sum(int(event.get("count") or 1) for event in pulls if "pull image" in event.get("message", ""))
            if state.lasting or tries >= 2 or _NO_SUCH_IMAGE.search(f"{waiting['reason']} {said}"):
                yield Cause(
                    "image-pull",
                    f"the image {container['image']} cannot be pulled: {_pull_cause(said)}",
                    evidence=max(messages, key=len),
                    remedy="name an image that the cluster's nodes have or can pull",
                    object=pod_name(pod),
                )


def _pull_cause(said: str) -> str:
    """What a container runtime said about a pull, in a few words."""
    for pattern, cause in _PULL_CAUSES:
        if found := re.search(pattern, said, re.IGNORECASE):
            return found.expand(cause)
    last = one_line(said.strip().splitlines()[-1]) if said.strip() else ""
    return last.rpartition(": ")[2] or "the container runtime gave no reason"


def pending_claims(state: State) -> Iterator[Cause]:
    """Claims that get no volume for want of a StorageClass."""
    for claim in state.claims.values():
        if claim.get("status", {}).get("phase") != "Pending":
            continue
        name, wanted = claim["metadata"]["name"], claim["spec"].get("storageClassName")
        for event in about(state, claim["metadata"]["uid"], "ProvisioningFailed", "FailedBinding"):
            message = event.get("message", "")
            if "storageclass" in message.lower() and "not found" in message:
                why = f"no StorageClass named {wanted}"
            elif "no storage class is set" in message:
                why = "it names no StorageClass and the cluster has no default one"
            else:
                continue
            yield Cause(
                "pvc-pending",
                f"PVC {name} stays Pending: {why}",
                evidence=message,
                remedy="name a StorageClass of the cluster (`kubectl get storageclass`)",
                object=f"PersistentVolumeClaim/{name}",
            )


def missing_configuration(state: State) -> Iterator[Cause]:
    """Secrets and ConfigMaps, or keys of them, that a pod names and that are not there.

    Each can still be on its way while the pod starts, so a wait believes it when the kubelet has said it again.
    """
    for pod in unready(state):
        for container in statuses(pod):
            waiting = container.get("state", {}).get("waiting") or {}
            if waiting.get("reason") != "CreateContainerConfigError":
                continue
            said = waiting.get("message", "")
            tries = sum(
                _count(event) for event in about(state, pod["metadata"]["uid"], "Failed") if said in _said(event)
            )
            if not (state.lasting or tries >= 2):
                continue
            yield _missing(pod, said) or Cause(
                "container-config",
                f"container {container['name']} cannot be made: {one_line(said)}",
                evidence=said,
                remedy="change what the message names, in the pod template or the image",
                object=pod_name(pod),
            )
        if not any(
            (container["state"].get("waiting") or {}).get("reason") in _NOT_BEGUN for container in statuses(pod)
        ):
            continue
        for event in about(state, pod["metadata"]["uid"], "FailedMount"):
            if (state.lasting or _count(event) >= 3) and (cause := _missing(pod, _said(event))):
                yield cause


def _missing(pod: KubeObject, said: str) -> Cause | None:
    """The object that the kubelet misses, from its words; None where it misses none."""
    if found := _ABSENT.search(said):
        kind, key = _KINDS[found["kind"].lower()], ""
        name = found["name"]
    elif found := _NO_KEY.search(said):
        kind, name, key = found["kind"], found["name"], found["key"]
    elif found := _NO_FILE.search(said):
        kind, name = _behind(pod, found["volume"])
        key = found["key"]
    else:
        return None
    thing = f"the key {key} of {kind} {name}" if key else f"{kind} {name}"
    return Cause(
        f"{kind.lower()}-missing",
        f"pod {pod['metadata']['name']} cannot start: it needs {thing}, which does not exist",
        evidence=one_line(said),
        remedy=f"create {thing} in the pod's namespace, or correct the name in the pod template",
        object=f"{kind}/{name}",
    )


def _behind(pod: KubeObject, volume: str) -> tuple[str, str]:
    """Kind and name of what a volume of a pod shows."""
    for item in pod["spec"].get("volumes") or ():
        if item["name"] == volume and "secret" in item:
            return "Secret", item["secret"].get("secretName", "?")
        if item["name"] == volume and "configMap" in item:
            return "ConfigMap", item["configMap"].get("name", "?")
    return "Secret", f"behind volume {volume}"


def unschedulable(state: State) -> Iterator[Cause]:
    """Pods that fit on no node, in the scheduler's words."""
    for pod in unready(state):
        for condition in pod.get("status", {}).get("conditions") or ():
            if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
                said = condition.get("message", "")
                yield Cause(
                    "unschedulable",
                    f"pod {pod['metadata']['name']} is on no node: {one_line(said)}",
                    evidence=said,
                    remedy=_room(said),
                    object=pod_name(pod),
                )


def _room(said: str) -> str:
    for word, remedy in (
        ("ReadWriteOncePod", "wait for the pod that has the volume to end; nothing else helps, and nothing should"),
        ("Insufficient", "give the nodes more CPU or memory, or ask for less of it (`resources.requests`)"),
        ("unbound immediate PersistentVolumeClaims", "bind the pod's claim first (`kubectl describe pvc`)"),
        ("volume node affinity", "let the pod on the node or in the zone that its volume is in"),
        ("taint", "tolerate the node's taint, or take it off"),
        ("affinity", "change the pod's node selector or affinity, or label a node"),
        ("persistentvolumeclaim", "create the claim that the pod names"),
    ):
        if word in said:
            return remedy
    return "let the scheduler have a node that meets what it names"


def oom_kills(state: State, pods: Iterable[KubeObject]) -> Iterator[Cause]:
    """Containers that were killed for memory since `state.since`."""
    for pod in pods:
        limits = {
            container["name"]: container.get("resources", {}).get("limits", {}).get("memory")
            for container in pod["spec"]["containers"]
        }
        for container in statuses(pod):
            for died in _deaths(state, container):
                # The second: the limit is too low for the runtime's own first process.
                if died.get("reason") == "OOMKilled" or "OOM-killed" in died.get("message", ""):
                    limit = limits.get(container["name"])
                    yield Cause(
                        "oom-killed",
                        f"container {container['name']} was OOM-killed" + (f" (limit {limit})" if limit else ""),
                        evidence=f"{container.get('restartCount', 0)} restarts; exit code {died.get('exitCode')}",
                        remedy="raise the memory limit; Chroma's documented floor is 2Gi",
                        object=pod_name(pod),
                    )


def crash_loops(state: State) -> Iterator[Cause]:
    """Containers that end again and again."""
    for pod in unready(state):
        for container in statuses(pod):
            waiting = container.get("state", {}).get("waiting") or {}
            before = state.restarts.get((pod["metadata"]["uid"], container["name"]), 0)
            often = 1 if state.lasting else 2
            if waiting.get("reason") != "CrashLoopBackOff" or container.get("restartCount", 0) - before < often:
                continue
            died = (container.get("lastState") or {}).get("terminated") or {}
            yield Cause(
                "crash-loop",
                f"container {container['name']} of pod {pod['metadata']['name']} keeps crashing: "
                f"{container['restartCount']} restarts, last exit code {died.get('exitCode', '?')}",
                evidence=died.get("message", "") or died.get("reason", ""),
                remedy="read the container's log",
                object=pod_name(pod),
            )


def refused_probes(state: State) -> Iterator[Cause]:
    """A probe that is answered 4xx: 410 is Chroma's word for its v1 API and certain at once, others when repeated."""
    for pod in unready(state):
        for event in about(state, pod["metadata"]["uid"], "Unhealthy"):
            probe = PROBE.match(event.get("message", ""))
            status = _STATUS.search(probe[2]) if probe else None
            if probe is None or status is None or not status[1].startswith("4"):
                continue
            path = _probe_path(pod, event, probe[1].lower())
            asked = f"the {probe[1].lower()} probe GET {path or '?'} is answered {status[1]}"
            if status[1] == "410" and (path is None or "/api/v1" in path):
                yield Cause(
                    "probe-v1-api",
                    f"{asked} (Chroma 1.x removed the v1 API)",
                    evidence=event["message"],
                    remedy="probe /api/v2/heartbeat",
                    object=pod_name(pod),
                )
            elif _count(event) >= 3:
                yield Cause(
                    "probe-failing",
                    asked,
                    evidence=event["message"],
                    remedy="probe a path that the server answers",
                    object=pod_name(pod),
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


def pod_name(pod: KubeObject) -> str:
    """`Pod/name`."""
    return f"Pod/{pod['metadata']['name']}"


def unready(state: State) -> Iterator[KubeObject]:
    """The pods that are not ready, without those that are about to go, or will be."""
    return (
        pod
        for pod in state.pods.values()
        if not pod_ready(pod) and not pod["metadata"].get("deletionTimestamp") and not _outdated(state, pod)
    )


def _outdated(state: State, pod: KubeObject) -> bool:
    """Is it of an earlier set of manifests, and only not deleted yet? It may go on failing until then."""
    created = datetime.fromisoformat(pod["metadata"].get("creationTimestamp") or "9999-01-01T00:00:00Z")
    if state.lasting or state.workload is None or created >= state.since:
        return False
    wanted, has = _images(state.workload["spec"]["template"]["spec"]), _images(pod.get("spec") or {})
    return any(has[name] != image for name, image in wanted.items() if name in has)


def _images(spec: KubeObject) -> dict[str, str]:
    """Container names, init containers' too, and their images."""
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return {str(item["name"]): str(item.get("image", "")) for item in containers}


def statuses(pod: KubeObject) -> list[KubeObject]:
    """What the kubelet says of each container, init containers first."""
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def events(state: State, *reasons: str) -> Iterable[KubeObject]:
    """The events for one of these reasons."""
    return [event for event in state.events.values() if event.get("reason") in reasons]


def about(state: State, uid: str, *reasons: str) -> list[KubeObject]:
    """Those of them about one object."""
    return [event for event in events(state, *reasons) if event["involvedObject"].get("uid") == uid]


def _count(event: KubeObject) -> int:
    """How often an event happened, as far as it says."""
    return int(event.get("count") or (event.get("series") or {}).get("count") or 1)


def _said(event: KubeObject) -> str:
    return str(event.get("message", ""))


def one_line(text: str) -> str:
    """At most 300 characters of a text, without its line breaks."""
    return " ".join(text.split())[:300]
