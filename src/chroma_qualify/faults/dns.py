"""The cluster's DNS goes away: servers and connections that are there must go on."""

from __future__ import annotations

import dataclasses

import kubernetes.client

from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults.base import PROOF_TIMEOUT, RECOVERY_TIMEOUT, Injected, Proof, ready_now, the_server

_PLACE = ("--namespace=kube-system", "deployment/coredns")


@dataclasses.dataclass(frozen=True, slots=True)
class DnsDown:
    """CoreDNS scaled to nothing."""

    name: str

    def available(self, deployed: Deployed) -> str | None:
        """Only in a cluster of our own: others live in an existing one."""
        return None if deployed.cluster.nodes else "the DNS of an existing cluster is not ours to stop"

    def inject(self, deployed: Deployed) -> Injected:
        """Scale it to 0."""
        before = the_server(deployed)
        replicas = deployed.cluster.get_json(*_PLACE)["spec"]["replicas"]
        deployed.cluster.run_kubectl("scale", *_PLACE, "--replicas=0")
        return Injected(self.name, before, "kubectl scale deployment/coredns --replicas=0", str(replicas))

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:  # noqa: ARG002
        """None of its pods is left."""
        seen = _wait_dns(deployed, "CoreDNS to be gone", there=False, timeout=PROOF_TIMEOUT)
        return Proof("no pod of CoreDNS is left", seen)

    def undo(self, deployed: Deployed, injected: Injected) -> None:
        """Scale it back."""
        deployed.cluster.run_kubectl("scale", *_PLACE, f"--replicas={injected.mark}")

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """It is ready; and so is the server."""
        seen = _wait_dns(deployed, "CoreDNS to be ready", there=True, timeout=RECOVERY_TIMEOUT)
        return Proof("CoreDNS is ready again", f"{seen}; {ready_now(deployed, injected)}")


def _wait_dns(deployed: Deployed, what: str, *, there: bool, timeout: float) -> str:
    def right(pods: dict[str, kubernetes.client.V1Pod]) -> bool:
        return any(map(_ready, pods.values())) if there else not pods

    with deployed.cluster.api_client() as api:
        try:
            pods = wait_for(
                what,
                kubernetes.client.CoreV1Api(api).list_namespaced_pod,
                right,  # type: ignore[arg-type]
                timeout=timeout,
                namespace="kube-system",
                label_selector="k8s-app=kube-dns",
            )
        except WaitTimeoutError as error:
            raise UndecidedError(error.message) from error
    return f"pods: {', '.join(pods) or 'none'}"


def _ready(pod: kubernetes.client.V1Pod) -> bool:
    conditions = pod.status.conditions or ()
    return any(condition.type == "Ready" and condition.status == "True" for condition in conditions)
