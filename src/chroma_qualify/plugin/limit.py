"""`--time-limit`: when it is over, no scenario begins, and the one that runs is ended as if it had raised.

Made and ended by `hooks`, one for each lane; the second lane gets what is left of the time. A timer's signal interrupts
whatever the main thread waits for, as Ctrl-C does; clearing away is never interrupted.
"""

from __future__ import annotations

import contextlib
import signal
import time
import types
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from chroma_qualify.duration import told
from chroma_qualify.findings import Finding, Severity

if TYPE_CHECKING:
    from chroma_qualify.plugin.run import Run

RULE = "time-limit"
NOT_BEGUN = "the time limit was over before it"  # of a scenario, in either lane
REMEDY = "give it more time, or choose fewer scenarios"


class TimeLimitError(BaseException):
    """Raised in the scenario that runs when the time is over; no `except Exception` of a scenario may swallow it."""


class TimeLimit:
    """The limit of one process.

    Attributes:
        over: is it?
        seconds: of the limit; None: there is none, and it is never over.
    """

    def __init__(self, seconds: float | None) -> None:
        """Start the clock; only in the main thread."""
        self.over = False
        self.seconds = seconds
        self._end = time.monotonic() + (seconds or 0)
        self._interruptible = False
        self._previous: Any = None
        if seconds is not None:
            self._previous = signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, seconds)

    def left(self) -> float:
        """Seconds that are left, at least one."""
        return max(self._end - time.monotonic(), 1.0)

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """While the block lasts the time may end it.

        Raises:
            TimeLimitError: it was over.
        """
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """What must not be half done: if the time ends while the block lasts, that ends its caller after it.

        Raises:
            TimeLimitError: the time was over meanwhile.
        """
        before, self._interruptible = self._interruptible, False
        try:
            yield
        finally:
            self._interruptible = before
        if before and self.over:
            self._end_it()

    def close(self) -> None:
        """No more signals."""
        if self.seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._previous or signal.SIG_DFL)

    def settle(self, run: Run) -> None:
        """The scenarios are over: what was left out for want of time makes the verdict `unknown`, of both lanes."""
        self.close()
        number = run.left_out(NOT_BEGUN)
        if number and not run.options.beside_of:
            text = f"the time limit of {told(self.seconds or 0)} was over: {number} scenario(s) were not begun"
            run.add_finding(Finding(RULE, Severity.UNKNOWN, text, remedy=REMEDY))

    def _ring(self, _number: int, _frame: types.FrameType | None) -> None:
        self.over = True
        if self._interruptible:
            self._end_it()

    def _end_it(self) -> NoReturn:
        self._interruptible = False
        raise TimeLimitError(f"ended by the time limit of {told(self.seconds or 0)}")


LIMIT = pytest.StashKey[TimeLimit]()


class _Setup:
    """Setup has two: a plain one, for what is skipped is skipped inside of all wrappers, and the one around it."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Nothing begins when the time is over."""
        limit = item.config.stash.get(LIMIT, None)
        if limit is not None and limit.over:
            pytest.skip(NOT_BEGUN)


def pytest_configure(config: pytest.Config) -> None:
    """Add the second hook for setup."""
    config.pluginmanager.register(_Setup())


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """What a scenario needs is not waited for when the time is over."""
    with _interruptible(item):
        return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """What runs is ended when the time is over."""
    with _interruptible(item):
        return (yield)


def _interruptible(item: pytest.Item) -> contextlib.AbstractContextManager[None]:
    limit = item.config.stash.get(LIMIT, None)
    return contextlib.nullcontext() if limit is None else limit.interruptible()
