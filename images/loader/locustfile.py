"""Query load on Chroma with fixed arrival times, as a backend in the cluster sends it.

Runs inside the loader image (`locust --headless -f /app/locustfile.py`), started by chroma_qualify.load.generator,
which reads what it prints. Locust's users are a closed loop: a slow server makes them send less, and the wait of what
was not sent is measured by nobody. So one user walks a timetable written beforehand, request i is due at i / rate
seconds, and each is sent by a greenlet of its own whether or not earlier ones were answered. Latency counts from the
time a request was DUE, errors included. Every request opens its own connection, because kube-proxy chooses a replica
per connection: a new replica gets its share at once.

LOAD, a JSON object in the environment (chroma_qualify.load.generator.Plan): host, port, path, rate, seconds,
dimensions, vectors, k, seed, timeout, in_flight, of_capacity. With `of_capacity` (say 1.25) it first finds out, with
a few clients in a closed loop, how many queries per second the server does, and plans that many times 1.25, at most
`rate`: so the load fits the server on any machine, and the timetable is fixed before its first request all the same.

Prints JSON lines: one `start` (or `unanswered`, if the server answers nothing), then a `second` for each second of the
timetable as soon as all its requests are answered or given up, at the end, or soon after SIGUSR1, one `end`. Latency
and lag are histograms: {microseconds, three significant digits: count}, so that any span of seconds can be added up
exactly. `lag` is how late this program itself was to send.
"""

import json
import math
import os
import random
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator

import gevent
from gevent.pool import Pool
from locust import FastHttpUser, task
from locust.contrib.fasthttp import ResponseContextManager
from locust.exception import StopUser

HEADERS = {
    "Content-Type": "application/json",
    "Connection": "close",
    "Accept-Encoding": "identity",
    "User-Agent": "chroma-qualify-loader",  # the server logs it: so each replica's share can be counted
}
CALIBRATION = 3.0  # s
CLIENTS = 4  # of the closed loop that finds the capacity
BODIES = 64  # different query vectors; enough that the server answers none from a cache of one


class Plan:
    """What to send; see the module's docstring."""

    def __init__(self, text: str) -> None:
        values = json.loads(text)
        self.rate = float(values["rate"])
        self.seconds = int(values["seconds"])
        self.path = values["path"]
        # Resolved once: a lookup per connection would measure the cluster's DNS, and real clients cache it.
        self.host = values["host"]
        self.address = f"http://{socket.gethostbyname(self.host)}:{int(values['port'])}"
        self.dimensions = int(values.get("dimensions", 384))
        self.k = int(values.get("k", 10))
        self.vectors = int(values.get("vectors", 1))
        self.of_capacity = float(values.get("of_capacity", 0))
        self.seed = int(values.get("seed", 0))
        self.timeout = float(values.get("timeout", 5.0))
        self.in_flight = int(values.get("in_flight", 256))

    def bodies(self) -> Iterator[str]:
        """Request bodies, made before the first request is due."""
        rng = random.Random(self.seed)  # noqa: S311 (vectors, no secrets)
        for _ in range(BODIES):
            query = {
                "query_embeddings": [self.direction(rng) for _ in range(self.vectors)],
                "n_results": self.k,
                "include": ["distances"],
            }
            yield json.dumps(query)

    def direction(self, rng: random.Random) -> list[float]:
        """A random vector of length 1."""
        vector = [rng.gauss(0, 1) for _ in range(self.dimensions)]
        length = math.sqrt(sum(value * value for value in vector))
        return [round(value / length, 6) for value in vector]


