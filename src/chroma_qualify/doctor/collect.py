"""Take a snapshot of a namespace from the API server: lists, logs, the kubelet's figures. Reads only.

The only part of the doctor that talks to a cluster. Secrets are never asked for.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kubernetes.client
import kubernetes.config
import urllib3
import yaml

from chroma_qualify.deployment.objects import KubeObject
from chroma_qualify.doctor.look import chroma_pods, claims_of, quantity
from chroma_qualify.doctor.snapshot import Gap, Log, MemoryUse, Snapshot, VolumeUse
from chroma_qualify.errors import InfraError, UsageError
from chroma_qualify.lint.objects import Workload, at, mappings, name_of, of_kind

# s; to connect includes TLS, for which a busy server takes its time.
_TIMEOUT = urllib3.Timeout(connect=20.0, read=60.0)
_WIDTH = 4  # requests at a time
_LOG_LINES = 20_000  # with its request log on, Chroma writes about two a second for the probes alone
_UNFOUND = ("pods", "deployments", "statefulsets")  # without one of them it cannot be told where Chroma is


# resource as a role names it, API group and version, kind, what cannot be told without it
_START, _REACH, _SETUP = "why pods do not start", "why connections fail", "what is set up wrongly"
_KINDS = (
    ("pods", "api/v1", "Pod", "where Chroma is and how it does"),
    ("deployments", "apis/apps/v1", "Deployment", "where Chroma is"),
    ("statefulsets", "apis/apps/v1", "StatefulSet", "where Chroma is"),
    ("daemonsets", "apis/apps/v1", "DaemonSet", _SETUP),
    ("replicasets", "apis/apps/v1", "ReplicaSet", "whose the pods are"),
    ("events", "api/v1", "Event", _START),
    ("persistentvolumeclaims", "api/v1", "PersistentVolumeClaim", _START),
    ("services", "api/v1", "Service", _REACH),
    ("endpointslices", "apis/discovery.k8s.io/v1", "EndpointSlice", _REACH),
    ("networkpolicies", "apis/networking.k8s.io/v1", "NetworkPolicy", _REACH),
    ("configmaps", "api/v1", "ConfigMap", "how Chroma is configured"),
    ("limitranges", "api/v1", "LimitRange", _SETUP),
    ("horizontalpodautoscalers", "apis/autoscaling/v2", "HorizontalPodAutoscaler", _SETUP),
    # Of these the cluster may not know the kind.
    ("servicemonitors", "apis/monitoring.coreos.com/v1", "ServiceMonitor", _SETUP),
    ("podmonitors", "apis/monitoring.coreos.com/v1", "PodMonitor", _SETUP),
)


class RefusedError(Exception):
    """The API server answered with an error status."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"{status} {said}")
        self.status = status


class Reader:
    """GET and nothing else, on the connections of a client of the kubernetes package.

    Its methods per kind would load hundreds of models first, which takes longer than the look.
    """

    def __init__(self, api: kubernetes.client.ApiClient) -> None:
        self._configuration = api.configuration
        self._pool = api.rest_client.pool_manager

    def get(self, path: str, **query: str) -> bytes:
        """The body of an answer.

        Raises:
            RefusedError: with the status.
            urllib3.exceptions.HTTPError: there was no answer.
        """
        headers = {"Accept": "application/json"}
        headers |= {
            setting["key"]: setting["value"]
            for setting in self._configuration.auth_settings().values()
            if setting["in"] == "header" and setting["value"]
        }
        url = f"{str(self._configuration.host).rstrip('/')}/{path}"
        response = self._pool.request("GET", url, fields=query, headers=headers, timeout=_TIMEOUT, retries=2)
        body: bytes = response.data
        if response.status >= 400:
            raise RefusedError(response.status, str(response.reason))
        return body

    def get_json(self, path: str) -> dict[str, Any]:
        """The same, parsed."""
        answer: dict[str, Any] = json.loads(self.get(path))
        return answer


