"""The API server goes away: pods that run must go on, and their clients must not notice.

Its static pod's manifest is moved aside on the control plane, so the kubelet stops it, and moved back. A client that
comes by the API server (a port-forward) cannot be used meanwhile: see `deployment.nodeway`.
"""

from __future__ import annotations

import dataclasses

from chroma_qualify.cluster.model import Node, Role
from chroma_qualify.cluster.wait import WaitTimeoutError, poll_for
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import CandidateError, InfraError, UndecidedError
from chroma_qualify.faults.base import PROOF_TIMEOUT, Injected, Proof, ready_now, the_server
from chroma_qualify.faults.processes import shell

_MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
_ASIDE = "/etc/kubernetes/chroma-qualify-kube-apiserver.yaml"
_BACK_TIMEOUT = 180.0  # s


@dataclasses.dataclass(frozen=True, slots=True)
class ApiServerDown:
    """No API server for a while."""

    name: str

    def available(self, deployed: Deployed) -> str | None:
        """Only in a cluster of our own."""
        return None if deployed.cluster.nodes else "the API server of an existing cluster is not ours to stop"

    def inject(self, deployed: Deployed) -> Injected:
        """Move its manifest aside."""
        before = the_server(deployed)
        shell(deployed, _control_plane(deployed), f"mv {_MANIFEST} {_ASIDE}")
        return Injected(self.name, before, "stop the API server's static pod", str(before.restarts))

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:
        """It does not answer any more."""
        try:
            said = poll_for("the API server to be gone", lambda: _answer(deployed), _is_gone, PROOF_TIMEOUT)
        except WaitTimeoutError as error:
            raise UndecidedError(f"no proof of the fault: {error.message}") from error
        return Proof("the API server is gone", said)

    def undo(self, deployed: Deployed, injected: Injected) -> None:
        """Move the manifest back."""
        shell(deployed, _control_plane(deployed), f"[ ! -f {_ASIDE} ] || mv {_ASIDE} {_MANIFEST}")

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """It answers, and the server is the very one that ran before."""
        try:
            poll_for("the API server to be ready", lambda: _answer(deployed), lambda said: said == "ok", _BACK_TIMEOUT)
        except WaitTimeoutError as error:
            raise InfraError(f"the API server did not come back: {error.message}") from error
        state = ready_now(deployed, injected)
        before = injected.before
        if (state.uid, state.restarts) != (before.uid, before.restarts):
            raise CandidateError(
                "restarted-needlessly",
                "the server restarted while the API server was away",
                evidence=f"before: {before}; after: {state}",
                remedy="nothing in the pod may need the API server; see the container's log",
            )
        return Proof("the API server is ready again, and the server ran on", str(state))


def _control_plane(deployed: Deployed) -> Node:
    return next(node for node in deployed.cluster.nodes if node.role is Role.CONTROL_PLANE)


def _answer(deployed: Deployed) -> str:
    """`ok`, or what stands between, in kubectl's words."""
    done = deployed.cluster.run_kubectl("get", "--raw=/readyz", "--request-timeout=2s", check=False, timeout=30)
    return done.stdout.strip() if done.returncode == 0 else " ".join(done.stderr.split())


def _is_gone(said: str) -> bool:
    """No connection, as opposed to an answer that says no."""
    return said != "ok" and not said.startswith("Error from server")
