"""What the rules say of Chroma's configuration, held against the real server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_lint_configuration import STOPPING_FILES, STOPPING_VARIABLES

CHROMA = Path(sys.executable).with_name("chroma")
# Whatever is wrong is found before anything listens; this address is no machine's (RFC 5737), so nothing ever would.
BASE = "listen_address: 203.0.113.1\n"
STOPPED = "Error loading config"
TOOK = "Saving data to"  # what it says when it has read all


def started(directory, text, **variables):
    directory.mkdir()
    (directory / "config.yaml").write_text(text)
    return subprocess.Popen(
        [CHROMA, "run", "config.yaml"],
        cwd=directory,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(
    ("cases", "stops"),
    [
        pytest.param([(text, {}) for text, _ in STOPPING_FILES], True, id="files"),
        pytest.param([(BASE, {name: value}) for name, value in STOPPING_VARIABLES], True, id="variables"),
        pytest.param(
            [
                (BASE + 'cors_allow_origins: ["*"]\ncircuit_breaker: {requests: 0}\nnobody_knows_this: 1\n', {}),
                (BASE, {"CHROMA_ALLOW_RESET": "true", "CHROMA_CORS_ALLOW_ORIGINS": '["*"]'}),
            ],
            False,
            id="good ones",
        ),
    ],
)
def test_what_stops_the_server(cases, stops, tmp_path):
    running = [started(tmp_path / str(n), text, **variables) for n, (text, variables) in enumerate(cases)]
    try:
        for (text, variables), process in zip(cases, running, strict=True):
            said = ""
            for line in process.stdout:  # ends with the process
                said += line
                if STOPPED in said or TOOK in said:
                    break
            assert (STOPPED in said, TOOK in said) == (stops, not stops), (text, variables, said[-500:])
    finally:
        for process in running:
            process.kill()
            process.communicate()
