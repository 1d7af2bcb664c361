"""The watcher against a small HTTP server that lists and streams as an API server does."""

from __future__ import annotations

import http.server
import json
import queue
import socket
import threading
import time
from urllib.parse import parse_qs, urlsplit

import kubernetes.client
import pytest

from chroma_qualify.deployment.watcher import Watcher


class Pods(http.server.ThreadingHTTPServer):
    """Lists `pods`; a watch answers with what is put into `stream`: events, `CUT`, or `END`."""

    daemon_threads = True

    def __init__(self) -> None:
        self.pods: dict[str, int] = {}  # resource version by name
        self.stream: queue.Queue[object] = queue.Queue()
        self.watching = threading.Event()
        self.versions: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                if "watch" not in query:
                    items = [pod(name, version) for name, version in outer.pods.items()]
                    body = json.dumps({"metadata": {"resourceVersion": "9"}, "items": items}).encode()
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                    return
                outer.versions.append(query["resourceVersion"][0])
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                outer.watching.set()
                while (what := outer.stream.get()) not in ("CUT", "END"):
                    line = json.dumps(what).encode() + b"\n"
                    for part in (line[:7], line[7:]):  # a line need not come in one piece
                        self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                if what == "END":
                    self.wfile.write(b"0\r\n\r\n")
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


def pod(name: str, version: int) -> dict[str, object]:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}}


@pytest.fixture
def server():
    found = Pods()
    yield found
    found.shutdown()
    found.server_close()


@pytest.fixture
def seen():
    return queue.Queue()


@pytest.fixture
def gaps():
    return []


@pytest.fixture
def watcher(server, seen, gaps):
    config = kubernetes.client.Configuration()
    config.host = f"http://127.0.0.1:{server.server_address[1]}"
    core = kubernetes.client.CoreV1Api(kubernetes.client.ApiClient(config))
    found = Watcher(
        "Pod",
        core.list_namespaced_pod,
        lambda change, item: seen.put((change, item["metadata"]["name"], item["kind"])),
        gap=gaps.append,
        namespace="ns",
    )
    yield found
    found.close()


def test_list_then_changes(server, watcher, seen):
    server.pods = {"a": 1}
    watcher.start()
    assert watcher.wait_listed(5)
    assert seen.get(timeout=30) == ("ADDED", "a", "Pod")
    server.stream.put({"type": "ADDED", "object": pod("b", 10)})
    server.stream.put({"type": "MODIFIED", "object": pod("a", 11)})
    server.stream.put({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "12"}}})
    server.stream.put({"type": "DELETED", "object": pod("b", 13)})
    expected = [("ADDED", "b", "Pod"), ("MODIFIED", "a", "Pod"), ("DELETED", "b", "Pod")]
    assert [seen.get(timeout=30) for _ in expected] == expected


def test_a_watch_that_ends_goes_on_where_it_was(server, watcher, seen, gaps):
    watcher.start()
    server.stream.put({"type": "ADDED", "object": pod("b", 10)})
    server.stream.put("END")
    server.stream.put({"type": "ADDED", "object": pod("c", 11)})
    assert [seen.get(timeout=30)[1] for _ in range(2)] == ["b", "c"]
    assert server.versions == ["9", "10"]
    assert gaps == []


def test_what_happened_in_a_gap_is_told_after_it(server, watcher, seen, gaps):
    server.pods = {"gone": 1, "same": 2, "changed": 3}
    watcher.start()
    assert [seen.get(timeout=30)[0] for _ in range(3)] == ["ADDED"] * 3
    assert server.watching.wait(30)
    server.pods = {"same": 2, "changed": 4, "new": 5}
    server.stream.put("CUT")
    told = {seen.get(timeout=30)[:2] for _ in range(3)}
    assert told == {("DELETED", "gone"), ("MODIFIED", "changed"), ("ADDED", "new")}
    assert seen.empty()
    assert len(gaps) == 2
    assert gaps[0]
    assert gaps[1] is None


def test_too_old_a_version_is_no_gap(server, watcher, seen, gaps):
    watcher.start()
    assert server.watching.wait(30)
    server.pods = {"a": 1}
    server.stream.put({"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}})
    assert seen.get(timeout=30) == ("ADDED", "a", "Pod")
    assert gaps == []


def test_closing_ends_a_read_that_is_blocked(server, watcher):
    watcher.start()
    assert server.watching.wait(30)
    began = time.monotonic()
    watcher.close(30)
    assert time.monotonic() - began < 20
    assert not any(thread.name == "watch Pod" for thread in threading.enumerate())
