"""Which of Chroma's own clients work with which server, each in a virtual environment of its own.

The oldest, a middle and the newest 1.x client with the newest server, the newest client with the oldest server, and
0.6.3, which is known not to work: that must be found, by its error. docs/clients.md has the table of such a run, see
scripts/client-table.
"""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from chroma_qualify.checks.compatibility import judge_client
from chroma_qualify.cluster.images.clients import client_versions
from chroma_qualify.cluster.images.ensure import older_chromas
from chroma_qualify.cluster.kind import load_missing_images
from chroma_qualify.deployment.apply import apply, wait_ready
from chroma_qualify.deployment.forward import open_forward
from chroma_qualify.deployment.render import in_namespace
from chroma_qualify.errors import CandidateError, UndecidedError
from chroma_qualify.plugin.candidates import chroma_image, with_chroma_image, with_objects
from chroma_qualify.workload.compatibility import try_client

pytestmark = pytest.mark.beside

INCOMPATIBLE = "0.6.3"
ITS_ERROR = "KeyError: '_type'"
NEWEST = client_versions()[-1]
AT_ONCE = 3  # programs; most of their time is Python importing chromadb


@pytest.fixture(scope="module")
def newest_server(module_deploy):
    """The candidate."""
    return module_deploy("single-writer")


def run_all(deployed, versions):
    """Every one of these clients with a server; by version."""
    candidate = deployed.candidate
    credentials = deployed.credentials
    protected = {"CHECK_TOKEN": credentials.token, "CHECK_CA": credentials.ca_file, "CHECK_SCHEME": credentials.scheme}
    environment = {name: value for name, value in protected.items() if value}
    server = chroma_image(candidate).rpartition("/")[2]
    with (
        open_forward(deployed.cluster, deployed.namespace, candidate.service, candidate.service_port) as way,
        ThreadPoolExecutor(AT_ONCE) as pool,
    ):
        runs = pool.map(lambda version: try_client(version, server, way.host, way.port, environment), versions)
        return dict(zip(versions, runs, strict=True))


@pytest.fixture(scope="module")
def with_newest_server(newest_server, run_dir):
    runs = run_all(newest_server, client_versions())
    keep(run_dir, runs.values())
    return runs


def keep(run_dir, runs):
    """For scripts/client-table."""
    with (run_dir / "clients.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(run.as_json()) + "\n" for run in runs)


def told(run, report):
    report.measure(f"checks passed of {len(run.checks)}", sum(check.ok for check in run.checks))


@pytest.mark.parametrize("version", [version for version in client_versions() if version != INCOMPATIBLE])
def test_with_the_newest_server(version, with_newest_server, report):
    told(with_newest_server[version], report)
    report.add(*judge_client(with_newest_server[version]))


def test_0_6_3_is_named_incompatible(with_newest_server, run, report):
    """It connects, and fails at the first answer that describes a collection."""
    found = with_newest_server[INCOMPATIBLE]
    told(found, report)
    report.add(*judge_client(found, compatible=False))
    if found.first_failure is not None:
        run.say(f"client {INCOMPATIBLE}: {found.first_failure.name}: {found.first_failure.error}")
        assert found.first_failure.error == ITS_ERROR


def test_the_newest_client_with_the_oldest_server(candidate, cluster, namespace, run, run_dir, report):
    if run.options.manifests:
        pytest.skip("it tries an older server of our own topology, not the candidate")
    newer = in_namespace(candidate("single-writer"), namespace)
    image = older_chromas()[0]
    load_missing_images(cluster, (image,))
    older = with_objects(newer, with_chroma_image(newer.objects, newer.container, image))
    deployed = apply(cluster, older, namespace)
    try:
        wait_ready(deployed)
    except CandidateError as error:  # it says nothing of the candidate
        raise UndecidedError(f"the older Chroma did not get ready: {error.message}") from error
    found = run_all(deployed, [NEWEST])[NEWEST]
    keep(run_dir, [found])
    told(found, report)
    report.add(*judge_client(found))
