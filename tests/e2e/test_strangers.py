"""Somebody else's manifests, in the shape of the widely used community chart: found, deployed, written to, struck.

With `--manifests` the candidate is somebody's anyway, and every other scenario is about it.
"""

import contextlib

import pytest

from chroma_qualify.cluster.images.ensure import Source
from chroma_qualify.deployment.admission import ENFORCE, LEVELS, strictest
from chroma_qualify.deployment.apply import apply, create_namespace, delete_namespace, wait_ready
from chroma_qualify.deployment.fit import STOOD_IN, fit, look_at
from chroma_qualify.deployment.foreign import LEFT_OUT
from chroma_qualify.deployment.forward import open_forward
from chroma_qualify.deployment.render import in_namespace, load_candidate
from chroma_qualify.faults import by_name
from chroma_qualify.faults.base import ready_again
from chroma_qualify.plugin.versions import modest
from chroma_qualify.workload import client
from chroma_qualify.workload.audit import audit
from chroma_qualify.workload.records import Values, make_records

pytestmark = [
    pytest.mark.beside,
    pytest.mark.own_cluster("it tells what stands in, on our own nodes, for what the chart asks for"),
]
CHART = "tests/strangers/community-chart"
RECORDS = 1001  # one past the flush of the index


@pytest.fixture
def chart(run, cluster, request):
    """The chart's manifests as this cluster can have them."""
    if run.options.manifests:
        pytest.skip("it tries manifests of its own, not the candidate")
    candidate = load_candidate(request.config.rootpath / CHART, cluster.kubectl)
    return fit(candidate, look_at(cluster, pulls=run.images != Source.PACKAGES.value))


def test_the_community_chart_is_qualified_as_it_is(chart, cluster, run, observer, seed, report):
    """Its pods meet `baseline` only, its tests are left out, its image is there by another name; its data stays."""
    rules = {finding.rule for finding in chart.notes}
    assert LEFT_OUT in rules
    assert (STOOD_IN in rules) == (run.images == Source.PACKAGES.value)
    level, refused = strictest(cluster, chart)
    assert (level, refused is not None) == (LEVELS[1], True)
    assert "seccompProfile" in refused.message

    with namespace(cluster, run, observer, level) as space:
        deployed = apply(cluster, in_namespace(modest(chart), space), space)
        report.measure("ready after", wait_ready(deployed), "s")
        values = Values(seed)
        with way_to(deployed) as way:
            server = client.connect(way.host, way.port, credentials=deployed.credentials)
            collection = client.create_collection(server, "stranger")
            written = client.write(server, collection, make_records("stranger", values.take(RECORDS)), batch=250)
        fault = by_name("pod-delete")
        injected = fault.inject(deployed)
        fault.prove(deployed, injected)
        ready_again(deployed, injected)
        with way_to(deployed) as way:
            server = client.connect(way.host, way.port, credentials=deployed.credentials)
            report.add(*audit(server.get_collection("stranger", embedding_function=None), written).findings)


@contextlib.contextmanager
def namespace(cluster, run, observer, level):
    """One that enforces what the chart's pods meet."""
    space = f"cq-stranger-{run.id[-6:]}"
    create_namespace(cluster, space, {ENFORCE: level, "app.kubernetes.io/managed-by": "chroma-qualify"})
    try:
        observer.follow(space)
        yield space
    except BaseException:
        observer.collect(space)
        raise
    finally:
        delete_namespace(cluster, space)


def way_to(deployed):
    candidate = deployed.candidate
    return open_forward(deployed.cluster, deployed.namespace, candidate.service, candidate.service_port)
