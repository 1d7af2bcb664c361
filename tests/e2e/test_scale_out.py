"""Query load from inside the cluster takes the HPA from 1 to 3 replicas; all three answer alike; without it, back to 1.

All data is written while there is ONE server and nothing is written afterwards: several servers on one volume are for
reads only, and a server's index stays what it was when it first loaded it.
"""

import contextlib
import functools
import json

import kubernetes.client
import pytest

from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.deployment.apply import scale, wait_ready
from chroma_qualify.deployment.forward import open_forward
from chroma_qualify.errors import UndecidedError
from chroma_qualify.load import aside, inside
from chroma_qualify.load.generator import Loader, Plan
from chroma_qualify.load.scale import watch_scaling
from chroma_qualify.workload import client
from chroma_qualify.workload.audit import audit
from chroma_qualify.workload.records import Values, make_records

pytestmark = pytest.mark.alone  # it measures, and its three replicas take the room there is

ROOM_WITHIN = 180.0  # s
RECORDS = 1_050  # past sync_threshold (1000): part of the index comes from its file, part from the write-ahead log
OVERLOAD = 1.25  # times what one server does at its CPU limit (500m): 625m, between 2 and 4 replicas at 175m each
RATE_AT_MOST = 400.0  # requests/s; keeps the loader from taking the CPU itself on a fast machine
VECTORS = 8  # queries in a request: the server's work is to weigh more than the loader's
LONGEST = 600  # s; the load ends by itself then
UP_WITHIN = 280.0  # s; metrics every 15 s, HPA every 15 s, a start: 37 s were seen; a busy machine takes longer
DOWN_WITHIN = 300.0  # s, beyond the HPA's own window
HARD_ERRORS = 0.01  # share of queries that a scaling may break; time-outs of the overloaded first server apart


def test_scale_out_and_back(cluster, deploy, chroma, report, run_dir, seed, load_pods):
    if cluster.guest is None:
        wait_for_room(cluster)
    deployed = deploy("autoscaling")
    without_its_hpa(deployed)
    server = chroma(deployed)
    collection = client.create_collection(server, "scale-out")
    written = client.write(server, collection, make_records("s", Values(seed).take(RECORDS)), batch=250)
    alone_until_here(deployed)
    inside.apply(cluster, [deployed.candidate.hpa])

    evidence = run_dir / "load"
    plan = Plan(
        collection=str(collection.id),
        rate=RATE_AT_MOST,
        seconds=LONGEST,
        seed=seed,
        vectors=VECTORS,
        of_capacity=OVERLOAD,
    )
    with Loader.start(deployed, plan, pods=load_pods) as loader:
        up = watch_scaling(deployed, hpa_max(deployed), timeout=UP_WITHIN)
        steady_from = loader.now()
        audits = audit_each(deployed, up.pods, "scale-out", written)
        steady_to = loader.now()
        load = loader.stop(evidence / f"{deployed.namespace}.jsonl")
    down = watch_scaling(deployed, hpa_min(deployed), timeout=DOWN_WITHIN + scale_down_window(deployed))
    audits |= {f"{pod} (alone again)": found for pod, found in
               audit_each(deployed, down.pods, "scale-out", written).items()}  # fmt: skip

    steps = {"up": [str(step) for step in up.steps], "down": [str(step) for step in down.steps]}
    whole, steady = load.span(), load.span(steady_from, steady_to)
    shares = shares_by_replica(run_dir, deployed, up.pods)
    summary = {"steps": steps, "load": whole.summary(), "steady": steady.summary(), "shares": shares}
    (evidence / f"{deployed.namespace}.json").write_text(json.dumps(summary, indent=1))

    judge_agreement(report, audits)
    judge_load(report, whole)
    for what in ("desired", "scheduled", "ready"):
        if (seconds := up.last(what)) is not None:
            report.measure(f"up to {len(up.pods)}: last {what}", seconds, "s")
    report.measure("back to 1", down.steps[-1].seconds, "s")
    report.measure("one server does", load.capacity or 0, "requests/s")
    report.measure("load", load.rate or 0, "requests/s")
    report.measure("requests sent", whole.sent)
    report.measure("requests failed or dropped", whole.failed)
    if steady.seconds and not steady.latency_doubt():
        report.measure("request p50, all replicas up", steady.latency.percentile(50) * 1000, "ms")
        report.measure("request p99, all replicas up", steady.latency.percentile(99) * 1000, "ms")
    if (late := whole.lag.percentile(99)) is not None:
        report.measure("loader late p99", late * 1000, "ms")
    for pod, share in shares.items():
        report.measure(f"share of {pod}", share * 100, "%")


