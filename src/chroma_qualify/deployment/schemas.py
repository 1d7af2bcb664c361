"""The schemas that manifests are held against: those of Kubernetes, and of the definitions that a cluster gets.

The package kubernetes-validate brings the first, for every version; the second come from the add-ons' crds.yaml where
that has been rendered. Read by `linting`, and by scenarios. Each file is opened when it is first
asked for, and what was found in a large one is kept in the user's cache, so that a lint takes a fraction of a second.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import referencing
import yaml

from chroma_qualify.cluster.images.addons import addon_dir
from chroma_qualify.cluster.images.catalog import load_catalog
from chroma_qualify.cluster.images.store import cache_dir, digest
from chroma_qualify.errors import QualifyError, UsageError
from chroma_qualify.lint.schema import Schema, crd_schemas

# libyaml's where there is one: of a definition of Prometheus' the other takes seconds.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BUILT_IN = frozenset(
    {
        "", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps",
        "authentication.k8s.io", "authorization.k8s.io", "autoscaling", "batch", "certificates.k8s.io",
        "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "extensions", "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io", "node.k8s.io", "policy", "rbac.authorization.k8s.io", "resource.k8s.io",
        "scheduling.k8s.io", "storage.k8s.io",
    }
)  # fmt: skip


def cluster_schemas(version: str = "") -> ClusterSchemas:
    """The kinds that a cluster of ours would have; those of the add-ons' definitions only where they are rendered."""
    for each in (version, ""):  # a version that only a registry can have comes with the default's add-ons
        try:
            return ClusterSchemas(version, addon_dir(load_catalog(each or None)) / "crds.yaml")
        except QualifyError:
            continue
    return ClusterSchemas(version)  # not run from a checkout


def refuse_unknown_version(version: str) -> None:
    """The schemas of another version would say what is not so.

    Raises:
        UsageError: there are no schemas of this version of Kubernetes; "" is the newest.
    """
    known = all_versions()
    if version and _numbers(version) not in map(_numbers, known):
        oldest, newest = (each.rpartition(".")[0] for each in (known[0], known[-1]))
        said = f"there are no schemas of Kubernetes {version}"
        raise UsageError(said, remedy=f"there are those of {oldest} to {newest}")


class ClusterSchemas:
    """The kinds of one version of Kubernetes, and those of some CustomResourceDefinitions."""

    def __init__(self, version: str = "", definitions: Path | None = None) -> None:
        """Read nothing yet.

        Args:
            version: of Kubernetes, like 1.37.2; "" or one that is newer than all we have: the newest we have.
            definitions: a file of CustomResourceDefinitions; one that does not exist holds none.
        """
        self.version = _nearest(version)
        self._definitions = definitions
        self._found: dict[tuple[str, str], Schema | None] = {}

    def find(self, api_version: str, kind: str) -> Schema | None:
        """The schema of a kind, or None."""
        key = (api_version, kind)
        if key not in self._found:
            self._found[key] = self._built_in(*key) if self.is_built_in(api_version) else self._defined(*key)
        return self._found[key]

    def is_built_in(self, api_version: str) -> bool:
        """Does the group belong to Kubernetes itself?"""
        return _group(api_version) in _BUILT_IN

    def _built_in(self, api_version: str, kind: str) -> Schema | None:
        if not re.fullmatch(r"[A-Za-z0-9]+", kind) or not re.fullmatch(r"[a-z0-9./-]+", api_version):
            return None
        group, _, version = api_version.rpartition("/")
        name = "-".join(part for part in (kind.lower(), group.partition(".")[0], version) if part)
        try:
            contents = _contents(self.version, name)
        except FileNotFoundError:
            return None
        if contents["properties"].get("kind", {}).get("enum") != [kind]:
            return None  # the file's name is in small letters, kinds are not
        return _validator(contents, _common(self.version))

    def _defined(self, api_version: str, kind: str) -> Schema | None:
        if self._definitions is None or not self._definitions.is_file():
            return None
        kept = _kept_at(self._definitions, api_version, kind)
        try:
            schema = orjson.loads(kept.read_bytes())
        except (OSError, ValueError):
            schema = _defined_in(self._definitions, api_version, kind)
            _keep(kept, schema)
        return None if schema is None else _validator(schema, referencing.Registry())


def _defined_in(definitions: Path, api_version: str, kind: str) -> dict[str, Any] | None:
    """A kind's JSON schema. The documents are not yet parsed: of megabytes a lint needs one or two."""
    named = re.compile(rf'^ +"?kind"?: "?{re.escape(kind)}"?,?$', re.MULTILINE)  # YAML, or JSON as YAML
    for text in re.split(r"^---$", definitions.read_text(encoding="utf-8"), flags=re.MULTILINE):
        if named.search(text):
            schema = crd_schemas([yaml.load(text, Loader=_LOADER)]).get((api_version, kind))  # noqa: S506 (safe)
            if schema is not None:
                return schema
    return None


def _kept_at(definitions: Path, api_version: str, kind: str) -> Path:
    """Where a kind's schema is kept once it was found, or found missing: looking through megabytes takes long."""
    state = definitions.stat()
    key = digest([str(definitions.resolve()), str(state.st_mtime_ns), str(state.st_size), api_version, kind, "v1"])
    return cache_dir() / "schemas" / f"{key}.json"


def _keep(path: Path, schema: dict[str, Any] | None) -> None:
    with contextlib.suppress(OSError):  # a full or read-only disk: it is looked for again the next time
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{os.getpid()}")
        beside.write_bytes(orjson.dumps(schema))
        beside.replace(path)


def _nearest(version: str) -> str:
    """The newest of our versions that is not newer than this one."""
    known = all_versions()
    numbers = _numbers(version) or _numbers(known[-1])
    older = [each for each in known if _numbers(each) <= numbers]
    return str((older or known[:1])[-1])


def _numbers(version: str) -> tuple[int, ...]:
    """Major and minor."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


@functools.cache
def _package() -> Path:
    """Where kubernetes-validate keeps its schemas. It is not imported: that takes longer than to read them."""
    found = importlib.util.find_spec("kubernetes_validate")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "kubernetes-json-schema"


@functools.cache
def all_versions() -> list[str]:
    """The versions whose schemas there are, oldest first."""
    found = (re.fullmatch(r"v([\d.]+)-local-strict", path.name) for path in _package().iterdir())
    return sorted((match[1] for match in found if match), key=_numbers)


def _contents(version: str, name: str) -> Any:  # noqa: ANN401 (a JSON schema)
    return orjson.loads((_package() / f"v{version}-local-strict" / f"{name}.json").read_bytes())


@functools.cache
def _common(version: str) -> Any:  # noqa: ANN401 (jsonschema's registry)
    """What the schemas of all kinds refer to."""
    common = referencing.Resource.from_contents(_contents(version, "_definitions"))
    return common @ referencing.Registry()


def _validator(contents: Any, registry: Any) -> Schema:  # noqa: ANN401 (a JSON schema, and jsonschema's registry)
    schema: Schema = jsonschema.Draft202012Validator(contents, registry=registry)
    return schema
