"""The API server goes away: pods that run must go on, and their clients must not notice.

A packet filter on the control plane refuses every connection to it, new and open ones, from everywhere. (Its static pod
could be stopped as well, but the kubelet takes 40 s to start it again.) A client that comes by the API server, as by a
port-forward, cannot be used meanwhile: see `deployment.nodeway`.
"""

from __future__ import annotations

import dataclasses

from chroma_qualify.cluster.model import Node, Role
from chroma_qualify.cluster.wait import WaitTimeoutError, poll_for
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import CandidateError, InfraError, UndecidedError
from chroma_qualify.faults.base import PROOF_TIMEOUT, Injected, Proof, ready_now, the_server
from chroma_qualify.faults.processes import counted_packets, shell

_PORT = 6443  # kind's, inside the node
_TABLE = "chroma_qualify_api"
_REFUSE = f"""
nft -f - <<RULES
table inet {_TABLE} {{
  chain incoming {{
    type filter hook input priority -300;
    tcp dport {_PORT} counter reject with tcp reset
  }}
}}
RULES
"""
_ALLOW = f"nft delete table inet {_TABLE} 2>/dev/null || true"
_BACK_TIMEOUT = 300.0  # s


@dataclasses.dataclass(frozen=True, slots=True)
class ApiServerDown:
    """No API server for a while."""

    name: str

    def available(self, deployed: Deployed) -> str | None:
        """Only in a cluster of our own."""
        return None if deployed.cluster.nodes else "the API server of an existing cluster is not ours to stop"

    def inject(self, deployed: Deployed) -> Injected:
        """Refuse all connections to it."""
        before = the_server(deployed)
        try:
            shell(deployed, _control_plane(deployed), _REFUSE)
        except BaseException:  # interrupted, it may be done all the same
            shell(deployed, _control_plane(deployed), _ALLOW)
            raise
        return Injected(self.name, before, f"refuse every connection to port {_PORT} of the control plane")

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:  # noqa: ARG002
        """It does not answer any more."""
        try:
            said = poll_for("the API server to be gone", lambda: _answer(deployed), _is_gone, PROOF_TIMEOUT)
            poll_for("a connection to be refused", lambda: _refused(deployed), lambda number: number > 0, PROOF_TIMEOUT)
        except WaitTimeoutError as error:
            raise UndecidedError(f"no proof of the fault: {error.message}") from error
        return Proof("the API server is gone", said)

    def undo(self, deployed: Deployed, injected: Injected) -> None:  # noqa: ARG002
        """Let them through again."""
        shell(deployed, _control_plane(deployed), _ALLOW)

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


def _refused(deployed: Deployed) -> int:
    """Packets that the filter has answered with a reset."""
    return counted_packets(shell(deployed, _control_plane(deployed), f"nft list table inet {_TABLE}"))


def _is_gone(said: str) -> bool:
    """No connection, as opposed to an answer that says no."""
    return said != "ok" and not said.startswith("Error from server")
