"""What works for now and is set up wrongly; and all that the linter knows, asked of the objects in the cluster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from chroma_qualify.deployment.objects import KubeObject
from chroma_qualify.doctor.diagnosis import Diagnosis, Issue
from chroma_qualify.doctor.look import Patient, chroma_pods, claims_of
from chroma_qualify.findings import Severity
from chroma_qualify.lint import lint_objects
from chroma_qualify.lint.objects import at, is_before_1_0, mapping, mappings, name_of

# What a rule of the linter shows as; all others are SETUP.
_ISSUES = {
    "loopback-only": Issue.REACHING,
    "unreachable": Issue.REACHING,
    "wrong-target-port": Issue.REACHING,
    "probe-v1-api": Issue.REACHING,
    "no-writable-tmp": Issue.STARTING,
    "service-links": Issue.STARTING,
}


def setup(patient: Patient) -> Iterator[Diagnosis]:
    """Issue `set up wrongly`."""
    for finding in lint_objects(patient.written):
        if finding.severity is Severity.FAIL:
            issue = _ISSUES.get(finding.rule, Issue.SETUP)
            words = (finding.message.removesuffix("."), finding.evidence, finding.remedy)
            yield Diagnosis(issue, finding.rule, *words, object=finding.object)
    yield from _several_running(patient)
    yield from _old(patient)


def _several_running(patient: Patient) -> Iterator[Diagnosis]:
    """More than one server that has one claim open at this moment."""
    users: dict[str, list[str]] = defaultdict(list)
    for pod in chroma_pods(patient.snapshot.objects):
        if any("running" in mapping(status.get("state")) for status in _statuses(pod)):
            for claim in claims_of(pod):
                users[claim].append(name_of(pod))
    for claim, pods in users.items():
        if len(pods) > 1:
            yield Diagnosis(
                Issue.SETUP,
                "two-servers-one-volume",
                f"{len(pods)} Chroma servers run on claim {claim} at this moment: they overwrite each other's index, "
                "and acknowledged vectors are lost without an error",
                f"pods {', '.join(sorted(pods))}",
                "stop writing, scale to one, restart it, and compare the index with the store (get with embeddings)",
                f"PersistentVolumeClaim/{claim}",
            )


def _old(patient: Patient) -> Iterator[Diagnosis]:
    for server in patient.servers:
        if is_before_1_0(server.container):
            image = str(server.container.get("image"))
            yield Diagnosis(
                Issue.SETUP,
                "old-chroma",
                f"{server.workload.reference} runs {image}: clients of Chroma 1.x cannot talk to a server of 0.x",
                f"image: {image}",
                "upgrade to 1.x after a backup: its database is migrated, and there is no way back without one",
                server.workload.reference,
            )


def _statuses(pod: KubeObject) -> list[KubeObject]:
    return list(mappings(at(pod, "status", "containerStatuses")))
