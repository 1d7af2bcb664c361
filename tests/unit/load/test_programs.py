"""The programs of the loader image, run for real on loopback."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from chroma_qualify.load.generator import COMMAND, Plan, master_command, worker_command
from chroma_qualify.load.measured import merged, parse

VALUES = {"collection": "c", "rate": 40, "seconds": 4, "seed": 1, "in_flight": 200}
IMAGE = Path(__file__).parents[3] / "images" / "loader"


def free_port():
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]


@contextlib.contextmanager
def running(*command, **environment):
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def probe(*targets):
    done = subprocess.run(
        [sys.executable, str(IMAGE / "probe.py"), json.dumps(targets)], capture_output=True, text=True, check=True
    )
    return {entry["name"]: entry for entry in map(json.loads, done.stdout.splitlines())}


def test_listener_answers_probes_and_ends_at_once():
    ports = [free_port(), free_port()]
    with running(str(IMAGE / "listen.py"), *map(str, ports)) as listener:
        assert listener.stdout.readline().startswith("listening on")
        found = probe(
            {"name": "tcp", "kind": "tcp", "host": "127.0.0.1", "port": ports[0]},
            {"name": "http", "kind": "http", "host": "127.0.0.1", "port": ports[1]},
        )
        assert found["tcp"]["outcome"] == "open"
        assert found["http"]["detail"] == "HTTP/1.1 200 OK"
        begin = time.monotonic()
        listener.send_signal(signal.SIGTERM)
        assert listener.wait(30) == 0
        assert time.monotonic() - begin < 20


def test_probe_tells_ways_of_failing_apart():
    with socket.socket() as silent:  # listens, its queue full: a connection attempt is dropped
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        port = silent.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        found = probe(
            {"name": "nobody", "kind": "tcp", "host": "127.0.0.1", "port": free_port()},
            {"name": "silent", "kind": "tcp", "host": "127.0.0.1", "port": port, "timeout": 0.5},
            {"name": "mute", "kind": "http", "host": "127.0.0.1", "port": port, "timeout": 0.5},
            {"name": "nonsense", "kind": "pigeon", "host": "127.0.0.1", "port": 1},
        )
        for filler in fillers:
            filler.close()
    assert found["nobody"]["outcome"] == "refused"
    assert found["silent"]["outcome"] == "timeout"
    assert found["mute"]["outcome"] == "timeout"
    assert found["nonsense"]["outcome"] == "error"


def test_dns_probe_asks_the_server_it_is_told():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)

        def answer_once():
            question, peer = server.recvfrom(512)
            server.sendto(question[:2] + b"\x81\x80\x00\x01\x00\x01" + question[8:], peer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        port = server.getsockname()[1]
        target = {"kind": "dns", "host": "a.b", "port": port, "server": "127.0.0.1", "timeout": 2}
        assert probe({"name": "dns", **target})["dns"]["outcome"] == "open"
        thread.join()
        assert probe({"name": "dns", **target, "timeout": 0.3})["dns"]["outcome"] == "timeout"


class Stalling(BaseHTTPRequestHandler):
    """Answers a query at once, except while it stalls."""

    stall_until = 0.0
    connections = 0

    def do_POST(self):
        type(self).connections += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(max(0.0, self.stall_until - time.monotonic()))
        body = b'{"ids":[["a"]],"distances":[[0.1]]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def stalling():
    class Own(Stalling):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server, Own
    server.shutdown()
    server.server_close()


def load(port, **plan):
    return program(COMMAND, Plan(**VALUES | plan), port)


def program(command, plan, port):
    words = [str(IMAGE / "locustfile.py") if word == "/app/locustfile.py" else word for word in command[1:]]
    return running(*words, LOAD=plan.environment("127.0.0.1", port))


def test_latency_counts_from_the_due_time(stalling):
    """A server that stands still for 1 s delays every request due meanwhile, not one: no coordinated omission."""
    server, handler = stalling
    with load(server.server_port) as loader:
        assert '"start"' in loader.stdout.readline()
        loader.stdout.readline()  # the first second is over
        handler.stall_until = time.monotonic() + 1.0
        said, complained = loader.communicate(timeout=300)
    report = parse('{"kind": "start", "wall": 0}\n' + said)
    span = report.span()
    assert report.ended, complained
    assert span.seconds == 3
    assert span.sent == span.due == 120
    assert span.ok == 120
    slow = sum(count for micros, count in span.latency.counts.items() if micros > 100_000)
    # 40 requests were due while it stood still; the last tenth of a second's stay under 100 ms. More are slow where the
    # machine is busy.
    assert slow >= 28
    assert handler.connections == 160  # one each, so that each can meet another replica


def test_timeouts_and_drops_are_counted(stalling):
    server, handler = stalling
    with load(server.server_port, timeout=0.5, in_flight=8) as loader:
        loader.stdout.readline()
        loader.stdout.readline()
        handler.stall_until = time.monotonic() + 1.2
        said, _ = loader.communicate(timeout=300)
    span = parse('{"kind": "start", "wall": 0}\n' + said).span()
    assert span.errors["timeout"] >= 8
    assert span.errors["dropped"] >= 8
    assert span.ok + span.failed == span.due == 120
    assert span.latency.total == span.sent


def test_ends_well_when_asked_to(stalling):
    server, _ = stalling
    with load(server.server_port, seconds=60) as loader:
        first = [loader.stdout.readline() for _ in range(3)]
        loader.send_signal(signal.SIGUSR1)
        said, _ = loader.communicate(timeout=60)
    report = parse("".join(first) + said)
    assert report.ended
    assert 2 <= len(report.seconds) < 40  # not the 60 s that it was to last


def test_several_loaders_begin_together_and_send_the_plan_once(stalling):
    """Locust's master and two workers: one rate between them, and nobody begins again when another has ended."""
    server, handler = stalling
    plan, port = Plan(**VALUES), free_port()
    place = ("--master-bind-host", "127.0.0.1", "--master-bind-port", str(port))
    first, second = plan.shares(2)
    with (
        program((*master_command(2), *place), plan, server.server_port) as master,
        program(worker_command("127.0.0.1", port), first, server.server_port) as one,
        program(worker_command("127.0.0.1", port), second, server.server_port) as other,
    ):
        loads = [parse(each.communicate(timeout=300)[0]) for each in (one, other)]
        assert master.wait(60) == 0
    assert [load.rate for load in loads] == [20, 20]
    whole = merged(loads)
    assert whole.ended
    assert whole.rate == 40
    span = whole.span()
    assert (span.seconds, span.due, span.sent) == (4, 160, 160)
    assert handler.connections == 160
    # Each began before the other was through.
    assert abs(loads[0].began - loads[1].began) < 4
