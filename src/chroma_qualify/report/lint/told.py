"""What every format tells: the findings of one lint, each with its place."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.report.verdict import Verdict, combine

_ORDER = (Severity.FAIL, Severity.INFRA, Severity.UNKNOWN, Severity.ACCEPTED, Severity.NOTE)
_WORDS = {Severity.FAIL: "fail", Severity.ACCEPTED: "accepted", Severity.NOTE: "note", Severity.UNKNOWN: "unknown"}


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """A finding and where it is.

    Attributes:
        finding: the finding.
        file: as the manifests were named, or "".
        line: from 1; 0: not known.
        waived: how severe it is without the waiver that covers it; None: none does.
    """

    finding: Finding
    file: str = ""
    line: int = 0
    waived: Severity | None = None

    @property
    def place(self) -> str:
        """`file:line`, or ""."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclasses.dataclass(frozen=True, slots=True)
class Lint:
    """One lint.

    Attributes:
        what: the directory or file, as it was named; `-`: the standard input.
        told: its findings.
        objects: how many there are.
        without_schema: `Kind/name` of those that only rules looked at.
        kubernetes: the version whose schemas were used.
    """

    what: str
    told: tuple[Told, ...]
    objects: int
    without_schema: tuple[str, ...]
    kubernetes: str

    @property
    def verdict(self) -> Verdict:
        """As for a run; decides the exit code."""
        return combine(each.finding for each in self.told)

    @property
    def count(self) -> str:
        """One line: how many findings of which severity, in how many objects."""
        counted = Counter(each.finding.severity for each in self.told)
        parts = [f"{counted[severity]} {_WORDS[severity]}" for severity in _ORDER if counted[severity]]
        where = "the standard input" if self.what == "-" else self.what
        found = f"{len(self.told)} finding{'s' if len(self.told) != 1 else ''}" if self.told else "nothing found"
        objects = f"{self.objects} object{'s' if self.objects != 1 else ''}"
        of = f" ({', '.join(parts)})" if parts else ""
        return f"{found}{of} in {objects} of {where}, for Kubernetes {self.kubernetes.rpartition('.')[0]}"


def ordered(told: Sequence[Told]) -> list[Told]:
    """Worst first, otherwise as they came."""
    return sorted(told, key=lambda each: _ORDER.index(each.finding.severity))


def relative(file: str) -> str:
    """A file as seen from GITHUB_WORKSPACE, else the working directory; absolute where it is elsewhere."""
    root = Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd())
    path = Path(os.path.normpath(Path.cwd() / file))
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
