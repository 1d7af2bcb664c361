"""The schemas that manifests are held against: those of Kubernetes, and of the definitions that a cluster gets.

The package kubernetes-validate brings the first, for every version; the second come from the add-ons' crds.yaml where
that has been rendered. Read by `linting`, and by scenarios. Each file is opened when it is first
asked for, so that a lint takes a fraction of a second.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import referencing
import yaml
from kubernetes_validate.utils import all_versions, schema_contents

from chroma_qualify.cluster.images.addons import addon_dir
from chroma_qualify.cluster.images.catalog import load_catalog
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
            contents = schema_contents(f"{_directory(self.version)}/{name}.json", self.version)
        except FileNotFoundError:
            return None
        if contents["properties"].get("kind", {}).get("enum") != [kind]:
            return None  # the file's name is in small letters, kinds are not
        return _validator(contents, _common(self.version))

    def _defined(self, api_version: str, kind: str) -> Schema | None:
        for text in _documents(self._definitions):
            if re.search(rf'^ +"?kind"?: "?{re.escape(kind)}"?,?$', text, re.MULTILINE):  # YAML, or JSON as YAML
                schema = crd_schemas([yaml.load(text, Loader=_LOADER)]).get((api_version, kind))  # noqa: S506 (safe)
                if schema is not None:
                    return _validator(schema, referencing.Registry())
        return None


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


def _directory(version: str) -> str:
    return f"kubernetes-json-schema/v{version}-local-strict"


@functools.cache
def _common(version: str) -> Any:  # noqa: ANN401 (jsonschema's registry)
    """What the schemas of all kinds refer to."""
    common = referencing.Resource.from_contents(schema_contents(f"{_directory(version)}/_definitions.json", version))
    return common @ referencing.Registry()


def _validator(contents: Any, registry: Any) -> Schema:  # noqa: ANN401 (a JSON schema, and jsonschema's registry)
    schema: Schema = jsonschema.Draft202012Validator(contents, registry=registry)
    return schema


def _documents(path: Path | None) -> Iterator[str]:
    """The YAML documents of a file, not yet parsed: of megabytes a lint needs one or two."""
    if path is not None and path.is_file():
        yield from re.split(r"^---$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
