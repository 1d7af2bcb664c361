"""The token and TLS in front of Chroma: who gets in, who does not, and what it costs to change the token.

Everything is tried on one deployment of `tests/overlays/auth-tls`, or on a candidate that says in its
qualification.yaml that it asks for a token. `intruder` makes the tries; that it finds holes is shown on broken
variants of the proxy's configuration. The scenarios stand in the order of the file: the token is changed in the
middle, the pod is replaced after it, and at last all logs are searched for all tokens.
"""

import base64
import contextlib
import dataclasses
import functools
import json
import secrets
import socket
import ssl
import time
from pathlib import Path

import broken_doors
import chromadb.errors
import httpx
import intruder
import kubernetes.client
import pytest
from protected import (
    MIB,
    PATIENT,
    SLOW,
    Door,
    Writers,
    asks,
    begin_post,
    connects,
    heartbeat_port,
    reached_from_node,
    send_slowly,
    set_token,
    to_pod,
    upload,
    wait_for_status,
)

from chroma_qualify.cluster.wait import poll_for, wait_for
from chroma_qualify.deployment.access import NO_ACCESS, Credentials, certificate_for
from chroma_qualify.deployment.apply import apply, ready_pods, wait_ready
from chroma_qualify.deployment.forward import open_forward
from chroma_qualify.deployment.render import in_namespace, load_candidate
from chroma_qualify.errors import CandidateError, UndecidedError
from chroma_qualify.faults import by_name
from chroma_qualify.faults.base import ready_again
from chroma_qualify.load import aside, inside, peers, probes
from chroma_qualify.workload import client
from chroma_qualify.workload.audit import audit
from chroma_qualify.workload.records import Values, make_records

pytestmark = pytest.mark.own_cluster(
    "what it tries to get in by are programs and broken variants that our own nodes have"
)

OVERLAYS = Path(__file__).parents[1] / "overlays"
REFUSED_WITHIN = 300.0  # s; a mount is tried again after 2, 4, 8 … s
READY_WITHIN = 300.0  # s, on a machine that others use as well
EMPTY_TOKEN = "the proxy does not start: the key token of the Secret chromadb-token is empty"


@pytest.fixture(scope="module")
def door(run, candidate, module_deploy, cluster, module_namespace):
    """The protected deployment; while the scenarios go on, one slow request is under way."""
    if run.options.manifests:
        if candidate("single-writer").access.token is None:
            pytest.skip("the candidate asks for no token: its qualification.yaml names none")
        deployed = module_deploy()
    else:
        ours = in_namespace(load_candidate(OVERLAYS / "auth-tls", cluster.kubectl), module_namespace)
        deployed = apply(cluster, ours, module_namespace)
        run.say(f"{module_namespace}: ready after {wait_ready(deployed):.1f} s")
    slow = aside.start(functools.partial(send_slowly, deployed, deployed.credentials))
    return Door(deployed, deployed.credentials, [deployed.credentials.token], slow)


@pytest.fixture
def way(door, forward):
    """A forward to the Service."""
    return forward(door.deployed)


@pytest.fixture
def heartbeats(door):
    """The port for the kubelet's probes."""
    port = heartbeat_port(door.deployed.candidate)
    if port is None:
        pytest.skip("the candidate has no port of its own for the kubelet's probes")
    return port


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
    by_credential, by_route = intruder.matrices(tried, holder)
    report.matrix("who gets in, by credential", *by_credential)
    report.matrix("who gets in, by route", *by_route)
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


def test_no_way_around_the_proxy(door, heartbeats, report):
    """From a backend's pod the policy lets to the proxy only; from the node, which no policy holds, nobody listens."""
    deployed, candidate = door.deployed, door.deployed.candidate
    address = deployed.cluster.get_json("pod", "-n", deployed.namespace, ready_pods(deployed)[0])["status"]["podIP"]
    peer = peers.backend(candidate)
    (pod,) = inside.start(deployed.cluster, [inside.Wanted("backend-at-the-door", deployed.namespace, peer.pod_labels)])
    ports = {"the proxy": candidate.container_port, "Chroma": candidate.server_port, "heartbeat": heartbeats}
    if ports["the proxy"] == ports["Chroma"]:
        pytest.skip("the candidate's proxy is not in Chroma's pod")
    targets = [probes.Target(name, "tcp", address, port) for name, port in ports.items()]
    # The control is waited for: a new pod is known to the policies a while after it runs.
    what = "a backend's pod to reach the proxy"
    seen = poll_for(what, lambda: probes.probe(pod, targets), lambda seen: seen["the proxy"].open, 2 * PATIENT, 0)
    inside.remove([pod])
    for name in ("Chroma", "heartbeat"):
        if seen[name].open:
            report.fail("around-the-proxy", f"a backend's pod reaches port {ports[name]} ({name}) of the pod")
    if deployed.cluster.nodes:
        reached = {name: reached_from_node(deployed, address, port) for name, port in ports.items()}
        if not (reached["the proxy"] and reached["heartbeat"]):
            raise UndecidedError(f"the control failed: the node does not reach the proxy: {reached}")
        if reached["Chroma"]:
            report.fail("around-the-proxy", f"Chroma listens on {address}:{ports['Chroma']}", remedy="127.0.0.1 only")


