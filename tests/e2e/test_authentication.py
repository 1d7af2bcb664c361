"""The token and TLS in front of Chroma: who gets in, who does not, and what it costs to change the token.

Everything is tried on one deployment of `tests/overlays/auth-tls`, or on a candidate that says in its
qualification.yaml that it asks for a token. `intruder` makes the tries; that it would find a hole is shown on broken
variants of the proxy's configuration, in `test_broken_doors`. The scenarios stand in the order of the file: the token
is changed in the middle, the pod is replaced after it, and at last all logs are searched for all tokens.
"""

import base64
import dataclasses
import functools
import http.client
import json
import secrets
import socket
import ssl
import time
from pathlib import Path

import chromadb.errors
import httpx
import intruder
import kubernetes.client
import pytest

from chroma_qualify.cluster.wait import poll_for
from chroma_qualify.deployment.access import Credentials, certificate_for
from chroma_qualify.deployment.apply import Deployed, apply, ready_pods, wait_ready
from chroma_qualify.deployment.forward import open_forward
from chroma_qualify.deployment.render import in_namespace, load_candidate
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults import by_name
from chroma_qualify.faults.base import ready_again, the_server
from chroma_qualify.load import aside, inside, peers, probes
from chroma_qualify.workload import client
from chroma_qualify.workload.audit import audit
from chroma_qualify.workload.records import Values, make_records

pytestmark = pytest.mark.beside

OVERLAY = Path(__file__).parents[1] / "overlays/auth-tls"
HEARTBEAT_PORT = 8002
PATIENT = 30.0  # s for one answer
SLOW = 62.0  # s that a request is under way: longer than the usual time-outs of proxies
CHANGED_WITHIN = 120.0  # s; the kubelet looks at its Secrets every minute, and at once when it is woken
MIB = 1024 * 1024


@dataclasses.dataclass
class Door:
    """The deployment, the token that counts now and all that ever did, and what is still under way."""

    deployed: Deployed
    credentials: Credentials
    tokens: list[str]
    slow: object = None

    @property
    def token(self) -> str:
        return self.credentials.token

    def change(self, token: str) -> None:
        self.credentials = dataclasses.replace(self.credentials, token=token)
        self.tokens.append(token)


@pytest.fixture(scope="module")
def door(run, module_deploy, cluster, module_namespace, observer):
    """The protected deployment; while the scenarios go on, one slow request is under way."""
    if run.options.manifests:
        deployed = module_deploy()
        if deployed.credentials.token is None:
            pytest.skip("the candidate asks for no token: its qualification.yaml names none")
    else:
        candidate = in_namespace(load_candidate(OVERLAY, cluster.kubectl), module_namespace)
        deployed = apply(cluster, candidate, module_namespace)
        run.say(f"{module_namespace}: ready after {wait_ready(deployed):.1f} s")
    made = Door(deployed, deployed.credentials, [deployed.credentials.token])
    made.slow = aside.start(functools.partial(send_slowly, deployed, made.credentials))
    return made


@pytest.fixture
def way(door, forward):
    """A forward to the Service."""
    return forward(door.deployed)


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
        connection.putrequest("POST", "/api/v2/tenants")
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.putheader("Authorization", credentials.headers["Authorization"])
        connection.endheaders()
        began = time.monotonic()
        for byte in body:
            connection.send(bytes([byte]))
            time.sleep(SLOW / len(body))  # slowness is what is tried
        return connection.getresponse().status, time.monotonic() - began


def test_nobody_gets_in_without_the_token(door, way, report):
    connect = connects(way, door.credentials)
    tried = list(intruder.try_all(connect, door.token))
    wrong = [each for each in tried if each.status != 401]
    for each in wrong[:5]:
        report.fail("not-authenticated", f"a request gets in that must not: {each}", remedy="ask for the token")
    report.measure("requests without the token", len(tried))
    report.measure("of them refused with 401", len(tried) - len(wrong))
    holder = list(intruder.try_as_holder(connect, door.token))
    out = [each for each in holder if each.status == 401]
    for each in out[:5]:
        report.fail("shut-out", f"the holder of the token does not get in: {each}")
    report.measure("requests with the token", len(holder))
    report.measure("of them let in", len(holder) - len(out))
    assert asks(way, door.credentials) == 200, "the control, the version for who has the token"


