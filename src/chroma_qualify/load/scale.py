"""Watch an HPA move its workload, with the time of every step.

Used by the scale-out scenario. Two watches run side by side (the HPA, the pods), so that a step's time is when the API
server told of it, not when somebody came round to look.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import kubernetes.client

from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import CandidateError, InfraError, QualifyError, UndecidedError
from chroma_qualify.load import aside, inside

_STUCK = {
    "CrashLoopBackOff", "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One step of a scaling.

    Attributes:
        seconds: since the watch began.
        what: `desired`, `created`, `scheduled`, `ready` or `gone`.
        detail: the pod, or the number of replicas and what the HPA measured.
    """

    seconds: float
    what: str
    detail: str

    def __str__(self) -> str:
        return f"{self.seconds:6.2f} s {self.what}: {self.detail}"


@dataclasses.dataclass(frozen=True, slots=True)
class Scaling:
    """A finished scaling: its steps in time order and the pods that are ready at its end."""

    steps: tuple[Step, ...]
    pods: tuple[str, ...]

    def last(self, what: str) -> float | None:
        """Seconds of the last step of a kind, None if there was none."""
        return max((step.seconds for step in self.steps if step.what == what), default=None)


def watch_scaling(deployed: Deployed, replicas: int, *, timeout: float) -> Scaling:
    """Wait until the HPA wants exactly `replicas` and exactly these pods exist and are ready.

    Raises:
        CandidateError: the HPA cannot measure the workload, or new replicas cannot get ready.
        UndecidedError: the HPA saw too little load to move, or replicas were not ready in time without a reason.
        InfraError: no metrics, or no room on the nodes.
    """
    hpa = deployed.candidate.hpa
    if hpa is None:
        raise CandidateError("hpa-missing", "the candidate has no HorizontalPodAutoscaler, so nothing scales it")
    begin = time.monotonic()
    steps: list[Step] = []
    seen: set[tuple[str, str]] = set()
    known: set[str] = set()

    def note(what: str, key: str, detail: str) -> None:
        if (what, key) not in seen:
            seen.add((what, key))
            steps.append(Step(round(time.monotonic() - begin, 2), what, detail))

    def hpa_met(objects: Mapping[str, Any]) -> bool:
        for item in objects.values():
            note("desired", f"{item.status.desired_replicas}", _hpa_words(item))
        return any(item.status.desired_replicas == replicas for item in objects.values())

    def pods_met(pods: Mapping[str, Any]) -> bool:
        for name in known - pods.keys():
            note("gone", name, name)
        known.update(pods)
        for name, pod in pods.items():
            note("created", name, name)
            if pod.spec.node_name:
                note("scheduled", name, f"{name} on {pod.spec.node_name}")
            if inside.is_ready(pod):
                note("ready", name, name)
        return len(pods) == replicas and all(map(inside.is_ready, pods.values()))

    name = hpa["metadata"]["name"]
    with deployed.cluster.api_client() as api, deployed.cluster.api_client() as other:
        wanting = aside.start(
            functools.partial(
                wait_for,
                f"HPA {name} to want {replicas} replicas",
                kubernetes.client.AutoscalingV2Api(other).list_namespaced_horizontal_pod_autoscaler,
                hpa_met,
                timeout=timeout,
                describe=lambda objects: "; ".join(map(_hpa_words, objects.values())) or "no HPA",
                namespace=deployed.namespace,
                field_selector=f"metadata.name={name}",
            )
        )
        try:
            pods = wait_for(
                f"{replicas} ready replicas, no more and no fewer",
                kubernetes.client.CoreV1Api(api).list_namespaced_pod,
                pods_met,
                timeout=timeout,
                describe=inside.describe,
                namespace=deployed.namespace,
                label_selector=deployed.candidate.label_selector,
            )
            wanting.result()
        except WaitTimeoutError as error:
            raise _whose_fault(deployed, replicas, error) from error
    return Scaling(tuple(sorted(steps, key=lambda step: step.seconds)), tuple(sorted(pods)))


