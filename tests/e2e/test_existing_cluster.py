"""A run in a cluster that is not ours, as somebody's CI would start it: with the rights of our role files, and no more.

The run's own kind cluster is the other's here. Nested runs get a service account's kubeconfig, a cache of their own and
no Docker. They must come to the right verdict, say why the rest did not run, leave nothing, and touch nobody else's;
and what a killed one leaves goes with `chroma-qualify clean`.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from chroma_qualify.cluster.model import RUN_LABEL
from chroma_qualify.cluster.wait import poll_for
from chroma_qualify.deployment.apply import create_namespace, delete_namespace

pytestmark = [pytest.mark.beside, pytest.mark.own_cluster("it is itself about runs in one")]

ROLES = Path("manifests") / "rbac"
CONTEXT = "somebody's"
PATIENCE = 900.0  # s for a nested run; it takes 30, and 120 on 2 cores that many others use
NAMESPACED = "all,configmaps,secrets,pvc,networkpolicies,hpa,pdb,serviceaccounts,endpointslices,roles,rolebindings"
OUTSIDE = (
    "namespaces,persistentvolumes,clusterroles,clusterrolebindings,storageclasses,priorityclasses,"
    "customresourcedefinitions,validatingwebhookconfigurations,mutatingwebhookconfigurations"
)
# A neighbour, with something of each kind that a run makes.
NEIGHBOUR = """
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: theirs}, data: {a: b}}
  - {apiVersion: v1, kind: Secret, metadata: {name: theirs}, stringData: {a: b}}
  - apiVersion: v1
    kind: Service
    metadata: {name: chromadb-service}
    spec: {selector: {app: chromadb}, ports: [{port: 8000}]}
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: chromadb}
    spec:
      replicas: 0
      selector: {matchLabels: {app: chromadb}}
      template:
        metadata: {labels: {app: chromadb}}
        spec: {containers: [{name: chromadb, image: chromadb/chroma}]}
