"""The common issues are caused on purpose in a live cluster, and `chroma-qualify doctor` names each, as a user runs it.

Its control is the same deployment while it is well: the doctor must leave that in peace. What cannot start, and a
volume that is full, are in test_doctor_ill.py.
"""

import json
from pathlib import Path

import pytest
import yaml
from doctor_command import changed, doctor, until

from chroma_qualify.cluster.wait import WaitTimeoutError
from chroma_qualify.deployment.apply import apply, scale, wait_ready
from chroma_qualify.deployment.render import in_namespace
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults.base import the_server
from chroma_qualify.faults.out_of_memory import OutOfMemory

pytestmark = [pytest.mark.beside, pytest.mark.own_cluster("it gives and takes roles, and reaches pods by their node")]

RBAC = Path(__file__).parents[2] / "manifests" / "rbac"
NETWORK_WITHIN = 120.0  # s, until nodes know of a changed Service
TRIES = 4  # a runtime that looks when the container's cgroup is gone does not say what killed it


@pytest.fixture(scope="module")
def own_topology(run):
    if run.options.manifests:
        pytest.skip("it makes deployments of its own ill, not the candidate")


@pytest.fixture(scope="module")
def deployed(own_topology, cluster, module_namespace, candidate):
    """The default topology, with a request that a busy node has room for: it is scaled to zero and must come back."""
    moved = in_namespace(changed(candidate("single-writer")), module_namespace)
    deployed = apply(cluster, moved, module_namespace)
    wait_ready(deployed)
    return deployed


@pytest.fixture
def look(deployed, cluster):
    return lambda kubeconfig=None: doctor(deployed.namespace, kubeconfig or cluster.kubeconfig)


def test_a_healthy_deployment_is_left_in_peace(deployed, look):
    wait_ready(deployed)
    seen = look()
    assert (seen.code, seen.told["condition"], seen.told["found"]) == (0, "healthy", []), seen
    assert seen.told["servers"] == [{"workload": "Deployment/chromadb", "ready": 1, "wanted": 1}]


def patch(deployed, kind, change):
    """Change an object of the deployment; the caller puts it back with `apply`."""
    name = next(item["metadata"]["name"] for item in deployed.candidate.objects if item["kind"] == kind)
    words = ("patch", kind, name, f"--namespace={deployed.namespace}", "--type=merge", f"--patch={json.dumps(change)}")
    deployed.cluster.run_kubectl(*words)


def connects(deployed):
    """Whether a connection from the node to the Service's address is accepted."""
    service = deployed.cluster.get_json("service", deployed.candidate.service, f"--namespace={deployed.namespace}")
    address = service["spec"]["clusterIP"]
    words = ("timeout", "10", "bash", "-c", f"exec 3<>/dev/tcp/{address}/{deployed.candidate.service_port}")
    return deployed.cluster.on_node(deployed.cluster.nodes[0], *words, check=False).returncode == 0


