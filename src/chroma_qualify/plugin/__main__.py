"""`python -m chroma_qualify.plugin ARGS`: pytest with our plugin, and Ctrl-C quiet from the first moment on.

Called by scripts/qualify. Importing pytest takes a second or two; until the session begins there is nothing to clean
up, so SIGINT simply ends the process (the shell sees 130) instead of printing a stack trace.
"""

import signal
import sys

signal.signal(signal.SIGINT, signal.SIG_DFL)  # `hooks.pytest_sessionstart` takes it back

import pytest  # noqa: E402

# This module's own import of the package comes before pytest could rewrite its assertions; it has none.
QUIET = "ignore:Module already imported so cannot be rewritten:pytest.PytestAssertRewriteWarning"
sys.exit(pytest.main(["-W", QUIET, "-p", "chroma_qualify.plugin", *sys.argv[1:]]))
