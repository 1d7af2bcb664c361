"""Faults strike while clients write: no acknowledged record may be lost, and Chroma is back within what is promised.

Each experiment has its own collections, twice over: once with Chroma's default `sync_threshold` and once with one that
is never reached, which keeps the log. The experiments share a deployment as long as it survives them. What is found is
weighed by the topology's qualification.yaml. Before faults that end the server, collections of 999, 1000 and 1001
records are written that nobody touches afterwards: Chroma flushes its index every 1000 writes, so the first is in the
log only, the last has one record in the log.
"""

import json
import socket

import kubernetes.client
import pytest
import urllib3

from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.deployment.forward import open_forward
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults import by_name
from chroma_qualify.faults.base import ready_again, selector, the_server
from chroma_qualify.workload import client
from chroma_qualify.workload.audit import audit
from chroma_qualify.workload.records import Values, make_records

BATCH = 250
SILENCE_SECONDS = 3  # of a server that waits for the rest of a request; a tunnel delivers within one
OVERLAP_SECONDS = 10  # a pod that does not wait for the old one runs within 2 to 5 s
SAID_WITHIN = 12  # s; what holds the next pod back is said within one; the old server has 30 s in all


@pytest.fixture(scope="module")
def values(seed):
    return Values(seed)


def test_fault(experiment, bench, report, values):
    if (reason := bench.why_not(experiment)) is not None:
        pytest.skip(reason)
    ledger = write_quiet(bench.deployed(experiment.place), experiment, values)
    try:
        done = bench.perform(experiment)
    except Exception:  # what it did to the data is in the history all the same
        report.add(*(found for found in bench.judge(experiment).findings if found.collection))
        raise
    report.measure("fault proven", done.struck.proof_seconds, "s")
    report.measure("server ready", done.struck.ready_seconds, "s")
    if ledger:
        read_quiet(bench.deployed(experiment.place), ledger, report)
    if experiment.spoils:
        bench.abandon(experiment.place)

    result = bench.judge(experiment)
    if result.outage is not None:
        report.measure("unavailable", result.outage.unavailable, "s")
        report.measure("errors", sum(result.outage.errors.values()))
    report.add(*result.findings)


def write_quiet(deployed, experiment, values):
    """Collection to what was acknowledged in it."""
    ledger = {}
    if experiment.quiet:
        with way_to(deployed) as way:
            server = client.connect(way.host, way.port, credentials=deployed.credentials)
            for size in experiment.quiet:
                name = f"{experiment.name}-quiet-{size}"
                collection = client.create_collection(server, name)
                ledger[name] = client.write(server, collection, make_records(name, values.take(size)), batch=BATCH)
    return ledger


def read_quiet(deployed, ledger, report):
    with way_to(deployed) as way:
        server = client.connect(way.host, way.port, credentials=deployed.credentials)
        for name, expected in ledger.items():
            report.add(*audit(server.get_collection(name, embedding_function=None), expected).findings)


def way_to(deployed):
    return open_forward(
        deployed.cluster, deployed.namespace, deployed.candidate.service, deployed.candidate.service_port
    )


