"""For the unit tests: what is printed does not depend on where they run.

Typer and pytest look at these when they are imported or started, and colour what they print; so this comes before both,
and the programs that tests start have it, too.
"""

import os

import pytest

os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"
for name in ("GITHUB_ACTIONS", "FORCE_COLOR", "PY_COLORS"):
    os.environ.pop(name, None)


@pytest.fixture
def console(monkeypatch, capsys):
    """The console entry in this process: `console("lint", …)` gives exit code, stdout, stderr."""
    from chroma_qualify import cli  # not before the lines above

    def run(*args: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["chroma-qualify", *args])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run
