"""Take a snapshot of a namespace from the API server: lists, logs, the kubelet's figures. Reads only.

The only part of the doctor that talks to a cluster. Secrets are never asked for.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
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

_TIMEOUT = (10.0, 60.0)  # s, to connect and to read
_WIDTH = 4  # requests at a time
_LOG_LINES = 20_000  # with its request log on, Chroma writes about two a second for the probes alone
_MONITORING = ("monitoring.coreos.com", "v1")
_UNFOUND = ("pods", "deployments", "statefulsets")  # without one of them it cannot be told where Chroma is


@dataclasses.dataclass(frozen=True, slots=True)
class _Kind:
    """A kind to list: its resource as a role names it, and what cannot be told without it."""

    kind: str
    resource: str
    list_call: Callable[..., Any]
    needed_for: str
    optional: bool = False  # the cluster may not know the kind at all


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
    gaps: list[Gap] = []
    try:
        _check_namespace(api, namespace)
        objects = list(_objects(api, namespace, gaps))
        pods = [pod for pod in chroma_pods(objects) if at(pod, "status", "phase") == "Running"]
        memory, volumes = _figures(api, namespace, pods, objects, gaps)
        logs = list(_logs(api, namespace, chroma_pods(objects), gaps))
    except urllib3.exceptions.HTTPError as error:
        raise InfraError(
            f"the cluster does not answer: {_innermost(error)}", remedy="see whether `kubectl version` reaches it"
        ) from error
    except kubernetes.client.ApiException as error:
        if error.status == 401:
            raise InfraError("the cluster refuses these credentials", remedy="log in again") from error
        raise InfraError(f"the API server failed: {error.status} {error.reason}") from error
    except OSError as error:
        raise InfraError(f"the cluster does not answer: {error}") from error
    return Snapshot(
        namespace, datetime.now(UTC), tuple(objects), tuple(logs), tuple(volumes), tuple(memory), tuple(gaps)
    )


def _check_namespace(api: kubernetes.client.ApiClient, namespace: str) -> None:
    try:
        _read(kubernetes.client.CoreV1Api(api).read_namespace, name=namespace)
    except kubernetes.client.ApiException as error:
        if error.status == 404:
            raise UsageError(
                f"there is no namespace {namespace}", remedy="`kubectl get namespaces` names those that there are"
            ) from error
        if error.status != 403:  # then the lists will tell
            raise


def _kinds(api: kubernetes.client.ApiClient) -> list[_Kind]:
    core, apps = kubernetes.client.CoreV1Api(api), kubernetes.client.AppsV1Api(api)
    custom = kubernetes.client.CustomObjectsApi(api).list_namespaced_custom_object
    group, version = _MONITORING

    def monitoring(plural: str) -> Callable[..., Any]:
        return lambda **arguments: custom(group=group, version=version, plural=plural, **arguments)

    reach, start, setup = "why connections fail", "why pods do not start", "what is set up wrongly"
    return [
        _Kind("Pod", "pods", core.list_namespaced_pod, "where Chroma is and how it does"),
        _Kind("Deployment", "deployments.apps", apps.list_namespaced_deployment, "where Chroma is"),
        _Kind("StatefulSet", "statefulsets.apps", apps.list_namespaced_stateful_set, "where Chroma is"),
        _Kind("DaemonSet", "daemonsets.apps", apps.list_namespaced_daemon_set, setup),
        _Kind("ReplicaSet", "replicasets.apps", apps.list_namespaced_replica_set, "whose the pods are"),
        _Kind("Event", "events", core.list_namespaced_event, start),
        _Kind("PersistentVolumeClaim", "persistentvolumeclaims", core.list_namespaced_persistent_volume_claim, start),
        _Kind("Service", "services", core.list_namespaced_service, reach),
        _Kind(
            "EndpointSlice",
            "endpointslices.discovery.k8s.io",
            kubernetes.client.DiscoveryV1Api(api).list_namespaced_endpoint_slice,
            reach,
        ),
        _Kind(
            "NetworkPolicy",
            "networkpolicies.networking.k8s.io",
            kubernetes.client.NetworkingV1Api(api).list_namespaced_network_policy,
            reach,
        ),
        _Kind("ConfigMap", "configmaps", core.list_namespaced_config_map, "how Chroma is configured"),
        _Kind("LimitRange", "limitranges", core.list_namespaced_limit_range, setup),
        _Kind(
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers.autoscaling",
            kubernetes.client.AutoscalingV2Api(api).list_namespaced_horizontal_pod_autoscaler,
            setup,
        ),
        _Kind("ServiceMonitor", "servicemonitors.monitoring.coreos.com", monitoring("servicemonitors"), setup, True),
        _Kind("PodMonitor", "podmonitors.monitoring.coreos.com", monitoring("podmonitors"), setup, True),
    ]


def _objects(api: kubernetes.client.ApiClient, namespace: str, gaps: list[Gap]) -> Iterator[KubeObject]:
    kinds = _kinds(api)

    def listed(kind: _Kind) -> list[KubeObject] | Gap:
        try:
            found = _read(kind.list_call, namespace=namespace)["items"]
        except kubernetes.client.ApiException as error:
            if error.status == 404 and kind.optional:
                return []
            if error.status == 403:
                return Gap(kind.needed_for, f"listing {kind.resource} is forbidden", f"list {kind.resource}")
            raise
        return [{"kind": kind.kind, **item} for item in found]

    with concurrent.futures.ThreadPoolExecutor(_WIDTH) as pool:
        answers = list(pool.map(listed, kinds))
    gaps += [answer for answer in answers if isinstance(answer, Gap)]
    blind = [gap.right for gap in gaps if gap.right.partition(" ")[2].partition(".")[0] in _UNFOUND]
    if blind:
        raise InfraError(
            f"this account may not look at namespace {namespace}: it lacks the right to {', '.join(blind)}",
            remedy="give it the Role in manifests/rbac/doctor-role.yaml",
        )
    yield from (item for answer in answers if not isinstance(answer, Gap) for item in answer)


def _logs(
    api: kubernetes.client.ApiClient, namespace: str, pods: Sequence[KubeObject], gaps: list[Gap]
) -> Iterator[Log]:
    """The ends of the logs of Chroma's containers; there is none where none has begun, and that is no gap."""
    read = kubernetes.client.CoreV1Api(api).read_namespaced_pod_log
    for pod in pods:
        for container in Workload(pod, pod).chroma_containers:
            for previous in (False, True):
                try:
                    response = read(
                        name=name_of(pod),
                        namespace=namespace,
                        container=str(container.get("name")),
                        previous=previous,
                        tail_lines=_LOG_LINES,
                        timestamps=True,
                        _preload_content=False,
                        _request_timeout=_TIMEOUT,
                    )
                except kubernetes.client.ApiException as error:
                    if error.status == 403:
                        gaps.append(Gap("what Chroma's log says", "reading it is forbidden", "get pods/log"))
                        return
                    if error.status == 401:
                        raise
                    continue
                text = response.data.decode(errors="replace")
                yield Log(name_of(pod), str(container.get("name")), previous, text)


