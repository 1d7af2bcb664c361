"""What the server acknowledged is still there after it was stopped, killed, replaced, moved.

Nothing is being written while a fault strikes. Three collections of 999, 1000 and 1001
records are written before each one, because Chroma flushes its index every 1000 writes:
the first is in the log only, the last has one record in the log. The scenarios go in
sequence on one deployment, the slowest fault last; at the end everything ever written is
read once more.
"""

import contextlib
import socket
import time

import chromadb.errors
import kubernetes.client
import pytest

from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.faults import FAULTS, by_name
from chroma_qualify.faults.base import ready_again, selector, the_server
from chroma_qualify.faults.strike import strike
from chroma_qualify.workload import client
from chroma_qualify.workload.audit import audit
from chroma_qualify.workload.records import Values, make_records, vector

SIZES = (999, 1000, 1001)
BATCH = 250
OVERLAP_SECONDS = 10  # a pod that does not wait for the old one runs within 2 to 5 s


@pytest.fixture(scope="module")
def deployed(module_deploy):
    """The server that all faults strike."""
    return module_deploy("single-writer")


@pytest.fixture(scope="module")
def values(seed):
    return Values(seed)


@pytest.fixture(scope="module")
def ledger() -> dict[str, dict[str, int]]:
    """Collection to what was acknowledged in it, over the whole file."""
    return {}


def tell(report, result) -> None:
    for finding in result.findings:
        report.fail(
            finding.rule,
            finding.message,
            evidence=finding.evidence,
            remedy=finding.remedy,
            collection=finding.collection,
        )


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_acknowledged_records_survive(
    fault, deployed, chroma, report, run_dir, values, ledger
):
    before = chroma(deployed)
    names = [f"{fault.name}-{size}" for size in SIZES]
    for name, size in zip(names, SIZES, strict=True):
        collection = client.create_collection(before, name)
        ledger[name] = client.write(before, collection, make_records(name, values.take(size)), batch=BATCH)

    struck = strike(fault, deployed, run_dir)

    after = chroma(deployed)  # a new client: the old one's connections died with the server
    canary_id, canary_value = next(iter(ledger[names[0]].items()))
    collection = after.get_collection(names[0], embedding_function=None)
    with contextlib.suppress(chromadb.errors.InternalError):  # the audit below says what is broken, and reads the rest
        (answer,) = client.query(collection, vector(canary_value)[None, :], 1)
        report.measure(f"{fault.name}: first query answered", time.monotonic() - struck.started, "s")
        if answer != (canary_id,):
            message = f"after {fault.name} the first query, a record's own embedding, finds {answer}"
            report.fail("low-recall", message, evidence=f"asked for {canary_id}", collection=names[0])
    report.measure(f"{fault.name}: fault proven", struck.proof_seconds, "s")
    for name in names:
        tell(report, audit(after.get_collection(name, embedding_function=None), ledger[name]))


def test_a_slow_stop_lets_no_second_server_onto_the_volume(deployed, forward, report):
    """A request that its client never finishes keeps a stopping server alive for its whole grace period.

    If the next server starts meanwhile, two of them use one volume, which loses vectors as soon as anybody writes.
    """
    old = the_server(deployed)
    way = forward(deployed)
    with socket.create_connection((way.host, way.port), timeout=10) as unfinished, deployed.cluster.api_client() as api:
        unfinished.sendall(b"POST /api/v2/tenants HTTP/1.1\r\nHost: chroma\r\nContent-Length: 64\r\n\r\n{")
        unfinished.settimeout(1)
        with pytest.raises(TimeoutError):  # no answer: the server has the request and waits for the rest of it
            unfinished.recv(1)
        injected = by_name("pod-delete").inject(deployed)

        def running(pods) -> dict[str, bool]:
            """UID to: is the server's container running?"""
            name = deployed.candidate.container
            return {
                pod.metadata.uid: any(
                    status.name == name and status.state.running is not None
                    for status in pod.status.container_statuses or ()
                )
                for pod in pods.values()
            }

        try:
            seen = running(
                wait_for(
                    "the old server to end or another one to run beside it",
                    kubernetes.client.CoreV1Api(api).list_namespaced_pod,
                    lambda pods: not running(pods).get(old.uid, False) or sum(running(pods).values()) > 1,
                    timeout=OVERLAP_SECONDS,
                    namespace=deployed.namespace,
                    label_selector=selector(deployed),
                )
            )
        except WaitTimeoutError:
            seen = {old.uid: True}  # still there after all that time, and alone
    if not seen.get(old.uid):
        report.unknown("undecided", "the server stopped at once although a request was unfinished: nothing was tested")
    elif sum(seen.values()) > 1:
        report.fail(
            "two-servers-on-one-volume",
            "while the deleted pod's server was still stopping, the next one ran on the same volume",
            evidence=f"running at the same time: pods with UIDs {', '.join(uid for uid, on in seen.items() if on)}",
            remedy="a StatefulSet starts the next pod only when the old one is gone; a Deployment does not, "
            "not even with strategy Recreate, when a pod is deleted or evicted",
        )
    ready_again(deployed, injected)


def test_nothing_was_lost_over_all_faults(deployed, chroma, report, ledger):
    if not ledger:
        pytest.skip("no fault ran")
    server = chroma(deployed)
    for name, expected in ledger.items():
        tell(report, audit(server.get_collection(name, embedding_function=None), expected))
    report.measure("records checked after all faults", sum(map(len, ledger.values())))
