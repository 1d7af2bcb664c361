"""Real Chroma servers for the tests of this directory."""

from __future__ import annotations

import signal

import pytest
from local_server import LocalServer


@pytest.fixture
def local_server(tmp_path):
    server = LocalServer(tmp_path / "chroma")
    server.start()
    yield server
    if server.process is not None:
        server.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    """One server for the tests of a file; each makes collections of its own."""
    server = LocalServer(tmp_path_factory.mktemp("chroma"))
    server.start()
    yield server
    server.stop()
