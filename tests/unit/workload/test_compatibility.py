"""The client's program against a real server, by the client that is installed here."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from chroma_qualify.checks.compatibility import judge_client
from chroma_qualify.cluster.images import clients
from chroma_qualify.errors import InfraError
from chroma_qualify.workload import compatibility
from chroma_qualify.workload.compatibility import try_client

INSTALLED = importlib.metadata.version("chromadb")


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(compatibility, "client_python", lambda _: Path(sys.executable))


def test_a_client_of_the_servers_own_version_passes_every_check(installed, shared_server):
    for _ in range(2):  # what it makes on the server is its own, so it can be done again
        run = try_client(INSTALLED, "the same", "127.0.0.1", shared_server.port)
        assert judge_client(run) == [], run
        assert len(run.checks) >= 17


def test_without_a_server_nothing_is_compatible(installed, shared_server):
    run = try_client(INSTALLED, "none", "127.0.0.1", 9)
    (finding,) = judge_client(run)
    assert finding.rule == "client-incompatible"
    assert run.first_failure is not None
    assert run.first_failure.name == "connect"
    assert all(check.error.startswith("not tried") for check in run.checks if check.name in {"get", "count"})


def test_a_client_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(InfraError, match=r"client 1\.0\.0 was not installed yet"):
        try_client("1.0.0", "any", "127.0.0.1", 9)


def test_the_versions_are_those_that_the_issue_asks_for():
    assert clients.client_versions() == ("0.6.3", "1.0.0", "1.2.2", "1.5.9")
    for lock in (clients.check_program().parent).glob("*.lock"):
        text = lock.read_text()
        assert "://" not in text, f"{lock.name} names a registry"
        assert text.count("--hash=") >= text.count("==") > 30
