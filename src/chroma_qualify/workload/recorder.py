"""Writes history.jsonl: one recorder, one clock, every invocation on file before its request is sent.

A line is one `write` to the kernel, so whoever kills this process loses no line that was
written, and leaves at most one cut line, the last. (A power loss of the machine that runs the
qualification is no concern: its run is void.) Used by `workload.session`.
"""

from __future__ import annotations

import collections
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from chroma_qualify.errors import InfraError, UsageError
from chroma_qualify.workload.history import Answer, Call, Clock, Outcome, Phase, completion, invocation


class Recorder:
    """The one writer of a run's history; safe to use from many threads."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Start a history.

        Args:
            path: the file; it must not exist.
            clock: monotonic nanoseconds since the start of the run; asked by this recorder only.

        Raises:
            UsageError: the file exists already: two runs must not share a history.
        """
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except FileExistsError as error:
            raise UsageError(f"{path} exists already", remedy="choose another --run-dir") from error
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._progress = threading.Condition()
        self._index = 0
        self._processes = 0
        self._open: dict[int, Call] = {}
        self._free: set[int] = set()
        self._broken: OSError | None = None
        self._invoked: collections.Counter[tuple[str, Phase]] = collections.Counter()
        self._ended: collections.Counter[tuple[str, Phase, Outcome]] = collections.Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def new_process(self) -> int:
        """A process number nobody had before."""
        with self._lock:
            number = self._processes
            self._processes += 1
            self._free.add(number)
            return number

    def invoke(self, process: int, call: Call) -> None:
        """Record that `process` is about to send; on return the line is in the file.

        Raises:
            InfraError: it could not be written; nothing may be sent.
            ValueError: the process has an open call, or has retired.
        """
        line = invocation(process, call)
        with self._lock:
            if process not in self._free:
                raise ValueError(f"process {process} is busy, retired or unknown")
            self._write(line)
            self._free.remove(process)
            self._open[process] = call
            self._invoked[call.collection, call.phase] += 1
        self._tell()

    def complete(self, process: int, answer: Answer) -> None:
        """Record what came of the open call of `process`; after `info` the process has retired.

        Raises:
            InfraError: it could not be written.
            ValueError: the process has no open call.
        """
        call = self._open.get(process)
        if call is None:
            raise ValueError(f"process {process} has no open call")
        line = completion(process, call, answer)
        with self._lock:
            self._write(line)
            del self._open[process]
            if answer.outcome is not Outcome.INFO:
                self._free.add(process)
            self._ended[call.collection, call.phase, answer.outcome] += 1
        self._tell()

    def wait(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until a condition on what was recorded holds; it is looked at after each line, at most.

        Args:
            condition: of `invoked` and `ended`, or of anything that also changes with them.
            timeout: seconds.

        Returns:
            Does it hold.
        """
        deadline = time.monotonic() + timeout
        with self._progress:
            while not condition():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._progress.wait(min(left, 0.5))  # what else it looks at may change without a line
        return True

    def _tell(self) -> None:
        with self._progress:
            self._progress.notify_all()

    def invoked(self, collection: str, phase: Phase) -> int:
        """How many calls were recorded."""
        with self._lock:
            return self._invoked[collection, phase]

    def ended(self, collection: str, phase: Phase, outcome: Outcome) -> int:
        """How many calls ended so."""
        with self._lock:
            return self._ended[collection, phase, outcome]

    def close(self) -> None:
        """End the history; calls that are open stay without completion. A second time is no error."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _write(self, line: str) -> None:
        """Append one line. After a failure nothing more is written: a line behind half a line would be unreadable."""
        if self._broken is not None:
            raise InfraError(f"cannot write {self.path}: {self._broken.strerror}") from self._broken
        if self._file < 0:
            raise ValueError("the history is closed")
        data = f'{{"index":{self._index},"time":{self._clock()},{line}}}\n'.encode("ascii")
        try:
            done = os.write(self._file, data)
            while done < len(data):
                done += os.write(self._file, data[done:])
        except OSError as error:
            self._broken = error
            raise InfraError(
                f"cannot write {self.path}: {error.strerror}", remedy="make room where the run directory is"
            ) from error
        self._index += 1
