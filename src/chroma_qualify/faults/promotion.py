"""From the manifests in use to the candidate, the way a user goes: `kubectl apply` of the rendered set, under writes.

What only the old set has stays behind after an apply; it is deleted here as `kubectl apply --prune` would, apart from
claims and namespaces, which hold the data. Called by the plugin's `promotions`.
"""

from __future__ import annotations

import dataclasses

from chroma_qualify.checks.promises import Stress
from chroma_qualify.deployment.apply import Deployed, apply
from chroma_qualify.deployment.objects import Candidate, KubeObject
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults.base import Injected, Proof, ready_again, ready_now, the_server, wait_for_server
from chroma_qualify.faults.experiments import PROMOTION, Experiment
from chroma_qualify.workload.plans import Kind, Workload, both_settings

_KEPT = {"PersistentVolumeClaim", "PersistentVolume", "Namespace"}
_ROLLOUT = 300  # seconds until another pod's container runs: it waits for the old one's grace period
_NO_ROLLOUT = "no rollout"
_FIRST_LANE = 1800  # behind those of the table of experiments
# Every kind of traffic but the bulk, at rates that half a core keeps up with.
_TRAFFIC = (
    *both_settings(Workload(Kind.APPEND, rate=4, lanes=2, preload=250, first_lane=_FIRST_LANE)),
    Workload(Kind.REGISTER, rate=6, lanes=2, first_lane=_FIRST_LANE + 4),
    Workload(Kind.CHURN, rate=4, lanes=2, first_lane=_FIRST_LANE + 6),
    Workload(Kind.READ_ONLY, rate=4, lanes=2, preload=200, first_lane=_FIRST_LANE + 8),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Promotion:
    """Apply the candidate over what is deployed.

    Attributes:
        baseline: what is deployed, in the namespace; None: for a plan only.
        candidate: what is applied, in the same namespace.
    """

    baseline: Candidate | None = None
    candidate: Candidate | None = None

    @property
    def name(self) -> str:
        """`promotion`."""
        return PROMOTION

    def available(self, deployed: Deployed) -> str | None:  # noqa: ARG002
        """Always."""
        return None

    def inject(self, deployed: Deployed) -> Injected:
        """Apply, then delete what only the baseline has."""
        before = the_server(deployed)
        generation = _generation(deployed)
        baseline, candidate = self._both()
        apply(deployed.cluster, candidate, deployed.namespace)
        pruned = prune(deployed, baseline, candidate)
        asked = f"kubectl apply of {candidate.directory.name} over {baseline.directory.name}"
        if pruned:
            asked += f"; deleted {', '.join(pruned)}"
        same = candidate.name == baseline.name and generation == _generation(deployed)
        return Injected(self.name, before, asked, _NO_ROLLOUT if same else "")

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:
        """Another pod runs, or the API server says that the workload is as it was."""
        if injected.mark == _NO_ROLLOUT:
            return Proof("the candidate changes nothing of the workload", f"generation as before; {injected.before}")
        after = wait_for_server(
            self._promoted(deployed),
            f"a pod of the candidate instead of {injected.before.pod}",
            lambda state: state.uid != injected.before.uid and bool(state.container_id),
            timeout=_ROLLOUT,
        )
        return Proof("the candidate's pod runs", f"before: {injected.before}; after: {after}")

    def undo(self, deployed: Deployed, injected: Injected) -> None:
        """Nothing: whether there is a way back is a question of its own."""

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """The candidate's server is ready."""
        promoted = self._promoted(deployed)
        if injected.mark == _NO_ROLLOUT:
            return Proof("the server is ready", str(ready_now(promoted, injected)))
        return ready_again(promoted, injected)

    def _promoted(self, deployed: Deployed) -> Deployed:
        return dataclasses.replace(deployed, candidate=self._both()[1])

    def _both(self) -> tuple[Candidate, Candidate]:
        if self.baseline is None or self.candidate is None:
            raise UndecidedError("a promotion needs a baseline and a candidate")
        return self.baseline, self.candidate


def promotion(baseline: Candidate | None = None, candidate: Candidate | None = None) -> Experiment:
    """The experiment; its lanes and collections are the same whatever is promoted."""
    workloads = tuple(dataclasses.replace(workload, scope=PROMOTION) for workload in _TRAFFIC)
    return Experiment(PROMOTION, Promotion(baseline, candidate), Stress.GRACEFUL, workloads, seconds=40)


def left_behind(baseline: Candidate, candidate: Candidate) -> tuple[KubeObject, ...]:
    """The objects that only the baseline has: `kubectl apply` of the candidate leaves them."""
    there = {_key(item) for item in candidate.objects}
    return tuple(item for item in baseline.objects if _key(item) not in there)


def prune(deployed: Deployed, baseline: Candidate, candidate: Candidate) -> tuple[str, ...]:
    """Delete them, apart from those that hold data; returns `kind/name` of the deleted."""
    names = [
        f"{item['kind'].lower()}/{item['metadata']['name']}"
        for item in left_behind(baseline, candidate)
        if item["kind"] not in _KEPT
    ]
    if names:
        namespace = f"--namespace={deployed.namespace}"
        deployed.cluster.run_kubectl("delete", namespace, "--ignore-not-found", "--wait=false", *names)
    return tuple(names)


def _key(item: KubeObject) -> tuple[str, str, str]:
    # The group, not the version: the same object may be written in two versions.
    return (str(item["apiVersion"]).rpartition("/")[0], item["kind"], item["metadata"]["name"])


def _generation(deployed: Deployed) -> int:
    found = deployed.cluster.get_json(deployed.candidate.name, f"--namespace={deployed.namespace}")
    return int(found["metadata"].get("generation", 0))
