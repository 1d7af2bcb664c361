"""A protected deployment, and the ways in which the scenarios of its authentication talk to it.

Used by test_authentication.
"""

import concurrent.futures
import contextlib
import dataclasses
import http.client
import json
import time

import httpx
import kubernetes.client

from chroma_qualify.cluster.wait import poll_for
from chroma_qualify.deployment.access import Credentials
from chroma_qualify.deployment.apply import Deployed, ready_pods
from chroma_qualify.deployment.forward import open_forward
from chroma_qualify.load import aside
from chroma_qualify.workload import client
from chroma_qualify.workload.records import make_records

PATIENT = 60.0  # s for one answer, on a machine that others use as well
SLOW = 62.0  # s that a request is under way: longer than the usual time-outs of proxies
# s; the kubelet looks at its Secrets when it is woken, and every minute or so, as it knows them by then
CHANGED_WITHIN = 240.0
MIB = 1024 * 1024
UPLOADS = 8  # tries; a reset may overtake the answer


@dataclasses.dataclass
class Door:
    """The deployment, the token that counts now and all that ever did, and what is still under way."""

    deployed: Deployed
    credentials: Credentials
    tokens: list[str] = dataclasses.field(repr=False)
    slow: concurrent.futures.Future | None = None

    @property
    def token(self) -> str:
        return self.credentials.token

    def change(self, token: str) -> None:
        self.credentials = dataclasses.replace(self.credentials, token=token)
        self.tokens.append(token)


def connects(way, credentials, timeout=PATIENT):
    """Makes connections as `intruder` takes them."""
    if credentials.ca is None:
        return lambda: http.client.HTTPConnection(way.host, way.port, timeout=timeout)
    context = credentials.verify
    return lambda: http.client.HTTPSConnection(way.host, way.port, timeout=timeout, context=context)


def asks(way, credentials, path="/api/v2/version", **options):
    """One GET with httpx, as any client would; the status."""
    options = {"headers": credentials.headers, "verify": credentials.verify, "timeout": PATIENT} | options
    return httpx.get(f"{credentials.scheme}://{way.host}:{way.port}{path}", **options).status_code


def to_pod(deployed, port):
    return open_forward(deployed.cluster, deployed.namespace, f"pod/{ready_pods(deployed)[0]}", port)


def send_slowly(deployed, credentials):
    """A request whose body takes a minute to send; its status, and the seconds it took."""
    body = json.dumps({"name": "sent-slowly"}).encode()
    candidate = deployed.candidate
    with open_forward(deployed.cluster, deployed.namespace, candidate.service, candidate.service_port) as way:
        connection = connects(way, credentials)()
        begin_post(connection, credentials, len(body))
        began = time.monotonic()
        for byte in body:
            connection.send(bytes([byte]))
            time.sleep(SLOW / len(body))  # slowness is what is tried
        return connection.getresponse().status, time.monotonic() - began


def reached_from_node(deployed, address, port):
    script = 'timeout 5 bash -c "exec 3<>/dev/tcp/$0/$1" 2>/dev/null && echo open || echo closed'
    said = deployed.cluster.on_node(deployed.cluster.nodes[0], "bash", "-c", script, address, str(port)).stdout
    return said.strip() == "open"


def begin_post(connection, credentials, size):
    """The head of a request that creates a tenant; the body, of so many bytes, is for the caller to send."""
    connection.putrequest("POST", "/api/v2/tenants")
    head = {"Content-Type": "application/json", "Content-Length": str(size), **credentials.headers}
    for name, value in head.items():
        connection.putheader(name, value)
    connection.endheaders()


def upload(way, credentials, size):
    """Create a tenant with a body of so many bytes, most of them blanks; the status, also of who hangs up early.

    A server that refuses in the middle answers and hangs up; where the hanging up comes first it is asked again.
    """
    for number in range(UPLOADS):
        body = json.dumps({"name": f"large-{size}-{number}"}).encode()  # the one before may be there, unanswered
        with (
            contextlib.closing(connects(way, credentials, 2 * PATIENT)()) as connection,
            contextlib.suppress(OSError, http.client.HTTPException),
        ):
            begin_post(connection, credentials, size)
            with contextlib.suppress(OSError):
                connection.send(body)
                left = size - len(body)
                while left:
                    left -= (part := min(left, MIB // 16))
                    connection.send(b" " * part)
            return connection.getresponse().status
    return 0


def heartbeat_port(candidate):
    """The port that answers the kubelet's probes only; None: they ask where clients ask."""
    containers = candidate.deployment["spec"]["template"]["spec"]["containers"]
    server = next(item for item in containers if item["name"] == candidate.container)
    port = ((server.get("readinessProbe") or {}).get("httpGet") or {}).get("port")
    return port if isinstance(port, int) and port != candidate.container_port else None


class Writers:
    """Writes one record after the other on a thread of its own, while the block lasts."""

    def __init__(self, way, credentials, values):
        self.way, self.credentials, self.values = way, credentials, values
        self.written, self.failures, self.writes, self.ended = {}, [], 0, False

    def __enter__(self):
        self.running = aside.start(self.run)
        self.write_more()
        return self

    def __exit__(self, *_):
        self.ended = True
        self.running.result(PATIENT)

    def run(self):
        used = collection = None
        while not self.ended:
            if used is not self.credentials:
                used = self.credentials
                server = client.connect(self.way.host, self.way.port, credentials=used)
                collection = server.get_collection("rotation", embedding_function=None)
            records = make_records(f"r-{self.writes}", self.values.take(2))
            try:
                self.written |= client.write(server, collection, records)
                self.used = used
            except Exception as error:  # noqa: BLE001 (whatever it was, the write failed)
                self.failures.append(f"write {self.writes}: {error}")
            self.writes += 1

    def change_over(self, credentials):
        """Write with another token from now on; returns when that has begun."""
        self.credentials = credentials
        self.wait_until(lambda: self.used is credentials)
        self.write_more()

    def write_more(self):
        """Return when a few more writes have been made."""
        enough = self.writes + 5
        self.wait_until(lambda: self.writes >= enough)

    def wait_until(self, condition):
        def seen():
            if self.running.done():
                self.running.result()
            return condition()

        poll_for("the writers to get on", seen, bool, PATIENT, 0.02)


def set_token(deployed, **entries):
    """Change the Secret as its owner would, and wake the kubelet, which else looks once a minute."""
    name = deployed.candidate.access.token.secret
    with deployed.cluster.api_client() as api:
        patch = {"data": None, "stringData": entries}
        kubernetes.client.CoreV1Api(api).patch_namespaced_secret(name, deployed.namespace, patch)
    for pod in ready_pods(deployed):
        mark = f"chroma-qualify/token-changed={time.time_ns()}"
        deployed.cluster.run_kubectl("annotate", "pod", pod, "-n", deployed.namespace, "--overwrite", mark)


def wait_for_status(way, credentials, status):
    """Ask until the answer is that; the seconds it took."""
    began = time.monotonic()
    what = f"the proxy to answer {status} to a token, the Secret being changed"

    def look():
        try:
            return asks(way, credentials)
        except httpx.TransportError as error:
            return repr(error)

    poll_for(what, look, lambda seen: seen == status, CHANGED_WITHIN, 0.1)
    return time.monotonic() - began
