"""pytest's events → the run: check, plan, lint, judge, tell.

Order of a session: options are checked (exit 2 before anything is made) → scenarios are collected → plan.json →
lint → scenarios (the first one that needs it brings up the cluster, and with it the second lane) → teardown →
verdict.json, summary, exit code.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import time
from collections.abc import Callable, Generator
from typing import Any, Literal, NoReturn

import pytest

from chroma_qualify.checks.promises import STRICTEST
from chroma_qualify.errors import InfraError, QualifyError, UnavailableError, UsageError
from chroma_qualify.faults.experiments import chosen, experiments, plan_json, scaled_out_writes
from chroma_qualify.faults.promotion import promotion
from chroma_qualify.findings import Finding, Severity
from chroma_qualify.plugin.candidates import DEFAULT_TOPOLOGY, Candidates, chroma_image
from chroma_qualify.plugin.choice import chosen_experiments, leave_out
from chroma_qualify.plugin.lane import LANE, Lane, runs_alone, split
from chroma_qualify.plugin.limit import LIMIT, TimeLimit
from chroma_qualify.plugin.options import parse_options
from chroma_qualify.plugin.outcome import finding_of, has_own_sentence, one_line
from chroma_qualify.plugin.run import Run, ScenarioState
from chroma_qualify.plugin.visit import Visit, ask, visit
from chroma_qualify.report.console import print_summary, sentence
from chroma_qualify.report.github import commands_again, no_commands, tell_github
from chroma_qualify.report.verdict import EXIT_USAGE, Outcome, Verdict, outcome_of
from chroma_qualify.report.write import write_candidate

RUN = pytest.StashKey[Run]()
CANDIDATES = pytest.StashKey[Candidates]()
VISIT = pytest.StashKey[Visit]()
_SIGTERM = pytest.StashKey[Any]()
_NO_COMMANDS = pytest.StashKey[str]()  # see report.github
_STOPPED = pytest.StashKey[bool]()  # by `_stop`, not by Ctrl-C: pytest ends with the same status for both
_PROMOTION = "promotion"  # the fixture
_TELLS = "CHROMA_QUALIFY_VIEW"  # set by `chroma-qualify run`, which shows the verdict itself
_DEPLOYING = {"deploy", "module_deploy", "candidate", "bench", _PROMOTION}  # fixtures that need manifests


class OneSentence:
    """What pytest shows of a finding instead of a stack trace (pytest only asks for these two)."""

    def __init__(self, text: str, path: str, line: int) -> None:
        self._text = text
        self.reprcrash = _Crash(text.partition("\n")[0], path, line)

    def __str__(self) -> str:
        return self._text

    def toterminal(self, writer: Any) -> None:  # noqa: ANN401 (pytest does not publish its terminal writer)
        """Write the text to a terminal writer of pytest's."""
        writer.line(self._text)


class _Crash:
    def __init__(self, message: str, path: str, lineno: int) -> None:
        self.message = message
        self.path = path
        self.lineno = lineno


def pytest_sessionstart(session: pytest.Session) -> None:
    """Check everything that can be checked without starting anything."""
    config = session.config
    if config.option.collectonly:
        return
    try:
        options = parse_options(config)
        candidates = Candidates(options, config.rootpath / "manifests" / "overlays")
        if options.manifests:
            candidates.load()
            candidates.promises()
            candidates.waivers(options.manifests)
        if options.baseline:
            candidates.load_from(options.baseline)
    except QualifyError as error:
        _stop(session, error)
    run = Run(options, _printer(config), config.rootpath / "runs")
    if options.context:
        try:
            config.stash[VISIT] = visit(
                options, run.id, candidates.load(), config.rootpath, run.say, functools.partial(ask, config)
            )
        except QualifyError as error:
            _stop(session, error)
    config.stash[RUN] = run
    config.stash[CANDIDATES] = candidates
    config.stash[_NO_COMMANDS] = no_commands(os.environ, sys.stdout)
    reporter = config.pluginmanager.getplugin("terminalreporter")
    if reporter is not None:
        reporter.showfspath = False  # our own lines of progress say more than dots
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # see __main__: from here on there is something to clean up
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A cancelled CI job sends SIGTERM: clean up as for Ctrl-C.
    config.stash[_SIGTERM] = signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.stash[LIMIT] = TimeLimit(options.time_limit)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Undo what is not ours alone."""
    _obey_again(config)
    if (limit := config.stash.get(LIMIT, None)) is not None:
        limit.close()
    if (there := config.stash.get(VISIT, None)) is not None and not there.begun:
        there.forget()
    if (handler := config.stash.get(_SIGTERM, None)) is not None:
        signal.signal(signal.SIGTERM, handler)


@pytest.hookimpl(trylast=True)  # once others have left out what was not asked for
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what was not asked for, put the scenarios in order, give the second lane what is its own."""
    run = config.stash.get(RUN, None)
    if run is None:
        return
    try:
        leave_out(items, run.options, config)
    except UsageError as error:
        _stop(session, error)
    split(items, config, run)


