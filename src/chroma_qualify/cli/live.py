"""The live view in a terminal: reads the run's lines and its files twice a second, and draws `board`'s picture.

What the run says beside its lines of progress is printed above the picture; the verdict, at the end, in its place.
"""

from __future__ import annotations

import contextlib
import json
import queue
import sys
import threading
import time
import types
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.live import Live as RichLive
from rich.text import Text

from chroma_qualify.cli.board import draw
from chroma_qualify.cli.progress import BESIDE, FIRST, Progress, printable
from chroma_qualify.cli.show import VIEW
from chroma_qualify.cli.tail import Tail
from chroma_qualify.report.console import print_summary
from chroma_qualify.report.write import read_verdict

_EVERY = 0.5  # s; a picture takes some ms
LOG = Path("logs") / "run.txt"  # all that the run said: the picture does not keep it


class Live:
    """Shows a run in a terminal."""

    environment: Mapping[str, str] = types.MappingProxyType({VIEW: "1"})

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._progress = Progress()
        self._planned: tuple[str, ...] = ()
        self._tails: dict[tuple[str, str], Tail] = {}
        self._kept: list[str] = []  # what was said before there was a directory to keep it in
        self._log: IO[str] | None = None
        self._begin: float | None = None  # of the run, on our clock

    def say(self, line: str) -> None:
        """Print it, above the picture if there is one."""
        self._console.print(Text(line))

    def feed(self, output: IO[bytes]) -> None:
        """Show what a process says until it ends; its files are looked at meanwhile."""
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=_read, args=(output, lines), name="output", daemon=True).start()
        with RichLive(console=self._console, auto_refresh=False, transient=True) as picture:
            over = False
            while not over:
                over = self._take(lines)
                self._look()
                now = self._now()
                size = self._console.size
                picture.update(draw(self._progress, self._planned, now, height=size.height), refresh=True)

    def ending(self) -> None:
        """Say so in the next picture."""
        self._progress.ending = True

    def end(self) -> None:
        """Print the verdict: the run's process has left that to us."""
        directory = self._progress.directory
        if directory is None:
            return
        with contextlib.suppress(OSError, ValueError):  # a run that wrote no verdict has said why
            print_summary(read_verdict(directory), directory, sys.stdout)

    def close(self) -> None:
        """Close what is open."""
        if self._log is not None:
            self._log.close()

    def _take(self, lines: queue.SimpleQueue[str | None]) -> bool:
        """Take what was said until the next picture is due; is the process over?"""
        until = time.monotonic() + _EVERY
        while (left := until - time.monotonic()) > 0:
            try:
                line = lines.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                return True
            self._keep(line)
            if not self._progress.line(line):
                self._console.print(Text(printable(line)))
            elif self._begin is None and self._progress.directory is not None:
                self._begin = time.monotonic() - self._progress.second
        return False

    def _now(self) -> float:
        return self._progress.second if self._begin is None else time.monotonic() - self._begin

    def _look(self) -> None:
        """Read what is new in the run directory."""
        directory = self._progress.directory
        if directory is None:
            return
        if not self._tails:
            self._open(directory)
        for (lane, name), tail in self._tails.items():
            new = tail.new()
            if name == "history.jsonl":
                self._progress.operations(lane, new)
            else:
                self._progress.timeline(new)

    def _open(self, directory: Path) -> None:
        for lane in (FIRST, BESIDE):
            for name in ("history.jsonl", "timeline.jsonl"):
                self._tails[lane, name] = Tail(directory / lane / name)
        document = _document(directory / "plan.json")
        self._planned = tuple(str(name) for name in document.get("scenarios") or ())
        self._progress.plan(document)
        earlier = sorted(directory.parent.glob("*/verdict.json"), key=_age, reverse=True)
        for path in earlier[:5]:
            self._progress.earlier(_document(path))

    def _keep(self, line: str) -> None:
        """Write it to the run directory, as soon as there is one."""
        self._kept.append(line)
        if self._progress.directory is None:
            return
        with contextlib.suppress(OSError):
            if self._log is None:
                path = self._progress.directory / LOG
                path.parent.mkdir(parents=True, exist_ok=True)
                self._log = path.open("w", encoding="utf-8")
            self._log.writelines(f"{each}\n" for each in self._kept)
            self._log.flush()
            self._kept.clear()


def _read(output: IO[bytes], lines: queue.SimpleQueue[str | None]) -> None:
    for line in output:
        lines.put(line.decode(errors="replace").rstrip("\r\n"))
    lines.put(None)


def _document(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