def alone_until_here(deployed):
    """The writes must have met one server only, or this scenario proves nothing about reads."""
    pods = deployed.cluster.get_json("pods", "-n", deployed.namespace, "-l", deployed.candidate.label_selector)["items"]
    if len(pods) != 1:
        names = ", ".join(pod["metadata"]["name"] for pod in pods)
        raise UndecidedError(f"there was not one server while the data was being written ({names})")


def without_its_hpa(deployed):
    """One server and nothing that adds another, until the data is written: writing alone passes the HPA's target."""
    hpa = deployed.candidate.hpa["metadata"]["name"]
    deployed.cluster.run_kubectl("delete", "hpa", hpa, "-n", deployed.namespace)
    scale(deployed, 1)  # it may have acted already
    wait_ready(deployed)


def wait_for_room(cluster):
    """Three replicas and a loader need what earlier scenarios' pods, still ending, hold; it is not waited for long."""
    with contextlib.suppress(WaitTimeoutError), cluster.api_client() as api:  # no room: the scaling says so itself
        wait_for(
            "earlier scenarios' namespaces to be gone",
            kubernetes.client.CoreV1Api(api).list_namespace,
            lambda spaces: not any(space.metadata.deletion_timestamp for space in spaces.values()),
            timeout=ROOM_WITHIN,
            label_selector="app.kubernetes.io/managed-by=chroma-qualify",
        )


def audit_each(deployed, pods, collection, written):
    """Read store and index of every replica, each through a forward to that very pod, all at once."""

    def one(pod):
        with open_forward(deployed.cluster, deployed.namespace, f"pod/{pod}", deployed.candidate.container_port) as way:
            server = client.connect(way.host, way.port, credentials=deployed.credentials)
            there = server.get_collection(collection, embedding_function=None)
            return audit(there, written)

    return aside.all_at_once({pod: functools.partial(one, pod) for pod in pods})


def judge_agreement(report, audits):
    """Every replica is right about every record; then they also agree. Say so for each that is not."""
    for pod, found in audits.items():
        for finding in found.findings:
            report.fail(finding.rule, f"{pod}: {finding.message}", evidence=finding.evidence, remedy=finding.remedy)
    counts = {pod: (found.stored, found.indexed) for pod, found in audits.items()}
    if len(set(counts.values())) > 1:
        report.fail("diverged", "replicas that nobody writes to disagree (store, index)", evidence=counts)


def judge_load(report, span):
    """Was it the load that was planned, and did scaling break queries?"""
    if doubt := span.not_offered():
        report.unknown("load-not-offered", f"this run does not count as the planned load: {doubt}")
    hard = {kind: count for kind, count in span.errors.items() if kind not in {"dropped", "timeout"}}
    if sum(hard.values()) > HARD_ERRORS * span.sent:
        report.fail("queries-broken", f"{sum(hard.values())} of {span.sent} queries failed", evidence=hard)


def shares_by_replica(run_dir, deployed, pods):
    """Share of the loader's queries that each replica's log shows; empty where the log does not name its clients."""
    counts = {}
    for pod in pods:
        log = run_dir / "logs" / deployed.namespace / pod / f"{deployed.candidate.container}.log"
        with contextlib.suppress(OSError):
            counts[pod] = log.read_text(errors="replace").count("chroma-qualify-loader")
    total = sum(counts.values())
    return {pod: round(count / total, 3) for pod, count in counts.items()} if total else {}


def hpa_max(deployed):
    return deployed.candidate.hpa["spec"]["maxReplicas"]


def hpa_min(deployed):
    return deployed.candidate.hpa["spec"].get("minReplicas", 1)


def scale_down_window(deployed):
    behaviour = deployed.candidate.hpa["spec"].get("behavior") or {}
    return (behaviour.get("scaleDown") or {}).get("stabilizationWindowSeconds", 300)