def pytest_collection_finish(session: pytest.Session) -> None:
    """The scenarios are known: write the plan, then lint the candidate."""
    run = session.config.stash.get(RUN, None)
    if run is None or session.testsfailed or session.config.stash.get(_STOPPED, False):
        return
    if not session.items:
        asked = session.config.option.keyword or session.config.option.markexpr or " ".join(run.options.faults)
        _stop(session, UsageError(f"no scenario matches {asked!r}" if asked else "there is no scenario to run"))
    try:
        _start(session, run)
    except QualifyError as error:
        _stop(session, error)
    except OSError as error:
        _stop(
            session,
            InfraError(f"the run directory cannot be written: {error}", remedy="free some space, or name a --run-dir"),
        )


def _start(session: pytest.Session, run: Run) -> None:
    lane = session.config.stash.get(LANE, None)
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    needs_manifests = run.options.manifests is not None or bool(wanted & _DEPLOYING)
    candidates = session.config.stash[CANDIDATES]
    candidate = candidates.load(DEFAULT_TOPOLOGY) if needs_manifests else None
    promises = candidates.promises(DEFAULT_TOPOLOGY) if needs_manifests else STRICTEST
    # Without --manifests the default topology is the candidate; what else a scenario chooses is its own affair.
    digest, manifests = (candidate.digest, str(candidate.directory)) if candidate else ("", "")
    versions = {"chroma": chroma_image(candidate)} if candidate else {}
    run.start(
        [item.nodeid for item in session.items],
        beside=lane.node_ids if lane else (),
        digest=digest,
        manifests=manifests,
        versions=versions,
        experiments=_planned(session, run),
        promises=promises,
    )
    if candidate is not None:
        write_candidate(candidate.objects, run.directory)
    number = len(session.items) + (len(lane.node_ids) if lane else 0)
    run.say(f"run {run.id}: {number} scenario(s), seed {run.options.seed}, evidence in {run.directory}")
    if candidate is not None and not run.options.beside_of:  # the first lane has done so
        begin = time.monotonic()
        findings = candidates.lint(candidate).findings
        run.add_lint(findings, time.monotonic() - begin)
        for finding in findings:
            run.say(f"lint: {finding.severity.value}: {finding.rule}: {finding.message}")
        if not findings:
            run.say(f"lint: {candidate.directory}: nothing found")


