"""How the second lane ends when its run does, however that is: its standard input is a pipe, the run has the other end.

Called by `__main__` of the second lane, before pytest takes the standard input away.
"""

from __future__ import annotations

import os
import signal
import threading


def hold() -> None:
    """From now on this process, and all of its group, is killed as soon as the pipe closes.

    SIGKILL, for the run did not ask: it is gone, and its cluster goes with the next run's sweep.
    """
    pipe = os.dup(0)  # pytest puts something else in the place of 0
    threading.Thread(target=_watch, args=(pipe,), name="lifeline", daemon=True).start()


def _watch(pipe: int) -> None:
    while os.read(pipe, 1):
        pass
    if os.getpgrp() == os.getpid():  # as `lane` starts it
        os.killpg(0, signal.SIGKILL)
    os._exit(128 + signal.SIGKILL)
