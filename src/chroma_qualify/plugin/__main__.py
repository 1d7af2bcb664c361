"""`python -m chroma_qualify.plugin ARGS`: pytest with our plugin, and Ctrl-C quiet from the first moment on.

Called by `chroma-qualify run`, and by `lane` for a run's second lane. Importing pytest takes a second or two; until the
session begins there is nothing to clean up, so SIGINT simply ends the process (the shell sees 130) instead of printing
a stack trace.
"""

import os
import signal
import sys
import threading

signal.signal(signal.SIGINT, signal.SIG_DFL)  # `hooks.pytest_sessionstart` takes it back

from chroma_qualify.plugin import lifeline  # noqa: E402

if "--beside-of" in sys.argv:
    lifeline.hold()
elif os.environ.pop(lifeline.VARIABLE, ""):
    lifeline.hold(gently=True)
# Before numpy is imported: its threads wait by spinning, which beside a cluster made it four times as slow.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import pytest  # noqa: E402

from chroma_qualify.report.verdict import EXIT_USAGE  # noqa: E402


class Ending:
    """Was it pytest that refused the request? Its code for that is our `infra`."""

    refused = True

    def pytest_keyboard_interrupt(self) -> None:
        """It is `hooks` that ended the session, with a number of ours."""
        self.refused = False

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """A request that it refuses later than here ends with its own constant, not with a number of ours."""
        self.refused = exitstatus is pytest.ExitCode.USAGE_ERROR


# This module's own import of the package comes before pytest could rewrite its assertions; it has none.
QUIET = "ignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning"
ending = Ending()
code = pytest.main(["-W", QUIET, "-p", "chroma_qualify.plugin", *sys.argv[1:]], plugins=[ending])
if code == pytest.ExitCode.USAGE_ERROR and ending.refused:
    code = EXIT_USAGE
if any(not thread.daemon and thread is not threading.main_thread() for thread in threading.enumerate()):
    # One of them may wait for a cluster that is gone; everything is written, nobody is to wait for it.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
sys.exit(code)
