"""`wait_for` against a small API server: lists, watches, and what goes wrong between."""

from __future__ import annotations

import http.server
import json
import threading
import time

import kubernetes.client
import pytest

from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for

Answer = tuple[int, list[dict]]


def pod(name: str, version: int, phase: str = "Pending") -> dict:
    metadata = {"name": name, "namespace": "ns", "resourceVersion": str(version)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"phase": phase}}


class Server:
    """Answers each list and each watch with what comes next in `lists` and `watches`; the last one stays."""

    def __init__(self) -> None:
        self.lists: list[Answer] = [(200, [])]
        self.watches: list[Answer] = [(200, [])]
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                watch = "watch=" in self.path
                outer.asked.append("watch" if watch else "list")
                answers = outer.watches if watch else outer.lists
                status, items = answers.pop(0) if len(answers) > 1 else answers[0]
                if status != 200:
                    body = json.dumps({"kind": "Status", "code": status, "message": f"it is {status}"})
                elif watch:
                    body = "".join(json.dumps(item) + "\n" for item in items)
                else:
                    body = json.dumps({"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": items})
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(body.encode())
                if watch and not items:
                    time.sleep(0.05)  # a watch in which nothing happens does not end at once

            def log_message(self, *_: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def wait(self, timeout: float = 60.0, **more):
        config = kubernetes.client.Configuration(host=f"http://127.0.0.1:{self.http.server_port}")
        config.retries = False
        with kubernetes.client.ApiClient(config) as api:
            return wait_for(
                "a pod to run",
                kubernetes.client.CoreV1Api(api).list_namespaced_pod,
                lambda pods: any(item.status.phase == "Running" for item in pods.values()),
                timeout=timeout,
                namespace="ns",
                **more,
            )

    def close(self) -> None:
        if self.thread.is_alive():
            self.http.shutdown()
            self.thread.join()
            self.http.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def event(kind: str, item: dict) -> dict:
    return {"type": kind, "object": item}


def test_what_holds_already_needs_no_watch(server):
    server.lists = [(200, [pod("a", 1, "Running")])]
    assert set(server.wait()) == {"a"}
    assert server.asked == ["list"]


def test_what_comes_true_is_seen_in_the_watch(server):
    server.lists = [(200, [pod("a", 1), pod("gone", 1)])]
    server.watches = [(200, [event("DELETED", pod("gone", 2)), event("MODIFIED", pod("a", 3, "Running"))]), (200, [])]
    assert set(server.wait()) == {"a"}
    assert server.asked == ["list", "watch"]


@pytest.mark.parametrize("status", [410, 500, 503])
def test_a_watch_that_is_refused_begins_anew_with_a_list(server, status):
    server.lists = [(200, [pod("a", 1)]), (200, [pod("a", 9, "Running")])]
    server.watches = [(status, [])]
    assert server.wait()["a"].status.phase == "Running"
    assert server.asked.count("list") == 2


def test_a_version_too_old_within_a_watch_begins_anew_with_a_list(server):
    too_old = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "code": 410, "reason": "Expired", "message": "old"}
    server.lists = [(200, [pod("a", 1)]), (200, [pod("a", 9, "Running")])]
    server.watches = [(200, [event("ERROR", too_old)])]
    assert server.wait()["a"].status.phase == "Running"


def test_a_list_that_fails_is_asked_again(server):
    server.lists = [(503, []), (200, [pod("a", 1, "Running")])]
    assert set(server.wait()) == {"a"}


def test_the_timeout_names_what_was_waited_for_and_the_last_state(server):
    server.lists = [(200, [pod("a", 1)])]
    told = {"describe": lambda pods: ", ".join(f"{name} is {item.status.phase}" for name, item in pods.items())}
    with pytest.raises(WaitTimeoutError, match=r"waited 0 s for a pod to run; last seen: a is Pending"):
        server.wait(0.3, **told)


def test_the_timeout_says_that_the_api_server_is_not_there(server):
    server.close()
    begin = time.monotonic()
    with pytest.raises(WaitTimeoutError, match=r"last seen: nothing; the API server said: .*refused"):
        server.wait(0.3)
    assert time.monotonic() - begin < 30
