"""Real Chroma servers, and a place for backups."""

from __future__ import annotations

import signal

import pytest
from chroma_tools._chroma import Chroma
from local_server import LocalServer


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """One server for the tests of a file."""
    server = LocalServer(tmp_path_factory.mktemp("source"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def empty(tmp_path):
    """A new server without data."""
    server = LocalServer(tmp_path / "empty")
    server.start()
    yield server
    if server.process is not None:
        server.stop(signal.SIGKILL)


@pytest.fixture
def target(tmp_path):
    """Where backups go."""
    place = tmp_path / "backups"
    place.mkdir()
    return place


@pytest.fixture
def at(monkeypatch):
    """`at(port)`: the tools' own client, and the environment, lead to that server."""
    opened = []

    def to(port):
        monkeypatch.setenv("CHROMA_URL", f"http://127.0.0.1:{port}")
        opened.append(Chroma.from_environment())
        return opened[-1]

    yield to
    for chroma in opened:
        chroma.close()
