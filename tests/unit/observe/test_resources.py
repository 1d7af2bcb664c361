"""CPU and memory against a small HTTP server that answers as an API server and its kubelets do."""

from __future__ import annotations

import http.server
import json
import threading
import time
from pathlib import Path

import pytest

from chroma_qualify.cluster.model import Cluster
from chroma_qualify.cluster.wait import poll_for
from chroma_qualify.observe import resources
from chroma_qualify.observe.resources import Counter, Resources, samples

PROXY = "/api/v1/nodes/one/proxy/metrics/resource"
METRICS = "/apis/metrics.k8s.io/v1beta1/namespaces/mine/pods"
# As a kubelet of Kubernetes 1.37 writes it.
KUBELET = """# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{{container="chromadb",namespace="mine",pod="c-0"}} {cpu} {at}
container_cpu_usage_seconds_total{{container="chromadb",namespace="others",pod="c-0"}} 9 {at}
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{{container="chromadb",namespace="mine",pod="c-0"}} 1.048576e+06 {at}
container_memory_working_set_bytes{{container="chromadb",namespace="others",pod="c-0"}} 1 {at}
container_start_time_seconds{{container="chromadb",namespace="mine",pod="c-0"}} 1.7e+09
node_cpu_usage_seconds_total 94.1 {at}
"""
WORD = {"kind": "NodeList", "apiVersion": "v1", "items": [{"metadata": {"name": "one"}}]}


class Server(http.server.ThreadingHTTPServer):
    """`refused`: paths that answer 403; `hang`: that never answer; CPU grows by half a core's second each look."""

    daemon_threads = True

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.hang: set[str] = set()
        self.asked: list[str] = []
        self.odd: list[bytes] = []  # what the metrics API says before it says what it should
        self.over = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                outer.asked.append(path)
                if path in outer.hang:
                    outer.over.wait()
                status, body = (403, b"{}") if path in outer.refused else (200, outer.body(path))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def body(self, path: str) -> bytes:
        if path == PROXY:
            look = self.asked.count(PROXY)
            return KUBELET.format(cpu=look * 0.5, at=1_700_000_000_000 + look * 1000).encode()
        if path == METRICS and self.odd:
            return self.odd.pop()
        if path == METRICS:
            usage = {"cpu": "250m", "memory": "2Mi"}
            items = [{"metadata": {"name": "c-0"}, "containers": [{"name": "chromadb", "usage": usage}]}]
            return json.dumps({"items": items}).encode()
        return json.dumps(WORD).encode()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(resources, "_EVERY", 0.02)
    server = Server()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


def measure(server: Server, tmp_path: Path) -> Resources:
    context = {"cluster": "c", "user": "u"}
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": context}], "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}],
    }  # fmt: skip
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    cluster = Cluster("test", kubeconfig, Path("kubectl"))
    return Resources(cluster, tmp_path, lambda: 7, lambda: {"mine"})


def lines(tmp_path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (tmp_path / "resources.jsonl").read_text().splitlines()]


def test_the_kubelet_is_asked_for_the_namespaces_of_the_run(server, tmp_path):
    with measure(server, tmp_path):
        poll_for("two looks", lambda: len(lines(tmp_path)), lambda number: number >= 2, 60, 0.01)
    place = {"namespace": "mine", "pod": "c-0", "container": "chromadb"}
    expected = {"time": 7, **place, "cpu": 0.5, "memory": 1_048_576}
    assert all(line == expected for line in lines(tmp_path))
    assert METRICS not in server.asked


def test_without_the_nodes_the_metrics_api_is_asked(server, tmp_path):
    server.refused = {PROXY}
    with measure(server, tmp_path):
        poll_for("a look", lambda: len(lines(tmp_path)), lambda number: number >= 1, 60, 0.01)
    place = {"namespace": "mine", "pod": "c-0", "container": "chromadb"}
    assert lines(tmp_path)[0] == {"time": 7, **place, "cpu": 0.25, "memory": 2 << 20}


def test_an_answer_that_is_none_ends_nothing(server, tmp_path):
    server.refused = {PROXY}
    server.odd = [b'{"items": null}', b'{"items": [null]}', b'{"items": ["x"]}', b"[]", b"null", b"{}", b"{"]
    with measure(server, tmp_path):
        poll_for("a look", lambda: len(lines(tmp_path)), lambda number: number >= 1, 60, 0.01)
    assert server.odd == []
    assert lines(tmp_path)[0]["pod"] == "c-0"


def test_without_any_right_one_line_says_so_and_nothing_more_is_asked(server, tmp_path):
    server.refused = {"/api/v1/nodes", METRICS}
    with measure(server, tmp_path) as measured:
        poll_for("the note", lambda: lines(tmp_path), bool, 60, 0.01)
        measured._thread.join(60)
        assert not measured._thread.is_alive()
    (line,) = lines(tmp_path)
    assert "neither the kubelets nor the metrics API may be asked (403)" in str(line["note"])
    assert server.asked == ["/api/v1/nodes", METRICS]


def test_a_server_that_hangs_holds_nobody_up(server, tmp_path):
    server.hang = {PROXY}
    measured = measure(server, tmp_path)
    with measured:
        poll_for("the question", lambda: PROXY in server.asked, bool, 60, 0.01)
        began = time.monotonic()
        measured.close(timeout=0.1)
    assert time.monotonic() - began < 60, "it would hang for ever"
    server.over.set()
    measured._thread.join(60)
    assert not measured._thread.is_alive()
    assert lines(tmp_path) == []


def test_a_kubelets_text_is_read():
    found = list(samples(KUBELET.format(cpu=0.25, at=1_700_000_000_500)))
    assert found[0] == (("mine", "c-0", "chromadb"), "cpu_usage_seconds_total", 0.25, 1_700_000_000.5)
    assert found[2] == (("mine", "c-0", "chromadb"), "memory_working_set_bytes", 1_048_576.0, 1_700_000_000.5)
    assert len(found) == 4


def test_a_counter_that_was_not_measured_anew_or_began_again_says_what_it_said():
    counter = Counter()
    for seconds, at, cores in [
        (1, 10, None),
        (3, 20, 0.2),
        (3, 20, 0.2),
        (0.5, 30, 0.2),
        (2.5, 40, 0.2),
        (7.5, 50, 0.5),
    ]:
        counter.tell(seconds, at)
        assert counter.cores == cores
