"""Whether a node can be drained. `engine` runs this.

A PodDisruptionBudget that a single server can never meet protects nothing: its pod is never evicted, so every drain of
the node, and with it every upgrade of the cluster, waits for ever.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import (
    KubeObject,
    Workload,
    at,
    autoscalers,
    chroma_workloads,
    mapping,
    namespace_of,
    of_kind,
    reference,
    selects,
    whole,
)
from chroma_qualify.lint.rules.data import replicas_apart
from chroma_qualify.lint.rules.volumes import two_servers_one_volume


def pdb_blocks_drain(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `pdb-blocks-drain`: a PodDisruptionBudget that never lets the last pod of a Chroma workload go."""
    for workload in chroma_workloads(objects):
        replicas = _least_replicas(objects, workload)
        for budget in of_kind(objects, "PodDisruptionBudget"):
            selector = at(budget, "spec", "selector")
            if namespace_of(budget) != workload.namespace or not mapping(selector):
                continue
            if not selects(selector, workload.labels) or not (why := _blocks(mapping(budget.get("spec")), replicas)):
                continue
            yield Finding(
                rule="pdb-blocks-drain",
                severity=Severity.FAIL,
                message=f"{reference(budget)} lets no pod of {workload.reference} be evicted, so a drain of its node "
                "never ends.",
                evidence=f"{why}; {replicas} replica{'s' if replicas != 1 else ''}",
                remedy="Set maxUnavailable to 1 in place of minAvailable: Chroma is away while its pod moves, with or "
                "without a budget.",
                object=reference(budget),
                path="spec.minAvailable" if why.startswith("min") else "spec.maxUnavailable",
            )


def pdb_missing(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `pdb-missing`: several servers, and a drain may take all of them at once.

    A single server is away while its pod moves, with or without a budget, so there none is missed. Servers that share a
    volume, or that answer apart behind one Service, have other rules: there must not be several.
    """
    for workload in chroma_workloads(objects):
        replicas = _least_replicas(objects, workload)
        budgets = of_kind(objects, "PodDisruptionBudget")
        covered = any(
            namespace_of(budget) == workload.namespace and selects(at(budget, "spec", "selector"), workload.labels)
            for budget in budgets
        )
        if workload.kind not in ("Deployment", "StatefulSet") or replicas < 2 or covered:
            continue
        if list(two_servers_one_volume(objects)) or list(replicas_apart(objects)):
            continue
        yield Finding(
            "pdb-missing",
            Severity.NOTE,
            f"A drain may evict all {replicas} servers of {workload.reference} at once, for no PodDisruptionBudget "
            "selects them.",
            f"{replicas} replicas; {len(budgets)} PodDisruptionBudgets, none for labels {dict(workload.labels)}",
            "Add a PodDisruptionBudget with maxUnavailable: 1.",
            workload.reference,
            path="spec.replicas",
        )


def _least_replicas(objects: Sequence[KubeObject], workload: Workload) -> int:
    """How many pods there are when there are fewest."""
    least = [
        whole(at(scaler.source, "spec", "minReplicas"), 1)
        for scaler in autoscalers(objects, workload)
        if scaler.source.get("kind") == "HorizontalPodAutoscaler"
    ]
    return min(least) if least else whole(at(workload.source, "spec", "replicas"), 1)


def _blocks(spec: KubeObject, replicas: int) -> str:
    """Which field leaves no pod that may be evicted, or ""."""
    if replicas < 1:
        return ""
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if least is not None and (count := _count(least, replicas)) is not None and count >= replicas:
        return f"minAvailable: {least}"
    if most is not None and _count(most, replicas) == 0:
        return f"maxUnavailable: {most}"
    return ""


def _count(value: object, replicas: int) -> int | None:
    """Pods that a number or a percentage means; Kubernetes rounds both fields up. None: it is neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    percent = re.fullmatch(r"(\d{1,9})%", value) if isinstance(value, str) else None
    return math.ceil(int(percent[1]) * replicas / 100) if percent else None
