"""Delete the server's pod: with its grace period (SIGTERM, time to finish) or without (SIGKILL)."""

from __future__ import annotations

import dataclasses

import kubernetes.client

from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.faults.base import Injected, Proof, ready_again, the_server, wait_for_server


@dataclasses.dataclass(frozen=True, slots=True)
class PodDelete:
    """A pod delete.

    Attributes:
        name: of the fault.
        grace: seconds that the server gets to end; None: those of the pod.
    """

    name: str
    grace: int | None = None

    def available(self, deployed: Deployed) -> str | None:  # noqa: ARG002
        """Always."""
        return None

    def inject(self, deployed: Deployed) -> Injected:
        """Ask the API server to delete the one pod there is."""
        before = the_server(deployed)
        options = {} if self.grace is None else {"grace_period_seconds": self.grace}
        with deployed.cluster.api_client() as api:
            kubernetes.client.CoreV1Api(api).delete_namespaced_pod(before.pod, deployed.namespace, **options)
        grace = "its own grace period" if self.grace is None else f"grace period {self.grace} s"
        return Injected(self.name, before, f"delete pod {before.pod} with {grace}")

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:
        """Another pod, told by its UID, is there (a StatefulSet gives it the same name)."""
        uid = injected.before.uid
        after = wait_for_server(deployed, f"a pod other than {injected.before.pod}", lambda state: state.uid != uid)
        return Proof(f"pod {injected.before.pod} was replaced", f"before: {injected.before}; after: {after}")

    def undo(self, deployed: Deployed, injected: Injected) -> None:
        """Nothing: the workload's controller makes a new pod."""

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """The new pod is ready."""
        return ready_again(deployed, injected)
