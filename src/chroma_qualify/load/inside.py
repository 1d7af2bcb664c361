"""Helper pods: places inside the cluster to send traffic from or to, each with the labels that a policy looks at.

Used by `generator`, `probes` and the scenarios. Every pod satisfies Pod Security `restricted`, has no service account
token and ends at once when deleted.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import kubernetes.client

from chroma_qualify.cluster.model import Cluster
from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.errors import InfraError, UnavailableError

CONTAINER = "helper"

RESTRICTED: Mapping[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "runAsGroup": 1000,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""A container's securityContext that Pod Security `restricted` admits."""


@dataclasses.dataclass(frozen=True, slots=True)
class Pod:
    """A running helper pod (or a container of some pod) in which programs can be run."""

    cluster: Cluster
    namespace: str
    name: str
    ip: str = ""
    container: str = CONTAINER

    def run(self, *command: str, timeout: float = 90, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program in it; raises InfraError as `Cluster.run_kubectl` does."""
        place = ["-n", self.namespace, self.name, "-c", self.container]
        return self.cluster.run_kubectl("exec", *place, "--", *command, timeout=timeout, check=check)


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """A helper pod to start.

    Attributes:
        name: pod name, unique in its namespace.
        namespace: where it goes; it must exist.
        labels: what policies and Services see of it.
        ports: TCP ports on which it answers HTTP (none: it only waits).
        command: what it runs instead of listening.
        environment: of that command.
        cpu: CPU request; there is no limit, for a throttled loader measures itself.
    """

    name: str
    namespace: str
    labels: Mapping[str, str]
    ports: tuple[int, ...] = ()
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cpu: str = "10m"

    def manifest(self, image: str) -> dict[str, Any]:
        """The Pod object; `image` as `image_of` gives it."""
        container: dict[str, Any] = {
            "name": CONTAINER,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": list(self.command) or ["python3", "/app/listen.py", *map(str, self.ports)],
            "env": [{"name": name, "value": value} for name, value in self.environment.items()],
            "resources": {"requests": {"cpu": self.cpu, "memory": "48Mi"}, "limits": {"memory": "512Mi"}},
            "securityContext": dict(RESTRICTED),
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 (inside the pod)
        }
        if self.ports:
            container["readinessProbe"] = {"tcpSocket": {"port": self.ports[0]}, "periodSeconds": 1}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": dict(self.labels)},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": 5,
                # A safe sysctl, allowed by `restricted`: UID 1000 may listen on 443 whatever the runtime's default.
                "securityContext": {"sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}]},
                "containers": [container],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            },
        }


def image_of(cluster: Cluster) -> str:
    """The image of helper pods.

    Raises:
        UnavailableError: the cluster is not ours, and nobody has said where it can be had.
    """
    if not cluster.loader:
        raise UnavailableError(
            "it needs helper pods, whose image no other cluster has",
            remedy="push chroma-qualify/loader:dev (`make images`) to a registry and name it with --loader-image",
        )
    return cluster.loader


def start(cluster: Cluster, wanted: Sequence[Wanted], *, timeout: float = 300) -> tuple[Pod, ...]:
    """Start helper pods and wait until all are ready; in the order of `wanted`.

    Raises:
        InfraError: they do not get ready; helper pods are ours, so it is never the candidate's fault.
        UnavailableError: see `image_of`.
    """
    image = image_of(cluster)
    apply(cluster, [pod.manifest(image) for pod in wanted])
    addresses: dict[tuple[str, str], str] = {}
    with cluster.api_client() as api:
        for namespace in dict.fromkeys(pod.namespace for pod in wanted):
            names = {pod.name for pod in wanted if pod.namespace == namespace}

            def all_ready(pods: Mapping[str, Any], names: set[str] = names) -> bool:
                for name in names & pods.keys():
                    _refuse_hopeless(pods[name])
                return all(name in pods and is_ready(pods[name]) for name in names)

            try:
                pods = wait_for(
                    f"the helper pods {', '.join(sorted(names))} to be ready",
                    kubernetes.client.CoreV1Api(api).list_namespaced_pod,
                    all_ready,
                    timeout=timeout,
                    describe=lambda pods, names=names: describe(  # type: ignore[misc]
                        {name: pod for name, pod in pods.items() if name in names}
                    ),
                    namespace=namespace,
                )
            except WaitTimeoutError as error:
                raise InfraError(error.message, remedy="see the pods' events in the run directory") from error
            addresses |= {(namespace, name): pods[name].status.pod_ip for name in names}
    return tuple(Pod(cluster, pod.namespace, pod.name, addresses[pod.namespace, pod.name]) for pod in wanted)


def remove(pods: Iterable[Pod]) -> None:
    """Delete helper pods without waiting for their end."""
    for pod in pods:
        pod.cluster.run_kubectl("delete", "pod", "-n", pod.namespace, pod.name, "--ignore-not-found", "--wait=false")


def apply(cluster: Cluster, objects: Sequence[Mapping[str, Any]]) -> None:
    """Apply objects of our own (each names its namespace); raises InfraError with the API server's words."""
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    cluster.run_kubectl("apply", "--server-side", "-f", "-", stdin=document)


def namespace_exists(cluster: Cluster, name: str, *, timeout: float = 180) -> bool:
    """Whether a namespace is there to stay; one that is on its way out (of an earlier run) is waited for.

    Raises:
        InfraError: it does not go away in time.
    """
    phase = ["--ignore-not-found", "-o", "jsonpath={.status.phase}"]
    found = cluster.run_kubectl("get", "namespace", name, *phase).stdout.strip()
    if found != "Terminating":
        return bool(found)
    wait = [f"namespace/{name}", "--for=delete", f"--timeout={timeout:.0f}s"]
    cluster.run_kubectl("wait", *wait, timeout=timeout + 10)
    return False


def is_ready(pod: Any) -> bool:  # noqa: ANN401 (an object of the kubernetes client)
    """Whether a pod is ready and not on its way out."""
    conditions = pod.status.conditions or []
    ready = any(condition.type == "Ready" and condition.status == "True" for condition in conditions)
    return ready and pod.metadata.deletion_timestamp is None


def describe(pods: Mapping[str, Any]) -> str:
    """Pods as words: name, phase, what their containers wait for."""
    words = []
    for name, pod in pods.items():
        reasons = [
            status.state.waiting.reason
            for status in pod.status.container_statuses or []
            if status.state and status.state.waiting
        ]
        ready = "ready" if is_ready(pod) else "not ready"
        words.append(" ".join([name, pod.status.phase or "?", ready, *filter(None, reasons)]))
    return "; ".join(words) or "no pods"


def _refuse_hopeless(pod: Any) -> None:  # noqa: ANN401
    """Say at once what waiting cannot cure."""
    for status in pod.status.container_statuses or []:
        waiting = status.state.waiting if status.state else None
        if waiting and waiting.reason in {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}:
            raise InfraError(
                f"the helper image {status.image} is not on the node: {waiting.message or waiting.reason}",
                remedy="run `make images`: it belongs to the node image; in another cluster see --loader-image",
            )
    if pod.status.phase == "Failed":
        raise InfraError(f"helper pod {pod.metadata.namespace}/{pod.metadata.name} ended: {pod.status.message or '?'}")