def test_clients_of_chroma(door, way, seed):
    """Chroma's own client, by its own settings: `TokenAuthClientProvider`, and the authority's file."""
    server = client.connect(way.host, way.port, credentials=door.credentials)
    collection = client.create_collection(server, "protected")
    written = client.write(server, collection, make_records("p", Values(seed).take(50)))
    assert not audit(collection, written).findings
    for token in (None, "0" * 64):
        with pytest.raises(chromadb.errors.ChromaAuthError):
            client.connect(way.host, way.port, credentials=dataclasses.replace(door.credentials, token=token))


def test_no_way_around_the_proxy(door, report):
    """From a backend's pod the policy lets to the proxy only; from the node, which no policy holds, nobody listens."""
    deployed, candidate = door.deployed, door.deployed.candidate
    address = deployed.cluster.get_json("pod", "-n", deployed.namespace, ready_pods(deployed)[0])["status"]["podIP"]
    backend = inside.Wanted("backend-at-the-door", deployed.namespace, peers.backend(candidate).pod_labels)
    (pod,) = inside.start(deployed.cluster, [backend])
    ports = {"the proxy": candidate.container_port, "Chroma": candidate.server_port, "heartbeat": HEARTBEAT_PORT}
    seen = probes.probe(pod, [probes.Target(name, "tcp", address, port) for name, port in ports.items()])
    if not seen["the proxy"].open:
        raise UndecidedError(f"the control failed: a backend does not reach the proxy: {seen['the proxy']}")
    for name in ("Chroma", "heartbeat"):
        if seen[name].open:
            report.fail("around-the-proxy", f"a backend's pod reaches port {ports[name]} ({name}) of the pod")
    if deployed.cluster.nodes:
        open_ = {name: reached_from_node(deployed, address, port) for name, port in ports.items()}
        if not (open_["the proxy"] and open_["heartbeat"]):
            raise UndecidedError(f"the control failed: the node does not reach the proxy: {open_}")
        if open_["Chroma"]:
            report.fail("around-the-proxy", f"Chroma listens on {address}:{ports['Chroma']}", remedy="127.0.0.1 only")


def reached_from_node(deployed, address, port):
    script = 'timeout 5 bash -c "exec 3<>/dev/tcp/$0/$1" 2>/dev/null && echo open || echo closed'
    said = deployed.cluster.on_node(deployed.cluster.nodes[0], "bash", "-c", script, address, str(port)).stdout
    return said.strip() == "open"


def test_the_probes_port_gives_the_heartbeat_only(door):
    with to_pod(door.deployed, HEARTBEAT_PORT) as to_probes:
        assert intruder.heartbeat_holes(connects(to_probes, Credentials())) == []


def test_tls(door, way):
    """The right authority is believed, another is not, and plain HTTP gets nothing."""
    if door.credentials.ca is None:
        pytest.skip("the candidate speaks plain HTTP")
    assert asks(way, door.credentials) == 200
    other, _, _ = certificate_for("chromadb-service", "elsewhere")
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        asks(way, dataclasses.replace(door.credentials, ca=other))
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        asks(way, door.credentials, verify=True)  # the authorities of this machine
    with socket.create_connection((way.host, way.port), timeout=PATIENT) as plain, pytest.raises(ssl.SSLError):
        door.credentials.verify.wrap_socket(plain, server_hostname="another.name")
    plainly = dataclasses.replace(door.credentials, ca=None)
    try:
        assert asks(way, plainly) == 400
    except httpx.TransportError:
        pass  # hung up on


def test_large_bodies(door, way, report):
    """Up to Chroma's own limit of 40 MiB, and beyond it Chroma's own 413."""
    began = time.monotonic()
    assert upload(connects(way, door.credentials), door.token, 39 * MIB) == 200
    report.measure("39 MiB through the proxy", time.monotonic() - began, "s")
    assert upload(connects(way, door.credentials), door.token, 41 * MIB) == 413
    assert upload(connects(way, door.credentials), "x" * 32, 41 * MIB) == 401


def upload(connect, token, size):
    """Create a tenant with a body of so many bytes, most of them blanks; the status, also of who hangs up early."""
    connection = connect()
    body = json.dumps({"name": f"large-{size}"}).encode()
    connection.putrequest("POST", "/api/v2/tenants")
    for name, value in {
        "Content-Type": "application/json", "Content-Length": str(size), "Authorization": f"Bearer {token}",
    }.items():  # fmt: skip
        connection.putheader(name, value)
    connection.endheaders()
    try:
        connection.send(body)
        left = size - len(body)
        while left:
            left -= (part := min(left, MIB))
            connection.send(b" " * part)
    except OSError:
        pass  # it has said what it has to say
    try:
        return connection.getresponse().status
    finally:
        connection.close()


