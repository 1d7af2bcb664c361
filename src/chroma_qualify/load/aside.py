"""Calls that run beside the caller and never hold it up: Ctrl-C ends the run at once.

Used by `scale`, `probes` and the scenarios. A ThreadPoolExecutor waits for its threads when it is left, and once more
at the interpreter's end; these threads are daemons.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

T = TypeVar("T")


def start(call: Callable[[], T]) -> concurrent.futures.Future[T]:
    """Run a call on a thread of its own; the future has its result or its error."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 (it is raised where the result is asked for)
            future.set_exception(error)

    threading.Thread(target=work, name="chroma-qualify aside", daemon=True).start()
    return future


def all_at_once(calls: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """Run all calls side by side; results by name. When all have ended, the first error of any is raised."""
    running = {name: start(call) for name, call in calls.items()}
    concurrent.futures.wait(running.values())
    return {name: future.result() for name, future in running.items()}
