"""Put a candidate into a cluster and wait until it is ready, or until it is certain that it never will be.

Called by `plugin.py` (fixtures `namespace` and `deploy`), by scenarios and by faults.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import queue
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import kubernetes.client

from chroma_qualify.cluster.model import RUN_LABEL, Cluster
from chroma_qualify.cluster.rights import grant
from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.deployment import diagnose
from chroma_qualify.deployment.access import OPEN, Credentials, provide_secrets
from chroma_qualify.deployment.causes import State, pod_ready
from chroma_qualify.deployment.guest import refuse_outside
from chroma_qualify.deployment.objects import Candidate, KubeObject
from chroma_qualify.deployment.render import in_namespace
from chroma_qualify.deployment.watcher import Watcher
from chroma_qualify.errors import CandidateError, InfraError, QualifyError, UnavailableError
from chroma_qualify.lint.rules.services import unreachable

_FIELD_MANAGER = "chroma-qualify"
_JUST_APPLIED = timedelta(seconds=10)  # a wait that begins sooner after `apply` is about what `apply` began


@dataclasses.dataclass(frozen=True, slots=True)
class Deployed:
    """A candidate in a cluster.

    Attributes:
        candidate: as it was applied, in `namespace`.
        applied_at: UTC.
        credentials: what every client of it needs.
    """

    cluster: Cluster
    candidate: Candidate
    namespace: str
    applied_at: datetime = dataclasses.field(default_factory=lambda: datetime.now(UTC))
    credentials: Credentials = OPEN


def create_namespace(cluster: Cluster, name: str, labels: Mapping[str, str]) -> None:
    """Create a namespace and wait until pods can be made in it.

    Raises:
        InfraError: it exists, or its default service account does not come.
        UnavailableError: we are to stay in a namespace that was lent to us.
    """
    if cluster.guest is not None:
        if cluster.guest.namespace:
            raise UnavailableError(f"it needs a namespace beside {cluster.guest.namespace}, the one that was lent")
        labels = {**labels, RUN_LABEL: cluster.guest.run}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}}
    # Not validated by kubectl, which would fetch megabytes of schemas for it.
    cluster.run_kubectl("create", "--validate=false", "-f", "-", stdin=json.dumps(namespace))
    grant(cluster, name)
    with contextlib.closing(cluster.api_client()) as api:
        accounts = kubernetes.client.CoreV1Api(api).list_namespaced_service_account
        try:
            wait_for(
                f"the default service account of namespace {name}",
                accounts,
                lambda found: "default" in found,
                timeout=120,
                namespace=name,
            )
        except WaitTimeoutError as error:
            raise InfraError(error.message, remedy="see whether the controller manager runs") from error


def delete_namespace(cluster: Cluster, name: str, *, wait: bool = False) -> None:
    """Delete a namespace and all that is in it; without `wait`, Kubernetes goes on doing so."""
    cluster.run_kubectl("delete", "namespace", name, "--ignore-not-found", f"--wait={str(wait).lower()}", timeout=180)


def apply(cluster: Cluster, candidate: Candidate, namespace: str) -> Deployed:
    """Apply a candidate server-side, moved to a namespace where it is not there already, with the Secrets it needs.

    Raises:
        CandidateError: rule `not-applied`: the API server refuses an object, or knows no such kind; `secret-unusable`.
        InfraError: the API server does not answer.
        UnavailableError: the cluster is not ours, and the candidate has an object that is in no namespace.
    """
    refuse_outside(cluster, candidate)
    moved = candidate if candidate.namespace == namespace else in_namespace(candidate, namespace)
    credentials = provide_secrets(cluster, moved, namespace)
    began = datetime.now(UTC)
    done = cluster.run_kubectl(
        "apply", "--server-side", "--force-conflicts", f"--field-manager={_FIELD_MANAGER}", f"--namespace={namespace}",
        "-f", "-", stdin=moved.text, check=False, again=True,
    )  # fmt: skip
    if done.returncode != 0:
        raise _not_applied(candidate, done.stderr.strip())
    return Deployed(cluster, moved, namespace, began, credentials)


def wait_ready(deployed: Deployed, timeout: float = 300) -> float:
    """Wait until every replica is ready; returns the seconds it took.

    Raises:
        CandidateError: as soon as it is certain that the candidate does not get ready (rules `unreachable`,
            `image-pull`, `pvc-pending`, `secret-missing`, `configmap-missing`, `container-config`, `crash-loop`,
            `oom-killed`, `probe-v1-api`, `probe-failing`, `not-admitted`), else `probe-failing` or `not-ready` after
            `timeout` seconds.
        InfraError: the API server did not answer in all that time, or the nodes had no room for a pod.
    """
    for finding in unreachable(deployed.candidate.objects):
        raise CandidateError(finding.rule, finding.message, evidence=finding.evidence, remedy=finding.remedy)
    began = time.monotonic()
    now = datetime.now(UTC)
    just_applied = now - deployed.applied_at < _JUST_APPLIED
    since = (deployed.applied_at if just_applied else now).replace(microsecond=0)  # Kubernetes counts in seconds
    state = State(since=since)
    changes: queue.Queue[tuple[str, KubeObject]] = queue.Queue()
    with contextlib.ExitStack() as stack:
        api = stack.enter_context(contextlib.closing(deployed.cluster.api_client()))
        watchers = _watchers(deployed, api, changes)
        for watcher in watchers:
            stack.callback(watcher.close)
            watcher.start()
        if not all(watcher.wait_listed(timeout) for watcher in watchers):
            raise InfraError(f"the API server of {deployed.cluster.name} did not answer for {timeout:.0f} s")
        first = True
        while True:
            _take(state, changes, began + timeout)
            if first and not just_applied:
                state.restarts = _restarts(state)
            first = False
            if diagnose.is_ready(state):
                return time.monotonic() - began
            failure = diagnose.certain_failure(state)
            if failure is None and time.monotonic() >= began + timeout:
                raise _with_log(deployed, state, diagnose.late_failure(state, timeout))
            if failure is not None:
                raise _with_log(deployed, state, failure)


def ready_pods(deployed: Deployed) -> tuple[str, ...]:
    """Names of the Chroma pods that are ready now, sorted."""
    pods = deployed.cluster.get_json("pods", f"--namespace={deployed.namespace}", "-l", _labels(deployed))
    return tuple(sorted(pod["metadata"]["name"] for pod in pods["items"] if pod_ready(pod)))


def scale(deployed: Deployed, replicas: int) -> None:
    """Ask for a number of replicas; `wait_ready` waits for them (for zero: until all pods are gone)."""
    name = deployed.candidate.name
    deployed.cluster.run_kubectl("scale", name, f"--replicas={replicas}", f"--namespace={deployed.namespace}")


def wait_gone(deployed: Deployed, pod: str, *, uid: str | None = None, timeout: float = 240) -> float:
    """Wait until a pod is gone; returns the seconds it took.

    Args:
        deployed: the deployment that the pod is of.
        pod: its name.
        uid: where the name comes back, as a StatefulSet's does: the pod that is to be gone.
        timeout: seconds.

    Raises:
        WaitTimeoutError: it is still there.
    """
    began = time.monotonic()
    with contextlib.closing(deployed.cluster.api_client()) as api:
        wait_for(
            f"pod {pod} to be gone",
            kubernetes.client.CoreV1Api(api).list_namespaced_pod,
            lambda pods: pod not in pods or (uid is not None and pods[pod].metadata.uid != uid),
            timeout=timeout,
            describe=lambda pods: f"it is {pods[pod].status.phase}" if pod in pods else "it is gone",
            namespace=deployed.namespace,
            field_selector=f"metadata.name={pod}",
        )
    return time.monotonic() - began


def _watchers(
    deployed: Deployed, api: kubernetes.client.ApiClient, changes: queue.Queue[tuple[str, KubeObject]]
) -> list[Watcher]:
    core, apps = kubernetes.client.CoreV1Api(api), kubernetes.client.AppsV1Api(api)
    workload = deployed.candidate.deployment
    kind = workload["kind"]
    workloads = apps.list_namespaced_deployment if kind == "Deployment" else apps.list_namespaced_stateful_set

    def seen(change: str, item: KubeObject) -> None:
        changes.put((change, item))

    own = f"metadata.name={workload['metadata']['name']}"
    space = deployed.namespace
    return [
        Watcher(kind, workloads, seen, namespace=space, field_selector=own),
        Watcher("Pod", core.list_namespaced_pod, seen, namespace=space, label_selector=_labels(deployed)),
        Watcher("PersistentVolumeClaim", core.list_namespaced_persistent_volume_claim, seen, namespace=space),
        Watcher("Event", core.list_namespaced_event, seen, namespace=space),
    ]


def _take(state: State, changes: queue.Queue[tuple[str, KubeObject]], deadline: float) -> None:
    """Wait for a change, at most until the deadline (monotonic s), and take over all there are."""
    with contextlib.suppress(queue.Empty):
        change, item = changes.get(timeout=max(0.0, deadline - time.monotonic()))
        while True:
            _take_one(state, change, item)
            change, item = changes.get_nowait()


def _take_one(state: State, change: str, item: KubeObject) -> None:
    uid = item["metadata"]["uid"]
    if item["kind"] in {"Deployment", "StatefulSet"}:
        state.workload = None if change == "DELETED" else item
        return
    if item["kind"] == "Event" and _time_of(item) < state.since:
        return
    kept = {"Pod": state.pods, "PersistentVolumeClaim": state.claims, "Event": state.events}[item["kind"]]
    if change == "DELETED":
        kept.pop(uid, None)
    else:
        kept[uid] = item


def _time_of(event: KubeObject) -> datetime:
    """When an event was last seen; the API has three fields for it."""
    series = (event.get("series") or {}).get("lastObservedTime")
    text = series or event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"]
    return datetime.fromisoformat(text)


def _restarts(state: State) -> dict[tuple[str, str], int]:
    return {
        (uid, container["name"]): container.get("restartCount", 0)
        for uid, pod in state.pods.items()
        for kind in ("initContainerStatuses", "containerStatuses")
        for container in pod.get("status", {}).get(kind) or ()
    }


def _with_log(deployed: Deployed, state: State, failure: QualifyError) -> QualifyError:
    """Add the end of the container's log to the evidence of a container that dies."""
    if not isinstance(failure, CandidateError) or failure.rule not in {"crash-loop", "oom-killed"}:
        return failure
    for pod in state.pods.values():
        done = deployed.cluster.run_kubectl(
            "logs", pod["metadata"]["name"], f"--namespace={deployed.namespace}", "--previous", "--tail=15",
            f"--container={deployed.candidate.container}", check=False, timeout=15,
        )  # fmt: skip
        if done.returncode == 0 and done.stdout.strip():
            failure.evidence = f"{failure.evidence}\nits log ended with:\n{done.stdout.strip()}"
            break
    return failure


def _not_applied(candidate: Candidate, said: str) -> CandidateError | InfraError:
    if kind := re.search(r'no matches for kind "(\w+)" in version "([^"]+)"', said):
        return CandidateError(
            "not-applied",
            f"the cluster knows no kind {kind[1]} ({kind[2]})",
            evidence=said,
            remedy="install its CustomResourceDefinition first, or leave the object out",
        )
    refused = ("Error from server (", "is invalid", "strict decoding error", "error validating", "denied the request")
    last = " ".join(said.splitlines()[-1:])[:400]
    if any(word in said for word in refused):
        return CandidateError(
            "not-applied", f"the API server refuses the manifests of {candidate.directory}: {last}", evidence=said
        )
    return InfraError(f"kubectl apply failed: {last}", evidence=said)


def _labels(deployed: Deployed) -> str:
    return deployed.candidate.label_selector
