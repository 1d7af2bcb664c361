"""Runs a client's own program in its own virtual environment, against a server. Called by the scenario."""

from __future__ import annotations

import os
import subprocess

from chroma_qualify.checks.compatibility import ClientRun, read_run
from chroma_qualify.cluster.images.clients import check_program, client_python

_TIMEOUT = 400  # seconds; alone it takes 4, most of it for importing chromadb
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


def try_client(version: str, server: str, host: str, port: int, environment: dict[str, str] | None = None) -> ClientRun:
    """Let the client of a version do all its checks.

    Args:
        version: one of `client_versions`.
        server: what it talks to, for a person.
        host: where that answers.
        port: its port.
        environment: of a protected server, see images/clients/check.py.

    Raises:
        InfraError: the client is not installed.
    """
    command = [str(client_python(version)), "-I", str(check_program()), host, str(port)]
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT, check=False, env=kept | (environment or {})
        )
    except subprocess.TimeoutExpired:
        return read_run(version, server, "", f"no end within {_TIMEOUT} s")
    return read_run(version, server, done.stdout, done.stderr)