def _planned(session: pytest.Session, run: Run) -> list[dict[str, Any]]:
    """What plan.json carries as `experiments`."""
    planned = plan_json(chosen_experiments(session.items))
    if any(_PROMOTION in getattr(item, "fixturenames", ()) for item in session.items):
        planned += plan_json([promotion()])
    scales = run.options.manifests and session.config.stash[CANDIDATES].load().hpa is not None
    if scales and any("writers_context" in getattr(item, "fixturenames", ()) for item in session.items):
        planned.append(scaled_out_writes(by_load=True))
    return planned


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One scenario for each experiment, as many as the options ask for."""
    if "experiment" in metafunc.fixturenames:
        run = metafunc.config.stash.get(RUN, None)
        table = chosen(experiments(run.options.power_losses), run.options.faults) if run else experiments()
        metafunc.parametrize("experiment", table, ids=[experiment.name for experiment in table])
    if "repetition" in metafunc.fixturenames:
        run = metafunc.config.stash.get(RUN, None)
        metafunc.parametrize("repetition", range(1, 1 + (run.options.repeat if run else 1)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Say which scenario begins and how it ended; its time is without that of the cluster."""
    run = item.config.stash.get(RUN, None)
    if run is None:
        return (yield)
    if (lane := item.config.stash.get(LANE, None)) is not None and runs_alone(item):
        lane.wait()
    state = run.scenario(item.nodeid)
    run.say(f"{state.name}: begins ({run.position(item.nodeid)})")
    begin, parts = time.monotonic(), run.parts_seconds()
    try:
        return (yield)
    except BaseException:
        state.interrupted = True  # whatever a scenario raises itself, pytest catches
        raise
    finally:
        state.seconds = max(time.monotonic() - begin - (run.parts_seconds() - parts), 0.001)
        state.began = max(run.clock() / 1e9 - state.seconds, 0.0)  # what is no part of it came before it
        result = state.result()
        run.say(f"{state.name}: {result.outcome.value} after {state.seconds:.1f} s {result.reason}".rstrip())
        for finding in state.findings:
            run.say(f"{state.name}: {finding.severity.value}: {finding.rule}: {' '.join(finding.message.split())}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn what was raised, or softly reported, into findings and one readable sentence each."""
    report = yield
    run = item.config.stash.get(RUN, None)
    if run is None:
        return report
    state = run.scenario(item.nodeid)
    error = call.excinfo.value if call.excinfo else None
    if report.skipped:
        state.reason = _skip_reason(report)
    elif isinstance(error, UnavailableError):
        _skip(report, state, item, f"{error.message}{f'; {error.remedy}' if error.remedy else ''}")
    elif error is not None and report.failed:
        if run.seen_before(error):  # a shared fixture failed; pytest raises the same again for each scenario
            _skip(report, state, item, f"what it shares with others failed before: {one_line(error)}")
            return report
        state.findings.append(finding_of(error, in_setup=call.when != "call", scenario=state.name))
        _tell(report, state, item, trace="" if has_own_sentence(error) else report.longreprtext)
    elif call.when == "call" and outcome_of(state.findings) is not Outcome.PASS:
        report.outcome = "failed"
        _tell(report, state, item, trace="")
    return report


def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> tuple[str, str, str] | None:
    """Count as pytest does, but print no letter: the run prints a line of its own."""
    if config.stash.get(RUN, None) is None or not isinstance(report, pytest.TestReport):
        return None
    if report.when == "call" or report.outcome != "passed":
        category = "error" if report.failed and report.when != "call" else str(report.outcome)
        return category, "", str(report.outcome).upper()
    return "", "", ""


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None, None, None]:
    """After the last fixture's teardown (also after Ctrl-C): judge, write, set the exit code."""
    run = session.config.stash.get(RUN, None)
    if run is None or not run.started:
        yield
        if run is not None and session.testsfailed:  # a file of scenarios cannot be imported
            session.exitstatus = Verdict.INFRA.exit_code
        elif exitstatus == pytest.ExitCode.INTERRUPTED and not session.config.stash.get(_STOPPED, False):
            session.exitstatus = Verdict.UNKNOWN.exit_code
        return
    try:
        yield
    except Exception as error:  # noqa: BLE001 (a teardown after Ctrl-C failed; the verdict must still be written)
        run.add_finding(finding_of(error, in_setup=True, scenario="teardown"))
    if exitstatus == pytest.ExitCode.INTERNAL_ERROR:
        run.add_finding(
            Finding("harness-error", Severity.UNKNOWN, "the test runner itself failed, see its trace above")
        )
    # Once a run has begun only Ctrl-C or SIGTERM end it with this status.
    interrupted = exitstatus == pytest.ExitCode.INTERRUPTED
    if (lane := session.config.stash.get(LANE, None)) is not None:
        lane.settle(interrupted=interrupted)
    session.config.stash[LIMIT].settle(run)
    try:
        session.exitstatus = run.finish(interrupted=interrupted).verdict.exit_code
    except OSError as error:  # a full disk; what was found is still printed
        run.say(f"the verdict cannot be written: {error}")
        session.exitstatus = Verdict.INFRA.exit_code
    else:
        _write_page(run)
    if lane is not None:
        _count(session.config, run, lane)


