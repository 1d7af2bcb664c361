"""Servers that are killed for memory, or about to be."""

from __future__ import annotations

from collections.abc import Iterator

from chroma_qualify.deployment import causes
from chroma_qualify.doctor.diagnosis import Diagnosis, Issue
from chroma_qualify.doctor.look import Patient, Server, quantity
from chroma_qualify.doctor.rules.starting import pod_state
from chroma_qualify.lint.objects import at, mappings, name_of, reference

_NEAR = 0.9  # of the limit
MEBIBYTE = 2**20
# Measured at 384 and 1,536 dimensions; see manifests/base/deployment.yaml and docs/how-to/troubleshooting.md.
SIZING = (
    "raise the memory limit (resources.limits.memory): the server needs 130 MiB + vectors x dimensions x 8 bytes, over "
    "all collections used since it started; Chroma's documented floor is 2Gi"
)


def memory(patient: Patient) -> Iterator[Diagnosis]:
    """Issue `out of memory`."""
    for server in patient.servers:
        killed = set()
        for pod in server.pods:
            for cause in causes.oom_kills(pod_state(patient, server, pod), [pod]):
                killed.add(name_of(pod))
                yield Diagnosis(Issue.MEMORY, cause.rule, cause.message, cause.evidence, SIZING, cause.object)
        yield from _near(server, killed)
        if not server.ready:
            for pod in server.pods:
                if at(pod, "status", "reason") == "Evicted":
                    message = f"pod {name_of(pod)} was evicted: {causes.one_line(str(at(pod, 'status', 'message')))}"
                    yield Diagnosis(
                        Issue.MEMORY,
                        "evicted",
                        message,
                        str(at(pod, "status", "message")),
                        "request what the server needs (resources.requests), or give the node more",
                        reference(pod),
                    )


def _near(server: Server, killed: set[str]) -> Iterator[Diagnosis]:
    for use in server.memory:
        pod = next(pod for pod in server.pods if name_of(pod) == use.pod)
        containers = mappings(at(pod, "spec", "containers"))
        limits = {c.get("name"): at(c, "resources", "limits", "memory") for c in containers}
        limit = quantity(limits.get(use.container))
        if limit and use.bytes >= _NEAR * limit and use.pod not in killed:
            yield Diagnosis(
                Issue.MEMORY,
                "memory-near-limit",
                f"container {use.container} of pod {use.pod} takes {use.bytes / MEBIBYTE:.0f} MiB of its limit of "
                f"{limit / MEBIBYTE:.0f} MiB: at the limit the kernel kills it",
                f"working set {use.bytes} bytes; limit {limits[use.container]}",
                SIZING,
                f"Pod/{use.pod}",
            )
