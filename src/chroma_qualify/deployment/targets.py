"""Which pod a connection goes to: one that is ready now.

Called by `forward` before every connection. EndpointSlices answer for Services, as they do for kube-proxy: they
hold the ready pods and the target port, named ports resolved.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import kubernetes.client
import urllib3

# Imported here for their time: the client loads its hundreds of models on first use (0.8 s), not when a forward opens.
from kubernetes.client.api.core_v1_api import CoreV1Api
from kubernetes.client.api.discovery_v1_api import DiscoveryV1Api

_TIMEOUT = (2, 5)  # s, to connect and to read: an API server that hangs must not hang us


class NoPodError(Exception):
    """There is no pod to connect to, at this moment; the message says why."""


@dataclasses.dataclass(frozen=True, slots=True)
class PodPort:
    """A port of a pod."""

    namespace: str
    pod: str
    port: int


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """What is forwarded to: `pod/NAME`, `service/NAME`, `svc/NAME` or the bare name of a Service."""

    namespace: str
    name: str
    port: int

    def __str__(self) -> str:
        return f"{self.name}:{self.port} in {self.namespace}"

    def ready(self, api: kubernetes.client.ApiClient) -> tuple[PodPort, ...]:
        """The pods that are ready now, sorted by name, never empty.

        Raises:
            NoPodError: none is ready, there is no such object, or the API server does not answer.
        """
        kind, _, name = self.name.rpartition("/")
        try:
            found = self._pod(api, name) if kind in {"pod", "pods"} else self._service(api, name)
        except (kubernetes.client.ApiException, urllib3.exceptions.HTTPError) as error:
            raise NoPodError(_said(error)) from error
        if not found:
            raise NoPodError(f"no pod of {self} is ready")
        return tuple(PodPort(self.namespace, pod, port) for pod, port in sorted(found))

    def _pod(self, api: kubernetes.client.ApiClient, name: str) -> set[tuple[str, int]]:
        core = CoreV1Api(api)
        pod = _json(core.read_namespaced_pod(name, self.namespace, _preload_content=False, _request_timeout=_TIMEOUT))
        conditions = pod.get("status", {}).get("conditions") or ()
        ready = any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
        return {(name, self.port)} if ready and not pod["metadata"].get("deletionTimestamp") else set()

    def _service(self, api: kubernetes.client.ApiClient, name: str) -> set[tuple[str, int]]:
        core, discovery = CoreV1Api(api), DiscoveryV1Api(api)
        service = _json(
            core.read_namespaced_service(name, self.namespace, _preload_content=False, _request_timeout=_TIMEOUT)
        )
        slices = _json(
            discovery.list_namespaced_endpoint_slice(
                self.namespace,
                label_selector=f"kubernetes.io/service-name={name}",
                _preload_content=False,
                _request_timeout=_TIMEOUT,
            )
        )
        return endpoints(service, slices.get("items") or [], self.port)


def endpoints(service: dict[str, Any], slices: list[dict[str, Any]], port: int) -> set[tuple[str, int]]:
    """Names and ports of the ready pods behind a port of a Service.

    Raises:
        NoPodError: the Service has no such port.
    """
    names = {item["port"]: item.get("name", "") for item in service["spec"].get("ports") or ()}
    if port not in names:
        raise NoPodError(f"service {service['metadata']['name']} has no port {port}, it has {sorted(names)}")
    found: set[tuple[str, int]] = set()
    for part in slices:
        targets = [item["port"] for item in part.get("ports") or () if item.get("name", "") == names[port]]
        for endpoint in part.get("endpoints") or ():
            pod = endpoint.get("targetRef") or {}
            # An absent condition means ready: https://kubernetes.io/docs/concepts/services-networking/endpoint-slices
            if pod.get("kind") == "Pod" and (endpoint.get("conditions") or {}).get("ready", True):
                found.update((pod["name"], target) for target in targets)
    return found


def _json(response: Any) -> dict[str, Any]:  # noqa: ANN401 (the client has no types)
    # Parsed here, as the client's own models refuse the `endpoints: null` that an empty slice has.
    answer: dict[str, Any] = json.loads(response.data)
    return answer


def _said(error: Exception) -> str:
    if isinstance(error, kubernetes.client.ApiException) and error.body:
        try:
            return str(json.loads(error.body)["message"])
        except (ValueError, KeyError, TypeError):
            return f"{error.status} {error.reason}"
    return f"the API server does not answer: {error}"
