"""From a directory of manifests to a candidate; no cluster needed.

Called by `plugin.py` (fixture `deploy`) and by the command line. The objects come from `manifests`.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from chroma_qualify.deployment.access import Access
from chroma_qualify.deployment.foreign import own_objects
from chroma_qualify.deployment.manifests import KUSTOMIZATIONS, QUALIFICATION, kustomize, load_objects
from chroma_qualify.deployment.objects import Candidate, KubeObject, dump, of_kind
from chroma_qualify.deployment.qualification import load_access, load_chosen
from chroma_qualify.errors import UsageError


def load_candidate(directory: Path, kubectl: Path) -> Candidate:
    """Render a kustomize directory, or read one of plain YAML files.

    Args:
        directory: holds a kustomization (under any of its three names) or *.yaml and *.yml.
        kubectl: renders kustomizations.

    Raises:
        UsageError: one sentence on what is wrong with the directory.
    """
    objects, notes = own_objects(load_objects(directory, kubectl))
    access = load_access(directory)
    chosen = load_chosen(directory)
    candidate = Candidate.from_objects(objects, directory, kubectl=kubectl, access=access, chosen=chosen, notes=notes)
    _refuse_unused(candidate, access)
    _refuse_twice(candidate)
    return candidate


def _refuse_unused(candidate: Candidate, access: Access) -> None:
    """A misspelt Secret would be made for nobody, and every client refused."""
    template = dump([candidate.deployment["spec"]["template"]])
    for name in access.secrets:
        if not re.search(rf"(?m)(?:secretName|name): {re.escape(name)}$", template):
            raise UsageError(
                f"{candidate.directory / QUALIFICATION} names the Secret {name}, which {candidate.name} does not use",
                remedy="name the Secret that the pod mounts",
            )


def _refuse_twice(candidate: Candidate) -> None:
    """A run has one namespace, in which two objects of one name would be one."""
    seen: dict[tuple[str, str, str], str] = {}
    for item in candidate.objects:
        key = (str(item["apiVersion"]).rpartition("/")[0], item["kind"], item["metadata"]["name"])
        space = str(item["metadata"].get("namespace") or "the default one")
        if seen.setdefault(key, space) != space:
            raise UsageError(
                f"{candidate.directory} holds {key[1]} {key[2]} in two namespaces, {seen[key]} and {space}, "
                "and a run puts everything into one",
                remedy="name a directory that holds one of them",
            )


def in_namespace(candidate: Candidate, namespace: str) -> Candidate:
    """The same candidate with every namespaced object in another namespace.

    A throw-away kustomization does the work, so that references (role bindings, webhooks) follow; what
    kustomize does not know of, a namespace named in a selector, follows by `_follow`. Namespace objects are
    left out: the namespace is the scenario's, with its own labels.
    """
    with tempfile.TemporaryDirectory(prefix="chroma-qualify-") as name:
        directory = Path(name)
        kept = [item for item in candidate.objects if item["kind"] != "Namespace"]
        (directory / "all.yaml").write_text(dump(kept))
        kustomization = {"kind": "Kustomization", "namespace": namespace, "resources": ["all.yaml"]}
        (directory / KUSTOMIZATIONS[0]).write_text(yaml.safe_dump(kustomization))
        objects = kustomize(directory, [str(candidate.kubectl), "kustomize"])
    if candidate.namespace:
        objects = [_follow(item, candidate.namespace, namespace) for item in objects]
    return dataclasses.replace(candidate.with_objects(objects), digest=candidate.digest)


def _follow(item: KubeObject, old: str, new: str) -> KubeObject:
    """Rename the candidate's own namespace where a NetworkPolicy or ServiceMonitor selects by its name."""
    if not any(of_kind([item], "NetworkPolicy", "ServiceMonitor")):
        return item
    renamed: KubeObject = _rename(item, old, new, named=False)
    return renamed


def _rename(value: Any, old: str, new: str, *, named: bool) -> Any:  # noqa: ANN401
    """Walk a tree; `named`: the value stands where only a namespace's name can stand."""
    if isinstance(value, dict):
        by_name = value.get("key") == "kubernetes.io/metadata.name"
        keys = {"kubernetes.io/metadata.name", "matchNames"} | ({"values"} if by_name else set())
        return {key: _rename(inner, old, new, named=key in keys) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_rename(inner, old, new, named=named) for inner in value]
    return new if named and value == old else value
