"""What a fault is, and what every family needs to see of the server's pod.

A fault that cannot show that it took effect proves nothing about the candidate, so every
family compares the pod before with the pod after and raises UndecidedError where that is
no proof. Called by `strike` and by the families.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import kubernetes.client

from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.errors import CandidateError, UndecidedError

PROOF_TIMEOUT = 150  # seconds in which a fault must show
RECOVERY_TIMEOUT = 300  # seconds from then until a server must be ready


@dataclasses.dataclass(frozen=True, slots=True)
class ServerState:
    """The server's pod at one moment.

    Attributes:
        pod: name.
        uid: the pod's UID; another one means another pod.
        node: where it runs.
        container_id: of the Chroma container, without the `containerd://`; "" before it runs.
        restarts: of the Chroma container.
        ready: of the Chroma container, in a pod that is not being deleted.
        exit_code: with which the container's last life ended, None if this is its first.
        reason: why it ended, the kubelet's word (`Error`, `OOMKilled`, `Unknown` …), or "".
    """

    pod: str
    uid: str
    node: str
    container_id: str
    restarts: int
    ready: bool
    exit_code: int | None = None
    reason: str = ""

    def __str__(self) -> str:
        ended = f", last life ended with {self.exit_code} ({self.reason})" if self.exit_code is not None else ""
        life = "ready" if self.ready else "not ready"
        container = f"container {self.container_id[:12]}" if self.container_id else "no container yet"
        return f"pod {self.pod} (uid {self.uid[:8]}) {life}, {container}, {self.restarts} restarts{ended}"


@dataclasses.dataclass(frozen=True, slots=True)
class Injected:
    """A fault on its way.

    Attributes:
        fault: its name.
        before: the server just before.
        asked: what was done, for a person: a command or a call.
        mark: the family's own mark of the state before (a revision, a start time), or "".
    """

    fault: str
    before: ServerState
    asked: str
    mark: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Proof:
    """That something happened: the claim and what was seen."""

    claim: str
    seen: str


class Fault(Protocol):
    """One way of breaking the server."""

    @property
    def name(self) -> str:
        """Kebab-case, unique; it appears in verdicts, and qualification.yaml speaks of it."""

    def available(self, deployed: Deployed) -> str | None:
        """None if it can be done here, else the reason why not."""

    def inject(self, deployed: Deployed) -> Injected:
        """Do it; returns once it is asked for, before it is known to have worked."""

    def prove(self, deployed: Deployed, injected: Injected) -> Proof:
        """Wait until it shows that it took effect; UndecidedError if it does not."""

    def undo(self, deployed: Deployed, injected: Injected) -> None:
        """Take back what does not heal by itself."""

    def prove_undone(self, deployed: Deployed, injected: Injected) -> Proof:
        """Wait until nothing of the fault is left but its consequences; UndecidedError if it stays."""


def server_states(deployed: Deployed) -> tuple[ServerState, ...]:
    """The server's pods that are not being deleted, by name."""
    with deployed.cluster.api_client() as api:
        pods = kubernetes.client.CoreV1Api(api).list_namespaced_pod(
            namespace=deployed.namespace, label_selector=selector(deployed)
        )
    live = [pod for pod in pods.items if pod.metadata.deletion_timestamp is None]
    return tuple(sorted((state_of(pod, deployed.candidate.container) for pod in live), key=lambda state: state.pod))


def the_server(deployed: Deployed) -> ServerState:
    """The one server there is.

    Raises:
        UndecidedError: there is none that is ready, or more than one: it is not clear what to strike.
    """
    states = server_states(deployed)
    if len(states) != 1 or not states[0].ready:
        seen = "; ".join(map(str, states)) or "no pod"
        raise UndecidedError(f"a fault needs exactly one ready server to strike, there is: {seen}")
    return states[0]


