"""Every overlay that is shipped, and production on each provider's volumes: its fields exist, the API server admits it
where Pod Security `restricted` is enforced, the policy scanner finds nothing without a reason; dev, staging and
production are deployed and answer.

Of a node with two CPUs three environments get small shares: `modest` lowers what they ask the scheduler for, no more. A
provider's volumes can be had from that provider only, so those overlays end with the dry run.
"""

import contextlib
import copy
import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import kubernetes.client
import pytest

from chroma_qualify.cluster.images.ensure import find_program
from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.deployment.admission import pods_of
from chroma_qualify.deployment.apply import apply, wait_ready
from chroma_qualify.deployment.objects import of_kind
from chroma_qualify.deployment.render import in_namespace, load_candidate
from chroma_qualify.deployment.scan import EXCEPTIONS, judge, load_exceptions, scan
from chroma_qualify.deployment.schemas import ClusterSchemas
from chroma_qualify.errors import CandidateError, UndecidedError
from chroma_qualify.lint.schema import schema_invalid, without_schema
from chroma_qualify.plugin.namespaces import fresh_namespace
from chroma_qualify.plugin.versions import modest

pytestmark = pytest.mark.own_cluster("priority classes and the like are in no namespace")

REPOSITORY = Path(__file__).parents[2]
MANIFESTS = REPOSITORY / "manifests"
OVERLAYS = ("single-writer", "autoscaling", "dev", "staging", "production")
PROVIDERS = ("storage-aws", "storage-gcp", "storage-azure")
DEPLOYED = ("dev", "staging", "production")
DEFINITIONS = ("servicemonitors.monitoring.coreos.com", "prometheusrules.monitoring.coreos.com")
READY_WITHIN = 300.0  # s; three start at once, beside others
ALL_WITHIN = 300.0  # s, what is around Chroma
JOB_WITHIN = 300.0  # s, one run of a CronJob


@pytest.fixture(scope="module")
def rendered(run, cluster):
    """Overlay → candidate, as its users render it."""
    if run.options.manifests:
        pytest.skip("it is about the overlays of manifests/, not about another candidate")
    shipped = {name: MANIFESTS / "overlays" / name for name in OVERLAYS}
    shipped |= {name: REPOSITORY / "tests/overlays" / name for name in PROVIDERS}
    return {name: load_candidate(directory, cluster.kubectl) for name, directory in shipped.items()}


def changed(candidate, kind, change):
    """The objects, with something done to the first of a kind."""
    objects = copy.deepcopy(list(candidate.objects))
    change(next(of_kind(objects, kind)))
    return objects


def server_of(deployment):
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return next(container for container in containers if container["name"] == "chromadb")


def misspell(deployment):
    container = server_of(deployment)
    container["resource"] = container.pop("resources")


def test_fields_exist(rendered, cluster, report, tmp_path):
    """Held against the schemas of the cluster's version, and the definitions that the cluster itself has."""
    found = cluster.get_json("customresourcedefinitions", *DEFINITIONS)["items"]
    definitions = [json.dumps(item, indent=1) for item in found]
    (tmp_path / "crds.json").write_text("\n---\n".join(definitions))
    version = json.loads(cluster.run_kubectl("version", "--output=json").stdout)["serverVersion"]["gitVersion"]
    schemas = ClusterSchemas(version, tmp_path / "crds.json")
    spoilt = schema_invalid(changed(rendered["dev"], "Deployment", misspell), schemas)
    if ["unknown field" in finding.message for finding in spoilt] != [True]:
        raise UndecidedError("a misspelt field is not found", evidence=str(spoilt))
    for name, candidate in rendered.items():
        report.add(*schema_invalid(candidate.objects, schemas))
        if unknown := without_schema(candidate.objects, schemas):
            report.unknown("no-schema", f"{name}: no schema for {', '.join(unknown)}")
    report.measure("objects", sum(len(candidate.objects) for candidate in rendered.values()))


def test_admitted(rendered, cluster, module_namespace):
    """The API server takes the objects, and the pods that they would make, as it takes what is applied for good."""
    for name, candidate in rendered.items():
        moved = in_namespace(candidate, module_namespace)
        done = dry_run(cluster, module_namespace, [*moved.objects, *pods_of(moved.objects, module_namespace)])
        if done.returncode != 0:
            raise CandidateError("not-admitted", f"the API server refuses {name}", evidence=done.stderr[-2000:])

    controls = {
        "field not declared in schema": changed(rendered["dev"], "Deployment", misspell),
        "violates PodSecurity": changed(rendered["dev"], "Deployment", make_privileged),
    }
    for said, objects in controls.items():
        broken = in_namespace(dataclasses.replace(rendered["dev"], objects=tuple(objects)), module_namespace)
        done = dry_run(cluster, module_namespace, [*broken.objects, *pods_of(broken.objects, module_namespace)])
        if done.returncode == 0 or said not in done.stderr:
            raise UndecidedError(f"the control ({said}) is not refused", evidence=done.stderr[-2000:])


def make_privileged(deployment):
    server_of(deployment)["securityContext"] = {"privileged": True}


def dry_run(cluster, namespace, objects):
    """Without kubectl's own validation: it is the API server that is asked."""
    return cluster.run_kubectl(
        "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=false",
        "--field-manager=chroma-qualify", f"--namespace={namespace}", "-f", "-",
        stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}),
        timeout=180, check=False, again=True,
    )  # fmt: skip


