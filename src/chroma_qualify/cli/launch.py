"""From a request to an exit code: candidate looked at, images ensured, pytest where an engine is, its progress shown.

    run → launch → scripts/sandbox run -- python -m chroma_qualify.plugin   (a kind cluster)
                 → python -m chroma_qualify.plugin                          (a cluster that is there)

Each of these processes is in a group of its own, so that Ctrl-C reaches this one alone, which hands it on once. Its
standard input is a pipe that we hold: if we are killed, it ends, and takes its cluster with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from chroma_qualify.cli.show import Show, choose
from chroma_qualify.report.verdict import EXIT_USAGE, Verdict

_PARTS = "CHROMA_QUALIFY_PARTS"  # as plugin.run reads it
_LIFELINE = "CHROMA_QUALIFY_LIFELINE"  # as plugin.lifeline reads it
_INTERRUPTED = 128 + signal.SIGINT  # what a shell says
_OURS = {EXIT_USAGE, *(verdict.exit_code for verdict in Verdict)}


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What `run` was asked for, checked as far as that is possible here.

    Attributes:
        arguments: for pytest with our plugin.
        suite: the directory below tests/.
        manifests: directories to look at before anything is built.
        images: where they come from; with `versions` of Kubernetes and Chroma, "" for the default.
        engine: does the run need a container engine?
        makes_cluster: does it need the images, too?
        keep_engine: is a cluster to stay?
        file: that defaults were read from, or None.
        plain: lines of progress, whatever the terminal can do.
        json: verdict.json on standard output, everything else on standard error.
    """

    arguments: tuple[str, ...]
    suite: str
    manifests: tuple[Path, ...]
    images: str
    versions: tuple[str, str]
    engine: bool
    makes_cluster: bool
    keep_engine: bool
    file: Path | None = None
    plain: bool = False
    json: bool = False


def launch(request: Request, checkout: Path) -> int:
    """Do what was asked; returns the exit code: that of the verdict, else 2, 3 (interrupted) or 4."""
    show = choose(plain=request.plain, json=request.json)
    runner = Runner(checkout, show.ending)
    try:
        return _launch(request, checkout, runner, show)
    except KeyboardInterrupt:  # between two processes
        return Verdict.UNKNOWN.exit_code
    finally:
        show.close()


def _launch(request: Request, checkout: Path, runner: Runner, show: Show) -> int:
    if request.file is not None:
        show.say(f"run: defaults are read from {request.file}")
    python = sys.executable
    for directory in request.manifests:
        code = runner.run([python, "-m", "chroma_qualify.plugin.precheck", str(directory)])
        if code or runner.asked_to_end:
            return runner.code(code or _INTERRUPTED)
    sandbox = str(checkout / "scripts" / "sandbox")
    arguments = list(request.arguments)
    if request.makes_cluster:
        show.say(_announcement(request.suite))
        begin = time.monotonic()
        # Outside the sandbox's network namespace: building needs the package registries. The engine stays for the run.
        ensure = [sandbox, "run", "--outside", "--keep", "--", python, "-m", "chroma_qualify.cluster.images", "ensure"]
        code = runner.run([*ensure, "--mode", request.images, *_versions(request.versions)], output=show.feed)
        if code or runner.asked_to_end:
            runner.run([sandbox, "run", "--", "true"])  # the last of us stops the engine
            return runner.code(code or _INTERRUPTED)
        runner.parts.append(f"images={time.monotonic() - begin:.2f}")
    elif not request.engine and shutil.which("kubectl") is None:
        found = subprocess.run(
            [python, "-m", "chroma_qualify.cluster.images", "kubectl"], stdout=subprocess.PIPE, text=True, check=False
        )
        if found.returncode:
            return runner.code(found.returncode)
        arguments.append(f"--kind-kubectl-bin={found.stdout.strip()}")
    pytest = [python, "-m", "chroma_qualify.plugin", "-p", "no:cacheprovider", "-o", "addopts=", "--strict-markers"]
    pytest += ["--strict-config", "-rN", "-o", "console_output_style=classic", f"tests/{request.suite}", *arguments]
    keep = ["--keep"] if request.keep_engine else []
    command = [sandbox, "run", *keep, "--", *pytest] if request.engine else pytest
    code = runner.run(command, output=show.feed, environment=show.environment)
    show.end()
    return runner.code(code)


