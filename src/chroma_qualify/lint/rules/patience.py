"""Whether probes and deadlines leave a busy server its time. `engine` runs these.

Measured with Chroma 1.5.9 under heavy ingest (eight writers of 250 x 1,536 dimensions) and a CPU limit of 500m: the
heartbeat takes 1.8 s (median), 5.5 s (95th percentile). The work is bound by CPU, so for another limit these are taken
in proportion; without a limit nothing is said. SIGTERM: 12.7 s for a 5,000 x 1,536 add on two CPUs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import KubeObject, Workload, at, chroma_workloads, mapping, quantity, strings, whole

_MEDIAN, _P95, _AT_CPU = 1.8, 5.5, 0.5  # s, s, cores
_DRAIN, _DRAIN_CPU = 12.7, 2.0  # s, cores
_DEFAULT_GRACE = 30  # s, of Kubernetes
_EAGER = 30  # s


def _containers(objects: Sequence[KubeObject]) -> Iterator[tuple[Workload, Mapping[str, Any]]]:
    for workload in chroma_workloads(objects):
        for container in workload.chroma_containers:
            yield workload, container


def _cpu(container: Mapping[str, Any]) -> float | None:
    """The CPU limit in cores, or None."""
    return quantity(at(container, "resources", "limits", "cpu")) or None


def _asks_chroma(probe: Mapping[str, Any]) -> bool:
    """Whether it waits for Chroma's answer; a TCP connection is accepted by the kernel, however busy Chroma is."""
    return any("/api/" in word for word in (str(at(probe, "httpGet", "path")), *strings(at(probe, "exec", "command"))))


def probe_timeout(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `probe-timeout`: under load, a server that is well does not answer in time."""
    for workload, container in _containers(objects):
        cpu = _cpu(container)
        for probe in ("readinessProbe", "livenessProbe"):
            asked = mapping(container.get(probe))
            if cpu is None or not _asks_chroma(asked):
                continue
            timeout = whole(asked.get("timeoutSeconds"), 1)
            median, p95 = _MEDIAN * _AT_CPU / cpu, _P95 * _AT_CPU / cpu
            if timeout >= p95:
                continue
            kills = probe == "livenessProbe" and timeout < median
            harm = "the server is restarted" if probe == "livenessProbe" else "the server is taken out of its Service"
            yield Finding(
                "probe-timeout",
                Severity.FAIL if kills else Severity.NOTE,
                f"The {probe} of container {container.get('name')} of {workload.reference} waits {timeout} s, and "
                f"under heavy ingest at this CPU limit the heartbeat takes {median:.1f} s (median) to {p95:.1f} s "
                f"(p95): after {whole(asked.get('failureThreshold'), 3)} in a row {harm}, though it is well.",
                f"timeoutSeconds: {asked.get('timeoutSeconds', 'not set, so 1')}; CPU limit: "
                f"{at(container, 'resources', 'limits', 'cpu')}",
                f"Set timeoutSeconds to {_least(p95)} or more, or raise the CPU limit.",
                workload.reference,
                path=f"{workload.path_of(container)}.{probe}.timeoutSeconds",
            )


def liveness_eager(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `liveness-eager`: the server is restarted after a few seconds without an answer."""
    for workload, container in _containers(objects):
        probe = mapping(container.get("livenessProbe"))
        if not _asks_chroma(probe):
            continue
        period, failures = whole(probe.get("periodSeconds"), 10), whole(probe.get("failureThreshold"), 3)
        if period * failures < _EAGER:
            yield Finding(
                "liveness-eager",
                Severity.NOTE,
                f"Container {container.get('name')} of {workload.reference} is restarted after {period * failures} s "
                "without a heartbeat: a restart helps only a process that hangs, and costs a busy one its work.",
                f"periodSeconds: {period}; failureThreshold: {failures}",
                f"Let periodSeconds x failureThreshold be {_EAGER} s at least; two minutes are better.",
                workload.reference,
                path=f"{workload.path_of(container)}.livenessProbe",
            )


def liveness_on_data(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `liveness-on-data`: a restart as the answer to what a restart does not mend."""
    for workload, container in _containers(objects):
        path = str(at(container, "livenessProbe", "httpGet", "path") or "")
        if "/tenants/" in path or "/collections" in path or path.rstrip("/").endswith("/databases"):
            yield Finding(
                "liveness-on-data",
                Severity.NOTE,
                f"The livenessProbe of container {container.get('name')} of {workload.reference} asks for data: a "
                "locked database or a damaged collection restarts the server, which mends neither.",
                f"livenessProbe.httpGet.path: {path}",
                "Ask /api/v2/heartbeat, and watch the data with a canary that alerts.",
                workload.reference,
                path=f"{workload.path_of(container)}.livenessProbe.httpGet.path",
            )


def no_readiness_probe(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `no-readiness-probe`: clients are sent to a server that does not listen yet."""
    for workload, container in _containers(objects):
        # A pod is ready when all its containers are: a proxy's probe may ask for both.
        if not any(mapping(one.get("readinessProbe")) for one in workload.containers):
            yield Finding(
                "no-readiness-probe",
                Severity.NOTE,
                f"Container {container.get('name')} of {workload.reference} has no readinessProbe: its Service sends "
                "requests to it before it listens.",
                "readinessProbe: not set",
                "Add one: httpGet on /api/v2/heartbeat, timeoutSeconds: 10.",
                workload.reference,
                path=f"{workload.path_of(container)}.readinessProbe",
            )


def no_liveness_probe(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `no-liveness-probe`: a server that hangs is left alone."""
    for workload, container in _containers(objects):
        if not mapping(container.get("livenessProbe")):
            yield Finding(
                "no-liveness-probe",
                Severity.NOTE,
                f"Container {container.get('name')} of {workload.reference} has no livenessProbe: without free file "
                "descriptors, for one, Chroma accepts nothing more and does not end.",
                "livenessProbe: not set",
                "Add one: httpGet on /api/v2/heartbeat, periodSeconds: 20, timeoutSeconds: 15, failureThreshold: 6.",
                workload.reference,
                path=f"{workload.path_of(container)}.livenessProbe",
            )


def grace_too_short(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `grace-too-short`: the server is killed while it finishes what it has begun."""
    for workload, container in _containers(objects):
        given = workload.pod.get("terminationGracePeriodSeconds")
        grace = whole(given, _DEFAULT_GRACE)
        cpu = _cpu(container)
        needed = _DRAIN * max(1.0, _DRAIN_CPU / cpu) if cpu else _DRAIN
        if grace >= needed:
            continue
        yield Finding(
            "grace-too-short",
            Severity.FAIL if grace < _DRAIN else Severity.NOTE,
            f"{workload.reference} gives Chroma {grace} s to end, and the largest add takes {needed:.0f} s at this CPU "
            "limit: a kill in the middle of a write can damage the index.",
            f"terminationGracePeriodSeconds: {f'not set, so {grace}' if given is None else given}; CPU limit: "
            f"{at(container, 'resources', 'limits', 'cpu') or 'none'}",
            f"Set terminationGracePeriodSeconds to {_least(needed)} or more: an idle server ends in 0.3 s anyway.",
            workload.reference,
            path=f"{workload.pod_path}.terminationGracePeriodSeconds",
        )


def _least(seconds: float) -> int:
    return int(seconds) + 1