def test_scanned(rendered, run, report):
    """kube-score's findings, less the exceptions, each of which is needed by some overlay."""
    scanner = find_program("kube-score", "kube-score", run.say)
    issues = {name: scan(candidate.objects, scanner) for name, candidate in rendered.items()}
    exceptions = load_exceptions(MANIFESTS / EXCEPTIONS)
    report.add(*judge(issues, exceptions))
    report.measure("exceptions", len(exceptions))

    def untag(deployment):
        server_of(deployment)["image"] = "chromadb/chroma:latest"

    spoilt = scan(changed(rendered["dev"], "Deployment", untag), scanner)
    found = [finding for finding in judge({"spoilt": spoilt}, exceptions) if finding.rule == "scan-finding"]
    if ["container-image-tag" in finding.message for finding in found] != [True]:
        raise UndecidedError("an image without a version is not found", evidence=str(found))


@pytest.fixture(scope="module")
def deployed(rendered, run, cluster, observer, request):
    """Environment → its deployment, ready, or why it is not; each in a namespace of its own, started together."""
    with contextlib.ExitStack() as stack:
        spaces = {
            name: stack.enter_context(fresh_namespace(run, cluster, observer, request.node, name)) for name in DEPLOYED
        }

        def start(name):
            try:
                there = apply(cluster, in_namespace(modest(rendered[name]), spaces[name]), spaces[name])
                seconds = wait_ready(there, READY_WITHIN)
            except CandidateError as error:
                return error
            run.say(f"{spaces[name]}: ready after {seconds:.1f} s")
            return there

        with ThreadPoolExecutor(len(DEPLOYED)) as pool:
            yield dict(zip(DEPLOYED, pool.map(start, DEPLOYED), strict=True))


@pytest.fixture
def there(deployed):
    def of(name):
        if isinstance(deployed[name], CandidateError):
            raise deployed[name]
        return deployed[name]

    return of


@pytest.mark.parametrize("name", DEPLOYED)
def test_deployed(name, there, chroma, cluster):
    """What is written is read, and nearest to itself."""
    environment = there(name)
    collection = chroma(environment).create_collection("environment")
    vectors = [[float(row == column) for column in range(8)] for row in range(8)]
    ids = [f"id-{row}" for row in range(8)]
    collection.add(ids=ids, embeddings=vectors)
    assert sorted(collection.get()["ids"]) == ids
    assert collection.query(query_embeddings=vectors[2:3], n_results=1)["ids"] == [["id-2"]]
    limits = {
        container["name"]: container["resources"]["limits"]
        for container in environment.candidate.deployment["spec"]["template"]["spec"]["containers"]
    }
    pods = cluster.get_json("pods", "-n", environment.namespace, "-l", environment.candidate.label_selector)["items"]
    (pod,) = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    for container in pod["spec"]["containers"]:
        assert container["resources"]["limits"] == limits[container["name"]]


def test_production_is_whole(there, cluster, forward, report):
    """Every workload of it is ready, every CronJob does its work, and nobody gets in without the token."""
    production = there("production")
    wanted = {item["metadata"]["name"] for item in of_kind(production.candidate.objects, "Deployment")}
    with contextlib.closing(cluster.api_client()) as api:
        wait_for_all(kubernetes.client.AppsV1Api(api), production.namespace, wanted)
        crons = [item["metadata"]["name"] for item in of_kind(production.candidate.objects, "CronJob")]
        for name in crons:
            cluster.run_kubectl("create", "job", f"{name}-now", f"--from=cronjob/{name}", "-n", production.namespace)
        for name in crons:
            wait_for_job(kubernetes.client.BatchV1Api(api), cluster, production.namespace, f"{name}-now")
    report.measure("workloads", len(wanted))
    report.measure("jobs done", len(crons))
    way = forward(production)
    address = f"http://{way.host}:{way.port}/api/v2/tenants/default_tenant/databases/default_database/collections"
    assert httpx.get(address, timeout=30).status_code == 401
    assert httpx.get(address, timeout=30, headers=production.credentials.headers).status_code == 200


def wait_for_all(apps, namespace, names):
    def unready(deployments):
        return [
            name
            for name in names
            if name not in deployments
            or (deployments[name].status.available_replicas or 0) < (deployments[name].spec.replicas or 0)
        ]

    try:
        wait_for(
            f"{', '.join(sorted(names))} to be available",
            apps.list_namespaced_deployment,
            lambda deployments: not unready(deployments),
            timeout=ALL_WITHIN,
            describe=lambda deployments: f"not available: {', '.join(unready(deployments))}",
            namespace=namespace,
        )
    except WaitTimeoutError as error:
        raise CandidateError("not-ready", error.message) from error


def wait_for_job(batch, cluster, namespace, name):
    def ended(jobs):
        conditions = {each.type for each in jobs[name].status.conditions or () if each.status == "True"} if jobs else ()
        return next((each for each in ("Complete", "Failed") if each in conditions), "")

    try:
        jobs = wait_for(
            f"job {name} to end",
            batch.list_namespaced_job,
            ended,
            timeout=JOB_WITHIN,
            describe=lambda jobs: f"{jobs[name].status.active or 0} active" if jobs else "it is not there",
            namespace=namespace,
            field_selector=f"metadata.name={name}",
        )
    except WaitTimeoutError as error:
        raise CandidateError("job-not-done", error.message) from error
    if ended(jobs) != "Complete":
        log = cluster.run_kubectl("logs", f"job/{name}", "--all-containers", "-n", namespace, check=False)
        raise CandidateError("job-failed", f"job {name} failed", evidence=(log.stdout + log.stderr)[-2000:])
