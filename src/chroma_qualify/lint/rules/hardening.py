"""What a server that is broken into could do in its pod. `engine` runs these.

Chroma needs none of it: it runs as UID 1000 with a read-only root file system, no capability, and no token (measured).
What is a note here is what `restricted` or good custom asks for; root, privileges and the host's namespaces are
failures. Chroma's own containers are judged, and what is the pod's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import KubeObject, Workload, at, chroma_workloads, mapping, of_kind, strings


def _containers(objects: Sequence[KubeObject]) -> Iterator[tuple[Workload, Mapping[str, Any], Mapping[str, Any], str]]:
    """(workload, container, its security context over the pod's, where that context is)."""
    for workload in chroma_workloads(objects):
        for container in workload.chroma_containers:
            own = {**mapping(workload.pod.get("securityContext")), **mapping(container.get("securityContext"))}
            yield workload, container, own, f"{workload.path_of(container)}.securityContext"


def runs_as_root(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `runs-as-root`: UID 0, or the image's own user, which is root."""
    for workload, container, context, path in _containers(objects):
        user = context.get("runAsUser")
        if user == 0 or (user is None and context.get("runAsNonRoot") is not True):
            yield Finding(
                "runs-as-root",
                Severity.FAIL,
                f"Container {container.get('name')} of {workload.reference} runs as root, which Chroma does not "
                "need: its image takes it unless told otherwise.",
                f"runAsUser: {'not set' if user is None else user}; runAsNonRoot: "
                f"{str(context.get('runAsNonRoot', 'not set')).lower()}",
                "Set runAsNonRoot: true, runAsUser: 1000 and fsGroup: 1000.",
                workload.reference,
                path=f"{path}.runAsUser",
            )


def root_writable(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `root-writable`: the container can write to its root file system."""
    for workload, container, context, path in _containers(objects):
        if context.get("readOnlyRootFilesystem") is not True:
            yield Finding(
                "root-writable",
                Severity.NOTE,
                f"Container {container.get('name')} of {workload.reference} can write to its own programs.",
                f"readOnlyRootFilesystem: {str(context.get('readOnlyRootFilesystem', 'not set')).lower()}",
                "Set readOnlyRootFilesystem: true, and mount an emptyDir on /tmp.",
                workload.reference,
                path=f"{path}.readOnlyRootFilesystem",
            )


def holds_capabilities(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `holds-capabilities`: not all capabilities are dropped."""
    for workload, container, context, path in _containers(objects):
        dropped = {word.upper() for word in strings(at(context, "capabilities", "drop"))}
        added = strings(at(context, "capabilities", "add"))
        if "ALL" not in dropped or added:
            yield Finding(
                "holds-capabilities",
                Severity.NOTE,
                f"Container {container.get('name')} of {workload.reference} may hold capabilities, and Chroma needs "
                "none.",
                f"drop: {', '.join(sorted(dropped)) or 'nothing'}; add: {', '.join(added) or 'nothing'}",
                'Set capabilities.drop: ["ALL"], and add none.',
                workload.reference,
                path=f"{path}.capabilities",
            )


def new_privileges(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `new-privileges`: a process may gain more than its parent has."""
    for workload, container, context, path in _containers(objects):
        if context.get("allowPrivilegeEscalation") is not False:
            yield Finding(
                "new-privileges",
                Severity.NOTE,
                f"Processes in container {container.get('name')} of {workload.reference} may gain privileges.",
                f"allowPrivilegeEscalation: {str(context.get('allowPrivilegeEscalation', 'not set')).lower()}",
                "Set allowPrivilegeEscalation: false.",
                workload.reference,
                path=f"{path}.allowPrivilegeEscalation",
            )


def no_seccomp(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `no-seccomp`: every system call is allowed."""
    for workload, container, context, path in _containers(objects):
        profile = at(context, "seccompProfile", "type")
        if profile not in ("RuntimeDefault", "Localhost"):
            yield Finding(
                "no-seccomp",
                Severity.NOTE,
                f"Container {container.get('name')} of {workload.reference} runs without a seccomp filter.",
                f"seccompProfile.type: {profile or 'not set'}",
                "Set seccompProfile.type: RuntimeDefault.",
                workload.reference,
                path=f"{path}.seccompProfile",
            )


def privileged(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `privileged`: the container is one with its node."""
    for workload, container, context, path in _containers(objects):
        if context.get("privileged") is True:
            yield Finding(
                "privileged",
                Severity.FAIL,
                f"Container {container.get('name')} of {workload.reference} is privileged: who breaks into Chroma has "
                "the node.",
                "privileged: true",
                "Remove privileged: Chroma needs nothing of it.",
                workload.reference,
                path=f"{path}.privileged",
            )


def host_namespaces(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `host-namespaces`: the pod shares its node's network, processes or IPC."""
    for workload in chroma_workloads(objects):
        shared = [field for field in ("hostNetwork", "hostPID", "hostIPC") if workload.pod.get(field) is True]
        if shared:
            yield Finding(
                "host-namespaces",
                Severity.FAIL,
                f"The pods of {workload.reference} share namespaces with their node: with hostNetwork no NetworkPolicy "
                "holds, and Chroma, which asks nobody for a credential, listens on the node's addresses.",
                f"{', '.join(f'{field}: true' for field in shared)}",
                f"Remove {' and '.join(shared)}.",
                workload.reference,
                path=f"{workload.pod_path}.{shared[0]}",
            )


def service_account_token(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `service-account-token`: a token for the Kubernetes API that Chroma never uses."""
    for workload in chroma_workloads(objects):
        told = workload.pod.get("automountServiceAccountToken")
        account = str(workload.pod.get("serviceAccountName") or "default")
        of_account = [
            obj.get("automountServiceAccountToken")
            for obj in of_kind(objects, "ServiceAccount")
            if at(obj, "metadata", "name") == account
        ]
        if told is True or (told is None and False not in of_account):
            yield Finding(
                "service-account-token",
                Severity.NOTE,
                f"The pods of {workload.reference} hold a token for the Kubernetes API, and Chroma never calls it.",
                f"automountServiceAccountToken: {str('not set' if told is None else told).lower()}; service account "
                f"{account}",
                "Set automountServiceAccountToken: false in the pod's spec.",
                workload.reference,
                path=f"{workload.pod_path}.automountServiceAccountToken",
            )


def fs_group_missing(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `fs-group-missing`: a user that is not root, and a fresh volume that belongs to root."""
    for workload, container, context, _ in _containers(objects):
        user = context.get("runAsUser")
        other = context.get("runAsNonRoot") is True or (isinstance(user, int) and user > 0)
        if not other or at(workload.pod, "securityContext", "fsGroup") is not None or _prepared(workload):
            continue
        if claimed := [name for name in _mounted(container) if _is_claim(workload, name)]:
            yield Finding(
                "fs-group-missing",
                Severity.NOTE,
                f"The volume {claimed[0]} of {workload.reference} may belong to root, and Chroma runs as another user: "
                "on a fresh block volume it cannot write its database and stops.",
                f"runAsUser: {'of the image' if user is None else user}; fsGroup: not set",
                "Set securityContext.fsGroup in the pod's spec to the group that Chroma runs as.",
                workload.reference,
                path=f"{workload.pod_path}.securityContext.fsGroup",
            )


def _mounted(container: Mapping[str, Any]) -> list[str]:
    mounts = container.get("volumeMounts")
    return [str(mapping(mount).get("name")) for mount in (mounts if isinstance(mounts, list | tuple) else ())]


def _is_claim(workload: Workload, name: str) -> bool:
    templates = at(workload.source, "spec", "volumeClaimTemplates")
    of_template = isinstance(templates, list) and any(at(one, "metadata", "name") == name for one in templates)
    return of_template or "persistentVolumeClaim" in workload.volume(name)


def _prepared(workload: Workload) -> bool:
    """Whether an init container sees to the owner of files."""
    before = workload.pod.get("initContainers")
    words = [
        word
        for container in (before if isinstance(before, list | tuple) else ())
        for field in ("command", "args")
        for word in strings(mapping(container).get(field))
    ]
    return any("chown" in word or "chmod" in word for word in words)
