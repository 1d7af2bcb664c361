"""The forward against a small API server that speaks the real protocol over real sockets."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time

import pytest
from api_server import ApiServer

from chroma_qualify.deployment.forward import last_errors, open_forward
from chroma_qualify.deployment.targets import NoPodError, endpoints
from chroma_qualify.errors import CandidateError, InfraError


class Echo(socketserver.ThreadingTCPServer):
    """A "pod" that says back what it hears, and keeps what it has heard."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        self.heard: list[bytes] = []
        self.clients: list[socket.socket] = []
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer.clients.append(self.request)
                with contextlib.suppress(OSError):
                    while data := self.request.recv(65536):
                        outer.heard.append(data)
                        self.request.sendall(data)

        super().__init__(("127.0.0.1", port), Handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        for client in self.clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def api(tmp_path):
    server = ApiServer(tmp_path)
    yield server
    server.close()


@pytest.fixture
def echo():
    server = Echo()
    yield server
    server.stop()


def connect(forward) -> socket.socket:
    return socket.create_connection((forward.host, forward.port), timeout=60)


def receive(client: socket.socket, size: int) -> bytes:
    got = bytearray()
    while len(got) < size and (data := client.recv(1 << 20)):
        got += data
    return bytes(got)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_bytes_go_both_ways_and_close_ends_every_thread(api, echo):
    api.pods["db-0"] = echo.port
    before = set(threading.enumerate())
    started = time.monotonic()
    with open_forward(api.cluster, "ns", "service/db", 80) as forward, connect(forward) as client:
        assert time.monotonic() - started < 10
        client.sendall(b"hello")
        assert receive(client, 5) == b"hello"
        started = time.monotonic()
    assert time.monotonic() - started < 10
    mine = [thread for thread in set(threading.enumerate()) - before if "forward" in thread.name]
    assert mine == []
    with pytest.raises(ConnectionRefusedError):
        connect(forward)
    forward.close()


def test_large_bodies_in_several_connections_at_once(api, echo):
    api.pods["db-0"] = echo.port
    body = bytes(range(256)) * (12 * 4096)  # 12 MiB
    answers: dict[int, bytes] = {}

    def talk(number: int) -> None:
        with connect(forward) as client:
            sender = threading.Thread(target=client.sendall, args=(body,))
            sender.start()
            answers[number] = receive(client, len(body))
            sender.join()

    with open_forward(api.cluster, "ns", "db", 80) as forward:
        threads = [threading.Thread(target=talk, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [answers[number] == body for number in range(4)] == [True] * 4


def test_a_connection_waits_for_a_pod_and_then_reaches_the_new_one(api, echo):
    api.pods["db-0"] = echo.port
    with open_forward(api.cluster, "ns", "db", 80) as forward:
        api.pods.clear()
        with connect(forward) as client:
            client.sendall(b"early")
            client.settimeout(0.4)
            with pytest.raises(TimeoutError):
                client.recv(1)
            client.settimeout(60)
            api.pods["db-1"] = echo.port
            assert receive(client, 5) == b"early"


def test_what_a_refused_pod_never_got_is_said_again_once(api):
    port = free_port()
    api.pods["db-0"] = port  # ready, says the API server, but its process is just restarting
    with open_forward(api.cluster, "ns", "db", 80) as forward, connect(forward) as client:
        client.sendall(b"add record 1")
        client.settimeout(0.4)
        with pytest.raises(TimeoutError):
            client.recv(1)
        echo = Echo(port)
        client.settimeout(60)
        assert receive(client, 12) == b"add record 1"
        assert echo.heard == [b"add record 1"]
        echo.stop()


def test_a_failing_upgrade_is_tried_again(api, echo):
    api.pods["db-0"] = echo.port
    with open_forward(api.cluster, "ns", "db", 80) as forward:
        api.failing_upgrades = 3
        with connect(forward) as client:
            client.sendall(b"x")
            assert receive(client, 1) == b"x"


def test_a_client_that_gave_up_waiting_is_not_heard_later(api, echo):
    api.pods["db-0"] = echo.port
    with open_forward(api.cluster, "ns", "db", 80) as forward:
        api.pods.clear()
        with connect(forward) as client:
            client.sendall(b"late write")
            time.sleep(0.2)
        time.sleep(4)  # longer than it may linger, on a busy machine as well
        api.pods["db-1"] = echo.port
        with connect(forward) as client:
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
        time.sleep(0.7)  # longer than the longest pause between two tries
        assert echo.heard == [b"x"]


def test_a_broken_connection_is_a_reset_and_the_next_one_works(api, echo):
    api.pods["db-0"] = echo.port
    with open_forward(api.cluster, "ns", "db", 80) as forward:
        with connect(forward) as client:
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
            api.cut()
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert forward.last_error
        assert last_errors() == (forward.last_error,)
        with connect(forward) as client:
            client.sendall(b"y")
            assert receive(client, 1) == b"y"
        assert echo.heard == [b"x", b"y"]


def test_the_pods_end_is_an_orderly_end(api, echo):
    api.pods["db-0"] = echo.port
    with open_forward(api.cluster, "ns", "db", 80) as forward, connect(forward) as client:
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        echo.clients[-1].shutdown(socket.SHUT_RDWR)
        assert client.recv(1) == b""


def test_a_half_closed_client_still_gets_its_answer(api, echo):
    api.pods["db-0"] = echo.port
    with open_forward(api.cluster, "ns", "db", 80) as forward, connect(forward) as client:
        client.sendall(b"bye")
        client.shutdown(socket.SHUT_WR)
        assert receive(client, 3) == b"bye"
        assert client.recv(1) == b""


def test_pods_take_turns(api, echo):
    other = Echo()
    api.pods.update({"db-0": echo.port, "db-1": other.port})
    with open_forward(api.cluster, "ns", "db", 80) as forward:
        for _ in range(4):
            with connect(forward) as client:
                client.sendall(b"x")
                assert receive(client, 1) == b"x"
    assert (len(echo.heard), len(other.heard)) == (2, 2)
    other.stop()


def test_no_pod_in_time_names_target_and_last_state(api):
    with pytest.raises(CandidateError, match=r"waited 0 s .* to db:80 in ns.*no pod of db:80.* is ready"):
        open_forward(api.cluster, "ns", "db", 80, patience=0.3)


def test_an_api_server_that_does_not_answer_is_not_the_candidates_fault(api, echo):
    api.pods["db-0"] = echo.port
    api.failing_upgrades = 1000
    with pytest.raises(InfraError, match="the API server answered"):
        open_forward(api.cluster, "ns", "db", 80, patience=0.3)
    api.close()
    with pytest.raises(InfraError, match="the API server does not answer"):
        open_forward(api.cluster, "ns", "db", 80, patience=0.3)


def test_a_wrong_port_is_named(api, echo):
    api.pods["db-0"] = echo.port
    with pytest.raises(CandidateError, match=r"service db has no port 81, it has \[80\]"):
        open_forward(api.cluster, "ns", "db", 81, patience=0.3)


def test_endpoints_by_named_port_and_readiness():
    service = {"metadata": {"name": "db"}, "spec": {"ports": [{"name": "http", "port": 80}, {"name": "m", "port": 81}]}}
    slices = [
        {"ports": None, "endpoints": None},
        {
            "ports": [{"name": "http", "port": 8000}, {"name": "m", "port": 9000}],
            "endpoints": [
                {"conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": "a"}},
                {"conditions": {"ready": False}, "targetRef": {"kind": "Pod", "name": "b"}},
                {"conditions": {}, "targetRef": {"kind": "Pod", "name": "c"}},
                {"conditions": {"ready": True}},
            ],
        },
    ]
    assert endpoints(service, slices, 80) == {("a", 8000), ("c", 8000)}
    assert endpoints(service, slices, 81) == {("a", 9000), ("c", 9000)}
    with pytest.raises(NoPodError):
        endpoints(service, slices, 82)