def _figures(
    api: kubernetes.client.ApiClient,
    namespace: str,
    pods: Sequence[KubeObject],
    objects: Sequence[KubeObject],
    gaps: list[Gap],
) -> tuple[list[MemoryUse], list[VolumeUse]]:
    """Memory by the metrics API, else by the kubelet; volumes by the kubelet only."""
    claims = {claim for pod in pods for claim in claims_of(pod)}
    memory, no_memory = _memory(api, namespace, pods)
    volumes: dict[str, VolumeUse] = {}
    measured = False
    for node in sorted({str(at(pod, "spec", "nodeName")) for pod in pods if at(pod, "spec", "nodeName")}):
        try:
            stats = _read(
                kubernetes.client.CoreV1Api(api).connect_get_node_proxy_with_path, name=node, path="stats/summary"
            )
        except kubernetes.client.ApiException as error:
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
        f"the kubelet does not measure volumes of its kind (StorageClass {at(found, 'spec', 'storageClassName')})",
        harmless=True,
    )


def _memory(
    api: kubernetes.client.ApiClient, namespace: str, pods: Sequence[KubeObject]
) -> tuple[list[MemoryUse], Gap | None]:
    """By the metrics API; with a gap where that gives nothing."""
    names = {name_of(pod) for pod in pods}
    custom = kubernetes.client.CustomObjectsApi(api).list_namespaced_custom_object
    what = "how much memory Chroma takes"
    try:
        found = _read(custom, group="metrics.k8s.io", version="v1beta1", namespace=namespace, plural="pods")["items"]
    except kubernetes.client.ApiException as error:
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


def _read(call: Callable[..., Any], **arguments: str) -> dict[str, Any]:
    """What a method of the client answers, as the API server wrote it (the client's own models drop fields)."""
    response = call(**arguments, _preload_content=False, _request_timeout=_TIMEOUT)
    answer: dict[str, Any] = json.loads(response.data)
    return answer


def _innermost(error: BaseException) -> str:
    """The end of a chain of reasons, in one line."""
    reason = getattr(error, "reason", None)
    return _innermost(reason) if isinstance(reason, BaseException) else " ".join(str(error).split())[:300]