def test_the_probes_port_gives_the_heartbeat_only(door, heartbeats):
    with to_pod(door.deployed, heartbeats) as to_probes:
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
    with contextlib.suppress(httpx.TransportError):  # hung up on
        assert asks(way, dataclasses.replace(door.credentials, ca=None)) == 400


def test_large_bodies(door, way, report):
    """Up to Chroma's own limit of 40 MiB, and beyond it Chroma's own 413."""
    began = time.monotonic()
    assert upload(way, door.credentials, 39 * MIB) == 200
    report.measure("39 MiB through the proxy", time.monotonic() - began, "s")
    for size in (41, 60):
        assert upload(way, door.credentials, size * MIB) == 413
    assert upload(way, dataclasses.replace(door.credentials, token="x" * 32), 41 * MIB) == 401


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


def test_broken_variants_are_found(door, heartbeats, report):
    """The same tries as above, on a proxy whose check is broken in one way after the other."""
    deployed, name = door.deployed, broken_doors.NAME
    if not any("auth.caddy" in item.get("data", {}) for item in deployed.candidate.objects):
        pytest.skip("the candidate's proxy is not the component `auth`: there is nothing to break")
    inside.apply(deployed.cluster, broken_doors.objects(deployed.candidate, deployed.namespace))
    with deployed.cluster.api_client() as api:
        pods = wait_for(
            "the proxy with broken checks to be ready",
            kubernetes.client.CoreV1Api(api).list_namespaced_pod,
            lambda pods: name in pods and inside.is_ready(pods[name]),
            timeout=READY_WITHIN,
            describe=inside.describe,
            namespace=deployed.namespace,
            field_selector=f"metadata.name={name}",
        )

    def found(port, look):
        with open_forward(deployed.cluster, deployed.namespace, f"pod/{name}", port) as to_site:
            return look(connects(to_site, Credentials()))

    def first_hole(connect):
        return next(intruder.holes(connect, door.token), None)

    assert found(broken_doors.WHOLE, first_hole) is None, "the control, the check as it is"
    assert found(broken_doors.WHOLE, functools.partial(intruder.shut_out, token=door.token)) == []
    assert found(broken_doors.EMPTY, first_hole) is None, "the control, the check as it is with an empty token"
    assert found(heartbeats, intruder.heartbeat_holes) == [], "the control, the heartbeat's port as it is"
    missed = [wrong for wrong in broken_doors.CHECKS if not found(broken_doors.port_of(wrong), first_hole)]
    if not found(broken_doors.HEARTBEAT, intruder.heartbeat_holes):
        missed.append("the heartbeat's port passes everything on")
    if deployed.cluster.nodes and not reached_from_node(deployed, pods[name].status.pod_ip, broken_doors.STUB):
        missed.append("Chroma listens on all addresses")
    deployed.cluster.run_kubectl("delete", "pod", name, "-n", deployed.namespace, "--wait=false")
    assert not missed, f"not found: {missed}"
    report.measure("broken variants found", len(broken_doors.CHECKS) + 1 + bool(deployed.cluster.nodes))