def test_a_slow_stop_lets_no_second_server_onto_the_volume(bench, report, run_dir):
    """A request that its client never finishes keeps a stopping server alive for its whole grace period.

    If the next server starts meanwhile, two of them use one volume, which loses vectors as soon as anybody writes.
    """
    deployed = bench.deployed()
    old = the_server(deployed)
    with way_to(deployed) as way, open_socket(way, deployed.credentials) as unfinished:
        head = {"Host": "chroma", "Content-Length": "64", **deployed.credentials.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        unfinished.sendall(f"POST /api/v2/tenants HTTP/1.1\r\n{lines}\r\n{{".encode())
        unfinished.settimeout(SILENCE_SECONDS)
        try:  # no answer: the server has the request and waits for the rest of it
            said = unfinished.recv(200)
        except TimeoutError:
            pass
        else:
            raise UndecidedError("the server does not wait for the rest of a request", evidence=repr(said))
        injected = by_name("pod-delete").inject(deployed)
        try:
            pods = pods_while_stopping(deployed, old.uid)
            (run_dir / "slow-stop.json").write_text(json.dumps(list(map(evidence_of, pods)), indent=1))
            judge_slow_stop(deployed, old.uid, pods, report)
        finally:
            unfinished.close()
            ready_again(deployed, injected)


def open_socket(way, credentials):
    """A bare connection, over TLS where the server speaks it."""
    plain = socket.create_connection((way.host, way.port), timeout=10)
    return credentials.verify.wrap_socket(plain, server_hostname=way.host) if credentials.ca else plain


def runs(deployed, pod) -> bool:
    """Is the server's container of this pod running?"""
    return any(
        status.name == deployed.candidate.container and status.state.running is not None
        for status in pod.status.container_statuses or ()
    )


def pods_while_stopping(deployed, old_uid):
    """The pods when the old server ends or a second one runs beside it, else when the next one is held back."""
    with deployed.cluster.api_client() as api:
        listing = kubernetes.client.CoreV1Api(api).list_namespaced_pod
        whose = {"namespace": deployed.namespace, "label_selector": selector(deployed)}

        def decided(pods) -> bool:
            running = {pod.metadata.uid for pod in pods.values() if runs(deployed, pod)}
            return old_uid not in running or len(running) > 1

        def decided_or_held_back(pods) -> bool:
            others = [pod for pod in pods.values() if pod.metadata.uid != old_uid]
            return decided(pods) or (bool(others) and all(map(waits_for_the_server, others)))

        try:
            what = "the old server to end or another one to run beside it"
            return tuple(wait_for(what, listing, decided, timeout=OVERLAP_SECONDS, **whose).values())
        except WaitTimeoutError:  # so the next one waits, or a slow machine is not that far
            pass
        try:
            what = "what holds the next server back"
            return tuple(wait_for(what, listing, decided_or_held_back, timeout=SAID_WITHIN, **whose).values())
        except WaitTimeoutError:  # nothing changed, or the API server was silent: what is there is asked for once more
            try:
                return tuple(listing(**whose, _request_timeout=10).items)
            except (kubernetes.client.ApiException, urllib3.exceptions.HTTPError) as error:
                raise UndecidedError("the API server does not say which pods run", evidence=str(error)) from error


def evidence_of(pod) -> dict[str, object]:
    """What matters of a pod, for the run directory."""
    unscheduled = held_back(pod)
    return {
        "pod": pod.metadata.name,
        "uid": pod.metadata.uid,
        "deleted": str(pod.metadata.deletion_timestamp or ""),
        "phase": pod.status.phase,
        "node": pod.spec.node_name or "",
        "unscheduled": unscheduled or "",
    }


def held_back(pod) -> str | None:
    """Why the scheduler gives this pod no node; None if it has one or nothing is said yet."""
    for condition in pod.status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False" and not pod.spec.node_name:
            return condition.message or condition.reason
    return None


def waits_for_the_server(pod) -> bool:
    """Is it held back, and not because the node has no room at the moment?"""
    return "Insufficient" not in (held_back(pod) or "Insufficient")


def killed_for_its_grace(deployed, old_uid, pods) -> float | None:
    """The seconds of grace of the old server, if it lasted until they were over; else None."""
    for pod in pods:
        for status in pod.status.container_statuses or ():
            ended = status.state.terminated
            if pod.metadata.uid != old_uid or status.name != deployed.candidate.container or not ended:
                continue
            # Deleted at this time less the grace; Kubernetes counts in seconds.
            if ended.finished_at and pod.metadata.deletion_timestamp:
                early = (pod.metadata.deletion_timestamp - ended.finished_at).total_seconds()
                return pod.metadata.deletion_grace_period_seconds if early <= 1 else None
    return None


def judge_slow_stop(deployed, old_uid, pods, report) -> None:
    """Passes only if the old server was seen stopping and what comes next was seen waiting for it."""
    seen = json.dumps([evidence_of(pod) for pod in pods])
    running = [pod for pod in pods if runs(deployed, pod)]
    old = next((pod for pod in running if pod.metadata.uid == old_uid), None)
    others = [pod for pod in pods if pod.metadata.uid != old_uid]
    if old is None and (grace := killed_for_its_grace(deployed, old_uid, pods)) is not None and not running:
        report.measure("grace, at whose end the server was killed", grace, "s")
        return  # it held on as long as it could, and nothing ran beside it
    if old is None:
        raise UndecidedError(
            "the server stopped at once although a request was unfinished: nothing was tested", evidence=seen
        )
    if len(running) > 1:
        report.fail(
            "two-servers-one-volume",
            "while the deleted pod's server was still stopping, the next one ran on the same volume",
            evidence=seen,
            remedy="a StatefulSet starts the next pod only when the old one is gone; a Deployment does not, "
            "not even with strategy Recreate, when a pod is deleted or evicted: claim the volume ReadWriteOncePod",
        )
        return
    if old.metadata.deletion_timestamp is None:
        raise UndecidedError("the old pod is not being deleted: nothing was tested", evidence=seen)
    if deployed.candidate.deployment["kind"] == "StatefulSet":
        if others:
            raise UndecidedError("a StatefulSet made a second pod before the first was gone", evidence=seen)
        return
    reasons = [held_back(pod) for pod in others]
    if not reasons or not all(reasons):
        why = "has a node but does not run yet" if reasons else "is not there yet"
        raise UndecidedError(f"the next pod {why}: nothing shows that it waits for the old server", evidence=seen)
    if any("Insufficient" in str(reason) for reason in reasons):
        raise UndecidedError("the next pod waits for room on the node, not for the old server", evidence=seen)