def _write_page(run: Run) -> None:
    """Make report.html; if it cannot be made, that is a note of the verdict and changes no exit code."""
    if run.options.beside_of:
        return  # the first lane's has both
    try:
        from chroma_qualify.report.page import write_page  # templates and numbers: not before they are needed

        write_page(run.directory)
    except KeyboardInterrupt:
        run.say("report.html is not made: interrupted")
    except Exception as error:  # noqa: BLE001 (whatever it is, the verdict stands)
        text = f"report.html cannot be made: {one_line(error)}"
        run.say(f"infra: {text}")
        with contextlib.suppress(OSError):
            run.note_late(Finding("report-missing", Severity.NOTE, text, remedy="see verdict.json, which has it all"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The verdict, its findings, the tables."""
    run = config.stash.get(RUN, None)
    if run is None or run.result is None:
        return
    if not os.environ.get(_TELLS):
        terminalreporter.section("chroma-qualify")
        terminalreporter.flush()
        print_summary(run.result, run.directory, sys.stdout)
    _obey_again(config)
    if not run.options.beside_of:  # the first lane tells of both
        tell_github(run.result, os.environ, sys.stdout)


def _obey_again(config: pytest.Config) -> None:
    """GitHub may obey workflow commands again, as nothing that was seen is printed any more; the first time only."""
    commands_again(config.stash.get(_NO_COMMANDS, ""), sys.stdout)
    config.stash[_NO_COMMANDS] = ""


def _printer(config: pytest.Config) -> Callable[[str], None]:
    """Print a line at once, past pytest's capturing."""

    def say(text: str) -> None:
        reporter = config.pluginmanager.getplugin("terminalreporter")
        capture = config.pluginmanager.getplugin("capturemanager")
        if reporter is None:
            return
        # Who listened may be gone; the cluster is to go all the same.
        ignored = contextlib.suppress(BrokenPipeError)
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext(), ignored:
            reporter.ensure_newline()
            reporter.write_line(text)
            reporter.flush()

    return say


def _tell(report: pytest.TestReport, state: ScenarioState, item: pytest.Item, *, trace: str) -> None:
    """Make what pytest shows of this report: the findings not yet told, then the trace if there is one."""
    new, state.told = state.findings[state.told :], len(state.findings)
    path, line, _ = item.location
    told = "\n".join(sentence(finding) for finding in new)
    shown = OneSentence(f"{told}\n\n{trace}".rstrip(), path, line or 0)
    report.longrepr = shown  # type: ignore[assignment] # it takes whatever has toterminal()


def _count(config: pytest.Config, run: Run, lane: Lane) -> None:
    """Let pytest count and tell the second lane's scenarios among its own."""
    reporter = config.pluginmanager.getplugin("terminalreporter")
    for node_id in lane.node_ids if reporter is not None else ():
        result = run.scenario(node_id).result()
        place = (node_id.partition("::")[0], 0, result.name)
        told: Any = None
        outcome: Literal["passed", "failed", "skipped"] = "passed"
        if result.outcome is Outcome.NOT_RUN:
            outcome, told = "skipped", (*place[:2], f"Skipped: {result.reason}")
        elif result.outcome is not Outcome.PASS:
            text = "\n".join(map(sentence, run.findings_of(node_id)))
            outcome, told = "failed", OneSentence(text, *place[:2])
        report = pytest.TestReport(node_id, place, {}, outcome, told, "call", duration=result.seconds)
        reporter.stats.setdefault(outcome, []).append(report)


def _skip(report: pytest.TestReport, state: ScenarioState, item: pytest.Item, reason: str) -> None:
    """It could not run: with its reason in the verdict."""
    state.reason = reason
    report.outcome = "skipped"
    report.longrepr = (str(item.path), item.location[1] or 0, f"Skipped: {reason}")


def _skip_reason(report: pytest.TestReport) -> str:
    """The words behind `pytest.skip`; pytest keeps them as (file, line, "Skipped: words")."""
    told = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return told.removeprefix("Skipped: ")


def _stop(session: pytest.Session, error: QualifyError) -> NoReturn:
    """End before anything was started, with one sentence."""
    session.config.stash[_STOPPED] = True
    code = EXIT_USAGE if isinstance(error, UsageError) else Verdict.INFRA.exit_code
    pytest.exit(f"{error.message}{f'; {error.remedy}' if error.remedy else ''}", returncode=code)
