"""From a directory of manifests to a candidate; no cluster needed.

Called by `plugin.py` (fixture `deploy`) and by the command line. Everything a user can get wrong in a manifest
directory becomes one sentence here.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from chroma_qualify.cluster.model import run
from chroma_qualify.deployment.access import Access
from chroma_qualify.deployment.foreign import own_objects
from chroma_qualify.deployment.objects import Candidate, KubeObject, dump, of_kind
from chroma_qualify.deployment.qualification import load_access, load_chosen
from chroma_qualify.errors import UsageError

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
QUALIFICATION = "qualification.yaml"  # what a topology promises: ours, not Kubernetes'


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


def load_objects(directory: Path, kubectl: Path) -> list[KubeObject]:
    """The objects of a directory, Chroma among them or not; raises UsageError as `load_candidate` does."""
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", remedy="name a directory of Kubernetes manifests")
    if any((directory / name).is_file() for name in KUSTOMIZATIONS):
        return _kustomize(directory, kubectl)
    return plain_objects(directory)


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
        objects = _kustomize(directory, candidate.kubectl)
    if candidate.namespace:
        objects = [_follow(item, candidate.namespace, namespace) for item in objects]
    return dataclasses.replace(candidate.with_objects(objects), digest=candidate.digest)


def _kustomize(directory: Path, kubectl: Path) -> list[KubeObject]:
    done = run([str(kubectl), "kustomize", str(directory)], check=False)
    if done.returncode != 0:
        raise _kustomize_error(directory, done.stderr)
    return list(_objects(done.stdout, directory))


def _kustomize_error(directory: Path, said: str) -> UsageError:
    """One sentence from kustomize's nest of errors, of which the innermost says what is wrong."""
    logged = re.search(r'err="(.*)"', said, re.DOTALL)  # a line of its log, else plain words
    said = (logged[1].replace('\\"', '"') if logged else said).strip().removeprefix("error: ")
    kustomization = next(directory / name for name in KUSTOMIZATIONS if (directory / name).is_file())
    broken = first_broken_file(directory)
    if broken is not None:
        return broken
    if field := re.search(r'unknown field "([^"]+)"', said):
        return UsageError(
            f"a kustomization has the unknown field `{field[1]}`: {kustomization}, or one that it names",
            remedy="see the fields of a kustomization in kustomize's documentation",
        )
    if missing := re.findall(r"lstat (\S+): no such file or directory", said):
        return UsageError(f"{kustomization} needs {missing[-1]}, which does not exist")
    if malformed := re.search(r"MalformedYAMLError: yaml: (line \d+): (.+?) in File: (\S+)", said):
        return UsageError(f"{malformed[3].rstrip(':')} is broken YAML at {malformed[1]}: {malformed[2]}")
    if kindless := re.search(r"accumulating resources from '([^']+)': missing (\w+) in object", said):
        return UsageError(f"{kindless[1]} holds an object without a {kindless[2]}")
    return UsageError(f"kustomize cannot render {directory}: {said.splitlines()[-1] if said else 'it gave no reason'}")


def first_broken_file(directory: Path, seen: frozenset[Path] = frozenset()) -> UsageError | None:
    """The first file that is no YAML at all, in this directory or those its kustomization names."""
    directory = directory.resolve()
    if directory in seen:
        return None
    for path in [directory / name for name in KUSTOMIZATIONS] + _yaml_files(directory):
        if not path.is_file():
            continue
        try:
            documents = list(yaml.safe_load_all(path.read_text()))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            return _broken(path, error)
        if path.name not in KUSTOMIZATIONS or not documents or not isinstance(documents[0], dict):
            continue
        for key in ("resources", "components", "bases"):
            for entry in documents[0].get(key) or ():
                if (directory / str(entry)).is_dir():
                    found = first_broken_file(directory / str(entry), seen | {directory})
                    if found is not None:
                        return found
    return None


def plain_objects(directory: Path) -> list[KubeObject]:
    """The objects in a directory of plain YAML; raises UsageError for what cannot be read."""
    if (directory / "Chart.yaml").is_file():
        raise UsageError(
            f"{directory} is a chart of Helm, not manifests",
            remedy=f"render it first: helm template NAME {directory} > DIR/all.yaml",
        )
    paths = _yaml_files(directory) or _below(directory)
    if not paths:
        raise UsageError(f"{directory} holds no YAML file", remedy="name a directory of Kubernetes manifests")
    objects: list[KubeObject] = []
    for path in paths:
        try:
            objects += _objects(path.read_text(), path)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise _broken(path, error) from error
    return objects


def _objects(text: str, source: Path) -> Iterator[KubeObject]:
    """The Kubernetes objects of a YAML stream; a List is taken apart, empty documents are left out."""
    for number, document in enumerate(yaml.safe_load_all(text), start=1):
        if document is None:
            continue
        if not _is_object(document):
            raise UsageError(f"{source}: document {number} is no Kubernetes object (apiVersion, kind or name missing)")
        if str(document["kind"]).endswith("List") and "items" in document:  # also of one kind, as PodList
            for item in document["items"] or ():
                if not _is_object(item):
                    raise UsageError(f"{source}: document {number} is a list, of which an item is no Kubernetes object")
                yield item
        else:
            yield document


def _is_object(document: Any) -> bool:  # noqa: ANN401 (anything can be in a YAML file)
    if not isinstance(document, dict) or not document.get("apiVersion") or not document.get("kind"):
        return False
    return (str(document["kind"]).endswith("List") and "items" in document) or bool(
        (document.get("metadata") or {}).get("name")
    )


def _below(directory: Path) -> list[Path]:
    """The files of all directories below one that has none itself, as `helm template --output-dir` leaves them.

    Raises:
        UsageError: there are kustomizations below: which one is meant?
    """
    kustomizations = sorted(path for name in KUSTOMIZATIONS for path in directory.rglob(name))
    if kustomizations:
        where = ", ".join(str(path.parent) for path in kustomizations[:5])
        raise UsageError(f"{directory} holds no manifests itself, but below it: {where}", remedy="name one of them")
    return sorted(path for each in directory.rglob("*") if each.is_dir() for path in _yaml_files(each))


def _yaml_files(directory: Path) -> list[Path]:
    found = (path for path in directory.iterdir() if path.suffix in {".yaml", ".yml"} and path.name != QUALIFICATION)
    return sorted(path for path in found if path.is_file())


def _broken(path: Path, error: Exception) -> UsageError:
    mark = getattr(error, "problem_mark", None)
    where = f" at line {mark.line + 1}" if mark else ""
    return UsageError(f"{path} is broken YAML{where}: {getattr(error, 'problem', None) or error}")


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
