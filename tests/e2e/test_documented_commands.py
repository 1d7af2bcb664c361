"""The blocks of the documentation that are marked `<!-- on a cluster -->`, run as printed, page by page.

They are run by a shell at the root of a copy of the manifests, with kubectl and chroma-qualify on PATH and the cluster
as its context. Only the namespace is ours (in the copy, too), what containers ask the scheduler for, and a StorageClass
that lets volumes grow. A page whose marked blocks are not run here fails; tests/unit/docs looks after other commands.
"""

import base64
import contextlib
import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import documented
import pytest
import trustme
import yaml

from chroma_qualify.deployment.access import Credentials
from chroma_qualify.deployment.apply import delete_namespace
from chroma_qualify.deployment.forward import open_forward
from chroma_qualify.errors import CandidateError
from chroma_qualify.plugin.namespaces import fresh_namespace
from chroma_qualify.workload.client import connect

pytestmark = [pytest.mark.beside, pytest.mark.own_cluster("it makes a StorageClass, which is in no namespace")]

PRINTED = "goaltrajectory-ai"  # the namespace of the documentation
ONE_BLOCK = 600.0  # s; seconds, with a busy machine in mind
ALONE = ("manifests/README.md", "docs/how-to/environments.md")  # make their namespace themselves
OPERATED = tuple(f"docs/how-to/{name}.md" for name in ("authentication", "backup", "troubleshooting", "upgrade"))
ROOT = documented.ROOT


