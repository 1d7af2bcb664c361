"""Kubectl, and an API server that does not always answer."""

from __future__ import annotations

import pytest

from chroma_qualify.cluster import model
from chroma_qualify.cluster.model import Cluster
from chroma_qualify.errors import InfraError

SLOW = 'echo "error: Get \\"https://127.0.0.1:1/\\": net/http: TLS handshake timeout" >&2; exit 1'
CUT = 'echo "error: Post \\"https://127.0.0.1:1/\\": http2: client connection lost" >&2; exit 1'
REFUSED = 'echo "Error from server (NotFound): pods \\"x\\" not found" >&2; exit 1'


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A kubectl that says what is told on its first two calls, then `ok`; it counts them."""
    monkeypatch.setattr(model, "_PAUSE", 0.01)

    def make(words):
        kubectl = tmp_path / "kubectl"
        count = f'echo x >> {tmp_path}/calls\n[ "$(wc -l < {tmp_path}/calls)" -gt 2 ]'
        kubectl.write_text(f"#!/bin/sh\n{count} || {{ {words}; }}\necho ok\n")
        kubectl.chmod(0o755)
        return Cluster("c", tmp_path / "kubeconfig", kubectl), lambda: len((tmp_path / "calls").read_text().split())

    return make


@pytest.mark.parametrize(("verb", "words"), [("get", SLOW), ("get", CUT), ("create", SLOW)])
def test_what_was_not_answered_or_never_asked_is_asked_again(cluster, verb, words):
    there, calls = cluster(words)
    assert there.run_kubectl(verb, "pods").stdout == "ok\n"
    assert calls() == 3


@pytest.mark.parametrize(("verb", "words"), [("create", CUT), ("get", REFUSED)])
def test_what_may_have_been_done_or_was_refused_is_not(cluster, verb, words):
    there, calls = cluster(words)
    with pytest.raises(InfraError):
        there.run_kubectl(verb, "pods")
    assert calls() == 1


def test_who_looks_at_the_answer_himself_gets_the_first_or_the_last(cluster):
    there, calls = cluster(SLOW)
    assert there.run_kubectl("get", "pods", check=False).returncode == 1
    assert calls() == 1
    assert there.run_kubectl("apply", "-f", "-", stdin="", check=False, again=True).stdout == "ok\n"
    assert calls() == 3


def test_it_is_not_asked_for_ever(cluster, monkeypatch):
    monkeypatch.setattr(model, "_TRIES", 2)
    there, calls = cluster(SLOW)
    assert there.run_kubectl("get", "pods", check=False, again=True).returncode == 1
    assert calls() == 2
