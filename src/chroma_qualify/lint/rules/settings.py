"""Settings that a Chroma 1.x server does not read. `engine` runs this.

Only authentication for now: people who set it believe that they are protected.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import (
    KubeObject,
    Workload,
    at,
    chroma_workloads,
    find,
    is_before_1_0,
    mapping,
    mappings,
    reference,
)

_AUTH_VARIABLE = re.compile(r"CHROMA_(SERVER_)?AUTH[NZ]?_\w+")
_AUTH_KEY = re.compile(r"(chroma_)?(server_)?auth[nz]?(_\w+)?", re.IGNORECASE)
_OFF = ("", "none", "false")


def ignored_setting(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `ignored-setting`: authentication of Chroma 0.x on a server that has none."""
    for workload in chroma_workloads(objects):
        for container in workload.chroma_containers:
            if is_before_1_0(container):
                continue
            for source, names in _settings(objects, workload, container):
                if names:
                    yield Finding(
                        rule="ignored-setting",
                        severity=Severity.FAIL,
                        message=f"{source} sets up Chroma 0.x authentication, which Chroma 1.x ignores: "
                        "whoever reaches the port needs no credential.",
                        evidence=f"{', '.join(sorted(names))} (values not shown)",
                        remedy="Remove these settings, and put an authenticating proxy in front of Chroma.",
                        object=source,
                    )


def _settings(
    objects: Sequence[KubeObject], workload: Workload, container: Mapping[str, Any]
) -> Iterator[tuple[str, set[str]]]:
    """(`Kind/name` of the source, authentication settings in it) for all that this container reads."""
    yield (
        workload.reference,
        {
            str(variable.get("name"))
            for variable in mappings(container.get("env"))
            if _AUTH_VARIABLE.fullmatch(str(variable.get("name")))
            and ("valueFrom" in variable or _on(variable.get("value")))
        },
    )
    for entry in mappings(container.get("envFrom")):
        prefix = str(entry.get("prefix") or "")
        for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            found = find(objects, kind, str(at(entry, field, "name")), workload.namespace)
            if found is not None:
                yield (
                    reference(found),
                    {
                        prefix + str(key)
                        for key, value in _data(found).items()
                        if _AUTH_VARIABLE.fullmatch(prefix + str(key)) and _on(value)
                    },
                )
    for mount in mappings(container.get("volumeMounts")):
        volume = workload.volume(str(mount.get("name")))
        for kind, name in (
            ("ConfigMap", at(volume, "configMap", "name")),
            ("Secret", at(volume, "secret", "secretName")),
        ):
            found = find(objects, kind, str(name), workload.namespace)
            if found is not None:
                yield reference(found), {key for text in _files(found) for key in _auth_keys(text)}


def _data(obj: KubeObject) -> Mapping[str, Any]:
    """Keys and values of a ConfigMap or Secret, the latter's in base64 or not: here only the keys matter."""
    return {**mapping(obj.get("data")), **mapping(obj.get("stringData"))}


def _files(obj: KubeObject) -> list[object]:
    """The contents as a pod sees them."""
    if obj.get("kind") != "Secret":
        return list(_data(obj).values())
    encoded = [text for text in mapping(obj.get("data")).values() if isinstance(text, str)]
    return [*mapping(obj.get("stringData")).values(), *map(_decoded, encoded)]


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text).decode(errors="replace")
    except ValueError:
        return ""


def _auth_keys(text: object) -> set[str]:
    """The authentication keys at the top of a YAML or JSON file; none where it is something else."""
    try:
        parsed = mapping(yaml.safe_load(text)) if isinstance(text, str) else {}
    except (yaml.YAMLError, ValueError):
        return set()
    return {str(key) for key, value in parsed.items() if _AUTH_KEY.fullmatch(str(key)) and _on(value)}


def _on(value: object) -> bool:
    """Whether a setting says something: an empty or null provider is how 0.x was told to have none."""
    return value is not None and str(value).strip().lower() not in _OFF