@dataclasses.dataclass(frozen=True)
class Terminal:
    """A reader's terminal, beside a copy of the manifests whose namespace is another one."""

    directory: Path
    namespace: str
    environment: dict

    def run(self, script):
        """Run a block; what it printed. That it does not end well is the documentation's fault, and fails."""
        words = ["bash", "-euo", "pipefail", "-c", script.replace(PRINTED, self.namespace)]
        done = subprocess.run(
            words, cwd=self.directory, env=self.environment, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=ONE_BLOCK, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise CandidateError(
                "documented-command",
                f"a documented command exits {done.returncode}: {script}",
                evidence=done.stdout[-2000:],
                remedy="correct the page, or what it is about",
            )
        return done.stdout


@pytest.fixture(scope="module")
def growing(cluster, run):
    """A StorageClass like the cluster's own that says that volumes may grow."""
    if run.options.manifests:
        pytest.skip("the documentation is about the manifests of this repository, not about another candidate")
    (own,) = [each for each in cluster.get_json("storageclass")["items"] if each["metadata"]["name"] == "standard"]
    name = f"growing-{os.getpid()}"
    meant = {key: own[key] for key in ("apiVersion", "kind", "provisioner", "reclaimPolicy", "volumeBindingMode")}
    meant |= {"metadata": {"name": name}, "allowVolumeExpansion": True}
    cluster.run_kubectl("create", "-f", "-", stdin=yaml.safe_dump(meant))
    yield name
    cluster.run_kubectl("delete", "storageclass", name)


@pytest.fixture
def terminal(cluster, growing, tmp_path):
    """`terminal(namespace)`: the copy, and a shell in it."""

    def at(namespace):
        directory = tmp_path / "copy"
        shutil.copytree(ROOT / "manifests", directory / "manifests")
        for path in (directory / "manifests").rglob("*"):
            if path.is_file():
                text = path.read_text().replace(PRINTED, namespace).replace("cpu: 250m", "cpu: 20m")
                path.write_text(text.replace("storageClassName: standard", f"storageClassName: {growing}"))
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/kubectl").symlink_to(Path(cluster.kubectl).resolve())
        path = os.pathsep.join(map(str, (tmp_path / "bin", Path(sys.executable).parent, os.environ["PATH"])))
        return Terminal(directory, namespace, {**os.environ, "PATH": path, "KUBECONFIG": str(cluster.kubeconfig)})

    return at


def marked(page):
    """The blocks of a page that are run here; a page of ours without any is a mistake."""
    found = [block for block in documented.blocks(ROOT / page) if block.on_a_cluster]
    assert found, f"{page} has no block that is marked: {documented.ON_A_CLUSTER}"
    return found


@pytest.mark.parametrize("page", ALONE, ids=("manifests", "environments"))
def test_deploying(page, terminal, cluster, observer, request, run):
    """Pages that begin with nothing: they make the namespace themselves."""
    name = f"documented-{ALONE.index(page)}-{os.getpid()}"
    shell = terminal(name)
    try:
        for block in marked(page):
            shell.run(block.content)
        observer.follow(name)
        shell.run(f"kubectl rollout status deployment/chromadb -n {PRINTED} --timeout=300s")
    finally:
        if run.failed(request.node.nodeid):
            observer.collect(name)
        delete_namespace(cluster, name)


@pytest.fixture
def operated(run, cluster, observer, terminal, request):
    """A shell beside `my-chroma/kustomization.yaml` as the pages put it together, in a namespace of ours."""
    with fresh_namespace(run, cluster, observer, request.node, "documented") as namespace:
        shell = terminal(namespace)
        told = [yaml.safe_load(block.content) for page in OPERATED for block in yaml_blocks(page)]
        (shell.directory / "my-chroma").mkdir()
        kustomization = {
            "resources": next(each["resources"] for each in told if "resources" in each),
            "components": list(dict.fromkeys(name for each in told for name in each.get("components", ()))),
            "namespace": namespace,
        }
        (shell.directory / "my-chroma/kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        yield shell


def yaml_blocks(page):
    return [block for block in documented.blocks(ROOT / page) if block.language == "yaml"]


def write_certificate(directory):
    """What the page on authentication takes for there: tls.crt, tls.key, ca.crt."""
    authority = trustme.CA()
    issued = authority.issue_cert("chromadb-service", "127.0.0.1")
    issued.private_key_pem.write_to_path(directory / "tls.key")
    (directory / "tls.crt").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(directory / "ca.crt")


class Operator:
    """Runs the marked blocks of the pages, each once, and knows at the end which were left out."""

    def __init__(self, shell, cluster):
        self._shell = shell
        self._cluster = cluster
        self._left = {page: marked(page) for page in OPERATED}

    def next_of(self, name):
        """Run the next block of a page; what it printed."""
        said = self._shell.run(self._left[f"docs/how-to/{name}.md"].pop(0).content)
        self.ready()
        return said

    def ready(self):
        """Wait until the rollout is over, where a server is asked for."""
        found = self._cluster.get_json("deployment", "chromadb", f"--namespace={self._shell.namespace}")
        if found["spec"]["replicas"]:
            self._shell.run(f"kubectl rollout status deployment/chromadb -n {PRINTED} --timeout=300s")

    def left_out(self):
        return [f"{block.page}:{block.line}" for blocks in self._left.values() for block in blocks]

    @contextlib.contextmanager
    def collection(self):
        """A client of the deployment, with the token and the authority that count now."""
        space = f"--namespace={self._shell.namespace}"
        held = self._cluster.get_json("secret", "chromadb-token", space)["data"]["token"]
        authority = (self._shell.directory / "ca.crt").read_text()
        credentials = Credentials(base64.b64decode(held).decode(), authority)
        with open_forward(self._cluster, self._shell.namespace, "chromadb-service", 8000) as way:
            client = connect(way.host, way.port, credentials=credentials)
            yield client.get_or_create_collection("documented")


def test_operating(operated, cluster, report):
    """A token and TLS, backups and the restore drill, the doctor, an upgrade and a way back, as the pages go."""
    write_certificate(operated.directory)
    operator = Operator(operated, cluster)
    operator.next_of("authentication")
    with operator.collection() as collection:
        collection.add(ids=["kept"], embeddings=[[1.0, 2.0]], documents=["is there after the restore"])
    operator.next_of("authentication")
    operator.next_of("authentication")
    assert "1 record" in operator.next_of("backup")
    operator.next_of("backup")
    with operator.collection() as collection:
        assert collection.get()["ids"] == ["kept"]

    assert "guard:" in operator.next_of("upgrade")
    operator.next_of("upgrade")
    operator.next_of("upgrade")

    said = operator.next_of("troubleshooting")
    assert "healthy" in said, said
    operator.next_of("troubleshooting")
    operator.next_of("troubleshooting")
    # The command may end with the container, and say so.
    operated.run(f"kubectl exec -n {PRINTED} deployment/chromadb -c chromadb -- sh -c 'kill 1' || true")
    restarted = "--for=jsonpath='{.status.containerStatuses[0].restartCount}'=1"
    operated.run(f"kubectl wait -n {PRINTED} pod -l app=chromadb {restarted} --timeout=300s")
    operator.ready()
    operator.next_of("troubleshooting")

    try:
        operator.next_of("upgrade")
    finally:
        forget_volumes(cluster, operated.namespace)
    assert operator.left_out() == []


def forget_volumes(cluster, namespace):
    """What the way back keeps on purpose is given back."""
    for volume in cluster.get_json("persistentvolume")["items"]:
        if (volume["spec"].get("claimRef") or {}).get("namespace") == namespace:
            patch = '{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}'
            cluster.run_kubectl("patch", "persistentvolume", volume["metadata"]["name"], "--patch", patch)
