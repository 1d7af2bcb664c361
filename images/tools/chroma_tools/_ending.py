"""How the tools end: one sentence on stderr and an exit code, which Kubernetes shows in the pod's status."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from chroma_tools._chroma import ChromaError, SettingsError
from chroma_tools._format import BackupError
from chroma_tools._target import BusyError


def ended(work: Callable[[], object]) -> int:
    """Do it; the exit code: 0, 1 failed, 2 wrong settings, 3 another run is at it."""
    # As process 1 of a container we have no default action for SIGTERM; this one cleans up on its way out.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        work()
    except SettingsError as error:
        return _said(error, 2)
    except BusyError as error:
        return _said(error, 3)
    except (BackupError, ChromaError) as error:
        return _said(error, 1)
    return 0


def _said(error: Exception, code: int) -> int:
    print(str(error).replace("\n", " "), file=sys.stderr, flush=True)
    return code