"""


class Place:
    """A cluster with a neighbour, a namespace to lend, and accounts for guests."""

    def __init__(self, cluster, run, root, tmp, spaces):
        self.cluster, self.root, self.tmp = cluster, root, tmp
        self.lent, self.neighbour, self.account = spaces
        self.reports = run.directory / "nested"
        self.programs = tmp / "bin"
        self.programs.mkdir()
        (self.programs / "kubectl").symlink_to(cluster.kubectl.resolve())
        cluster.run_kubectl("apply", "-n", self.neighbour, "-f", "-", stdin=NEIGHBOUR)
        # What the cluster adds by itself is there before anybody compares.
        for space in (self.neighbour, self.lent):
            for made in ("configmap/kube-root-ca.crt", "serviceaccount/default"):
                cluster.run_kubectl("wait", "--for=create", made, "-n", space, "--timeout=300s", timeout=330)
        cluster.run_kubectl(
            "rollout", "status", "deployment/chromadb", "-n", self.neighbour, "--timeout=300s", timeout=330
        )

    def environment(self):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CHROMA_QUALIFY", "DOCKER"))}
        # No docker on PATH: a guest has none, and `clean` must find none of ours.
        return {**kept, "XDG_CACHE_HOME": str(self.tmp / "cache"), "PATH": str(self.programs), "PYTHONUNBUFFERED": "1"}

    def kubeconfig(self, role_file, namespace):
        """Give an account the rights of a role file; a kubeconfig in which it is the only user."""
        text = (self.root / ROLES / role_file).read_text()
        theirs = [yaml_in(item, namespace) for item in yaml.safe_load_all(text)]
        self.cluster.run_kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(theirs))
        token = self.cluster.run_kubectl("create", "token", "chroma-qualify", "-n", namespace).stdout.strip()
        document = yaml.safe_load(self.cluster.kubeconfig.read_text())
        context = {"cluster": document["clusters"][0]["name"], "user": CONTEXT}
        document |= {"users": [{"name": CONTEXT, "user": {"token": token}}],
                     "contexts": [{"name": CONTEXT, "context": context}], "current-context": ""}  # fmt: skip
        path = self.tmp / f"{namespace}.kubeconfig"
        path.write_text(yaml.safe_dump(document))
        return path

    def command(self, name, kubeconfig, chosen, *options):
        return [sys.executable, "-m", "chroma_qualify.plugin", "-p", "no:cacheprovider", "-o", "addopts=",
                "tests/e2e", "-k", chosen, "--run-dir", str(self.reports / name), "--cluster", CONTEXT,
                "--kubeconfig", str(kubeconfig), *options]  # fmt: skip

    def run(self, *command, timeout=PATIENCE):
        done = subprocess.run(command, cwd=self.root, env=self.environment(), stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout, check=False)  # fmt: skip
        self.keep(done.stdout + done.stderr)
        return done

    def keep(self, said):
        """For the run directory, where evidence is looked for."""
        self.reports.mkdir(exist_ok=True)
        with (self.reports / "said.txt").open("a") as file:
            file.write(said)

    def seen(self):
        """What nobody else changes meanwhile: the neighbour's objects as they are, and which the lent namespace has."""
        get = self.cluster.get_json
        neighbour = {json.dumps(asked_for(item), sort_keys=True)
                     for item in get("all,configmaps,secrets", "-n", self.neighbour)["items"]}  # fmt: skip
        lent = {(item["kind"], item["metadata"]["name"], item["metadata"]["uid"])
                for item in get(NAMESPACED, "-n", self.lent)["items"]}  # fmt: skip
        return neighbour, lent

    def may(self, namespace, *words):
        """Whether the account of a namespace may do something."""
        account = f"--as=system:serviceaccount:{namespace}:chroma-qualify"
        return self.cluster.run_kubectl("auth", "can-i", *words, account, check=False).stdout.strip() == "yes"

    def left(self, run_id):
        """What a nested run has left: objects in no namespace with its label, and volumes of its claims."""
        marked = [f"{item['kind']} {item['metadata']['name']}"
                  for item in self.cluster.get_json(OUTSIDE, "-l", f"{RUN_LABEL}={run_id}")["items"]]  # fmt: skip
        spaces = {self.lent, *(name.partition(" ")[2] for name in marked)}
        return marked + [
            f"volume {item['metadata']['name']}"
            for item in self.cluster.get_json("persistentvolumes")["items"]
            if (item["spec"].get("claimRef") or {}).get("namespace") in spaces
        ]


def asked_for(item):
    """An object without what the cluster's controllers write into it; with its uid, for who makes it anew."""
    left_out = {"resourceVersion", "managedFields"}
    metadata = {name: value for name, value in item["metadata"].items() if name not in left_out}
    return {**{name: value for name, value in item.items() if name != "status"}, "metadata": metadata}


def yaml_in(item, namespace):
    """An object of a role file in another namespace, and its account, too."""
    metadata = dict(item["metadata"])
    if "namespace" in metadata:
        metadata["namespace"] = namespace
    subjects = [{**subject, "namespace": namespace} for subject in item.get("subjects") or ()]
    return {**item, "metadata": metadata, **({"subjects": subjects} if subjects else {})}


@pytest.fixture(scope="module")
def place(cluster, run, request, tmp_path_factory):
    if run.options.manifests:
        pytest.skip("it tries manifests of its own, not the candidate")
    spaces = [f"cq-existing-{what}-{run.id[-6:]}" for what in ("lent", "neighbour", "account")]
    try:
        for space in spaces:
            create_namespace(cluster, space, {"app.kubernetes.io/managed-by": "chroma-qualify"})
        yield Place(cluster, run, request.config.rootpath, tmp_path_factory.mktemp("guest"), spaces)
    finally:
        names = ["clusterrole/chroma-qualify-run", "clusterrole/chroma-qualify-namespaces",
                 "clusterrolebinding/chroma-qualify-namespaces"]  # fmt: skip
        cluster.run_kubectl("delete", *names, "--ignore-not-found")
        for space in spaces:
            delete_namespace(cluster, space)


