"""The lint's findings as GitHub's annotations, at the lines of the manifests."""

from __future__ import annotations

from chroma_qualify.findings import Severity
from chroma_qualify.report.github import annotation
from chroma_qualify.report.lint.told import Lint, Told, ordered, relative
from chroma_qualify.report.pages import explained

_LEVEL = {
    Severity.FAIL: "error",
    Severity.UNKNOWN: "warning",
    Severity.ACCEPTED: "notice",
    Severity.NOTE: "notice",
}


def as_annotations(lint: Lint) -> str:
    """One line for each finding, the worst first: GitHub shows ten of each level. Then the line that counts them."""
    return "\n".join([*(_line(each) for each in ordered(lint.told)), " ".join(lint.count.split())]) + "\n"


def _line(told: Told) -> str:
    finding = told.finding
    place = f"{finding.object}{f' at {finding.path}' if finding.path else ''}"
    more = explained(finding.rule)
    words = [
        f"{place}: {finding.message}" if place else finding.message,
        f"Seen: {finding.evidence}" if finding.evidence else "",
        f"Remedy: {finding.remedy}" if finding.remedy else "",
        f"More: {more}" if more else "",
    ]
    file = relative(told.file) if told.file else ""
    title = f"{finding.rule} ({finding.severity.value})"
    return annotation(
        _LEVEL[finding.severity], "\n".join(filter(None, words)), title=title, file=file, line=told.line or None
    )
