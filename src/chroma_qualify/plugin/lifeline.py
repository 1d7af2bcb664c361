"""How a process ends when who started it does, however that is: its standard input is a pipe, the other has its end.

Called by `__main__` before pytest takes the standard input away: for the second lane, and for a run that
`chroma-qualify run` started.
"""

from __future__ import annotations

import os
import signal
import threading

VARIABLE = "CHROMA_QUALIFY_LIFELINE"  # set by `chroma-qualify run`


def hold(*, gently: bool = False) -> None:
    """From now on this process ends as soon as the pipe closes.

    Args:
        gently: as after SIGTERM, so that a run takes its cluster with it; else it and all of its group are killed, for
            the run did not ask: it is gone, and its cluster goes with the next run's sweep.
    """
    pipe = os.dup(0)  # pytest puts something else in the place of 0
    threading.Thread(target=_watch, args=(pipe, gently), name="lifeline", daemon=True).start()


def _watch(pipe: int, gently: bool) -> None:
    while os.read(pipe, 1):
        pass
    if gently:
        os.kill(os.getpid(), signal.SIGTERM)
        return
    if os.getpgrp() == os.getpid():  # as `lane` starts it
        os.killpg(0, signal.SIGKILL)
    os._exit(128 + signal.SIGKILL)
