"""The state of one run: says what happens, collects what is found, ends in verdict.json.

One per pytest session, made by `hooks`, handed to `fixtures`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chroma_qualify.checks.plan import RunPlan, read_plan
from chroma_qualify.checks.promises import STRICTEST, Promises
from chroma_qualify.checks.run import ExperimentResult, left_risks
from chroma_qualify.findings import Finding, Severity
from chroma_qualify.plugin.command import command_of
from chroma_qualify.plugin.options import Options
from chroma_qualify.rejudge import experiment_json
from chroma_qualify.report.junit import write_junit
from chroma_qualify.report.metrics import write_metrics
from chroma_qualify.report.schema import against_schema
from chroma_qualify.report.series import read_series
from chroma_qualify.report.verdict import (
    Matrix,
    Measure,
    Outcome,
    Part,
    RunResult,
    ScenarioResult,
    judge,
    outcome_of,
)
from chroma_qualify.report.write import Plan, verdict_document, write_plan, write_verdict
from chroma_qualify.workload.history import run_clock

LINT = "lint"
ORIGIN_VARIABLE = "CHROMA_QUALIFY_ORIGIN"  # set for a second lane: zero of the run's clock, so that both have one axis
PARTS_VARIABLE = "CHROMA_QUALIFY_PARTS"  # set by scripts/qualify: "setup=0.4 images=1.2", seconds


@dataclasses.dataclass(slots=True)
class ScenarioState:
    """What is known of a scenario while it runs."""

    name: str
    findings: list[Finding] = dataclasses.field(default_factory=list)
    measures: list[Measure] = dataclasses.field(default_factory=list)
    matrices: list[Matrix] = dataclasses.field(default_factory=list)
    began: float | None = None  # seconds from the start of the run
    seconds: float = 0.0
    reason: str = ""
    interrupted: bool = False
    told: int = 0  # how many of the findings pytest has shown
    adopted: ScenarioResult | None = None  # of the second lane

    def result(self) -> ScenarioResult:
        """The scenario as verdict.json has it."""
        if self.adopted is not None:
            return self.adopted
        outcome = outcome_of(self.findings)
        if outcome is Outcome.PASS and self.interrupted:
            outcome = Outcome.UNKNOWN
        elif outcome is Outcome.PASS and self.reason:
            outcome = Outcome.NOT_RUN
        reason = self.reason if outcome is Outcome.NOT_RUN else ""
        return ScenarioResult(self.name, outcome, self.seconds, tuple(self.measures), reason, self.began)


class Run:
    """One run.

    Attributes:
        id: name of the run, unique.
        directory: the run directory; exists once `start` was called.
        versions: what runs, as far as it is known; `images`: where its images came from.
        digests: of the images that run, as far as they are known.
        origin: the machine's monotonic clock (ns) at zero of `clock`.
        clock: nanoseconds since the start of the run, for everything that is recorded; a second lane has the run's.
        result: what it ended with, once `finish` was called.
        refused: that Pod Security refuses the candidate at the level of a run's namespaces, which then have another.
    """

    def __init__(self, options: Options, say: Callable[[str], None], runs: Path) -> None:
        now = datetime.datetime.now(datetime.UTC)
        self._started = now.isoformat()
        self._date = now.date().isoformat()
        self.id = f"{self._date}-{secrets.token_hex(3)}"
        self.options = options
        self.directory = options.run_dir or runs / self.id
        self.started = False
        self.result: RunResult | None = None
        self.refused: Finding | None = None
        self.versions: dict[str, str] = {}
        self.digests: dict[str, str] = {}
        self.images = options.images
        self._in_runs = options.run_dir is None
        self._say = say
        given = os.environ.get(ORIGIN_VARIABLE, "") if options.beside_of else ""
        self.origin = int(given) if given.isdigit() else time.monotonic_ns()
        self.clock = run_clock(self.origin)
        self._begin = time.monotonic()
        self._experiments: list[ExperimentResult] = []
        self._states: dict[str, ScenarioState] = {}
        self._plan: Plan | None = None
        self._judged = RunPlan()
        self._parts = list(_parts_before())
        self._findings: list[Finding] = []
        self._raised: list[BaseException] = []
        self._beside: frozenset[str] = frozenset()
        self._lane_parts: list[Part] = []
        self._lane_experiments: tuple[Mapping[str, object], ...] = ()
        self._lane_matrices: tuple[Matrix, ...] = ()

    def start(
        self,
        scenarios: Sequence[str],
        *,
        beside: Sequence[str] = (),
        digest: str,
        manifests: str,
        versions: Mapping[str, str],
        experiments: Sequence[Mapping[str, Any]] = (),
        promises: Promises = STRICTEST,
    ) -> None:
        """Make the run directory and write plan.json.

        Args:
            scenarios: pytest's node ids, in order.
            beside: those of the second lane.
            digest: as `Plan` has it, and so the rest.
            manifests: of the candidate.
            versions: known so far.
            experiments: of the first lane.
            promises: of the candidate.
        """
        self.versions = dict(versions)
        self.directory.mkdir(parents=True, exist_ok=True)
        options = self.options
        self._states = {node_id: ScenarioState(scenario_name(node_id)) for node_id in (*scenarios, *beside)}
        self._beside = frozenset(beside)
        self._plan = Plan(
            run_id=self.id,
            manifests=manifests,
            digest=digest,
            versions=versions,
            seed=options.seed,
            scenarios=tuple(state.name for state in self._states.values()),
            date=self._date,
            experiments=tuple(experiments),
            promises=promises.as_json() if promises.stated else None,
            started=self._started,
            origin=self.origin,
            options={
                "images": options.images,
                "nodes": options.nodes,
                "keep": options.keep,
                "baseline": str(options.baseline or ""),
                "lanes": 2 if beside else 1,
                "k8s_version": options.k8s_version or "default",
                "chroma_version": options.chroma_version or "as the manifests say",
            },
        )
        self._judged = read_plan(dataclasses.asdict(self._plan) | {"experiments": list(experiments)})
        write_plan(self._plan, self.directory)
        if self._in_runs:
            _point_latest(self.directory)
        self.started = True

    def say(self, text: str) -> None:
        """One line of progress, with the seconds since the run began."""
        self._say(self.stamped(text))

    def stamped(self, text: str) -> str:
        """A line of progress as `say` prints it."""
        return f"[{time.monotonic() - self._begin:6.1f} s] {text}"

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a part of the run that is no scenario; its seconds appear in the verdict even if it fails."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self._parts.append(Part(name, time.monotonic() - begin))

    def parts_seconds(self) -> float:
        """Seconds of all parts so far: what a scenario's own time must not count again."""
        return sum(part.seconds for part in self._parts)

    def scenario(self, node_id: str) -> ScenarioState:
        """The state of a scenario."""
        return self._states.setdefault(node_id, ScenarioState(scenario_name(node_id)))

    def position(self, node_id: str) -> str:
        """`3 of 20`, of its lane."""
        alike = node_id in self._beside
        mine = [each for each in self._states if each != LINT and (each in self._beside) == alike]
        return f"{mine.index(node_id) + 1} of {len(mine)}"

    def failed(self, node_id: str) -> bool:
        """Has anything been found by this scenario, or by one of this module (`file.py`)? Accepted risks apart."""
        return any(
            outcome_of(state.findings) is not Outcome.PASS
            for known, state in self._states.items()
            if known == node_id or known.startswith((f"{node_id}::", f"{node_id}["))
        )

    def seen_before(self, error: BaseException) -> bool:
        """Was this very exception recorded already?"""
        if any(error is raised for raised in self._raised):
            return True
        self._raised.append(error)
        return False

    def add_lint(self, findings: Sequence[Finding], seconds: float) -> None:
        """Record what the linter found as scenario `lint`; the run goes on."""
        named = [dataclasses.replace(finding, scenario=LINT) for finding in findings]
        began = max(self.clock() / 1e9 - seconds, 0.0)
        self._states = {LINT: ScenarioState(LINT, findings=named, began=began, seconds=seconds), **self._states}

    def add_finding(self, finding: Finding) -> None:
        """Record a finding of no scenario in particular."""
        self._findings.append(finding)

    def broken(self) -> bool:
        """Is it known that the cluster or the machine failed?"""
        found = [*self._findings, *(finding for state in self._states.values() for finding in state.findings)]
        return any(finding.severity is Severity.INFRA for finding in found)

    def adopt(self, other: RunResult, seconds: float, *, interrupted: bool) -> None:
        """Take over what the second lane ended with.

        Args:
            other: its verdict.
            seconds: how long it took.
            interrupted: did we end it, so that it need not say so?
        """
        results = {result.name: result for result in other.scenarios}
        for node_id in self._beside:
            state = self._states[node_id]
            state.adopted = results.get(state.name)
            state.reason = "the second lane does not tell of it"
        for finding in other.findings:
            if finding.rule == "nothing-ran" or (interrupted and finding.rule == "interrupted"):
                continue  # of both lanes together it is judged at the end
            told = finding.message if finding.scenario else f"second lane: {finding.message}"
            self._findings.append(dataclasses.replace(finding, message=told))
        self._lane_parts = [Part(f"beside: {part.name}", part.seconds) for part in other.parts]
        self._lane_parts.append(Part("second lane, beside the first", seconds))
        self._lane_experiments = other.experiments
        self._lane_matrices = other.matrices
        self.versions = {**other.versions, **self.versions}
        self.digests = {**other.digests, **self.digests}

    def findings_of(self, node_id: str) -> list[Finding]:
        """What a scenario has found, in either lane."""
        state = self._states[node_id]
        return [*state.findings, *(each for each in self._findings if each.scenario == state.name)]

    def lose_lane(self, seconds: float) -> None:
        """Nothing is known of the second lane, which ended after so many seconds."""
        for node_id in self._beside:
            self._states[node_id].reason = "the second lane ended before it"
        self._lane_parts = [Part("second lane, beside the first", seconds)]

    def add_experiment(self, result: ExperimentResult) -> None:
        """Record what a fault did, for the verdict's table; its findings are the scenario's to report."""
        self._experiments.append(result)

    def left_out(self, reason: str) -> int:
        """How many scenarios, of both lanes, did not run for this reason."""
        return sum(state.result().reason == reason for state in self._states.values())

    def note_late(self, finding: Finding) -> None:
        """Add a finding that decides nothing to a verdict that is written; raises OSError if it cannot be again."""
        if self.result is not None:
            self.result = dataclasses.replace(self.result, findings=(*self.result.findings, finding))
            write_verdict(self.result, self.directory)

    def finish(self, *, interrupted: bool) -> RunResult:
        """Judge the run and write verdict.json, junit.xml and metrics.prom."""
        for state in self._states.values():
            if not state.adopted and not state.findings and not state.seconds and not state.reason:
                state.reason = "the run was interrupted" if interrupted else "the run ended before it"
        if interrupted:
            message = "the run was interrupted before its end"
            self.add_finding(Finding("interrupted", Severity.UNKNOWN, message, remedy="run it again"))
        # The scenario that is about Pod Security tells it; where that did not run, the run does.
        told = {(each.rule, each.message) for state in self._states.values() for each in state.findings}
        if self.refused and not self.options.beside_of and (self.refused.rule, self.refused.message) not in told:
            self.add_finding(self.refused)
        scenarios = tuple(state.result() for state in self._states.values())
        found = [finding for state in self._states.values() for finding in state.findings]
        ran = [scenario for scenario in scenarios if scenario.name != LINT]
        if not self.options.beside_of:  # the first lane tells of what is left
            found += left_risks(self._judged, self._experiments)
        verdict, findings = judge([*found, *self._findings], ran)
        plan = self._plan
        self.result = RunResult(
            run_id=self.id,
            verdict=verdict,
            findings=findings,
            scenarios=scenarios,
            parts=(*self._parts, *self._lane_parts),
            versions=self.versions,
            seed=self.options.seed,
            images=self.images,
            manifests=plan.manifests if plan else "",
            digest=plan.digest if plan else "",
            experiments=(*(experiment_json(each) for each in self._experiments), *self._lane_experiments),
            matrices=(*(each for state in self._states.values() for each in state.matrices), *self._lane_matrices),
            command=command_of(self.options),
            digests=self.digests,
            started=self._started,
            seconds=time.monotonic() - self._begin,
        )
        self.result = held_against_schema(self.result)
        write_verdict(self.result, self.directory)
        write_junit(self.result, self.directory)
        try:
            write_metrics(self.result, read_series(self.directory).traffic, self.directory)
        except Exception as error:  # noqa: BLE001 (the verdict is written, and stands)
            self.say(f"metrics.prom cannot be written: {error}")
        return self.result


