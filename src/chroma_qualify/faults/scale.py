"""Ask for a second server while clients write, and take it back: what an operator or an autoscaler does.

Where the topology is right, the second one is held back (its volume is in use) and nothing happens. Where it is not,
two servers write to one volume for a while, and the history shows what that cost.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import kubernetes.client

from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.deployment.apply import Deployed, scale, wait_gone
from chroma_qualify.errors import CandidateError, UndecidedError
from chroma_qualify.faults.base import (
    PROOF_TIMEOUT,
    Injected,
    Proof,
    ready_now,
    selector,
    server_states,
    the_server,
    wait_for_server,
)

_BESIDE = "runs beside the first one"


@dataclasses.dataclass(frozen=True, slots=True)
class ScaleOutAndIn:
    """Two replicas, then one."""

    name: str

    def available(self, deployed: Deployed) -> str | None:
        """Not where an autoscaler decides on the replicas."""
        return "an autoscaler owns the number of replicas" if deployed.candidate.hpa else None

    def inject(self, deployed: Deployed) -> Injected:
        """Scale to 2."""
        before = the_server(deployed)
        scale(deployed, 2)
        return Injected(self.name, before, f"kubectl scale {deployed.candidate.name} --replicas=2")

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:
        """There is a second pod, and either it runs or the cluster says what holds it back."""
        with deployed.cluster.api_client() as api:
            try:
                pods = wait_for(
                    "a second pod to run or to be held back",
                    kubernetes.client.CoreV1Api(api).list_namespaced_pod,
                    lambda pods: any(_settled(pod) and _has_room(pod) for pod in _others(pods, injected)),
                    timeout=PROOF_TIMEOUT,
                    describe=lambda pods: "; ".join(map(_settled, _others(pods, injected))) or "no second pod",
                    namespace=deployed.namespace,
                    label_selector=selector(deployed),
                )
            except WaitTimeoutError as error:
                raise UndecidedError(f"no proof of the fault: {error.message}") from error
        second = next(pod for pod in _others(pods, injected) if _settled(pod) and _has_room(pod))
        if (
            _BESIDE in _settled(second)
            and deployed.candidate.claim
            and deployed.candidate.deployment["kind"] != "StatefulSet"
        ):
            raise CandidateError(
                "two-servers-one-volume",
                "asked for two replicas, the cluster ran a second server on the same volume",
                evidence=f"first: {injected.before}; second: pod {second.metadata.name} is ready",
                remedy="claim the volume ReadWriteOncePod: then the scheduler keeps the second one waiting",
            )
        return Proof("a second server was asked for", f"pod {second.metadata.name} {_settled(second)}")

    def undo(self, deployed: Deployed, injected: Injected) -> None:  # noqa: ARG002
        """Scale to 1; Kubernetes takes the pod that is not ready, else the younger one."""
        scale(deployed, 1)

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """One pod is left, and it is ready."""
        wait_for_server(deployed, "one pod to be left", lambda _: len(server_states(deployed)) == 1)
        state = ready_now(deployed, injected)
        with deployed.cluster.api_client() as api:
            core = kubernetes.client.CoreV1Api(api)
            pods = core.list_namespaced_pod(deployed.namespace, label_selector=selector(deployed)).items
        for pod in pods:
            if pod.metadata.uid != state.uid:
                wait_gone(deployed, pod.metadata.name, uid=pod.metadata.uid)
        return Proof("one server is left", str(state))


def _others(pods: Any, injected: Injected) -> list[Any]:  # noqa: ANN401 (objects of the kubernetes client)
    return [pod for pod in pods.values() if pod.metadata.uid != injected.before.uid]


def _has_room(pod: Any) -> bool:  # noqa: ANN401
    """Else it waits for the node, not for the volume, and that may pass: others leave."""
    return "Insufficient" not in _settled(pod)


def _settled(pod: Any) -> str:  # noqa: ANN401
    """What became of a pod, or "" if that is still open."""
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"is held back: {condition.message or condition.reason}"
        if condition.type == "Ready" and condition.status == "True":
            return _BESIDE
    return ""
