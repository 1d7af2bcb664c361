"""A guard that looks at another image than the one that will start guards nothing. `engine` runs this.

The upgrade guard compares the volume's database with one that the *image about to start* makes, in an init container of
that image. `kubectl set image`, or a patch of one of the two, leaves them apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import KubeObject, Workload, chroma_workloads, is_chroma, mappings, strings

_GUARD = "guard"


def guard_of_another_image(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `guard-of-another-image`: the guard's Chroma image and the server's are not the same."""
    for workload in chroma_workloads(objects):
        before = _before_the_server(workload)
        if not any(_GUARD in strings(container.get("args")) for container in before):
            continue
        servers = {str(container.get("image") or "") for container in workload.chroma_containers}
        for container in before:
            image = str(container.get("image") or "")
            if is_chroma(container) and image not in servers:
                yield Finding(
                    rule="guard-of-another-image",
                    severity=Severity.FAIL,
                    message=f"The upgrade guard of {workload.reference} looks at the image {image}, but "
                    f"{' and '.join(sorted(servers))} will start: it cannot tell what that will do.",
                    evidence=f"init container {container.get('name')}: {image}",
                    remedy="Change the image with kustomize's `images:`, which changes both, or name both containers.",
                    object=workload.reference,
                    path=f"{workload.path_of(container)}.image",
                )


def _before_the_server(workload: Workload) -> list[Mapping[str, Any]]:
    """The init containers that end before it starts: not the sidecars."""
    return [c for c in mappings(workload.pod.get("initContainers")) if c.get("restartPolicy") != "Always"]
