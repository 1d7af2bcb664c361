"""From a directory, a file or a stream to Kubernetes objects; no cluster needed.

Called by `render` (candidates of a run) and by `linting`. Everything a user can get wrong becomes one sentence here.
Imports nothing that takes long: a lint is a matter of a fraction of a second.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, BinaryIO

from chroma_qualify.deployment.yamltext import MOST_BYTES, decode, documents
from chroma_qualify.errors import InfraError, QualifyError, UsageError
from chroma_qualify.lint.objects import KubeObject

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
QUALIFICATION = "qualification.yaml"  # what a topology promises: ours, not Kubernetes'
WAIVERS = "lint-waivers.yaml"  # which findings of the lint its owner takes: ours, too
STDIN = "-"
_MOST_DIRECTORIES = 1000  # below one that holds no manifests itself
_KUSTOMIZE_SECONDS = 120.0  # without a network it takes less than one

Renderer = Callable[[], Sequence[str]]  # the command that renders a kustomization, less the directory


def load_objects(directory: Path, kubectl: Path) -> list[KubeObject]:
    """The objects of a directory, Chroma among them or not.

    Raises:
        UsageError: one sentence on what is wrong with the directory.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", remedy="name a directory of Kubernetes manifests")
    return _of_directory(directory, lambda: [str(kubectl), "kustomize"])


def load_any(what: str, renderer: Renderer, stdin: BinaryIO) -> list[KubeObject]:
    """The objects of a directory, of one file, or of a stream.

    Args:
        what: a path, or `-`.
        renderer: asked where there is a kustomization.
        stdin: read for `-`.

    Raises:
        UsageError: one sentence on what is wrong with it. InfraError: there is nothing to render a kustomization with.
    """
    if what == STDIN:
        if stdin.isatty():
            said = "nothing is piped into the command"
            raise UsageError(said, remedy="for example: helm template CHART | chroma-qualify lint -")
        return _all_of(stdin.read(MOST_BYTES + 1), "the standard input")
    path = Path(what)
    try:
        if path.is_dir():
            return _of_directory(path, renderer)
        if path.name in KUSTOMIZATIONS and path.is_file():
            return _of_directory(path.parent, renderer)
        path.stat()
        return _all_of(_bytes(path), what)
    except FileNotFoundError:
        raise UsageError(f"there is no {what}", remedy="name a directory or a file of Kubernetes manifests") from None
    except OSError as error:
        raise UsageError(f"{what} cannot be read: {error.strerror or error}") from None
    except ValueError:  # a zero byte in the name
        raise UsageError(f"{what!r} is no name of a file") from None


def find_renderer() -> Sequence[str]:
    """What renders a kustomization: the kubectl that was built for runs, else kubectl or kustomize of PATH.

    Raises:
        InfraError: there is none.
    """
    if (built := built_kubectl()) is not None:
        return [str(built), "kustomize"]
    if there := shutil.which("kubectl"):
        return [there, "kustomize"]
    if there := shutil.which("kustomize"):
        return [there, "build"]
    raise InfraError(
        "a kustomization must be rendered, and there is neither kubectl nor kustomize",
        remedy="install kubectl, or run `make images`, or pipe what another machine has rendered into "
        "`chroma-qualify lint -`",
    )


def built_kubectl() -> Path | None:
    """The kubectl of an earlier build, whichever of the two ways to images made it."""
    from chroma_qualify.cluster.images.catalog import load_catalog
    from chroma_qualify.cluster.images.golang import program_dir

    try:
        modules = load_catalog().go
    except QualifyError:  # the package is not run from a checkout
        return None
    for name in ("kubernetes", "kubectl"):
        program = program_dir(modules[name]) / "kubectl"
        if shutil.which(program):
            return program
    return None


def kustomize(directory: Path, renderer: Sequence[str]) -> list[KubeObject]:
    """What a kustomization renders to; raises UsageError with the innermost of kustomize's reasons."""
    command = [*renderer, str(directory)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_KUSTOMIZE_SECONDS, check=False)
    except OSError as error:
        raise InfraError(f"{command[0]} cannot be run: {error.strerror}", remedy="install kubectl") from None
    except subprocess.TimeoutExpired:
        said = f"kustomize did not render {directory} within {_KUSTOMIZE_SECONDS:.0f} s"
        raise UsageError(said, remedy="look for a resource that it must fetch from a network") from None
    if done.returncode != 0:
        raise _kustomize_error(directory, done.stderr.decode(errors="replace"))
    return list(_objects(done.stdout.decode(errors="replace"), str(directory)))


def plain_objects(directory: Path) -> list[KubeObject]:
    """The objects in a directory of plain YAML; raises UsageError for what cannot be read."""
    if (directory / "Chart.yaml").is_file():
        remedy = f"render it first: helm template NAME {directory} | chroma-qualify lint -, or > DIR/all.yaml"
        raise UsageError(f"{directory} is a chart of Helm, not manifests", remedy=remedy)
    paths = yaml_files(directory) or _below(directory)
    if not paths:
        raise UsageError(f"{directory} holds no YAML file", remedy="name a directory of Kubernetes manifests")
    found = [obj for path in paths for obj in _objects(decode(_bytes(path), str(path)), str(path))]
    return _some(found, str(directory))


