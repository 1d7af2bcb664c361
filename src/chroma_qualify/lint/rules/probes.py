"""Probes of a Chroma server. `engine` runs this."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.lint.objects import (
    KubeObject,
    Workload,
    at,
    chroma_workloads,
    is_before_1_0,
    mapping,
    strings,
)

_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_V1 = re.compile(r"/api/v1(?=$|[/?#\s'\"])")
_V1_PATH = re.compile(rf"{_V1.pattern}[\w/.-]*")  # without its query, which may hold a token


def probe_v1_api(objects: Sequence[KubeObject]) -> Iterator[Finding]:
    """Rule `probe-v1-api`: a probe on `/api/v1`, which every Chroma since 1.0 answers with 410."""
    for workload in chroma_workloads(objects):
        for container in workload.containers:
            for probe in _PROBES:
                evidence = _asks_v1(workload, container, mapping(container.get(probe)))
                if evidence:
                    yield Finding(
                        rule="probe-v1-api",
                        severity=Severity.FAIL,
                        message=f"The {probe} of container {container.get('name')} asks the v1 API, which Chroma 1.x "
                        f"answers with 410, so {_CONSEQUENCE[probe]}.",
                        evidence=f"{probe}.{evidence}",
                        remedy="Ask /api/v2/heartbeat.",
                        object=workload.reference,
                        path=f"{workload.path_of(container)}.{probe}",
                    )


_CONSEQUENCE = {
    "startupProbe": "the server is killed again and again before it counts as started",
    "readinessProbe": "the pod never becomes ready and the Service has no endpoint",
    "livenessProbe": "a healthy server is killed again and again",
}


def _asks_v1(workload: Workload, container: Mapping[str, Any], probe: Mapping[str, Any]) -> str:
    """What of this probe goes to a Chroma 1.x server's v1 API, or ""."""
    path = str(at(probe, "httpGet", "path") or "")
    if _V1.match("/" + path.lstrip("/")):
        # A sidecar may have a v1 API of its own: what counts is who answers on that port.
        port = at(probe, "httpGet", "port")
        owner = workload.answers_on(port) or container
        if workload.runs_chroma(owner) and not is_before_1_0(owner):
            return f"httpGet: port {port}, path {_path('/' + path.lstrip('/'))}"
    command = " ".join(strings(at(probe, "exec", "command")))
    if _V1.search(command) and workload.runs_chroma(container) and not is_before_1_0(container):
        return f"exec: {_path(command)}"
    return ""


def _path(text: str) -> str:
    """The first path of the v1 API in a text, and nothing else: beside it a command may hold a password."""
    return found[0] if (found := _V1_PATH.search(text)) else ""
