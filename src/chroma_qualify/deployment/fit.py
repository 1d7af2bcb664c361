"""What a cluster of ours cannot have of somebody's manifests, and what stands in for it: each is told in a note.

A class of storage, a pool of nodes, a registry, a kind of object are their owner's; that a kind cluster lacks them says
nothing against the manifests, and would keep everything else from being tried. On an existing cluster, which may be the
one that the manifests are for, only what would reach out of the run's own namespace is left out or changed.

Called once a run, when the cluster is known: `look_at` asks it, `fit` is pure.
"""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chroma_qualify.cluster.model import Cluster
from chroma_qualify.deployment.foreign import left_out
from chroma_qualify.deployment.objects import Candidate, KubeObject, of_kind
from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import mappings, reference, selects

STOOD_IN = "stood-in"
_OURS = "docker.io/chromadb/chroma"  # the name under which Chroma's image is in the nodes
_TEMPLATES = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod")


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """What a cluster has.

    Attributes:
        own: a cluster made for the run.
        kinds: (API group, kind) to whether its objects are in namespaces.
        classes: StorageClass to its provisioner.
        priorities: its PriorityClasses.
        labels: of each node.
        images: references that the nodes have, as the container runtime writes them.
        pulls: can the nodes pull from a registry?
    """

    own: bool
    kinds: Mapping[tuple[str, str], bool]
    classes: Mapping[str, str]
    priorities: frozenset[str]
    labels: tuple[Mapping[str, str], ...]
    images: frozenset[str]
    pulls: bool


def look_at(cluster: Cluster, *, pulls: bool) -> Place:
    """Ask a cluster what it has; raises InfraError if it does not answer."""
    own = bool(cluster.nodes)
    kinds: dict[tuple[str, str], bool] = {}
    for line in cluster.run_kubectl("api-resources", "--no-headers", again=True).stdout.splitlines():
        version, namespaced, kind = line.split()[-3:]
        kinds[version.rpartition("/")[0], kind] = namespaced == "true"
    if not own:
        return Place(own, kinds, {}, frozenset(), (), frozenset(), pulls)
    nodes = cluster.get_json("nodes")["items"]
    classes = cluster.get_json("storageclasses")["items"]
    names = [
        name for node in nodes for image in node["status"].get("images") or () for name in image.get("names") or ()
    ]
    return Place(
        own=own,
        kinds=kinds,
        classes={item["metadata"]["name"]: item["provisioner"] for item in classes},
        priorities=frozenset(item["metadata"]["name"] for item in cluster.get_json("priorityclasses")["items"]),
        labels=tuple(node["metadata"].get("labels") or {} for node in nodes),
        images=frozenset(names),
        pulls=pulls,
    )


def fit(candidate: Candidate, place: Place) -> Candidate:
    """The candidate as this cluster can have it; what was changed is added to its notes, its digest stays."""
    notes: list[Finding] = list(candidate.notes)
    objects = _only_known(candidate.objects, place, notes)
    changed = [copy.deepcopy(dict(item)) for item in objects]
    for item in changed:
        notes += _stood_in(item, list(_changes(item, place, objects, candidate)))
    if changed == list(candidate.objects):
        return candidate
    fitted = candidate.with_objects(changed)
    return dataclasses.replace(fitted, digest=candidate.digest, notes=tuple(dict.fromkeys(notes)))


def _only_known(objects: Sequence[KubeObject], place: Place, notes: list[Finding]) -> list[KubeObject]:
    """Leave out kinds that a cluster of ours does not know; on somebody's, what is not in a namespace."""
    defined = {
        (item["spec"].get("group"), (item["spec"].get("names") or {}).get("kind"))
        for item in of_kind(objects, "CustomResourceDefinition")
    }
    kept: list[KubeObject] = []
    unknown: list[str] = []
    outside: list[str] = []
    for item in objects:
        key = (str(item["apiVersion"]).rpartition("/")[0], str(item["kind"]))
        if place.own and key not in place.kinds and key not in defined:
            unknown.append(reference(item))
        elif not place.own and place.kinds.get(key) is False and item["kind"] != "Namespace":
            outside.append(reference(item))
        else:
            kept.append(item)
    notes += left_out(
        unknown,
        "this cluster has no such kind, so nothing that depends on it was tried",
        "qualify them on a cluster that has their CustomResourceDefinition (`--cluster current-context`)",
    )
    notes += left_out(
        outside,
        "they are not in a namespace, and nothing outside the run's own is touched",
        "see that the cluster has them before the manifests are applied",
    )
    return kept


def _changes(
    item: dict[str, Any], place: Place, objects: Sequence[KubeObject], candidate: Candidate
) -> Iterator[tuple[str, str]]:
    """Change one object in place; what it asked for, and what it has instead."""
    yield from _unpin(item)
    if place.own:
        yield from _storage(item, place, objects)
        for pod in _pods_of(item):
            yield from _pod(pod, place, objects, candidate)


