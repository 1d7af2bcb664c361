"""The client of Prometheus' API against answers as Prometheus gives them."""

from __future__ import annotations

import http.server
import json
import threading

import pytest

from chroma_qualify.cluster.wait import WaitTimeoutError
from chroma_qualify.errors import InfraError
from chroma_qualify.observe import prometheus
from chroma_qualify.observe.prometheus import Prometheus

ALERT = {
    "labels": {"alertname": "ChromaDown", "namespace": "ours"},
    "annotations": {"runbook": "docs/how-to/monitoring.md#chromadown"},
    "state": "firing",
}
TARGET = {
    "discoveredLabels": {"__meta_kubernetes_namespace": "ours", "__meta_kubernetes_service_name": "chromadb-service"},
    "scrapePool": "serviceMonitor/ours/chromadb/0",
    "scrapeUrl": "http://10.0.0.1:8000/api/v1/heartbeat",
    "health": "down",
    "lastError": "server returned HTTP status 410 Gone",
}


class Answers(http.server.BaseHTTPRequestHandler):
    statuses: tuple[int, ...] = ()
    data: object = None

    def do_GET(self):
        cls = type(self)
        status, cls.statuses = (cls.statuses[0], cls.statuses[1:]) if cls.statuses else (200, ())
        body = json.dumps({"status": "success", "data": cls.data}).encode() if status == 200 else b"no such function"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def answers():
    handler = type("Handler", (Answers,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with Prometheus(f"http://127.0.0.1:{server.server_port}") as client:
        yield handler, client
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_vector_and_a_scalar(answers):
    handler, client = answers
    handler.data = {"resultType": "vector", "result": [{"metric": {"pod": "a"}, "value": [1.0, "0.5"]}]}
    assert [(sample.labels, sample.value) for sample in client.query("up")] == [({"pod": "a"}, 0.5)]
    handler.data = {"resultType": "scalar", "result": [1.0, "2"]}
    assert [sample.value for sample in client.query("2")] == [2.0]


def test_targets_of_one_namespace(answers):
    handler, client = answers
    other = {**TARGET, "discoveredLabels": {"__meta_kubernetes_namespace": "theirs"}}
    handler.data = {"activeTargets": [TARGET, other]}
    (target,) = client.targets("ours")
    assert (target.monitor, target.service, target.health) == ("chromadb", "chromadb-service", "down")
    assert "410" in target.error


def test_alerts_fire_and_resolve(answers):
    handler, client = answers
    handler.data = {"alerts": [ALERT]}
    assert client.wait_alerts("ours", {"ChromaDown"}, firing=True, timeout=5)
    assert client.wait_alerts("theirs", {"ChromaDown"}, firing=False, timeout=5) == ()
    with pytest.raises(WaitTimeoutError, match=r"ChromaDown to resolve.*firing"):
        client.wait_alerts("ours", {"ChromaDown"}, firing=False, timeout=0)
    handler.data = {"alerts": [{**ALERT, "state": "pending"}]}
    with pytest.raises(WaitTimeoutError, match=r"ChromaDown to fire.*pending"):
        client.wait_alerts("ours", {"ChromaDown"}, firing=True, timeout=0)
    with pytest.raises(WaitTimeoutError):  # pending is not over
        client.wait_alerts("ours", {"ChromaDown"}, firing=False, timeout=0)


def test_one_that_is_not_ready_is_asked_again(answers):
    handler, client = answers
    handler.statuses = (503, 503)
    handler.data = {"resultType": "vector", "result": []}
    assert client.query("up") == ()


def test_a_query_that_is_refused_and_a_server_that_is_away(answers, monkeypatch):
    handler, client = answers
    handler.statuses = (400,)
    with pytest.raises(InfraError, match="no such function"):
        client.query("nonsense(")
    monkeypatch.setattr(prometheus, "_PATIENCE", 0.1)
    with Prometheus("http://127.0.0.1:9") as nobody, pytest.raises(InfraError, match="does not answer"):
        nobody.query("up")