def yaml_files(directory: Path) -> list[Path]:
    """The manifests of a directory, in the order of their names; what is ours is none."""
    ours = (QUALIFICATION, WAIVERS)
    found = (path for path in directory.iterdir() if path.suffix in {".yaml", ".yml"} and path.name not in ours)
    return sorted(path for path in found if path.is_file())


def first_broken_file(directory: Path, seen: frozenset[Path] = frozenset()) -> UsageError | None:
    """The first file that is no YAML at all, in this directory or those its kustomization names."""
    directory = directory.resolve()
    if directory in seen:
        return None
    for path in [directory / name for name in KUSTOMIZATIONS] + yaml_files(directory):
        if not path.is_file():
            continue
        try:
            values = [document.value for document in documents(decode(_bytes(path), str(path)), str(path))]
        except UsageError as error:
            return error
        if path.name not in KUSTOMIZATIONS or not values or not isinstance(values[0], dict):
            continue
        for entry in named_by(values[0]):
            if (directory / entry).is_dir():
                found = first_broken_file(directory / entry, seen | {directory})
                if found is not None:
                    return found
    return None


def named_by(kustomization: Any) -> list[str]:  # noqa: ANN401 (anything can be in a YAML file)
    """The files and directories that a kustomization takes objects from."""
    fields = kustomization if isinstance(kustomization, dict) else {}
    lists = (fields.get(key) for key in ("resources", "components", "bases"))
    return [entry for each in lists if isinstance(each, list) for entry in each if isinstance(entry, str)]


def _of_directory(directory: Path, renderer: Renderer) -> list[KubeObject]:
    try:
        if not any((directory / name).is_file() for name in KUSTOMIZATIONS):
            return plain_objects(directory)
        for path in yaml_files(directory):  # kustomize would read them whole
            if path.stat().st_size > MOST_BYTES:
                decode(_bytes(path), str(path))
    except OSError as error:
        raise UsageError(f"{error.filename or directory} cannot be read: {error.strerror}") from None
    return kustomize(directory, renderer())


def _below(directory: Path) -> list[Path]:
    """The files of all directories below one that has none itself, as `helm template --output-dir` leaves them.

    Raises:
        UsageError: there are kustomizations below: which one is meant? Or more files than manifests would be.
    """
    found: list[Path] = []
    kustomizations: list[Path] = []
    for number, (place, inner, names) in enumerate(os.walk(directory)):
        if number > _MOST_DIRECTORIES:
            remedy = "name the directory that holds the manifests"
            raise UsageError(f"{directory} holds more than {_MOST_DIRECTORIES} directories", remedy=remedy)
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        kustomizations += [Path(place)] if set(KUSTOMIZATIONS) & set(names) else []
        found += yaml_files(Path(place))
    if kustomizations:
        where = ", ".join(str(path) for path in kustomizations[:5])
        raise UsageError(f"{directory} holds no manifests itself, but below it: {where}", remedy="name one of them")
    return found


def _bytes(path: Path) -> bytes:
    """At most one byte more than is taken: a device has no end."""
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _all_of(data: bytes, name: str) -> list[KubeObject]:
    return _some(list(_objects(decode(data, name), name)), name)


def _some(found: list[KubeObject], name: str) -> list[KubeObject]:
    if not found:
        raise UsageError(f"{name} holds no Kubernetes object", remedy="name manifests that `kubectl apply` takes")
    return found


def _objects(text: str, source: str) -> Iterator[KubeObject]:
    """The Kubernetes objects of a YAML stream; a List is taken apart, empty documents are left out."""
    for document in documents(text, source):
        if document.value is None:
            continue
        if not _is_object(document.value):
            said = f"{source}: document {document.number} is no Kubernetes object (apiVersion, kind or name missing)"
            raise UsageError(said)
        if not _is_list(document.value):
            yield document.value
            continue
        for item in document.value["items"] or ():
            if not _is_object(item):
                said = f"{source}: document {document.number} is a list, of which an item is no Kubernetes object"
                raise UsageError(said)
            yield item


def _is_object(document: Any) -> bool:  # noqa: ANN401 (anything can be in a YAML file)
    if not isinstance(document, dict) or not document.get("apiVersion") or not document.get("kind"):
        return False
    metadata = document.get("metadata")
    return _is_list(document) or (isinstance(metadata, dict) and bool(metadata.get("name")))


def _is_list(document: dict[str, Any]) -> bool:
    """A List, also of one kind, as PodList."""
    return str(document["kind"]).endswith("List") and isinstance(document.get("items", ""), list | NoneType)


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
