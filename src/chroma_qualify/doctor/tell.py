"""What the doctor says: for a person, or as JSON; and the exit code that follows from it."""

from __future__ import annotations

import dataclasses
import enum
import json

from chroma_qualify.doctor.diagnosis import Diagnosis, Issue
from chroma_qualify.doctor.look import Patient, look
from chroma_qualify.doctor.rules import diagnose
from chroma_qualify.doctor.rules.starting import still_starting
from chroma_qualify.doctor.snapshot import Gap, Snapshot
from chroma_qualify.lint.objects import name_of

_DOCS = "docs/how-to/troubleshooting.md"


class Condition(enum.StrEnum):
    """How the namespace's Chroma is; the strings are those of the JSON form."""

    HEALTHY = "healthy"
    FOUND = "found"  # something is wrong
    UNKNOWN = "unknown"  # nothing was found, and not everything could be looked at

    @property
    def exit_code(self) -> int:
        """As everywhere: 0, 1, 3."""
        return {Condition.HEALTHY: 0, Condition.FOUND: 1, Condition.UNKNOWN: 3}[self]


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """The doctor's answer.

    Attributes:
        patient: what was looked at.
        found: what is wrong.
        gaps: what could not be looked at.
    """

    patient: Patient
    found: tuple[Diagnosis, ...]
    gaps: tuple[Gap, ...]

    @property
    def condition(self) -> Condition:
        """What was found counts more than what could not be seen."""
        if self.found:
            return Condition.FOUND
        open_questions = not self.patient.servers or any(not gap.harmless for gap in self.gaps)
        return Condition.UNKNOWN if open_questions else Condition.HEALTHY


def report_on(snapshot: Snapshot) -> Report:
    """Judge a snapshot; the same snapshot gives the same words."""
    patient = look(snapshot)
    found = tuple(diagnose(patient))
    gaps = [*snapshot.gaps]
    gaps += [
        Gap(f"whether pod {name_of(pod)} gets ready", "it is still starting: look again in a minute")
        for server in patient.servers
        for pod in server.staying
        if pod not in server.ready and not found and still_starting(patient, pod)
    ]
    return Report(patient, found, tuple(dict.fromkeys(gaps)))


def as_text(report: Report) -> str:
    """For a person; ends with a line break."""
    namespace = report.patient.snapshot.namespace
    if not report.patient.servers:
        nothing = (
            f"namespace {namespace}: no Chroma here: no Deployment, StatefulSet, DaemonSet or Pod runs a Chroma image, "
            "the `chroma` command, or is probed at its heartbeat"
        )
        return "\n".join([nothing, *_gaps(report)]) + "\n"
    lines = [
        f"{server.workload.reference} in namespace {namespace}: {len(server.ready)} of {server.wanted} ready"
        for server in report.patient.servers
    ]
    for issue in Issue:
        for item in (item for item in report.found if item.issue is issue):
            about = f"  ({item.object})" if item.object else ""
            lines += ["", f"{issue.value}: {item.rule}{about}", f"  {item.message}"]
            lines += [f"  seen:   {line}" for line in item.evidence.splitlines()[-12:] if line.strip()]
            lines += [f"  remedy: {item.remedy}"] if item.remedy else []
    if gaps := _gaps(report):
        lines += ["", *gaps]
    lines += ["", _last_line(report)]
    return "\n".join(lines) + "\n"


def _gaps(report: Report) -> list[str]:
    lines = []
    for gap in report.gaps:
        right = f"; it takes the right to {gap.right} (see manifests/rbac)" if gap.right else ""
        lines.append(f"not looked at: {gap.what}: {gap.why}{right}")
    return lines


def _last_line(report: Report) -> str:
    match report.condition:
        case Condition.HEALTHY:
            return "healthy: nothing was found"
        case Condition.FOUND:
            number = len(report.found)
            return f"found: {number} thing{'s' if number > 1 else ''} to mend; more on each in {_DOCS}"
        case Condition.UNKNOWN:
            return "unknown: nothing was found, and not everything could be looked at"


def as_json(report: Report) -> str:
    """For a program; ends with a line break."""
    document = {
        "namespace": report.patient.snapshot.namespace,
        "taken": report.patient.snapshot.taken.isoformat(timespec="seconds"),
        "condition": report.condition.value,
        "servers": [
            {"workload": server.workload.reference, "ready": len(server.ready), "wanted": server.wanted}
            for server in report.patient.servers
        ],
        "found": [dataclasses.asdict(item) for item in report.found],
        "not_looked_at": [dataclasses.asdict(gap) for gap in report.gaps],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
