"""Whether SQLite finds a temporary directory. `engine` runs this."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import KubeObject, Workload, at, chroma_workloads, mappings

_NEVER_WRITABLE = frozenset({"configMap", "downwardAPI", "image", "projected", "secret"})
# Where SQLite looks, in this order, before the working directory.
_VARIABLES = ("SQLITE_TMPDIR", "TMPDIR")
_DIRECTORIES = ("/var/tmp", "/usr/tmp", "/tmp")  # noqa: S108 (paths in the container)
_ELSEWHERE = "valueFrom"


def no_writable_tmp(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `no-writable-tmp`: a read-only root file system and no writable place for SQLite's temporary files."""
    for workload in chroma_workloads(objects):
        for container in workload.chroma_containers:
            if at(container, "securityContext", "readOnlyRootFilesystem") is not True:
                continue
            if not any(_writable(workload, container, directory) for directory in _candidates(container)):
                yield Finding(
                    rule="no-writable-tmp",
                    severity=Severity.FAIL,
                    message=f"Container {container.get('name')} has a read-only root file system and no writable /tmp: "
                    "on a fresh volume Chroma stops at start, on an existing one it breaks at the first large add.",
                    evidence="securityContext.readOnlyRootFilesystem: true; writable mounts: "
                    + (", ".join(_writable_mounts(workload, container)) or "none"),
                    remedy="Mount an emptyDir on /tmp.",
                    object=workload.reference,
                    path=f"{workload.path_of(container)}.volumeMounts",
                )


def _candidates(container: Mapping[str, Any]) -> list[str]:
    """The directories that SQLite would try; a variable whose value is not in the objects counts as good."""
    variables = [
        _ELSEWHERE if "valueFrom" in variable else str(variable.get("value") or "")
        for variable in mappings(container.get("env"))
        if variable.get("name") in _VARIABLES
    ]
    return [path for path in (*variables, *_DIRECTORIES, str(container.get("workingDir") or "")) if path]


def _writable(workload: Workload, container: Mapping[str, Any], directory: str) -> bool:
    if directory == _ELSEWHERE:
        return True
    path = PurePosixPath(directory)
    covering = [mount for mount in mappings(container.get("volumeMounts")) if path.is_relative_to(_path(mount))]
    innermost = max(covering, key=lambda mount: len(_path(mount).parts), default=None)
    return innermost is not None and _is_writable(workload, innermost)


def _writable_mounts(workload: Workload, container: Mapping[str, Any]) -> list[str]:
    mounts = mappings(container.get("volumeMounts"))
    return [str(_path(mount)) for mount in mounts if _is_writable(workload, mount)]


def _is_writable(workload: Workload, mount: Mapping[str, Any]) -> bool:
    volume = workload.volume(str(mount.get("name")))
    return mount.get("readOnly") is not True and not _NEVER_WRITABLE.intersection(volume)


def _path(mount: Mapping[str, Any]) -> PurePosixPath:
    return PurePosixPath(str(mount.get("mountPath") or "/nowhere"))
