"""What a run ends with: one verdict of four, the findings behind it, and what took how long.

Made by the pytest plugin (and later by `chroma-qualify check`), written by `report.write`, told by `report.console`.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterable, Mapping

from chroma_qualify.findings import Finding, Severity

EXIT_USAGE = 2  # the request itself is wrong: there is no run, hence no verdict


class Verdict(enum.StrEnum):
    """May the candidate be promoted? The strings are those of verdict.json."""

    PASS = "pass"  # noqa: S105 (no password)
    FAIL = "fail"
    UNKNOWN = "unknown"
    INFRA = "infra"

    @property
    def exit_code(self) -> int:
        """The process's exit code: 0 pass, 1 fail, 3 unknown, 4 infra (2 is a usage error)."""
        return {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.UNKNOWN: 3, Verdict.INFRA: 4}[self]


# When they meet, the first one wins.
_PRECEDENCE = (
    (Severity.FAIL, Verdict.FAIL),
    (Severity.INFRA, Verdict.INFRA),
    (Severity.UNKNOWN, Verdict.UNKNOWN),
)


def combine(findings: Iterable[Finding]) -> Verdict:
    """One verdict from all findings: fail > infra > unknown > pass."""
    severities = {finding.severity for finding in findings}
    return next((verdict for severity, verdict in _PRECEDENCE if severity in severities), Verdict.PASS)


class Outcome(enum.StrEnum):
    """How one scenario ended."""

    PASS = "pass"  # noqa: S105 (no password)
    FAIL = "fail"
    UNKNOWN = "unknown"
    INFRA = "infra"
    NOT_RUN = "not-run"


@dataclasses.dataclass(frozen=True, slots=True)
class Measure:
    """A number that a scenario measured, e.g. `recall@10 0.993` or `ready after 4.1 s`."""

    name: str
    value: float
    unit: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class ScenarioResult:
    """One scenario.

    Attributes:
        name: `file::test`, as pytest names it, without the directories.
        outcome: how it ended.
        seconds: set-up, body and teardown together.
        reason: why it did not run, or "".
        began: seconds from the start of the run; None: it did not, or nobody knows.
    """

    name: str
    outcome: Outcome
    seconds: float
    measures: tuple[Measure, ...] = ()
    reason: str = ""
    began: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class MatrixCell:
    """One cell of a matrix.

    Attributes:
        expected: what was promised, e.g. `open`.
        seen: what was seen, e.g. `timeout/timeout`.
        judgement: `right`, `wrong` or `undecided`.
    """

    expected: str
    seen: str
    judgement: str


@dataclasses.dataclass(frozen=True, slots=True)
class Matrix:
    """A table of what was promised and what was seen, e.g. who may reach what.

    Attributes:
        cells: one tuple for each of `rows`, with a cell or None (it was not tried) for each of `columns`.
    """

    name: str
    scenario: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[MatrixCell | None, ...], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """A part of the run that is no scenario (setup, images, cluster, teardown) and its seconds."""

    name: str
    seconds: float


@dataclasses.dataclass(frozen=True, slots=True)
class RunResult:
    """Everything that verdict.json says.

    Attributes:
        run_id: name of the run directory.
        versions: what ran, e.g. `{"chroma": "1.5.9", "kubernetes": "1.37.2"}`.
        seed: reproduces the data of the run.
        images: where the images came from: `registry` or `packages` (or `auto` if no cluster was reached).
        manifests: the candidate's directory, or "" for the topologies that scenarios choose.
        digest: sha256 of the rendered candidate, or "".
        experiments: what each fault did to the clients, as verdict.json has it.
        matrices: what scenarios promised and saw, as tables.
        command: the shell command that repeats the run, or "".
        digests: of the images that ran, e.g. `{"chroma:1.5.9": "sha256:…"}`, as far as the cluster told them.
        started: when, UTC, as ISO 8601 has it; "" if nobody knows.
        seconds: from its start until the verdict.
    """

    run_id: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    scenarios: tuple[ScenarioResult, ...]
    parts: tuple[Part, ...]
    versions: Mapping[str, str]
    seed: int
    images: str
    manifests: str = ""
    digest: str = ""
    experiments: tuple[Mapping[str, object], ...] = ()
    matrices: tuple[Matrix, ...] = ()
    command: str = ""
    digests: Mapping[str, str] = dataclasses.field(default_factory=dict)
    started: str = ""
    seconds: float = 0.0


def judge(findings: Iterable[Finding], scenarios: Iterable[ScenarioResult]) -> tuple[Verdict, tuple[Finding, ...]]:
    """The verdict over a run, and its findings; a run in which nothing ran proves nothing: `unknown`."""
    found = tuple(findings)
    if not any(scenario.outcome is not Outcome.NOT_RUN for scenario in scenarios) and not found:
        found = (
            Finding(
                rule="nothing-ran",
                severity=Severity.UNKNOWN,
                message="no scenario ran, so nothing is known of this candidate",
                remedy="see in the table why each scenario did not run",
            ),
        )
    return combine(found), found


def outcome_of(findings: Iterable[Finding]) -> Outcome:
    """How a scenario that ran ended, from its own findings."""
    return Outcome(combine(findings).value)
