"""What is not for a cluster, or not for this run, in manifests as people have them: hooks of Helm, exported objects.

`helm template` also renders tests, and jobs for an upgrade or an uninstall; `kubectl get -o yaml` also shows what a
controller made, and fields that only the API server writes, which it refuses to be told. Called by `render` and
`linting`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import at, mapping, reference

LEFT_OUT = "left-out"
_HOOK = "helm.sh/hook"
_AT_INSTALL = frozenset({"pre-install", "post-install"})  # what `helm install` makes
_WRITTEN_BY_SERVER = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")
_BINDING = ("pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller")
_IN_NO_NAMESPACE = re.compile(
    r"(Cluster\w+|Namespace|Node|CustomResourceDefinition|PersistentVolume|\w+Class|APIService"
    r"|\w+WebhookConfiguration|\w+AdmissionPolicy(Binding)?|FlowSchema|PriorityLevelConfiguration)"
)
_OF_SERVICES = ("Endpoints", "EndpointSlice", "Event")


def own_objects(objects: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], tuple[Finding, ...]]:
    """The objects that their owner would apply, without what the server wrote; and what was left out, as notes."""
    kept: list[Mapping[str, Any]] = []
    hooks: list[str] = []
    made: list[str] = []
    for item in objects:
        metadata = item.get("metadata") or {}
        hook = str(at(metadata, "annotations", _HOOK) or "")
        if hook and not _AT_INSTALL & {word.strip() for word in hook.split(",")}:
            hooks.append(f"{reference(item)} ({hook})")
        elif metadata.get("ownerReferences") or item.get("kind") in _OF_SERVICES:
            made.append(reference(item))
        else:
            kept.append(_without_status(item))
    notes = [
        *_note(hooks, "hooks of Helm that `helm install` does not run", "run `helm test` on an installed release"),
        *_note(made, "objects that a controller makes by itself", "leave them out of the manifests"),
    ]
    return _in_one_namespace(kept), tuple(notes)


def _in_one_namespace(objects: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Where some name a namespace and others none, `-n` of that name is meant, as with what Helm renders."""
    named = {str(item["metadata"]["namespace"]) for item in objects if item["metadata"].get("namespace")}
    if len(named) != 1:
        return objects
    (namespace,) = named
    return [
        item
        if item["metadata"].get("namespace") or _IN_NO_NAMESPACE.fullmatch(str(item["kind"]))
        else {**item, "metadata": {**item["metadata"], "namespace": namespace}}
        for item in objects
    ]


def left_out(what: Iterable[str], why: str, remedy: str) -> list[Finding]:
    """The note of objects that are not applied; none where there are none."""
    return _note(list(what), why, remedy)


def _note(what: list[str], why: str, remedy: str) -> list[Finding]:
    if not what:
        return []
    shown = f"{', '.join(what[:5])}{f' and {len(what) - 5} more' if len(what) > 5 else ''}"
    return [
        Finding(
            LEFT_OUT,
            Severity.NOTE,
            f"not applied in this run: {shown}: {why}",
            "\n".join(what),
            remedy,
            what[0].split()[0],
        )
    ]


def _without_status(item: Mapping[str, Any]) -> Mapping[str, Any]:
    metadata = item.get("metadata") or {}
    bound = item.get("kind") == "PersistentVolumeClaim" and _BINDING[0] in mapping(metadata.get("annotations"))
    if "status" not in item and not bound and not any(key in metadata for key in _WRITTEN_BY_SERVER):
        return item
    kept = {key: value for key, value in metadata.items() if key not in _WRITTEN_BY_SERVER}
    spec = item.get("spec")
    if bound:  # else the claim waits for the volume of another cluster
        annotations = {key: value for key, value in metadata["annotations"].items() if key not in _BINDING}
        kept = {**kept, "annotations": annotations}
        spec = {key: value for key, value in mapping(spec).items() if key != "volumeName"}
    changed = {**item, "metadata": kept, **({"spec": spec} if spec is not None else {})}
    return {key: value for key, value in changed.items() if key != "status"}