REFUSED = {
    "selector": ("Service", {"spec": {"selector": {"app": "chroma"}}}, "unreachable", "matches none of Chroma's pods"),
    "port": (
        "Service",
        {"spec": {"ports": [{"name": "http", "port": 8000, "targetPort": 9000}]}},
        "wrong-target-port",
        "sends to port 9000 of the pods, and Chroma listens on 8000",
    ),
    "policy": ("NetworkPolicy", {"spec": {"ingress": []}}, "policy-lets-nobody-in", "let nobody connect to port 8000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_connection_is_named_with_its_remedy(name, deployed, look, report):
    kind, change, rule, words = REFUSED[name]
    tries = kind == "Service" and deployed.cluster.nodes  # by a node, which every policy lets in
    if tries:
        until("it connects while all is well", lambda: connects(deployed), NETWORK_WITHIN)
    patch(deployed, kind, change)
    try:
        if tries:
            until("connections are refused", lambda: not connects(deployed), NETWORK_WITHIN)
        seen = look()
    finally:
        apply(deployed.cluster, deployed.candidate, deployed.namespace)
    assert (seen.code, seen.rules) == (1, {rule}), seen
    found = seen.of(rule)
    assert found["issue"] == "connection refused"
    assert words in found["message"]
    assert found["remedy"]


def test_scaled_to_zero_is_named(deployed, look):
    scale(deployed, 0)
    try:
        wait_ready(deployed)  # until the pod is gone: while it goes, a look may see half of it
        seen = look()
    finally:
        scale(deployed, 1)
        wait_ready(deployed)
    assert (seen.code, seen.rules) == (1, {"scaled-to-zero"}), seen
    assert "--replicas=1" in seen.of("scaled-to-zero")["remedy"]


@pytest.fixture
def account(deployed, cluster, tmp_path):
    """A kubeconfig of an account with the Role of manifests/rbac, and a function that grants it the optional rest."""
    namespace, name = deployed.namespace, f"{deployed.namespace}-doctor"
    kubeconfig = yaml.safe_load(cluster.kubeconfig.read_text())

    def granted(file):
        text = (RBAC / file).read_text().replace("goaltrajectory-ai", namespace).replace("chroma-doctor-volumes", name)
        cluster.run_kubectl("apply", "-f", "-", stdin=text)

    def token(account):
        made = cluster.run_kubectl("create", "token", account, f"--namespace={namespace}").stdout.strip()
        path = tmp_path / account
        path.write_text(yaml.safe_dump(kubeconfig | {"users": [{**kubeconfig["users"][0], "user": {"token": made}}]}))
        return path

    granted("doctor-role.yaml")
    yield token, lambda: granted("doctor-volumes.yaml")
    for kind in ("clusterrolebinding", "clusterrole"):
        cluster.run_kubectl("delete", kind, name, "--ignore-not-found")


def test_it_needs_the_rights_of_its_role_and_says_what_it_lacks(account, deployed, look):
    wait_ready(deployed)
    token, grant_volumes = account
    nobody = look(token("default"))
    assert (nobody.code, nobody.told) == (4, {})
    assert "list pods" in nobody.errors
    assert "doctor-role.yaml" in nobody.errors
    kubeconfig = token("chroma-doctor")
    seen = look(kubeconfig)
    assert (seen.code, seen.told["condition"], seen.told["found"]) == (3, "unknown", []), seen
    lacking = [gap["right"] for gap in seen.told["not_looked_at"] if not gap["harmless"]]
    assert lacking == ["get nodes/proxy"], seen
    grant_volumes()
    seen = look(kubeconfig)
    assert (seen.code, seen.told["found"]) == (0, []), seen


def test_where_there_is_no_chroma(cluster, namespace):
    seen = doctor(namespace, cluster.kubeconfig)
    assert (seen.code, seen.told["condition"], seen.told["servers"]) == (3, "unknown", [])
    missing = doctor("no-such-namespace", cluster.kubeconfig)
    assert (missing.code, missing.told) == (2, {})
    assert "there is no namespace no-such-namespace" in missing.errors


def test_a_server_that_was_killed_for_memory_is_named(deployed, look):
    """Last on this deployment: the kubelet remembers it as long as the pod lives."""
    fault = OutOfMemory("out-of-memory")
    if why_not := fault.available(deployed):
        pytest.skip(why_not)
    wait_ready(deployed)
    for _ in range(TRIES):
        injected = fault.inject(deployed)
        try:
            fault.prove(deployed, injected)
            fault.prove_undone(deployed, injected)
        except WaitTimeoutError as error:
            raise UndecidedError(f"the server was not killed for memory: {error.message}") from error
        if the_server(deployed).reason == "OOMKilled":
            break
    else:
        raise UndecidedError(f"the server was killed for memory {TRIES} times, and the runtime never said so")
    seen = look()
    assert (seen.code, seen.rules) == (1, {"oom-killed"}), seen
    found = seen.of("oom-killed")
    assert found["issue"] == "out of memory"
    assert "limit 1Gi" in found["message"]
    assert "130 MiB + vectors x dimensions x 8 bytes" in found["remedy"]