def test_a_lent_namespace_and_its_role_are_enough(place, report):
    """Two scenarios one after the other in it, three that say why they cannot be there; afterwards it is as it was."""
    kubeconfig = place.kubeconfig("run-role.yaml", place.lent)
    before = place.seen()
    assert place.may(place.lent, "create", "deployments", "-n", place.lent)
    for words in (("create", "namespaces"), ("get", "secrets", "-n", place.neighbour), ("list", "nodes")):
        assert not place.may(place.lent, *words), f"the account may {' '.join(words)}, so nothing is tried here"
    chosen = "running_pod or truth_table or commands_as_printed or (test_fault and (pod-delete or process-kill))"
    done = place.run(*place.command("lent", kubeconfig, chosen, "--namespace", place.lent, "--yes"))
    verdict = read_verdict(place, "lent", done)
    assert done.returncode == 0, done.stdout[-3000:]
    outcomes = {scenario["name"]: scenario for scenario in verdict["scenarios"]}
    assert verdict["verdict"] == "pass"
    for name in ("pod_security::running_pod", "faults::fault[pod-delete]"):
        assert outcomes[name]["outcome"] == "pass", outcomes[name]
    for name, why in {
        "faults::fault[process-kill]": "the nodes of an existing cluster cannot be entered",
        "network_policy::truth_table": "it needs namespaces of its own",
        "seed_commands::commands_as_printed": "it needs a cluster of our own",
    }.items():
        assert outcomes[name]["outcome"] == "not-run"
        assert why in outcomes[name]["reason"]
    assert place.seen() == before
    # The volume goes some time after its claim.
    poll_for("what the run left to be gone", lambda: place.left(verdict["run_id"]), lambda left: not left, 120)
    assert not list((place.tmp / "cache" / "chroma-qualify").glob("guests/*"))
    report.measure("nested run in a lent namespace", verdict["seconds"], "s")


def test_namespaces_of_its_own_and_nothing_left_by_a_killed_one(place, report):
    """With the small cluster role: who reaches Chroma, and then `kill -9` while a namespace is in use."""
    kubeconfig = place.kubeconfig("run-cluster.yaml", place.account)
    before = place.seen()
    command = place.command("killed", kubeconfig, "truth_table or scale_out_and_back", "--yes",
                            "--loader-image", place.cluster.loader)  # fmt: skip
    said = killed_when(place, command, "cq-scale-out-and-back-")
    assert "network_policy::truth_table: pass" in said, said[-3000:]
    (lease,) = (place.tmp / "cache" / "chroma-qualify").glob("guests/*/lease.json")
    run_id = json.loads(lease.read_text())["run"]
    assert place.left(run_id), "a killed run leaves its namespace, or nothing is tried here"

    cleaned = place.run(Path(sys.executable).with_name("chroma-qualify"), "clean")
    assert cleaned.returncode == 0, cleaned.stdout + cleaned.stderr
    assert f"in {CONTEXT}" in cleaned.stdout
    assert not lease.parent.exists()
    poll_for("what the killed run left to be gone", lambda: place.left(run_id), lambda left: not left, 120)
    assert place.seen() == before


def read_verdict(place, name, done):
    try:
        return json.loads((place.reports / name / "verdict.json").read_text())
    except OSError:
        raise AssertionError(f"the nested run left no verdict:\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}") from None


def killed_when(place, command, word):
    """Start a run, kill it without warning when it says that something with this word is ready; what it said."""
    process = subprocess.Popen(command, cwd=place.root, env=place.environment(), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
    over = threading.Timer(PATIENCE, process.kill)
    over.start()
    said = []
    try:
        for line in process.stdout:
            said.append(line)
            if word in line and "ready after" in line:
                process.send_signal(signal.SIGKILL)
                break
    finally:
        over.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    text = "".join(said)
    place.keep(text)
    assert process.returncode == -signal.SIGKILL, text[-3000:]
    return text
