"""Whether the server has the memory that its index needs. `engine` runs these.

Chroma keeps every index that it used since it started. Measured at 384 and 1,536 dimensions, with documents and while
written: 130 MiB + vectors x dimensions x 8 bytes. Chroma's own figure (0.245 million vectors of 1,024 dimensions for
each GB) is half of that for the index alone; it says, too, that less than 2 GB is not recommended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import KubeObject, Workload, at, chroma_workloads, mappings, of_kind, quantity
from chroma_qualify.lint.settings import Settings

VECTORS, DIMENSIONS = "chroma-qualify/vectors", "chroma-qualify/dimensions"
"""Annotations of the workload: what the server is to hold, by the one who wrote its memory limit."""

_BASE, _BYTES = 130 * 2**20, 8
_FLOOR = 2e9  # bytes
_MIB = 2**20


def memory_too_small(objects: Sequence[KubeObject], settings: Settings) -> Iterator[Finding]:
    """Rule `memory-too-small`: the memory limit is under what the stated number of vectors needs."""
    for workload, container, limit in _limits(objects):
        vectors, dimensions, who = stated(workload, settings)
        needed = _BASE + vectors * dimensions * _BYTES
        if vectors and limit is not None and limit < needed:
            yield Finding(
                "memory-too-small",
                Severity.FAIL,
                f"{vectors:,} vectors of {dimensions} dimensions need {needed / _MIB:,.0f} MiB, and container "
                f"{container.get('name')} of {workload.reference} may take {limit / _MIB:,.0f} MiB: the kernel kills "
                "it, and again after each restart.",
                f"resources.limits.memory: {at(container, 'resources', 'limits', 'memory')}; {who}; 130 MiB + vectors "
                "x dimensions x 8 bytes",
                f"Raise the memory limit to {needed / _MIB:,.0f}Mi or more.".replace(",", ""),
                workload.reference,
                path=f"{workload.path_of(container)}.resources.limits.memory",
            )


def memory_below_floor(objects: Sequence[KubeObject], settings: Settings) -> Iterator[Finding]:
    """Rule `memory-below-floor`: less than Chroma's documentation asks for, and nobody said that it is enough."""
    for workload, container, limit in _limits(objects):
        if limit is not None and limit < _FLOOR and not stated(workload, settings)[0]:
            holds = max(0, int((limit - _BASE) / (384 * _BYTES)))
            yield Finding(
                "memory-below-floor",
                Severity.NOTE,
                f"Container {container.get('name')} of {workload.reference} may take {limit / _MIB:,.0f} MiB; Chroma's "
                f"documentation asks for 2 GB at least. It holds some {holds:,} vectors of 384 dimensions.",
                f"resources.limits.memory: {at(container, 'resources', 'limits', 'memory')}",
                f"Raise the limit to 2Gi, or say what it is to hold: the annotation {VECTORS} (and {DIMENSIONS}) of "
                f"{workload.reference}, or `lint --vectors`; then that is judged instead.",
                workload.reference,
                path=f"{workload.path_of(container)}.resources.limits.memory",
            )


def memory_unlimited(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `memory-unlimited`: an index that grows takes its node's memory, and others' with it."""
    for workload, container, limit in _limits(objects):
        if limit is None and not _defaulted(objects, workload):
            yield Finding(
                "memory-unlimited",
                Severity.NOTE,
                f"Container {container.get('name')} of {workload.reference} has no memory limit, and Chroma keeps "
                "every index that it used: when its node has no more, the kernel chooses whom to kill.",
                "resources.limits.memory: not set",
                "Set it to 130 MiB + vectors x dimensions x 8 bytes, and the request to the same.",
                workload.reference,
                path=f"{workload.path_of(container)}.resources.limits.memory",
            )


def stated(workload: Workload, settings: Settings) -> tuple[int, int, str]:
    """(vectors, dimensions, who says so); 0 vectors: nobody does."""
    if settings.vectors:
        return settings.vectors, settings.dimensions, "vectors as asked"
    annotations = at(workload.source, "metadata", "annotations")
    vectors, dimensions = str(at(annotations, VECTORS) or ""), str(at(annotations, DIMENSIONS) or "")
    if not (vectors.isdecimal() and len(vectors) < 15):
        return 0, settings.dimensions, ""
    number = int(dimensions) if dimensions.isdecimal() and len(dimensions) < 10 else settings.dimensions
    return int(vectors), number, f"annotation {VECTORS}: {vectors}"


def _limits(objects: Sequence[KubeObject]) -> Iterator[tuple[Workload, Mapping[str, Any], float | None]]:
    """(workload, container, its memory limit in bytes or the whole pod's)."""
    for workload in chroma_workloads(objects):
        for container in workload.chroma_containers:
            own = quantity(at(container, "resources", "limits", "memory"))
            yield workload, container, own or quantity(at(workload.pod, "resources", "limits", "memory"))


def _defaulted(objects: Sequence[KubeObject], workload: Workload) -> bool:
    return any(
        at(limit, "default", "memory") is not None
        for obj in of_kind(objects, "LimitRange")
        for limit in mappings(at(obj, "spec", "limits"))
        if str(at(obj, "metadata", "namespace") or "") == workload.namespace
    )
