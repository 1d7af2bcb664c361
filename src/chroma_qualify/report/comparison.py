"""The shapes of a comparison of two runs: `dataclasses.asdict` makes JSON of it.

Made by `compare`, told by `difference` in a terminal and by `page_diff` as a page.
"""

from __future__ import annotations

import dataclasses
import enum

from chroma_qualify.report.verdict import Verdict


class Answer(enum.StrEnum):
    """Is the second run worse than the first?"""

    NO_WORSE = "no-worse"
    WORSE = "worse"
    UNKNOWN = "unknown"

    @property
    def exit_code(self) -> int:
        """0 no worse, 1 worse, 3 it cannot be said."""
        return {Answer.NO_WORSE: 0, Answer.WORSE: 1, Answer.UNKNOWN: 3}[self]


class Change(enum.StrEnum):
    """What became of one thing."""

    NEW = "new"
    GONE = "gone"
    SAME = "same"
    WORSE = "worse"
    BETTER = "better"
    OTHER = "other"  # it is not the same, and neither better nor worse


@dataclasses.dataclass(frozen=True, slots=True)
class Side:
    """One of the two runs.

    Attributes:
        cut: it left no verdict.
        operations: recorded in its histories.
    """

    directory: str
    run_id: str
    verdict: Verdict
    started: str
    seconds: float
    cut: bool
    scenarios: int
    operations: int
    command: str


@dataclasses.dataclass(frozen=True, slots=True)
class FindingChange:
    """One finding; `before` and `after` are its severities, "" where it was not found."""

    change: Change
    rule: str
    scenario: str
    object: str
    before: str
    after: str
    message: str
    evidence: str
    remedy: str


@dataclasses.dataclass(frozen=True, slots=True)
class ScenarioChange:
    """One scenario; outcomes are "" and seconds None where the run does not know it."""

    change: Change
    name: str
    before: str
    after: str
    seconds_before: float | None
    seconds_after: float | None
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """A number of both runs; `ratio` is after / before, None where it says nothing.

    Attributes:
        group: the scenario, the experiment or the phase that it is of.
        samples_before, samples_after: how many operations it is made of; None: one reading.
    """

    group: str
    name: str
    unit: str
    before: float | None
    after: float | None
    ratio: float | None
    samples_before: int | None = None
    samples_after: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Difference:
    """A setting, a version or a digest that is not the same."""

    what: str
    before: str
    after: str


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """All of it.

    Attributes:
        answer: is the second run worse, and `why`: sentences.
        parts: seconds of set-up, cluster, teardown.
        measures: of scenarios; `outages`: what faults did to the clients; `phases`: latency, throughput and errors.
        differences: of what was asked and of what ran; `manifests`: lines of a unified diff.
        unknown: sentences on what cannot be compared.
    """

    before: Side
    after: Side
    answer: Answer
    why: tuple[str, ...]
    findings: tuple[FindingChange, ...]
    scenarios: tuple[ScenarioChange, ...]
    parts: tuple[Figure, ...]
    measures: tuple[Figure, ...]
    outages: tuple[Figure, ...]
    phases: tuple[Figure, ...]
    differences: tuple[Difference, ...]
    manifests: tuple[str, ...]
    unknown: tuple[str, ...]