def digits(seconds: float) -> int:
    """Seconds as whole microseconds rounded to three significant digits: a histogram's bucket, at most 0.5 % off."""
    micros = max(0, round(seconds * 1e6))
    if micros < 1000:
        return micros
    step = 10 ** (len(str(micros)) - 3)
    return (micros + step // 2) // step * step


class Second:
    """What became of the requests that were due in one second."""

    def __init__(self, number: int, due: int) -> None:
        self.number = number
        self.open = due  # requests without an outcome yet
        self.due = due
        self.sent = 0
        self.errors: Counter[str] = Counter()
        self.latency: Counter[int] = Counter()
        self.lag: Counter[int] = Counter()

    def close_one(self) -> None:
        """One request has its outcome; the last one prints the line."""
        self.open -= 1
        if self.open == 0:
            say("second", second=self.number, due=self.due, sent=self.sent, ok=self.sent - self.failed(),
                errors=self.errors, latency=self.latency, lag=self.lag)  # fmt: skip

    def failed(self) -> int:
        """Requests that were sent and failed."""
        return sum(count for kind, count in self.errors.items() if kind != "dropped")


def say(kind: str, **values: object) -> None:
    """Print one line at once: whoever reads the log sees the load live."""
    sys.stdout.write(json.dumps({"kind": kind, **values}) + "\n")
    sys.stdout.flush()


PLAN = Plan(os.environ["LOAD"])
STOP = threading.Event()
# Locust keeps SIGTERM for itself and forgets what is under way; SIGUSR1 ends the timetable and books all answers first.
gevent.signal_handler(signal.SIGUSR1, STOP.set)


class Backend(FastHttpUser):
    """The one user: it sends the whole timetable."""

    fixed_count = 1
    host = PLAN.address
    concurrency = PLAN.in_flight
    network_timeout = PLAN.timeout
    connection_timeout = PLAN.timeout

    @task
    def walk_timetable(self) -> None:
        """Send each request when it is due."""
        bodies = list(PLAN.bodies())
        rate, capacity = PLAN.rate, None
        if PLAN.of_capacity:
            capacity = self.find_capacity(bodies)
            if not capacity:
                self.environment.runner.quit()
                raise StopUser
            rate = min(rate, round(PLAN.of_capacity * capacity, 1))
        total = round(rate * PLAN.seconds)
        pool = Pool()
        seconds: dict[int, Second] = {}
        begin = time.perf_counter() + 0.2
        say("start", wall=time.time() + 0.2, rate=rate, capacity=capacity, seconds=PLAN.seconds, address=PLAN.address)
        for index in range(total):
            if STOP.is_set():
                break
            offset = index / rate
            number = int(offset)
            if number not in seconds:
                last = min(total, math.ceil((number + 1) * rate))
                seconds[number] = Second(number, last - math.ceil(number * rate))
            wait = begin + offset - time.perf_counter()
            # Late: still let others run, or answers would wait for the whole backlog to be sent.
            gevent.sleep(max(wait, 0))
            if len(pool) >= PLAN.in_flight:
                # The server is so far behind that more would only fill this pod's memory: counted, never hidden.
                seconds[number].errors["dropped"] += 1
                seconds[number].close_one()
                continue
            pool.spawn(self.send, seconds[number], begin + offset, bodies[index % BODIES])
        pool.join(timeout=PLAN.timeout + 2)
        say("end", wall=time.time(), stopped=STOP.is_set(), unanswered=len(pool))
        self.environment.runner.quit()
        raise StopUser

    def find_capacity(self, bodies: list[str]) -> float:
        """Answers per second to a closed loop; 0, and a line that says why, if there are none."""
        outcomes: Counter[str] = Counter()
        begin = time.perf_counter()

        def ask() -> None:
            while time.perf_counter() - begin < CALIBRATION and not STOP.is_set():
                outcomes[self.query(bodies[sum(outcomes.values()) % BODIES], PLAN.timeout)] += 1

        gevent.joinall([gevent.spawn(ask) for _ in range(CLIENTS)])
        answered = outcomes.pop("", 0)
        if not answered:
            say("unanswered", errors=outcomes, address=PLAN.address)
        return round(answered / (time.perf_counter() - begin), 1)

    def send(self, second: Second, due: float, body: str) -> None:
        """Send one query and book its outcome, from the time it was due."""
        second.lag[digits(time.perf_counter() - due)] += 1
        second.sent += 1
        error = self.query(body, due + PLAN.timeout - time.perf_counter(), due)
        if error:
            second.errors[error] += 1
        second.latency[digits(time.perf_counter() - due)] += 1
        second.close_one()

    def query(self, body: str, timeout: float, due: float | None = None) -> str:
        """Send one query on a connection of its own; name of the error, or ""."""
        begin = time.perf_counter() if due is None else due
        error = ""
        try:
            with (
                gevent.Timeout(max(timeout, 0.001)),
                self.client.post(PLAN.path, data=body, name="query", headers=HEADERS, catch_response=True) as response,
            ):
                response.request_meta["response_time"] = (time.perf_counter() - begin) * 1000
                error = outcome(response)
                if error:
                    response.failure(error)
                else:
                    response.success()
        except gevent.Timeout:
            error = "timeout"
        except OSError as problem:
            error = type(problem).__name__
        return error


def outcome(response: ResponseContextManager) -> str:
    """Name of the error, or "" for an answer that holds neighbours."""
    problem = response.request_meta["exception"]
    if response.status_code != 200:
        if response.status_code:
            return f"http-{response.status_code}"
        cause = getattr(response, "error", None) or problem
        cause = getattr(cause, "original", None) or cause
        return "timeout" if isinstance(cause, TimeoutError | gevent.Timeout) else type(cause).__name__
    # A body of the right shape is the whole proof that a query was answered; parsing it here would cost
    # the CPU that keeps the timetable.
    return "" if b'"ids":[[' in response.content else "no-ids"