def _unpin(item: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Addresses and ports that a cluster has only once, and that the manifests' own deployment may hold."""
    if item["kind"] != "Service":
        return
    spec = item["spec"]
    if spec.get("clusterIP") not in {None, "", "None"}:
        yield f"the address {spec['clusterIP']}", "one that the cluster chooses"
        spec.pop("clusterIP")
        spec.pop("clusterIPs", None)
    pinned = [port.pop("nodePort") for port in spec.get("ports") or () if port.get("nodePort")]
    if pinned:
        yield f"the node port {', '.join(map(str, pinned))}", "one that the cluster chooses"


def _storage(item: dict[str, Any], place: Place, objects: Sequence[KubeObject]) -> Iterator[tuple[str, str]]:
    """Claims of a class that is made of nothing here."""
    made_here = set(place.classes.values())
    ours = {
        each["metadata"]["name"] for each in of_kind(objects, "StorageClass") if each.get("provisioner") in made_here
    }
    if item["kind"] == "PersistentVolumeClaim":
        claims = [item]
    elif item["kind"] == "StatefulSet":
        claims = list(item["spec"].get("volumeClaimTemplates") or ())
    else:
        claims = []
    for claim in claims:
        wanted = (claim.get("spec") or {}).get("storageClassName")
        if wanted and wanted not in place.classes and wanted not in ours:
            del claim["spec"]["storageClassName"]
            yield f"the StorageClass {wanted}", "the cluster's own class"


def _pod(
    pod: dict[str, Any], place: Place, objects: Sequence[KubeObject], candidate: Candidate
) -> Iterator[tuple[str, str]]:
    """What a pod asks of nodes, classes and registries that are not there."""
    selector = pod.get("nodeSelector") or {}
    if selector and not any(selects({"matchLabels": selector}, labels) for labels in place.labels):
        del pod["nodeSelector"]
        yield f"the node selector {_words(selector)}", "any node"
    affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = mappings(required.get("nodeSelectorTerms"))
    if terms and not any(selects(term, labels) for term in terms for labels in place.labels):
        del affinity["requiredDuringSchedulingIgnoredDuringExecution"]
        yield "the required node affinity", "any node"
    spread = pod.get("topologySpreadConstraints") or []
    kept = [each for each in spread if any(each.get("topologyKey") in labels for labels in place.labels)]
    if len(kept) != len(spread):
        pod["topologySpreadConstraints"] = kept
        yield "a topology spread over what no node is labelled with", "any node"
    priority = pod.get("priorityClassName")
    known = {*place.priorities, *(item["metadata"]["name"] for item in of_kind(objects, "PriorityClass"))}
    if priority and priority not in known:
        del pod["priorityClassName"]
        yield f"the PriorityClass {priority}", "the default priority"
    account = pod.get("serviceAccountName") or pod.get("serviceAccount")
    if account not in {None, "default", *(item["metadata"]["name"] for item in of_kind(objects, "ServiceAccount"))}:
        pod.pop("serviceAccountName", None)
        pod.pop("serviceAccount", None)
        yield f"the ServiceAccount {account}, which is not among the manifests", "the default one"
    if place.pulls:
        return
    for container in (*mappings(pod.get("containers")), *mappings(pod.get("initContainers"))):
        yield from _image(container, place, candidate)


def _image(container: Any, place: Place, candidate: Candidate) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """Chroma's image under another name, where the nodes have that version under the usual one."""
    image = str(container.get("image", ""))
    there = _full(image) in place.images
    ours = f"{_OURS}:{image.partition('@')[0].rpartition('/')[2].partition(':')[2]}"
    is_chroma = container.get("name") == candidate.container or image == _image_of(candidate)
    if not there and is_chroma and ours in place.images and ours != _full(image):
        container["image"] = ours
        yield (
            f"the image {image}, which the nodes have no registry for",
            f"{ours} (the same version under its published name)",
        )
        there = True
    if there and container.get("imagePullPolicy") == "Always":
        container["imagePullPolicy"] = "IfNotPresent"
        yield "`imagePullPolicy: Always`", "the image that the nodes have"


def _image_of(candidate: Candidate) -> str:
    containers = candidate.deployment["spec"]["template"]["spec"]["containers"]
    return next((str(each.get("image")) for each in containers if each["name"] == candidate.container), "")


def _full(image: str) -> str:
    """A reference as the runtime writes it: with a registry, and a tag."""
    host, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif not re.search(r"[.:]|^localhost$", host):
        image = f"docker.io/{image}"
    return image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"


def _pods_of(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if item["kind"] not in _TEMPLATES:
        return
    spec = item.get("spec") or {}
    if item["kind"] == "CronJob":
        spec = spec.get("jobTemplate", {}).get("spec") or {}
    pod = spec if item["kind"] == "Pod" else (spec.get("template") or {}).get("spec")
    if isinstance(pod, dict):
        yield pod


def _words(labels: Mapping[str, Any]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _stood_in(item: Mapping[str, Any], changes: Sequence[tuple[str, str]]) -> list[Finding]:
    """The note of one object; none where nothing was changed."""
    if not changes:
        return []
    told = "; ".join(f"{instead} in place of {what}" for what, instead in changes)
    remedy = "nothing is wrong with it: whether it can be had is seen on the cluster that the manifests are for"
    name = reference(item)
    return [Finding(STOOD_IN, Severity.NOTE, f"{name} is run with {told}", remedy=remedy, object=name)]