def wait_for_server(deployed: Deployed, what: str, condition: Any, timeout: float = PROOF_TIMEOUT) -> ServerState:  # noqa: ANN401
    """Watch the server's pods until one of them meets `condition(state) -> bool`.

    Args:
        deployed: whose pods.
        what: fits behind "waited for".
        condition: told each pod that is not being deleted.
        timeout: seconds.

    Returns:
        The state that met it.

    Raises:
        UndecidedError: it did not come true in time; the message has the last state.
    """

    def states(pods: Any) -> list[ServerState]:  # noqa: ANN401
        live = [pod for pod in pods.values() if pod.metadata.deletion_timestamp is None]
        return [state_of(pod, deployed.candidate.container) for pod in live]

    with deployed.cluster.api_client() as api:
        try:
            pods = wait_for(
                what,
                kubernetes.client.CoreV1Api(api).list_namespaced_pod,
                lambda pods: any(condition(state) for state in states(pods)),
                timeout=timeout,
                describe=lambda pods: "; ".join(map(str, states(pods))) or "no pod",
                namespace=deployed.namespace,
                label_selector=selector(deployed),
            )
        except WaitTimeoutError as error:
            raise UndecidedError(f"no proof of the fault: {error.message}") from error
    return next(state for state in states(pods) if condition(state))


def ready_again(deployed: Deployed, injected: Injected, timeout: float = RECOVERY_TIMEOUT) -> Proof:
    """A ready server that is not the life that was struck, for faults that Kubernetes itself repairs.

    Raises:
        CandidateError: `not-recovered`, when there is none in time: the fault took effect and is
            over, so this is the server's failure.
    """
    old = injected.before.container_id
    try:
        state = wait_for_server(
            deployed, "a ready server", lambda state: state.ready and state.container_id != old, timeout
        )
    except UndecidedError as error:
        raise _not_recovered(injected, timeout, error) from error
    return Proof("one server is ready again", str(state))


def ready_now(deployed: Deployed, injected: Injected, timeout: float = RECOVERY_TIMEOUT) -> ServerState:
    """A ready server, the one that was struck or another, for faults that are taken back.

    Raises:
        CandidateError: `not-recovered`, when there is none in time.
    """
    try:
        return wait_for_server(deployed, "a ready server", lambda state: state.ready, timeout)
    except UndecidedError as error:
        raise _not_recovered(injected, timeout, error) from error


def restarted(deployed: Deployed, before: ServerState) -> ServerState:
    """The server once its container has restarted in the same pod; UndecidedError if it does not."""
    return wait_for_server(
        deployed,
        f"a restart of the container in pod {before.pod}",
        lambda state: state.uid == before.uid and state.restarts > before.restarts and state.exit_code is not None,
    )


def memory_limit(deployed: Deployed) -> str:
    """The memory limit of the server's container as the manifests say it, or ""."""
    for container in deployed.candidate.deployment["spec"]["template"]["spec"]["containers"]:
        if container["name"] == deployed.candidate.container:
            return str(((container.get("resources") or {}).get("limits") or {}).get("memory", ""))
    return ""


def _not_recovered(injected: Injected, timeout: float, error: UndecidedError) -> CandidateError:
    return CandidateError(
        "not-recovered",
        f"no server was ready {timeout:.0f} s after {injected.fault}",
        evidence=error.message,
        remedy="see the pod's log and events in the run directory",
    )


def selector(deployed: Deployed) -> str:
    """The workload's labels as the API wants them."""
    return ",".join(f"{key}={value}" for key, value in deployed.candidate.selector.items())


def state_of(pod: Any, container: str) -> ServerState:  # noqa: ANN401
    """What matters of a pod as the kubernetes client gives it."""
    for status in pod.status.container_statuses or ():
        if status.name != container:
            continue
        ended = status.last_state.terminated if status.last_state else None
        return ServerState(
            pod=pod.metadata.name,
            uid=pod.metadata.uid,
            node=pod.spec.node_name or "",
            container_id=(status.container_id or "").rpartition("//")[2],
            restarts=status.restart_count,
            ready=bool(status.ready) and pod.metadata.deletion_timestamp is None,
            exit_code=ended.exit_code if ended else None,
            reason=(ended.reason or "") if ended else "",
        )
    return ServerState(pod.metadata.name, pod.metadata.uid, pod.spec.node_name or "", "", 0, ready=False)
