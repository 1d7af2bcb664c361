"""For the unit tests: what is printed does not depend on where they run.

Typer and pytest look at these when they are imported or started, and colour what they print; so this comes before both,
and the programs that tests start have it, too.
"""

import os

os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"
for name in ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS"):
    os.environ.pop(name, None)