def test_no_secret_and_an_empty_token(run, cluster, namespace, report):
    """Without its Secret the pod waits and says for what; with an empty token nothing starts, and the log says why."""
    if run.options.manifests:
        pytest.skip("it tries Secrets of its own, not the candidate's")
    candidate = in_namespace(load_candidate(OVERLAYS / "auth", cluster.kubectl), namespace)
    deployed = apply(cluster, dataclasses.replace(candidate, access=NO_ACCESS), namespace)
    began = time.monotonic()
    with pytest.raises(CandidateError, match="needs Secret chromadb-token, which does not exist") as missing:
        wait_ready(deployed, REFUSED_WITHIN)
    assert missing.value.rule == "secret-missing"
    report.measure("a missing Secret named after", time.monotonic() - began, "s")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "chromadb-token", "namespace": namespace}}
    inside.apply(cluster, [{**secret, "stringData": {"token": ""}}])
    cluster.run_kubectl(
        "delete", "pods", "--all", "-n", namespace, "--wait=false"
    )  # else the mount is tried again later
    log = ("logs", "-n", namespace, deployed.candidate.name, "-c", "proxy-check")
    began = time.monotonic()
    poll_for(
        "the proxy to refuse an empty token",
        lambda: cluster.run_kubectl(*log, check=False).stdout,
        lambda said: EMPTY_TOKEN in said,
        REFUSED_WITHIN,
        1.0,
    )
    report.measure("an empty token refused after", time.monotonic() - began, "s")
    assert not ready_pods(deployed)


def test_a_slow_request_is_waited_for(door):
    status, seconds = door.slow.result(SLOW + 2 * PATIENT)
    assert (status, seconds >= SLOW) == (200, True), f"answered {status} after {seconds:.0f} s"


def test_the_proxy_outlives_chroma(door, way, heartbeats, report):
    """A request that is half sent when the pod is deleted is finished, and answered, through the proxy."""
    deployed, body = door.deployed, json.dumps({"name": "sent-while-stopping"}).encode()
    connection = connects(way, door.credentials)()
    begin_post(connection, door.credentials, len(body))
    connection.send(body[:1])
    connection.sock.settimeout(2)
    with pytest.raises(TimeoutError):  # it has the request and waits for the rest
        connection.sock.recv(1)
    connection.sock.settimeout(PATIENT)
    with to_pod(deployed, heartbeats) as to_probes:
        asker = intruder.Asker(connects(to_probes, Credentials()))
        assert asker.ask("GET", intruder.HEARTBEAT, []) == 200
        began = time.monotonic()
        injected = by_name("pod-delete").inject(deployed)
        # On the connection that is open: Chroma takes no new one when it has heard SIGTERM, and the proxy says so.
        heartbeat = functools.partial(asker.ask, "GET", intruder.HEARTBEAT, [])
        said = poll_for("Chroma to stop", heartbeat, lambda status: status != 200, 2 * PATIENT)
        assert said == 502, "the proxy has ended before Chroma"
        asker.close()
    connection.send(body[1:])
    assert connection.getresponse().status == 200
    report.measure("answered after the pod's SIGTERM", time.monotonic() - began, "s")
    connection.close()
    ready_again(deployed, injected)
    assert asks(way, door.credentials) == 200


def test_no_token_in_any_log(door, way, run_dir):
    """Neither in a container's log nor in an event, an object or the run's own files; what is logged is found there."""
    deployed = door.deployed
    mark = f"/api/v2/tenants/marked-{secrets.token_hex(8)}"
    assert asks(way, Credentials("x" * 32, door.credentials.ca), mark) == 401
    assert asks(way, door.credentials, mark) == 404
    namespace = ("-n", deployed.namespace)
    everything = ("-l", deployed.candidate.label_selector, "--all-containers", "--prefix", "--tail=-1")

    def logged():
        return deployed.cluster.run_kubectl("logs", *namespace, *everything).stdout

    # The control; a log is written after the answer.
    poll_for("the refused request to be logged", lambda: mark in logged(), bool, PATIENT, 1.0)
    logs = logged()
    kinds = "pods,deployments,replicasets,configmaps,services,networkpolicies,events,endpointslices"
    objects = deployed.cluster.run_kubectl("get", *namespace, kinds, "-o", "yaml").stdout
    poll_for("the run to have the containers' logs", lambda: mark in texts_below(run_dir), bool, PATIENT, 1.0)
    files = texts_below(run_dir)
    for place, text in {"a log": logs, "an object": objects, "the run directory": files}.items():
        for token in door.tokens:
            for form in (token, base64.b64encode(token.encode()).decode()):
                assert not text.count(form), f"a token stands in {place}"


def texts_below(directory):
    files = (path for path in directory.rglob("*") if path.is_file())
    return "".join(path.read_text(errors="replace") for path in files)
