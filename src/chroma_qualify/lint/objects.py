"""Reading Kubernetes objects without believing them: what a rule needs to know, found by structure, not by name.

Every getter answers with something empty where the object is malformed: a rule must not stop on a stranger's YAML
(whether it is valid is for the API server to say).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

KubeObject: TypeAlias = Mapping[str, Any]

CHROMA_PORT = 8000  # where the server listens unless told otherwise
_UNITS = {
    "": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
    "Ei": 2.0**60,
}  # fmt: skip
_WORKLOAD_KINDS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod")
_IMAGE_NAMES = frozenset({"chroma", "chromadb", "chroma-server", "chromadb-server"})
_RUNS_CHROMA = re.compile(r"(^|[\s/])chroma\s+run\b|\bchromadb\.app\b")
_HEARTBEAT = re.compile(r"/api/v\d+/(heartbeat|healthcheck)\b")


def mapping(value: object) -> Mapping[str, Any]:
    """`value` if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: object) -> list[Mapping[str, Any]]:
    """The mappings in a list; empty for anything else."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []


def strings(value: object) -> list[str]:
    """The strings in a list; empty for anything else."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple) else []


def at(obj: object, *path: str) -> Any:  # noqa: ANN401 (a value of somebody's YAML)
    """The value at `path`, or None where the path ends early."""
    for key in path:
        obj = mapping(obj).get(key)
    return obj


def whole(value: object, default: int) -> int:
    """`value` if it is a whole number, else `default`."""
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def quantity(value: object) -> float | None:
    """A Kubernetes quantity as a number (bytes, cores); None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, str):
        return None
    match = re.fullmatch(r"\+?([0-9]{1,18}(?:\.\d{0,9})?|\.\d{1,9})(?:[eE]\+?(\d{1,2})|([mkMGTPE]|[KMGTPE]i)?)", value)
    return float(match[1]) * 10.0 ** int(match[2] or 0) * _UNITS[match[3] or ""] if match else None


def flatten(objects: Iterable[object]) -> list[KubeObject]:
    """All objects, those inside a `List` too; what is not an object is left out."""
    flat: list[KubeObject] = []
    for obj in objects:
        found = mapping(obj)
        if str(found.get("kind", "")).endswith("List") and "items" in found:
            flat.extend(flatten(mappings(found["items"])))
        elif found:
            flat.append(found)
    return flat


def of_kind(objects: Iterable[KubeObject], *kinds: str) -> list[KubeObject]:
    """The objects of these kinds, whatever the API version."""
    return [obj for obj in objects if obj.get("kind") in kinds]


def name_of(obj: KubeObject) -> str:
    """`metadata.name`, or ""."""
    return str(at(obj, "metadata", "name") or "")


def namespace_of(obj: KubeObject) -> str:
    """`metadata.namespace`, or "" for the one that `kubectl apply` would take."""
    return str(at(obj, "metadata", "namespace") or "")


def reference(obj: KubeObject) -> str:
    """`Kind/name`, as findings name an object."""
    return f"{obj.get('kind', '?')}/{name_of(obj)}"


def find(objects: Iterable[KubeObject], kind: str, name: str, namespace: str) -> KubeObject | None:
    """The object of this kind, name and namespace, or None."""
    for obj in of_kind(objects, kind):
        if name_of(obj) == name and namespace_of(obj) == namespace:
            return obj
    return None


def words(labels: Mapping[str, Any]) -> str:
    """Labels for a person, or "none"."""
    return ",".join(f"{key}={value}" for key, value in labels.items()) or "none"


def selects(selector: object, labels: Mapping[str, Any]) -> bool:
    """Whether a LabelSelector (`matchLabels`, `matchExpressions`) matches; an empty one matches all."""
    if any(labels.get(key) != value for key, value in mapping(at(selector, "matchLabels")).items()):
        return False
    for expression in mappings(at(selector, "matchExpressions")):
        key, operator, values = expression.get("key"), expression.get("operator"), strings(expression.get("values"))
        present, value = key in labels, labels.get(str(key))
        holds = {
            "In": present and value in values,
            "NotIn": not present or value not in values,
            "Exists": present,
            "DoesNotExist": not present,
        }
        if not holds.get(str(operator), False):
            return False
    return True


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
    """An image reference taken apart: `name` is the last part of the repository, `tag` may be ""."""

    name: str
    tag: str

    @classmethod
    def parse(cls, reference: str) -> Image:
        """Read `registry:port/repository:tag@digest`, of which all but the name may be missing."""
        name, _, tag = reference.partition("@")[0].rpartition("/")[2].partition(":")
        return cls(name=name, tag=tag)


def is_chroma(container: Mapping[str, Any]) -> bool:
    """Whether this container runs the Chroma server: by its image's name, or by its command."""
    if Image.parse(str(container.get("image") or "")).name in _IMAGE_NAMES:
        return True
    command = " ".join([*strings(container.get("command")), *strings(container.get("args"))])
    return bool(_RUNS_CHROMA.search(command))


def is_published(container: Mapping[str, Any]) -> bool:
    """Whether it is Chroma's own image, from whatever registry: what it does by default is known."""
    repository = str(container.get("image") or "").partition("@")[0]
    return bool(re.search(r"(^|/)(chromadb|chroma-core)/chroma(:[^/]*)?$", repository))


def may_be_chroma(container: Mapping[str, Any]) -> bool:
    """Whether it looks like the server under somebody's own image: asked for its heartbeat, or named after it."""
    probes = [at(container, probe, "httpGet", "path") for probe in ("startupProbe", "readinessProbe", "livenessProbe")]
    if any(_HEARTBEAT.search(str(path)) for path in probes):
        return True
    ports = [port.get("containerPort") for port in mappings(container.get("ports"))]
    return "chroma" in Image.parse(str(container.get("image") or "")).name and CHROMA_PORT in ports


