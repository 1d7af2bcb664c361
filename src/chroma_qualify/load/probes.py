"""Network probes from inside pods: who reaches what.

Used by the policy scenario. The probing program is images/loader/probe.py, run through `kubectl exec`; the Chroma pod
itself is probed from an ephemeral container, which shares its network namespace, so the policies, address and identity
are the real pod's own and no stand-in with copied labels can fall into the Service or escape a selector.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import kubernetes.client

from chroma_qualify.cluster.model import Cluster
from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.errors import InfraError
from chroma_qualify.load import aside, inside

SIDE_DOOR = "chroma-qualify-probe"
"""Name of the ephemeral container."""


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """Where to go; fields as images/loader/probe.py has them (`kind`: tcp, http or dns; `timeout` in s)."""

    name: str
    kind: str
    host: str
    port: int
    path: str = "/"
    timeout: float = 2.0


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """What one probe saw: `outcome` is open, refused, timeout, unresolved, unreachable or error."""

    name: str
    outcome: str
    seconds: float
    detail: str

    @property
    def open(self) -> bool:
        """Whether the target answered."""
        return self.outcome == "open"


def probe(pod: inside.Pod, targets: Sequence[Target]) -> Mapping[str, Result]:
    """Try all targets at once from one pod; results by target name.

    Raises:
        InfraError: the program did not run or not answer for every target.
    """
    asked = json.dumps([dataclasses.asdict(target) for target in targets])
    said = pod.run("python3", "/app/probe.py", asked, timeout=120).stdout
    results = {entry["name"]: Result(**entry) for entry in map(json.loads, said.splitlines())}
    missing = [target.name for target in targets if target.name not in results]
    if missing:
        raise InfraError(f"the probe in pod {pod.name} said nothing of {', '.join(missing)}", evidence=said[-600:])
    return results


def probe_all(asked: Mapping[str, tuple[inside.Pod, Sequence[Target]]]) -> Mapping[str, Mapping[str, Result]]:
    """Probe from several pods at the same time: by the source's name, then by the target's."""
    return aside.all_at_once(
        {source: functools.partial(probe, pod, targets) for source, (pod, targets) in asked.items()}
    )


def side_door(cluster: Cluster, namespace: str, pod: str, *, timeout: float = 240) -> inside.Pod:
    """Add a waiting ephemeral container to a pod and return the place to run probes from.

    The pod keeps running as it is; an ephemeral container cannot be removed, so use pods that are thrown away.

    Raises:
        InfraError: the API server refuses it or it does not start.
        UnavailableError: see `inside.image_of`.
    """
    container = {
        "name": SIDE_DOOR,
        "image": inside.image_of(cluster),
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "/app/listen.py"],
        "securityContext": dict(inside.RESTRICTED),
    }

    def running(pods: Mapping[str, Any]) -> bool:
        statuses = pods[pod].status.ephemeral_container_statuses or [] if pod in pods else []
        return any(status.name == SIDE_DOOR and status.state and status.state.running for status in statuses)

    with cluster.api_client() as api:
        core = kubernetes.client.CoreV1Api(api)
        try:
            core.patch_namespaced_pod_ephemeralcontainers(
                pod, namespace, {"spec": {"ephemeralContainers": [container]}}
            )
            wait_for(
                f"the ephemeral container {SIDE_DOOR} in pod {pod} to run",
                core.list_namespaced_pod,
                running,
                timeout=timeout,
                describe=_ephemeral_states,
                namespace=namespace,
                field_selector=f"metadata.name={pod}",
            )
        except kubernetes.client.ApiException as error:
            raise InfraError(
                f"no ephemeral container in pod {pod}: {error.reason}", evidence=str(error.body)
            ) from error
        except WaitTimeoutError as error:
            raise InfraError(error.message) from error
    return inside.Pod(cluster, namespace, pod, container=SIDE_DOOR)


def _ephemeral_states(pods: Mapping[str, Any]) -> str:
    words = []
    for pod in pods.values():
        for status in pod.status.ephemeral_container_statuses or []:
            waiting = status.state.waiting if status.state else None
            words.append(f"{status.name}: {waiting.reason if waiting else status.state}")
    return "; ".join(words) or "no ephemeral container yet"
