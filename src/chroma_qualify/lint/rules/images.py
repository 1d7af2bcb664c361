"""Which Chroma will start. `engine` runs these.

A newer Chroma migrates the database when it starts, and an older one then panics on it: which version starts is not to
be left to a tag that moves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import Image, KubeObject, chroma_workloads, is_before_1_0, is_published

_MOVES = re.compile(
    r"(.*[-_.])?(latest|main|master|trunk|head|develop|dev|edge|nightly|canary|stable|snapshot|next)", re.IGNORECASE
)
_WHOLE = re.compile(r"\d+\.\d+\.\d+")
_PARTIAL = re.compile(r"v?\d+(\.\d+)?")


def mutable_image(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `mutable-image`: no tag, or one that moves."""
    for workload in chroma_workloads(objects):
        for container in workload.chroma_containers:
            image = str(container.get("image") or "")
            tag = Image.parse(image).tag
            if "@" in image or not image:
                continue
            if not tag:
                severity, why = Severity.FAIL, "has no tag, so it is `latest`"
            elif _MOVES.fullmatch(tag) and not _WHOLE.search(tag):
                severity, why = Severity.FAIL, f"has a tag that moves ({tag})"
            elif is_published(container) and _PARTIAL.fullmatch(tag):
                severity, why = Severity.NOTE, f"has a tag that names no whole version ({tag})"
            else:
                continue
            yield Finding(
                "mutable-image",
                severity,
                f"The image of container {container.get('name')} of {workload.reference} {why}: a restart may start a "
                "newer Chroma, which migrates the database, and there is no way back.",
                f"image: {image}",
                "Name a whole version, like chromadb/chroma:1.5.9, or a digest.",
                workload.reference,
                path=f"{workload.path_of(container)}.image",
            )


def old_chroma(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `old-chroma`: a server of 0.x."""
    for workload in chroma_workloads(objects):
        for container in workload.chroma_containers:
            if is_before_1_0(container):
                yield Finding(
                    "old-chroma",
                    Severity.NOTE,
                    f"{workload.reference} runs Chroma 0.x: clients of 1.x cannot talk to it, and its Python server is "
                    "what the open advisories are about.",
                    f"image: {container.get('image')}",
                    "Upgrade to 1.x after a backup: its database is migrated, and there is no way back without one.",
                    workload.reference,
                    path=f"{workload.path_of(container)}.image",
                )
