"""Which of Chroma's own clients work with which server, each in a virtual environment of its own.

The oldest, a middle and the newest 1.x client with the newest server, the newest client with the oldest server, and
0.6.3, which is known not to work: that must be found, by its error. docs/reference/clients.md has the table of such a
run, see scripts/client-table.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from chroma_qualify.checks.compatibility import judge_client
from chroma_qualify.cluster.images.clients import client_versions
from chroma_qualify.cluster.images.ensure import older_chromas
from chroma_qualify.cluster.kind import load_missing_images
from chroma_qualify.deployment.apply import apply, wait_ready
from chroma_qualify.deployment.forward import open_forward
from chroma_qualify.deployment.render import in_namespace, load_candidate
from chroma_qualify.errors import CandidateError, UndecidedError
from chroma_qualify.plugin.candidates import chroma_image
from chroma_qualify.plugin.namespaces import fresh_namespace
from chroma_qualify.workload.compatibility import try_client

pytestmark = pytest.mark.own_cluster("the versions of the server are images that are loaded into our own nodes")

INCOMPATIBLE = "0.6.3"
ITS_ERROR = "KeyError: '_type'"
OLDEST = Path(__file__).parents[1] / "overlays" / "baseline-1.0"
NEWEST = client_versions()[-1]
AT_ONCE = 3  # programs; most of their time is Python importing chromadb


@pytest.fixture(scope="module")
def runs(run, cluster, observer, run_dir, module_deploy, request):
    """(client, "newest" or "oldest" server) to what it did; all of them at a time, for they mostly import."""
    with ExitStack() as stack:
        older = None
        if not run.options.manifests:
            namespace = stack.enter_context(fresh_namespace(run, cluster, observer, request.node, "clients-oldest"))
            older = apply_oldest(cluster, namespace)
        newest = module_deploy("single-writer")
        pool = stack.enter_context(ThreadPoolExecutor(AT_ONCE))
        begun = {(version, "newest"): begin(stack, pool, newest, version) for version in client_versions()}
        if older is not None:
            try:
                wait_ready(older)
            except CandidateError as error:  # it says nothing of the candidate
                raise UndecidedError(f"the older Chroma did not get ready: {error.message}") from error
            begun[NEWEST, "oldest"] = begin(stack, pool, older, NEWEST)
        found = {pair: future.result() for pair, future in begun.items()}
    with (run_dir / "clients.jsonl").open("a", encoding="utf-8") as file:  # for scripts/client-table
        file.writelines(json.dumps(each.as_json()) + "\n" for each in found.values())
    return found


def apply_oldest(cluster, namespace):
    """The oldest Chroma at hand."""
    load_missing_images(cluster, older_chromas()[:1])
    return apply(cluster, in_namespace(load_candidate(OLDEST, cluster.kubectl), namespace), namespace)


def begin(stack, pool, deployed, version):
    """A client's checks, on their way."""
    candidate, credentials = deployed.candidate, deployed.credentials
    way = stack.enter_context(
        open_forward(deployed.cluster, deployed.namespace, candidate.service, candidate.service_port)
    )
    protected = {"CHECK_TOKEN": credentials.token, "CHECK_CA": credentials.ca_file, "CHECK_SCHEME": credentials.scheme}
    environment = {name: value for name, value in protected.items() if value}
    server = chroma_image(candidate).rpartition("/")[2]
    return pool.submit(try_client, version, server, way.host, way.port, environment)


def judge(found, report, *, compatible=True):
    report.measure(f"checks passed of {len(found.checks)}", sum(check.ok for check in found.checks))
    report.add(*judge_client(found, compatible=compatible))


@pytest.mark.parametrize("version", [version for version in client_versions() if version != INCOMPATIBLE])
def test_with_the_newest_server(version, runs, report):
    judge(runs[version, "newest"], report)


def test_0_6_3_is_named_incompatible(runs, run, report):
    """It connects, and fails at the first answer that describes a collection."""
    found = runs[INCOMPATIBLE, "newest"]
    judge(found, report, compatible=False)
    if found.first_failure is not None:
        run.say(f"client {INCOMPATIBLE}: {found.first_failure.name}: {found.first_failure.error}")
        assert found.first_failure.error == ITS_ERROR


def test_the_newest_client_with_the_oldest_server(runs, report):
    if (NEWEST, "oldest") not in runs:
        pytest.skip("it tries an older server of our own topology, not the candidate")
    judge(runs[NEWEST, "oldest"], report)
