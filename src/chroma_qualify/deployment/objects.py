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
from chroma_qualify.findings import Finding
from chroma_qualify.lint.objects import CHROMA_PORT, Workload, is_chroma, mapping, mappings, reference, strings
from chroma_qualify.lint.rules.services import leads_to, meant_for

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
        chosen: `Kind/name` of the workload that its owner calls Chroma, where there are several; else "".
        notes: what was left out of the manifests, or stands in for something, in this run.
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
    chosen: str = ""
    notes: tuple[Finding, ...] = ()

    @classmethod
    def from_objects(
        cls,
        objects: Sequence[KubeObject],
        directory: Path,
        *,
        kubectl: Path = Path("kubectl"),
        access: Access = NO_ACCESS,
        chosen: str = "",
        notes: tuple[Finding, ...] = (),
    ) -> Candidate:
        """Find Chroma among the objects.

        Raises:
            UsageError: there is no Chroma workload, several of them and none is `chosen`, or no Service that could be
                meant for it.
        """
        workload, container = _chroma_of(objects, directory, chosen)
        service, service_port, container_port = _service_of(objects, workload, container)
        return cls(
            objects=tuple(objects),
            directory=directory,
            deployment=workload,
            service=service,
            service_port=service_port,
            container_port=container_port,
            server_port=_own_port(objects, workload, container) or container_port,
            container=container["name"],
            selector=dict(workload["spec"].get("selector", {}).get("matchLabels") or _pod_labels(workload)),
            claim=_claim_of(workload, container),
            hpa=next((item for item in of_kind(objects, "HorizontalPodAutoscaler") if _scales(item, workload)), None),
            namespace=workload["metadata"].get("namespace"),
            digest=hashlib.sha256(dump(objects).encode()).hexdigest(),
            kubectl=kubectl,
            access=access,
            chosen=chosen,
            notes=notes,
        )

    def with_objects(self, objects: Sequence[KubeObject]) -> Candidate:
        """The same candidate with other objects, of which Chroma is found anew, and with their digest."""
        return Candidate.from_objects(
            objects,
            self.directory,
            kubectl=self.kubectl,
            access=self.access,
            chosen=self.chosen,
            notes=self.notes,
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


def _chroma_of(objects: Sequence[KubeObject], directory: Path, chosen: str) -> tuple[KubeObject, KubeObject]:
    """The workload and the container that are most surely Chroma.

    Where several workloads are, the one that Services lead to; where that does not decide, its owner has to.
    """
    found: list[tuple[int, KubeObject, KubeObject]] = [
        (_likeness(container), workload, container)
        for workload in of_kind(objects, "Deployment", "StatefulSet")
        for container in _pod_spec(workload).get("containers") or ()
    ]
    if chosen:
        found = [item for item in found if reference(item[1]) == chosen]
        if not found:
            raise UsageError(f"there is no {chosen} in {directory}, which its qualification.yaml calls Chroma")
    elif len(servers := [item for item in found if is_chroma(item[2])]) > 1:
        found = _the_served(objects, servers, directory)
    likeness, workload, container = max(found, key=lambda item: item[0], default=(0, {}, {}))
    if likeness < 4 and not chosen:
        raise _no_chroma(objects, directory)
    return workload, container


def _the_served(
    objects: Sequence[KubeObject], servers: list[tuple[int, KubeObject, KubeObject]], directory: Path
) -> list[tuple[int, KubeObject, KubeObject]]:
    """Those of several servers that are one workload, which clients reach.

    Raises:
        UsageError: they are several workloads, and Services do not tell which one is meant.
    """
    services = list(of_kind(objects, "Service"))

    def served(workload: KubeObject) -> bool:
        return any(leads_to(service, Workload(workload, workload["spec"]["template"])) for service in services)

    for some in (servers, [item for item in servers if served(item[1])]):
        names = list(dict.fromkeys(reference(item[1]) for item in some))
        if len(names) == 1:
            return some
    names = list(dict.fromkeys(reference(item[1]) for item in servers))
    raise UsageError(
        f"{directory} holds {len(names)} Chroma servers: {', '.join(names)}, and a run qualifies one",
        remedy=f"say which one is meant in {directory / 'qualification.yaml'}: `chroma: {names[0]}`, "
        "or name a directory that holds one",
    )


def _no_chroma(objects: Sequence[KubeObject], directory: Path) -> UsageError:
    """Chroma is in no workload of ours: in another kind, or nowhere."""
    for item in objects:
        spec = mapping(item.get("spec"))
        pod = mapping(mapping(spec.get("template")).get("spec")) or spec
        if item.get("kind") not in {"Deployment", "StatefulSet"} and any(
            map(is_chroma, mappings(pod.get("containers")))
        ):
            return UsageError(
                f"Chroma runs in {reference(item)} of {directory}, and a run qualifies Deployments and StatefulSets",
                remedy="run it in one: nothing brings back a bare pod, and a DaemonSet has a server on every node",
            )
    return UsageError(
        f"no Chroma workload in {directory}: no Deployment or StatefulSet runs a Chroma image, "
        "the `chroma` command, or is probed at /api/v2/heartbeat",
        remedy="name the directory that holds Chroma's own manifests, "
        "or say which workload is Chroma in its qualification.yaml: `chroma: Deployment/NAME`",
    )


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


def _own_port(objects: Sequence[KubeObject], workload: KubeObject, container: KubeObject) -> int | None:
    """The port that Chroma itself listens on, where it is said.

    On its command line; else in its environment, which beats its file; else in a file of a ConfigMap that it mounts;
    else it is the only one that it declares.
    """
    words = [*strings(container.get("command")), *strings(container.get("args"))]
    told = re.search(r"--port[ =](\d+)\b", " ".join(words))
    given = {item.get("name"): str(item.get("value", "")) for item in container.get("env") or ()}.get("CHROMA_PORT", "")
    if told or given.isdigit():
        return int(told[1] if told else given)
    for text in _mounted_files(objects, workload, container):
        if port := re.search(r"(?m)^port: *[\"']?(\d+)", text):
            return int(port[1])
    declared = list(_ports(container).values())
    return declared[0] if len(declared) == 1 else None


def _mounted_files(objects: Sequence[KubeObject], workload: KubeObject, container: KubeObject) -> Iterator[str]:
    """The YAML of the ConfigMaps that a container mounts."""
    mounted = {mount.get("name") for mount in mappings(container.get("volumeMounts"))}
    names = {
        mapping(volume.get("configMap")).get("name")
        for volume in mappings(_pod_spec(workload).get("volumes"))
        if volume.get("name") in mounted
    }
    for item in of_kind(objects, "ConfigMap"):
        if item["metadata"]["name"] in names:
            yield from (str(text) for key, text in (item.get("data") or {}).items() if key.endswith((".yaml", ".yml")))


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
