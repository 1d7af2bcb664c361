"""A candidate: the objects of a set of manifests, and which of them is Chroma.

Made by `render.load_candidate`, read by every room above. Chroma is found by what it is (its image, its
command, its probes), never by what its owner calls it: the same scenarios run against anybody's manifests.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from chroma_qualify.deployment.access import NO_ACCESS, Access
from chroma_qualify.errors import UsageError
from chroma_qualify.lint.objects import CHROMA_PORT, Workload
from chroma_qualify.lint.rules.services import meant_for

KubeObject = Mapping[str, Any]

_HEARTBEAT = re.compile(r"^/api/v\d+/(heartbeat|healthcheck)$")
_DATA_PATHS = ("/data", "/chroma/chroma")  # of the image from 1.0 on, and before


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """Manifests to qualify.

    Attributes:
        objects: all of them, as parsed YAML.
        directory: where they come from.
        deployment: the Chroma workload, a Deployment or a StatefulSet.
        service: name of the Service that clients use.
        service_port: its port for Chroma.
        container_port: the port that leads to: Chroma's own, or that of a proxy in the same pod.
        server_port: the port that Chroma itself listens on, perhaps on the pod's loopback only.
        container: name of the Chroma container.
        selector: labels by which the workload finds its pods.
        claim: name of the PersistentVolumeClaim that Chroma's data is on (of pod 0, for a StatefulSet), or None.
        hpa: the HorizontalPodAutoscaler of the workload, or None.
        namespace: as the manifests say, or None.
        digest: sha256 (hex) of the objects as first rendered; moving them to another namespace does not change it.
        kubectl: the binary that rendered them, needed to render them again.
        access: the Secrets that clients need.
    """

    objects: tuple[KubeObject, ...]
    directory: Path
    deployment: KubeObject
    service: str
    service_port: int
    container_port: int
    server_port: int
    container: str
    selector: Mapping[str, str]
    claim: str | None
    hpa: KubeObject | None
    namespace: str | None
    digest: str
    kubectl: Path = Path("kubectl")
    access: Access = NO_ACCESS

    @classmethod
    def from_objects(
        cls,
        objects: Sequence[KubeObject],
        directory: Path,
        *,
        kubectl: Path = Path("kubectl"),
        access: Access = NO_ACCESS,
    ) -> Candidate:
        """Find Chroma among the objects.

        Raises:
            UsageError: there is no Chroma workload, or no Service that could be meant for it.
        """
        workload, container = _chroma_of(objects, directory)
        service, service_port, container_port = _service_of(objects, workload, container)
        return cls(
            objects=tuple(objects),
            directory=directory,
            deployment=workload,
            service=service,
            service_port=service_port,
            container_port=container_port,
            server_port=_own_port(container) or container_port,
            container=container["name"],
            selector=dict(workload["spec"].get("selector", {}).get("matchLabels") or _pod_labels(workload)),
            claim=_claim_of(workload, container),
            hpa=next((item for item in of_kind(objects, "HorizontalPodAutoscaler") if _scales(item, workload)), None),
            namespace=workload["metadata"].get("namespace"),
            digest=hashlib.sha256(dump(objects).encode()).hexdigest(),
            kubectl=kubectl,
            access=access,
        )

    @property
    def name(self) -> str:
        """`kind/name` of the Chroma workload, as kubectl takes it."""
        return f"{self.deployment['kind'].lower()}/{self.deployment['metadata']['name']}"

    @property
    def label_selector(self) -> str:
        """The selector as the API server takes it."""
        return ",".join(f"{key}={value}" for key, value in sorted(self.selector.items()))

    @property
    def network_policies(self) -> tuple[KubeObject, ...]:
        """All NetworkPolicies among the objects."""
        return tuple(of_kind(self.objects, "NetworkPolicy"))

    @property
    def service_monitors(self) -> tuple[KubeObject, ...]:
        """All ServiceMonitors among the objects."""
        return tuple(of_kind(self.objects, "ServiceMonitor"))

    @property
    def text(self) -> str:
        """The objects as one YAML stream, the same for the same objects."""
        return dump(self.objects)


def of_kind(objects: Sequence[KubeObject], *kinds: str) -> Iterator[KubeObject]:
    """The objects of these kinds, in order."""
    return (item for item in objects if item.get("kind") in kinds)


def dump(objects: Sequence[KubeObject]) -> str:
    """Objects as one YAML stream with sorted keys."""
    return yaml.safe_dump_all(objects, sort_keys=True)


def _chroma_of(objects: Sequence[KubeObject], directory: Path) -> tuple[KubeObject, KubeObject]:
    """The workload and the container that are most surely Chroma."""
    found: list[tuple[int, KubeObject, KubeObject]] = [
        (_likeness(container), workload, container)
        for workload in of_kind(objects, "Deployment", "StatefulSet")
        for container in _pod_spec(workload).get("containers") or ()
    ]
    likeness, workload, container = max(found, key=lambda item: item[0], default=(0, {}, {}))
    if likeness < 4:
        raise UsageError(
            f"no Chroma workload in {directory}: no Deployment or StatefulSet runs a Chroma image, "
            "the `chroma` command, or is probed at /api/v2/heartbeat",
            remedy="name the directory that holds Chroma's own manifests",
        )
    return workload, container


def _likeness(container: KubeObject) -> int:
    """How sure it is that a container runs Chroma: 4 and more is enough."""
    image = str(container.get("image", "")).split("@", maxsplit=1)[0].rpartition("/")[2].partition(":")[0]
    words = [str(word).rpartition("/")[2] for key in ("command", "args") for word in container.get(key) or ()]
    probes = [container.get(f"{kind}Probe") or {} for kind in ("startup", "readiness", "liveness")]
    paths = [str((probe.get("httpGet") or {}).get("path", "")) for probe in probes]
    ports = [port.get("containerPort") for port in container.get("ports") or ()]
    return (
        (6 if image in {"chroma", "chromadb"} else 4 if re.search(r"chroma", image) else 0)
        + (4 if "chroma" in words else 0)
        + (4 if any(_HEARTBEAT.match(path) for path in paths) else 0)
        + (1 if 8000 in ports else 0)
    )


def _service_of(objects: Sequence[KubeObject], workload: KubeObject, container: KubeObject) -> tuple[str, int, int]:
    """Name, port and container port of the Service that clients use: not a headless one, where there are two."""
    labels = _pod_labels(workload)
    own = _ports(container)
    # Chroma may be behind a proxy in its own pod: then the Service leads to the proxy's port.
    others = {name: port for each in _running(workload) for name, port in _ports(each).items() if name not in own}
    ports = own | others
    found: list[tuple[int, str, int, int]] = []
    for service in of_kind(objects, "Service"):
        selector = service.get("spec", {}).get("selector") or {}
        if not selector or any(labels.get(key) != value for key, value in selector.items()):
            continue
        headless = service["spec"].get("clusterIP") == "None"
        for port in service["spec"].get("ports") or ():
            wanted = port.get("targetPort", port["port"])
            target = ports.get(wanted) if isinstance(wanted, str) else wanted
            if target is not None:
                likely = (4 if target in own.values() else 2 if target in ports.values() else 0) + (not headless)
                found.append((likely, service["metadata"]["name"], port["port"], target))
    meant = meant_for(list(of_kind(objects, "Service")), Workload(workload, workload["spec"]["template"]))
    if not found and meant:  # the linter refuses it by rule `unreachable`, and so does `apply.wait_ready`
        target = next(iter((own or ports).values()), CHROMA_PORT)
        return (
            meant[0]["metadata"]["name"],
            next((p["port"] for p in meant[0]["spec"].get("ports") or ()), target),
            target,
        )
    if not found:
        name = workload["metadata"]["name"]
        raise UsageError(
            f"no Service leads to {workload['kind']} {name}: none selects its pods and names a port of theirs",
            remedy="add a Service whose selector matches the pod template's labels",
        )
    _, name, service_port, container_port = max(found, key=lambda item: item[0])
    return name, service_port, container_port


def _running(workload: KubeObject) -> Iterator[KubeObject]:
    """The containers that run as long as the pod: the regular ones, and sidecars among the init containers."""
    spec = _pod_spec(workload)
    yield from spec.get("containers") or ()
    yield from (item for item in spec.get("initContainers") or () if item.get("restartPolicy") == "Always")


def _ports(container: KubeObject) -> dict[str | None, int]:
    return {port.get("name"): port["containerPort"] for port in container.get("ports") or ()}


def _own_port(container: KubeObject) -> int | None:
    """The port that Chroma is told by its environment, which beats its file."""
    given = {item.get("name"): str(item.get("value", "")) for item in container.get("env") or ()}.get("CHROMA_PORT", "")
    return int(given) if given.isdigit() else None


def _claim_of(workload: KubeObject, container: KubeObject) -> str | None:
    """The claim that the container mounts; the one at Chroma's data path, where there are several."""
    name = workload["metadata"]["name"]
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in _pod_spec(workload).get("volumes") or ()
        if "persistentVolumeClaim" in volume
    }
    for template in workload["spec"].get("volumeClaimTemplates") or ():
        claims[template["metadata"]["name"]] = f"{template['metadata']['name']}-{name}-0"
    mounts = [mount for mount in container.get("volumeMounts") or () if mount["name"] in claims]
    mounts.sort(key=lambda mount: str(mount["mountPath"]).rstrip("/") not in _DATA_PATHS)
    return claims[mounts[0]["name"]] if mounts else None


def _scales(hpa: KubeObject, workload: KubeObject) -> bool:
    target = hpa.get("spec", {}).get("scaleTargetRef") or {}
    wanted = (workload["kind"], workload["metadata"]["name"])
    return (target.get("kind"), target.get("name")) == wanted


def _pod_spec(workload: KubeObject) -> KubeObject:
    spec: KubeObject = workload.get("spec", {}).get("template", {}).get("spec") or {}
    return spec


def _pod_labels(workload: KubeObject) -> Mapping[str, str]:
    labels: Mapping[str, str] = workload["spec"].get("template", {}).get("metadata", {}).get("labels") or {}
    return labels