def held_against_schema(result: RunResult) -> RunResult:
    """The same run, with a note if it tells of itself what its readers will not understand; the verdict stands."""
    try:
        wrong = against_schema(verdict_document(result), "verdict")
    except Exception as error:  # noqa: BLE001 (a verdict that nobody could check is better than none)
        wrong = [f"it could not be held against it: {error!r:.200}"]
    if not wrong:
        return result
    note = Finding("harness-error", Severity.NOTE, f"verdict.json does not keep to its schema: {'; '.join(wrong)}")
    return dataclasses.replace(result, findings=(*result.findings, note))


def scenario_name(node_id: str) -> str:
    """A node id without directories: `tests/e2e/test_data.py::test_recall[20000]` → `data::recall[20000]`."""
    file, _, test = node_id.rpartition("/")[2].partition("::")
    return f"{file.removeprefix('test_').removesuffix('.py')}::{test.removeprefix('test_')}"


def _parts_before() -> Iterator[Part]:
    """Times that scripts/qualify took before pytest began."""
    for word in os.environ.get(PARTS_VARIABLE, "").split():
        name, _, seconds = word.partition("=")
        with contextlib.suppress(ValueError):
            yield Part(name, float(seconds))


def _point_latest(directory: Path) -> None:
    """`runs/latest` → this run."""
    beside = directory.parent / f".latest-{directory.name}"
    beside.symlink_to(directory.name)
    beside.replace(directory.parent / "latest")
