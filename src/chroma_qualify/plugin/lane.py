"""The second lane: scenarios that may run beside others run in a process of their own, on the same cluster.

    pytest_collection_modifyitems → `split`: which scenarios are whose
    fixture `cluster`             → `second_lane`: the process starts when the cluster is ready, and ends before it goes
    before what must run alone    → `Lane.wait`
    at the end                    → `Run.adopt`: its verdict becomes part of the run's

Two lanes are worth it only where both have something to do; else all scenarios run here, one after the other.
"""

from __future__ import annotations

import collections
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.plugin.limit import LIMIT
from chroma_qualify.plugin.options import Options
from chroma_qualify.plugin.run import ORIGIN_VARIABLE, PARTS_VARIABLE, Run
from chroma_qualify.rejudge import BESIDE as PLACE
from chroma_qualify.report.write import read_verdict

BESIDE = "beside"  # `pytestmark = pytest.mark.beside` at the head of a file of scenarios
ALONE = "alone"
LOG = Path("logs") / "beside.txt"
_PATIENCE = 10800.0  # s; for all of it, from its start
_QUICK, _ORDERLY = 10.0, 30.0  # s to end in after SIGTERM: with the cluster about to go, and with one that stays
_TAIL = 30  # lines of its output in a finding
_PROGRESS = re.compile(r"\[ *\d+\.\d s\] (.*)")
_ABORTED = {pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR}

LANE = pytest.StashKey["Lane"]()


class Lane:
    """The process, its output, and what it ended with."""

    def __init__(self, run: Run, node_ids: Sequence[str], config: pytest.Config) -> None:
        """Start nothing yet.

        Args:
            run: whose lane it is.
            node_ids: of its scenarios.
            config: of the run's session; the lane gets the same arguments.
        """
        self.node_ids = tuple(node_ids)
        self._run = run
        self._arguments = config.invocation_params.args
        self._limit = config.stash.get(LIMIT, None)
        self._cwd = config.invocation_params.dir
        self._tail: collections.deque[str] = collections.deque(maxlen=_TAIL)
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._begin = self._end = 0.0
        self._over = False
        # Past pytest's capturing, which a second thread must not switch off and on.
        self._terminal = _real_stdout()

    @property
    def directory(self) -> Path:
        """The lane's run directory."""
        return self._run.directory / PLACE

    def start(self, cluster: str) -> None:
        """Start it on a cluster that is ready."""
        log = self._run.directory / LOG
        log.parent.mkdir(parents=True, exist_ok=True)
        options = self._run.options
        command = [sys.executable, "-m", "chroma_qualify.plugin", *map(str, self._arguments), "--one-lane",
                   "--use-cluster", cluster, "--run-dir", str(self.directory), "--seed", str(options.seed),
                   "--beside-of", self._run.id]  # fmt: skip
        if self._limit is not None and self._limit.seconds is not None:
            command += ["--time-limit", f"{self._limit.left():.0f}"]
        environment = {name: value for name, value in os.environ.items() if name != PARTS_VARIABLE}
        self._begin = time.monotonic()
        # In a session of its own: Ctrl-C in a terminal is for us to pass on. Its standard input is its lifeline.
        self._process = subprocess.Popen(
            command,
            cwd=self._cwd,
            env={**environment, "PYTHONUNBUFFERED": "1", ORIGIN_VARIABLE: str(self._run.origin)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process, log), name="second lane", daemon=True)
        self._reader.start()
        self._run.say(f"second lane: {len(self.node_ids)} scenario(s) beside these, all it says is in {log}")

    def wait(self) -> None:
        """Wait until it has ended by itself, and take over what it found; again, or before its start: nothing."""
        if self._process is None or self._over:
            return
        try:
            if self._process.poll() is None:
                self._run.say("waiting for the second lane")
                with self._run.part("waiting for the second lane"):
                    self._process.wait(max(_PATIENCE - (time.monotonic() - self._begin), 1))
        except subprocess.TimeoutExpired:
            self._stop(_ORDERLY)
            self._tail.append(f"(it had not ended after {_PATIENCE:.0f} s)")
        except BaseException:  # Ctrl-C
            self.end()
            raise
        self._finish(interrupted=False)

    def end(self) -> None:
        """End it soon, for the run was interrupted; with a cluster that stays it gets time to delete its namespaces."""
        if self._process is None or self._over:
            return
        options = self._run.options
        try:
            self._stop(_ORDERLY if options.keep or options.use_cluster else _QUICK)
        finally:
            self._finish(interrupted=True)

    def _stop(self, patience: float) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)

    def settle(self, *, interrupted: bool) -> None:
        """At the end of the run: a lane that never began is no lane that passed."""
        if self._process is None and not interrupted and not self._run.broken():
            text = f"the second lane never began, so {len(self.node_ids)} scenario(s) did not run"
            remedy = "see why no scenario of the first lane got a cluster, or run with ONE_LANE=1"
            self._run.add_finding(Finding("second-lane", Severity.UNKNOWN, text, remedy=remedy))

    def _read(self, process: subprocess.Popen[str], log: Path) -> None:
        """Copy what it says to its log, and its lines of progress to the terminal."""
        with log.open("w", encoding="utf-8") as file:
            for line in process.stdout or ():
                file.write(line)
                file.flush()
                self._tail.append(line.rstrip())
                if progress := _PROGRESS.match(line):
                    self._show(self._run.stamped(f"{PLACE}: {progress[1]}"))
        self._end = time.monotonic()

    def _show(self, line: str) -> None:
        if self._terminal is not None:
            with contextlib.suppress(OSError):
                os.write(self._terminal, f"{line}\n".encode())

    def _finish(self, *, interrupted: bool) -> None:
        """It is over: leave nothing of it, and read its verdict."""
        process, self._over = self._process, True
        if process is None or self._reader is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # its programs, too
        process.wait()
        self._reader.join(timeout=10)
        if process.stdin is not None:
            process.stdin.close()
        seconds = (self._end or time.monotonic()) - self._begin
        try:
            result = read_verdict(self.directory)
        except (OSError, ValueError) as error:
            self._run.lose_lane(seconds)
            if not interrupted:
                self._run.add_finding(self._lost(process.returncode, error))
        else:
            self._run.adopt(result, seconds, interrupted=interrupted)

    def _lost(self, code: int, error: Exception) -> Finding:
        killed = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        severity = Severity.INFRA if code < 0 or code == 4 else Severity.UNKNOWN
        text = f"the second lane ended with {killed} and left no verdict, so nothing is known of its scenarios"
        remedy = f"see {LOG} in the run directory; ONE_LANE=1 runs without a second lane"
        tail = "\n".join(self._tail)
        return Finding("second-lane", severity, text, f"{error}; its last words:\n{tail}", remedy)