def is_before_1_0(container: Mapping[str, Any]) -> bool:
    """Whether the image's tag says Chroma 0.x: the Python server, with its v1 API and its own authentication."""
    return bool(re.match(r"v?0\.[1-9]", Image.parse(str(container.get("image") or "")).tag))


@dataclasses.dataclass(frozen=True, slots=True)
class Workload:
    """An object that makes pods.

    Attributes:
        source: the object itself.
        template: its pod template; for a Pod, the Pod.
    """

    source: KubeObject
    template: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.source.get("kind"))

    @property
    def name(self) -> str:
        """Its name."""
        return name_of(self.source)

    @property
    def namespace(self) -> str:
        """Its namespace, or ""."""
        return namespace_of(self.source)

    @property
    def reference(self) -> str:
        """`Kind/name`."""
        return reference(self.source)

    @property
    def pod(self) -> Mapping[str, Any]:
        """The pod's spec."""
        return mapping(self.template.get("spec"))

    @property
    def labels(self) -> Mapping[str, Any]:
        """The pod's labels."""
        return mapping(at(self.template, "metadata", "labels"))

    @property
    def annotations(self) -> Mapping[str, Any]:
        """The pod's annotations."""
        return mapping(at(self.template, "metadata", "annotations"))

    @property
    def containers(self) -> list[Mapping[str, Any]]:
        """The containers that run as long as the pod: the regular ones, and init containers that are sidecars."""
        sidecars = [c for c in mappings(self.pod.get("initContainers")) if c.get("restartPolicy") == "Always"]
        return [*mappings(self.pod.get("containers")), *sidecars]

    @property
    def chroma_containers(self) -> list[Mapping[str, Any]]:
        """Those of them that run the Chroma server; those that look like it, where none says so plainly.

        Not both at once: a proxy in front of Chroma is asked for the heartbeat, too.
        """
        plain = [container for container in self.containers if is_chroma(container)]
        return plain or [container for container in self.containers if may_be_chroma(container)]

    @property
    def pod_path(self) -> str:
        """Where the pod's spec is in the object."""
        return "spec" if self.kind == "Pod" else "spec.template.spec"

    def path_of(self, container: Mapping[str, Any]) -> str:
        """Where a container is in the object, e.g. `spec.template.spec.containers[0]`."""
        for field in ("containers", "initContainers"):
            listed = self.pod.get(field)
            for number, one in enumerate(listed if isinstance(listed, list | tuple) else ()):
                if one is container:
                    return f"{self.pod_path}.{field}[{number}]"
        return self.pod_path

    def runs_chroma(self, container: Mapping[str, Any]) -> bool:
        """Whether it is one of `chroma_containers`."""
        return any(container is one for one in self.chroma_containers)

    def volume(self, name: str) -> Mapping[str, Any]:
        """The pod's volume of this name; empty for a StatefulSet's own claim."""
        return next((v for v in mappings(self.pod.get("volumes")) if v.get("name") == name), {})

    def answers_on(self, port: object) -> Mapping[str, Any] | None:
        """The container that a container port, by number or name, belongs to, or None where that is not known."""
        for container in self.containers:
            for declared in mappings(container.get("ports")):
                if port is not None and port in (declared.get("containerPort"), declared.get("name")):
                    return container
        # A declared port is documentation only, so the well-known one is looked for even where nobody declares it.
        return next(iter(self.chroma_containers), None) if port in (CHROMA_PORT, str(CHROMA_PORT)) else None


def workloads(objects: Iterable[KubeObject]) -> list[Workload]:
    """Every object that makes pods, with its pod template."""
    return [
        Workload(source=obj, template=obj if obj.get("kind") == "Pod" else mapping(at(obj, "spec", "template")))
        for obj in objects
        if obj.get("kind") in _WORKLOAD_KINDS
    ]


def all_pod_labels(objects: Sequence[KubeObject]) -> list[tuple[str, Mapping[str, Any]]]:
    """(namespace, labels) of all pods that the objects make, those of jobs too."""
    found = [(workload.namespace, workload.labels) for workload in workloads(objects)]
    for obj in of_kind(objects, "Job", "CronJob"):
        spec = at(obj, "spec", "jobTemplate", "spec") if obj.get("kind") == "CronJob" else obj.get("spec")
        found.append((namespace_of(obj), mapping(at(spec, "template", "metadata", "labels"))))
    return found


def chroma_workloads(objects: Iterable[KubeObject]) -> list[Workload]:
    """The workloads whose pods run a Chroma server."""
    return [workload for workload in workloads(objects) if workload.chroma_containers]


@dataclasses.dataclass(frozen=True, slots=True)
class Autoscaler:
    """What scales a workload: `source` is the object, `maximum` the most replicas it may ask for."""

    source: KubeObject
    maximum: int


def autoscalers(objects: Sequence[KubeObject], workload: Workload) -> list[Autoscaler]:
    """The HorizontalPodAutoscalers and KEDA ScaledObjects whose target is this workload."""
    found = []
    for obj in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject"):
        target = mapping(at(obj, "spec", "scaleTargetRef"))
        same = str(target.get("kind") or "Deployment") == workload.kind and target.get("name") == workload.name
        if not same or namespace_of(obj) != workload.namespace:
            continue
        keda = obj.get("kind") == "ScaledObject"
        maximum = whole(at(obj, "spec", "maxReplicaCount"), 100) if keda else whole(at(obj, "spec", "maxReplicas"), 1)
        found.append(Autoscaler(source=obj, maximum=maximum))
    return found
