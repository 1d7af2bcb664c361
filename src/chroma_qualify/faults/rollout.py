"""`kubectl rollout restart`: what a change of the pod template does to the server."""

from __future__ import annotations

import dataclasses

from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults.base import Injected, Proof, ready_again, the_server, wait_for_server


@dataclasses.dataclass(frozen=True, slots=True)
class RolloutRestart:
    """A rollout restart of the Deployment or StatefulSet."""

    name: str

    def available(self, deployed: Deployed) -> str | None:  # noqa: ARG002
        """Always."""
        return None

    def inject(self, deployed: Deployed) -> Injected:
        """Ask kubectl, as an operator would."""
        before = the_server(deployed)
        workload = _workload(deployed)
        mark = _revision(deployed)
        deployed.cluster.run_kubectl("-n", deployed.namespace, "rollout", "restart", workload)
        return Injected(self.name, before, f"kubectl rollout restart {workload}", mark)

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:
        """The workload has a new revision, and a pod with another UID runs."""
        before = injected.before
        after = wait_for_server(
            deployed, f"a pod of the new revision instead of {before.pod}", lambda state: state.uid != before.uid
        )
        revision = _revision(deployed)
        if revision == injected.mark:
            raise UndecidedError(f"the pod was replaced, but {_workload(deployed)} is still at revision {revision}")
        seen = f"revision {injected.mark} -> {revision}; before: {before}; after: {after}"
        return Proof(f"{_workload(deployed)} was rolled out anew", seen)

    def undo(self, deployed: Deployed, injected: Injected) -> None:
        """Nothing: a rollout ends by itself."""

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """The new revision's pod is ready."""
        return ready_again(deployed, injected)


def _workload(deployed: Deployed) -> str:
    workload = deployed.candidate.deployment
    return f"{str(workload['kind']).lower()}/{workload['metadata']['name']}"


def _revision(deployed: Deployed) -> str:
    """A Deployment's revision number, a StatefulSet's update revision."""
    workload = deployed.cluster.get_json("-n", deployed.namespace, _workload(deployed))
    if workload["kind"] == "StatefulSet":
        return str(workload.get("status", {}).get("updateRevision", ""))
    return str(workload["metadata"].get("annotations", {}).get("deployment.kubernetes.io/revision", ""))