def split(items: list[pytest.Item], config: pytest.Config, run: Run) -> None:
    """Put scenarios in order, and leave only those that are to run here; the others are the lane's, in the stash."""
    items[:] = in_order(items)
    if run.options.beside_of:
        items[:] = [item for item in items if may_run_beside(item)]
    elif beside := for_second_lane(items, run.options):
        config.stash[LANE] = Lane(run, [item.nodeid for item in beside], config)
        items[:] = [item for item in items if item not in beside]


def for_second_lane(items: Sequence[pytest.Item], options: Options) -> list[pytest.Item]:
    """Those of a run's scenarios that are the second lane's; none where one lane does them all."""
    here = [item for item in items if not may_run_beside(item)]
    # What runs alone waits for the lane, so something else must start it.
    starts = any("cluster" in getattr(item, "fixturenames", ()) and not runs_alone(item) for item in here)
    return [item for item in items if may_run_beside(item)] if starts and not options.one_lane else []


def in_order(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """What nothing may run beside comes last, and of that the experiments, for they strike at the whole cluster."""
    return sorted(items, key=lambda item: (runs_alone(item), runs_alone(item) and _experiment(item) is not None))


def may_run_beside(item: pytest.Item) -> bool:
    """Is it marked so?"""
    return item.get_closest_marker(BESIDE) is not None


def runs_alone(item: pytest.Item) -> bool:
    """Is it marked so, or an experiment that strikes at more than its own namespace?"""
    return item.get_closest_marker(ALONE) is not None or bool(getattr(_experiment(item), "alone", False))


def _experiment(item: pytest.Item) -> object:
    spec = getattr(item, "callspec", None)
    return None if spec is None else spec.params.get("experiment")


@contextlib.contextmanager
def second_lane(session: pytest.Session, cluster: str) -> Iterator[None]:
    """The lane, if there is one, for as long as the block lasts; if the run was interrupted it is ended at once."""
    lane = session.config.stash.get(LANE, None)
    if lane is None:
        yield
        return
    limit = session.config.stash.get(LIMIT, None)
    try:
        with contextlib.nullcontext() if limit is None else limit.whole():
            lane.start(cluster)
        yield
    finally:
        if session.exitstatus in _ABORTED:
            lane.end()
        else:
            lane.wait()


def _real_stdout() -> int | None:
    try:
        return os.dup(sys.stdout.fileno())
    except (OSError, ValueError):  # it is no file
        return None