def _whose_fault(deployed: Deployed, replicas: int, error: WaitTimeoutError) -> QualifyError:
    """What a scaling that did not come says of the candidate, the load or the cluster."""
    assert deployed.candidate.hpa is not None
    found = deployed.cluster.get_json("hpa", "-n", deployed.namespace, deployed.candidate.hpa["metadata"]["name"])
    conditions = {entry["type"]: entry for entry in found.get("status", {}).get("conditions") or []}
    active = conditions.get("ScalingActive", {})
    said = active.get("message", "")
    if active.get("status") == "False":
        if "missing request" in said:
            return CandidateError(
                "hpa-without-request", f"the HPA cannot compute a utilisation: {said}", remedy="set resource requests"
            )
        return InfraError(f"the HPA gets no metrics: {said}", remedy="see metrics-server", evidence=error.message)
    desired = found.get("status", {}).get("desiredReplicas")
    if desired != replicas:
        metrics = found.get("status", {}).get("currentMetrics") or []
        return UndecidedError(
            f"the HPA wants {desired} replicas, not {replicas}", evidence=f"{error.message}; {metrics}"
        )
    pods = deployed.cluster.get_json("pods", "-n", deployed.namespace, "-l", deployed.candidate.label_selector)["items"]
    return why_not_ready(pods, error.message, _events(deployed))


def why_not_ready(pods: Sequence[Mapping[str, Any]], message: str, events: str) -> QualifyError:
    """Whose fault it is that pods which the HPA wants are not ready: slowness alone is nobody's.

    Args:
        pods: the workload's, as the API server shows them.
        message: what was waited for and seen.
        events: the namespace's warnings, as text.
    """
    for pod in pods:
        name, status = pod["metadata"]["name"], pod.get("status", {})
        conditions = {entry["type"]: entry for entry in status.get("conditions") or []}
        if conditions.get("Ready", {}).get("status") == "True":
            continue
        scheduled = conditions.get("PodScheduled", {})
        if scheduled.get("reason") == "Unschedulable":
            said = scheduled.get("message", "")
            if "Insufficient" in said:
                return InfraError(
                    f"the nodes have no room for the replicas that the HPA wants: {said}",
                    remedy="free CPU and memory on the nodes, or give them more",
                    evidence=events,
                )
            return CandidateError("scaling-unschedulable", f"pod {name} finds no node: {said}", evidence=events)
        for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
            waiting = container.get("state", {}).get("waiting", {}).get("reason", "")
            if waiting in _STUCK or container.get("restartCount", 0):
                why = waiting or f"restarted {container['restartCount']} times"
                sentence = f"pod {name} cannot get ready: container {container['name']} {why}; {message}"
                return CandidateError("scaling-not-ready", sentence, evidence=events)
        if any(f"pod/{name} " in f"{line} " and "probe failed" in line and "statuscode" in line
               for line in events.lower().splitlines()):  # fmt: skip
            return CandidateError(
                "scaling-not-ready", f"pod {name} is not ready: a probe fails; {message}", evidence=events
            )
    return UndecidedError(
        f"{message}; nothing in the pods says why, so the machine may just be slow",
        remedy="run it again with fewer other jobs on the machine",
        evidence=events,
    )


def _events(deployed: Deployed) -> str:
    done = deployed.cluster.run_kubectl("events", "-n", deployed.namespace, "--types=Warning", check=False)
    return str(done.stdout[-2000:])


def _hpa_words(item: Any) -> str:  # noqa: ANN401 (an object of the kubernetes client)
    measured = [
        f"{metric.resource.name} {metric.resource.current.average_utilization} %"
        for metric in item.status.current_metrics or []
        if metric.resource
    ]
    return f"{item.status.desired_replicas} wanted, {item.status.current_replicas} there ({', '.join(measured) or '?'})"
