"""How long a query takes at a fixed rate of arrivals, from inside the cluster, errors and waiting included.

Run by `make load`. Each rate is a run of its own against the same server; its latencies count from the time a query was
due. No limit is promised for them yet, so they are measured; what is judged is whether queries are answered at rates
below what one server does, and whether the loader itself was on time (else: unknown).
"""

import json

import pytest

from chroma_qualify.load.generator import Loader, Plan
from chroma_qualify.workload import client
from chroma_qualify.workload.records import Values, make_records

RECORDS = 5_000
SECONDS = 20
RATES = (20.0, 50.0)  # 1/s; one server does 100 to 130 at 500m CPU
WARM_UP = 3  # s, not counted


@pytest.fixture(scope="module")
def filled(module_deploy, seed):
    """A server with one collection: (deployed, the collection's id)."""
    from chroma_qualify.deployment.forward import open_forward

    deployed = module_deploy()
    candidate = deployed.candidate
    with open_forward(deployed.cluster, deployed.namespace, candidate.service, candidate.service_port) as way:
        server = client.connect(way.host, way.port, credentials=deployed.credentials)
        collection = client.create_collection(server, "load")
        client.write(server, collection, make_records("l", Values(seed).take(RECORDS)), batch=250)
        return deployed, str(collection.id)


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: f"{rate:g} per s")
def test_queries_at_fixed_rate(filled, rate, seed, report, run_dir, load_pods):
    deployed, collection = filled
    plan = Plan(collection=collection, rate=rate, seconds=SECONDS + WARM_UP, seed=seed)
    name = f"loader-{rate:g}"
    evidence = run_dir / "load"
    with Loader.start(deployed, plan, name=name, pods=load_pods) as loader:
        load = loader.finish(evidence / f"{name}.jsonl", timeout=SECONDS + WARM_UP + 30)
    span = load.span(start=load.began + WARM_UP)
    (evidence / f"{name}.json").write_text(json.dumps(span.summary(), indent=1))

    if doubt := span.not_offered() or span.latency_doubt():
        report.unknown("load-not-offered", f"at {rate:g} queries/s: {doubt}")
    if span.failed:
        report.fail("queries-broken", f"{span.failed} of {span.due} queries at {rate:g}/s failed", evidence=span.errors)
    for percent in (50, 99, 99.9):
        if (value := span.latency.percentile(percent)) is not None:
            report.measure(f"query p{percent:g}", value * 1000, "ms")
    report.measure("loader late p99", (span.lag.percentile(99) or 0) * 1000, "ms")
    report.measure("answered", span.ok / span.seconds if span.seconds else 0, "1/s")


def test_queries_from_several_pods(filled, seed, report, run_dir):
    """Past one machine: two pods send one rate between them, and what they report adds up to the plan."""
    deployed, collection = filled
    plan = Plan(collection=collection, rate=RATES[0], seconds=SECONDS, seed=seed)
    evidence = run_dir / "load"
    with Loader.start(deployed, plan, name="several", pods=2) as loader:
        load = loader.finish(evidence / "several.jsonl", timeout=SECONDS + 60)
    span = load.span()
    (evidence / "several.json").write_text(json.dumps(span.summary(), indent=1))
    assert len(list(evidence.glob("several-*.jsonl"))) == 2, "each pod's own report is kept"
    assert load.rate == plan.rate
    assert span.due == plan.rate * SECONDS
    # Which makes up one plan only if both began at one moment.
    apart = max(second.lasts for second in load.seconds) - 1
    report.measure("pods began apart", apart * 1000, "ms")
    if apart > 1:
        report.unknown("load-not-offered", f"the two pods began {apart:.1f} s apart")
    if doubt := span.not_offered():
        report.unknown("load-not-offered", f"at {plan.rate:g} queries/s from two pods: {doubt}")
    if span.failed:
        report.fail("queries-broken", f"{span.failed} of {span.due} queries failed", evidence=span.errors)
    report.measure("answered, two pods", span.ok / span.seconds if span.seconds else 0, "1/s")