def open_client(kubeconfig: Path | None, context: str | None) -> kubernetes.client.ApiClient:
    """A client for a kubeconfig, as kubectl chooses it; inside a pod without one, for the pod's own account.

    Raises:
        UsageError: there is no such file or context.
        InfraError: there is neither a kubeconfig nor a pod around us.
    """
    if kubeconfig is not None and not kubeconfig.is_file():
        raise UsageError(f"there is no kubeconfig {kubeconfig}")
    try:
        return kubernetes.config.new_client_from_config(
            config_file=str(kubeconfig) if kubeconfig else None, context=context
        )
    except (kubernetes.config.ConfigException, yaml.YAMLError, OSError, TypeError, AttributeError) as error:
        said = " ".join(str(error).split())[:300]
        if kubeconfig is not None or context is not None:
            raise UsageError(f"the kubeconfig cannot be used: {said}") from error
        with contextlib.suppress(kubernetes.config.ConfigException):
            configuration = kubernetes.client.Configuration()
            kubernetes.config.load_incluster_config(client_configuration=configuration)
            return kubernetes.client.ApiClient(configuration)
        raise InfraError(
            f"there is no cluster to look at: {said}", remedy="name a kubeconfig with --kubeconfig, or set KUBECONFIG"
        ) from error


def collect(api: kubernetes.client.ApiClient, namespace: str) -> Snapshot:
    """See everything of a namespace that we may.

    Raises:
        UsageError: there is no such namespace.
        InfraError: the cluster does not answer, refuses the credentials, or lets us see neither pods nor workloads.
    """
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # else it tells of each retry before we can say a sentence
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", namespace):
        raise UsageError(f"{namespace!r} is no name of a namespace")
    gaps: list[Gap] = []
    reader = Reader(api)
    try:
        _check_namespace(reader, namespace)
        objects = list(_objects(reader, namespace, gaps))
        pods = [pod for pod in chroma_pods(objects) if at(pod, "status", "phase") == "Running"]
        memory, volumes = _figures(reader, namespace, pods, objects, gaps)
        logs = list(_logs(reader, namespace, chroma_pods(objects), gaps))
    except urllib3.exceptions.HTTPError as error:
        raise InfraError(
            f"the cluster does not answer: {_innermost(error)}", remedy="see whether `kubectl version` reaches it"
        ) from error
    except RefusedError as error:
        if error.status == 401:
            raise InfraError("the cluster refuses these credentials", remedy="log in again") from error
        raise InfraError(f"the API server failed: {error}") from error
    except OSError as error:
        raise InfraError(f"the cluster does not answer: {error}") from error
    return Snapshot(
        namespace, datetime.now(UTC), tuple(objects), tuple(logs), tuple(volumes), tuple(memory), tuple(gaps)
    )


def _check_namespace(reader: Reader, namespace: str) -> None:
    try:
        reader.get(f"api/v1/namespaces/{namespace}")
    except RefusedError as error:
        if error.status == 404:
            raise UsageError(
                f"there is no namespace {namespace}", remedy="`kubectl get namespaces` names those that there are"
            ) from error
        if error.status != 403:  # then the lists will tell
            raise


def _objects(reader: Reader, namespace: str, gaps: list[Gap]) -> Iterator[KubeObject]:
    def listed(line: tuple[str, str, str, str]) -> list[KubeObject] | Gap:
        resource, group, kind, needed_for = line
        try:
            found = reader.get_json(f"{group}/namespaces/{namespace}/{resource}")["items"]
        except RefusedError as error:
            if error.status == 404:
                return []
            if error.status == 403:
                return Gap(needed_for, f"listing {resource} is forbidden", f"list {resource}")
            raise
        return [{"kind": kind, **item} for item in found]

    with concurrent.futures.ThreadPoolExecutor(_WIDTH) as pool:
        answers = list(pool.map(listed, _KINDS))
    gaps += [answer for answer in answers if isinstance(answer, Gap)]
    blind = [gap.right for gap in gaps if gap.right.removeprefix("list ") in _UNFOUND]
    if blind:
        raise InfraError(
            f"this account may not look at namespace {namespace}: it lacks the right to {', '.join(blind)}",
            remedy="give it the Role in manifests/rbac/doctor-role.yaml",
        )
    yield from (item for answer in answers if not isinstance(answer, Gap) for item in answer)


def _logs(reader: Reader, namespace: str, pods: Sequence[KubeObject], gaps: list[Gap]) -> Iterator[Log]:
    """The ends of the logs of Chroma's containers; there is none where none has begun, and that is no gap."""
    for pod in pods:
        for container in Workload(pod, pod).chroma_containers:
            name = str(container.get("name"))
            for previous in (False, True):
                try:
                    text = reader.get(
                        f"api/v1/namespaces/{namespace}/pods/{name_of(pod)}/log",
                        container=name,
                        previous=str(previous).lower(),
                        tailLines=str(_LOG_LINES),
                        timestamps="true",
                    )
                except RefusedError as error:
                    if error.status == 403:
                        gaps.append(Gap("what Chroma's log says", "reading it is forbidden", "get pods/log"))
                        return
                    if error.status == 401:
                        raise
                    continue
                yield Log(name_of(pod), name, previous, text.decode(errors="replace"))