def _announcement(suite: str) -> str:
    """What is about to happen. kind is the last thing that is built, whatever way the images come."""
    usually = "about 10 min" if suite == "load" else "about 19 min"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chroma-qualify"
    if any(cache.glob("programs/kind-*/kind")):
        return f"run: usually {usually} for all scenarios, nothing to download"
    return (
        "run: this is the first time: every image is fetched from a registry (minutes, about 1.5 GB), or where none "
        f"answers built from packages (about 32 min on 2 cores, 3 GB); afterwards {usually}, nothing to download"
    )


def _versions(versions: tuple[str, str]) -> Iterator[str]:
    for option, version in zip(("--k8s-version", "--chroma-version"), versions, strict=True):
        if version:
            yield from (option, version)


class Runner:
    """Runs one process after the other from the checkout, and hands on to it what ends us.

    Attributes:
        parts: what took how long, for the verdict.
        asked_to_end: have we been, by a signal?
    """

    def __init__(self, checkout: Path, ending: Callable[[], None] = lambda: None) -> None:
        """Run nothing yet.

        Args:
            checkout: where processes run.
            ending: called when we are asked to end, from a signal's handler.
        """
        self._ending = ending
        self.parts = os.environ.get(_PARTS, "").split()
        self._checkout = checkout
        self._process: subprocess.Popen[bytes] | None = None
        self._missed: int | None = None  # a signal that came before the process was there to get it
        self.asked_to_end = False

    def run(
        self,
        command: Sequence[str],
        *,
        output: Callable[[IO[bytes]], None] | None = None,
        environment: Mapping[str, str] = types.MappingProxyType({}),
    ) -> int:
        """Run a command to its end, whatever happens to us meanwhile.

        Args:
            command: a program and its arguments.
            output: reads what it says to the end; None: it says it where we do.
            environment: in addition to ours.

        Returns:
            its exit code; negative: the signal that ended it.
        """
        given = {
            **os.environ,
            "UV": str(self._checkout / ".venv" / "bin" / "uv"),  # image builds install packages with it
            _PARTS: " ".join(self.parts),
            _LIFELINE: "1",
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        self._missed = None
        with self._handing_on():
            process = self._process = subprocess.Popen(
                command,
                cwd=self._checkout,
                env=given,
                stdin=subprocess.PIPE,
                stdout=None if output is None else subprocess.PIPE,
                stderr=None if output is None else subprocess.STDOUT,
                process_group=0,
            )
            try:
                if self._missed is not None:
                    self._send(process, self._missed)
                if output is not None and process.stdout is not None:
                    output(process.stdout)
                return process.wait()
            finally:
                self._process = None
                if process.stdin is not None:
                    process.stdin.close()

    def code(self, ended: int) -> int:
        """Our exit code, for that of a process: no other than 0 to 4, and an interrupted run proves nothing."""
        if ended in _OURS:
            return ended
        if self.asked_to_end:
            return Verdict.UNKNOWN.exit_code
        how = f"signal {signal.Signals(-ended).name}" if ended < 0 else f"exit code {ended}"
        text = f"the run's process ended with {how}; what it left goes with the next run, or `chroma-qualify clean`"
        print(text, file=sys.stderr)
        return Verdict.INFRA.exit_code

    @contextlib.contextmanager
    def _handing_on(self) -> Iterator[None]:
        before = {
            number: signal.signal(number, self._hand_on) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hand_on(self, number: int, _frame: types.FrameType | None) -> None:
        self.asked_to_end = True
        self._ending()
        if self._process is None:
            self._missed = number
        else:
            self._send(self._process, number)

    @staticmethod
    def _send(process: subprocess.Popen[bytes], number: int) -> None:
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if number == signal.SIGINT:
                os.killpg(process.pid, signal.SIGINT)  # as a terminal would; scripts/sandbox ignores it
            else:
                process.terminate()  # scripts/sandbox hands it on itself