def test_rotation_without_a_failed_write(door, way, seed, report):
    """Old, then old and new, then new: writers change over in the middle, and every write is acknowledged."""
    deployed, old, new = door.deployed, door.credentials, secrets.token_hex(32)
    server = client.connect(way.host, way.port, credentials=old)
    client.create_collection(server, "rotation")
    with Writers(way, old, Values(seed + 1)) as writers:
        door.change(new)
        set_token(deployed, token=new, previous=old.token)
        report.measure("the new token valid after", wait_for_status(way, door.credentials, 200), "s")
        assert asks(way, old) == 200, "the previous token is valid as well"
        writers.change_over(door.credentials)
        set_token(deployed, token=new)
        report.measure("the old token invalid after", wait_for_status(way, old, 401), "s")
        writers.write_more()
    assert not writers.failures, writers.failures[:3]
    report.measure("writes while the token was changed", writers.writes)
    server = client.connect(way.host, way.port, credentials=door.credentials)
    assert not audit(server.get_collection("rotation", embedding_function=None), writers.written).findings


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
            except Exception as error:
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
    poll_for(what, lambda: asks(way, credentials), lambda seen: seen == status, CHANGED_WITHIN, 0.05)
    return time.monotonic() - began


def test_a_slow_request_is_waited_for(door):
    status, seconds = door.slow.result(SLOW + 2 * PATIENT)
    assert (status, seconds >= SLOW) == (200, True), f"answered {status} after {seconds:.0f} s"


def test_the_proxy_outlives_chroma(door, way, report):
    """A request that is half sent when the pod is deleted is finished, and answered, through the proxy."""
    deployed, body = door.deployed, json.dumps({"name": "sent-while-stopping"}).encode()
    the_server(deployed)
    connection = connects(way, door.credentials)()
    connection.putrequest("POST", "/api/v2/tenants")
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **door.credentials.headers}
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(body[:1])
    connection.sock.settimeout(2)
    with pytest.raises(TimeoutError):  # it has the request and waits for the rest
        connection.sock.recv(1)
    connection.sock.settimeout(PATIENT)
    with to_pod(deployed, HEARTBEAT_PORT) as to_probes:
        asker = intruder.Asker(connects(to_probes, Credentials()))
        assert asker.ask("GET", intruder.HEARTBEAT, []) == 200
        began = time.monotonic()
        injected = by_name("pod-delete").inject(deployed)
        # On the connection that is open: Chroma takes no new one when it has heard SIGTERM, and the proxy says so.
        poll_for("Chroma to stop", lambda: asker.ask("GET", intruder.HEARTBEAT, []), lambda said: said != 200, PATIENT)
        assert asker.ask("GET", intruder.HEARTBEAT, []) == 502, "the proxy has ended before Chroma"
        asker.close()
    connection.send(body[1:])
    assert connection.getresponse().status == 200
    report.measure("answered after the pod's SIGTERM", time.monotonic() - began, "s")
    connection.close()
    ready_again(deployed, injected)
    assert asks(way, door.credentials) == 200


def test_no_token_in_any_log(door, way, run_dir):
    """Neither in a container's log nor in an event, an object or the run's own files; what is logged is found there."""
    deployed, mark = door.deployed, f"/marked-{secrets.token_hex(8)}"
    assert asks(way, Credentials("x" * 32, door.credentials.ca), mark) == 401
    assert asks(way, door.credentials, mark) == 404
    namespace = ("-n", deployed.namespace)
    kubectl = deployed.cluster.run_kubectl
    selector = deployed.candidate.label_selector
    logs = kubectl("logs", *namespace, "-l", selector, "--all-containers", "--prefix", "--tail=-1").stdout
    assert logs.count(mark) == 2, "the control failed: one request that was refused and one that Chroma was asked"
    kinds = "pods,deployments,replicasets,configmaps,services,networkpolicies,events,endpointslices"
    objects = kubectl("get", *namespace, kinds, "-o", "yaml").stdout
    files = "".join(
        path.read_text(errors="replace") for path in run_dir.rglob("*") if path.is_file() and path.suffix != ".pem"
    )
    assert mark in files, "the control failed: the run keeps the logs of all containers"
    for place, text in {"a log": logs, "an object": objects, "the run directory": files}.items():
        for token in door.tokens:
            for form in (token, base64.b64encode(token.encode()).decode()):
                assert form not in text, f"a token stands in {place}"