def _figures(
    reader: Reader,
    namespace: str,
    pods: Sequence[KubeObject],
    objects: Sequence[KubeObject],
    gaps: list[Gap],
) -> tuple[list[MemoryUse], list[VolumeUse]]:
    """Memory by the metrics API, else by the kubelet; volumes by the kubelet only."""
    claims = {claim for pod in pods for claim in claims_of(pod)}
    memory, no_memory = _memory(reader, namespace, pods)
    volumes: dict[str, VolumeUse] = {}
    measured = False
    for node in sorted({str(at(pod, "spec", "nodeName")) for pod in pods if at(pod, "spec", "nodeName")}):
        try:
            stats = reader.get_json(f"api/v1/nodes/{node}/proxy/stats/summary")
        except RefusedError as error:
            if error.status == 401:
                raise
            forbidden = error.status == 403
            why = (
                f"the kubelet's figures of node {node} are forbidden" if forbidden else f"node {node} gives no figures"
            )
            if claims:
                right = "get nodes/proxy" if forbidden else ""
                gaps.append(Gap("how full the volumes are", why, right, harmless=not forbidden))
            continue
        measured = True
        for item in mappings(stats.get("pods")):
            if at(item, "podRef", "namespace") == namespace:
                volumes |= {use.claim: use for use in _volumes(item)}
                if no_memory is not None:
                    memory += _kubelets_memory(item, pods)
    if no_memory is not None and not memory and pods:
        gaps.append(no_memory)
    if measured:
        gaps += [_unmeasured(claim, objects) for claim in sorted(claims - volumes.keys())]
    return memory, [use for claim, use in volumes.items() if claim in claims]


def _unmeasured(claim: str, objects: Sequence[KubeObject]) -> Gap:
    found = next((item for item in of_kind(objects, "PersistentVolumeClaim") if name_of(item) == claim), {})
    return Gap(
        f"how full the volume of claim {claim} is",
        "the kubelet has no figures of it: they come a minute after a pod's start, and never for some kinds of "
        f"volumes, such as hostPath (StorageClass {at(found, 'spec', 'storageClassName')})",
        harmless=True,
    )


def _memory(reader: Reader, namespace: str, pods: Sequence[KubeObject]) -> tuple[list[MemoryUse], Gap | None]:
    """By the metrics API; with a gap where that gives nothing."""
    names = {name_of(pod) for pod in pods}
    what = "how much memory Chroma takes"
    try:
        found = reader.get_json(f"apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods")["items"]
    except RefusedError as error:
        if error.status == 401:
            raise
        if error.status == 403:
            return [], Gap(what, "the metrics API is forbidden", "list pods.metrics.k8s.io")
        return [], Gap(what, "the cluster has no metrics server", harmless=True)
    uses = [
        MemoryUse(name_of(item), str(container.get("name")), amount)
        for item in found
        if name_of(item) in names
        for container in mappings(item.get("containers"))
        if (amount := quantity(at(container, "usage", "memory"))) is not None
    ]
    return uses, None if uses else Gap(what, "the metrics server has no figures of its pods yet", harmless=True)


def _kubelets_memory(stats: Mapping[str, Any], pods: Sequence[KubeObject]) -> list[MemoryUse]:
    pod = str(at(stats, "podRef", "name"))
    if pod not in {name_of(item) for item in pods}:
        return []
    return [
        MemoryUse(pod, str(container.get("name")), amount)
        for container in mappings(stats.get("containers"))
        if isinstance(amount := at(container, "memory", "workingSetBytes"), int)
    ]


def _volumes(stats: Mapping[str, Any]) -> Iterator[VolumeUse]:
    for volume in mappings(stats.get("volume")):
        capacity = volume.get("capacityBytes")
        if "pvcRef" in volume and isinstance(capacity, int) and capacity > 0:
            numbers = [int(volume.get(key) or 0) for key in ("usedBytes", "availableBytes", "inodesFree", "inodes")]
            used, available, inodes_free, inodes = numbers
            yield VolumeUse(
                str(at(volume, "pvcRef", "name")),
                used,
                available,
                capacity,
                inodes_free,
                inodes,
                str(volume.get("time") or ""),
            )


def _innermost(error: BaseException) -> str:
    """The end of a chain of reasons, in one line."""
    reason = getattr(error, "reason", None)
    return _innermost(reason) if isinstance(reason, BaseException) else " ".join(str(error).split())[:300]
