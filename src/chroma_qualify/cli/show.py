"""How a run's progress reaches the one who waits: a live view in a terminal, else lines as they come.

Called by `launch`. The view itself is `live`; `progress` reads, and knows nothing of a terminal.
"""

from __future__ import annotations

import contextlib
import os
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Protocol

from chroma_qualify.cli.progress import directory_of

VIEW = "CHROMA_QUALIFY_VIEW"  # as plugin.hooks reads it


class Show(Protocol):
    """What `launch` asks of a way to show progress."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What the run's process needs to know of it."""

    @property
    def feed(self) -> Callable[[IO[bytes]], None] | None:
        """Shows what a process says, until its end; None: it may say it where we do."""

    def say(self, line: str) -> None:
        """Show a line of our own."""

    def ending(self) -> None:
        """The run was asked to end, and is about to. Called from a signal's handler."""

    def end(self) -> None:
        """The run is over: show its verdict, if its process did not."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def choose(*, plain: bool, json: bool) -> Show:
    """The way that fits to where our output goes."""
    if json:
        return Document()
    if plain or not can_be_live():
        return Lines()
    from chroma_qualify.cli.live import Live

    return Live()


def can_be_live() -> bool:
    """Is standard output a terminal that somebody looks at?"""
    environment = os.environ
    return (
        sys.stdout.isatty()
        and not environment.get("CI")
        and "NO_COLOR" not in environment
        and environment.get("TERM", "dumb") != "dumb"
    )


class Lines:
    """Lines as they come: each process writes them itself."""

    environment: Mapping[str, str] = types.MappingProxyType({})
    feed: Callable[[IO[bytes]], None] | None = None

    def say(self, line: str) -> None:
        """Print it."""
        print(line, flush=True)

    def ending(self) -> None:
        """The run's process says so."""

    def end(self) -> None:
        """The run's process has told the verdict."""

    def close(self) -> None:
        """Nothing is to be undone."""


class Document:
    """verdict.json on standard output, and everything else on standard error."""

    environment: Mapping[str, str] = types.MappingProxyType({VIEW: "1"})

    def __init__(self) -> None:
        self.feed: Callable[[IO[bytes]], None] | None = self._copy
        self._directory: Path | None = None

    def say(self, line: str) -> None:
        """Print it."""
        print(line, file=sys.stderr, flush=True)

    def _copy(self, output: IO[bytes]) -> None:
        for line in output:
            with contextlib.suppress(BrokenPipeError):  # nobody reads it any more; the run goes on to its end
                sys.stderr.buffer.write(line)
                sys.stderr.flush()
            self._directory = directory_of(line.decode(errors="replace")) or self._directory

    def ending(self) -> None:
        """The run's process says so."""

    def end(self) -> None:
        """Print verdict.json, if there is one: a wrong request has none."""
        path = self._directory / "verdict.json" if self._directory else None
        if path is not None and path.is_file():
            sys.stdout.write(path.read_text(encoding="utf-8"))
            sys.stdout.flush()

    def close(self) -> None:
        """Nothing is to be undone."""
