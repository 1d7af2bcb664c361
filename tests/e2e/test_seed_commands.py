"""Every command of the seed's sections Deploy, Verify and Debug works as printed, and prints what a reader expects.

The commands are the seed's, word for word, run by a shell with kubectl on PATH and the cluster as its context; only the
directory is ours (manifests/base for k8s/chromadb/) and the local port of the port-forward where 8000 is taken. This is
the one scenario that uses the namespace of the seed itself.
"""

import contextlib
import dataclasses
import os
import re
import selectors
import shlex
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import kubernetes.client
import pytest

from chroma_qualify.cluster.wait import WaitTimeoutError, wait_for
from chroma_qualify.deployment.apply import create_namespace, delete_namespace
from chroma_qualify.errors import CandidateError, InfraError
from chroma_qualify.load.inside import describe, is_ready, namespace_exists

pytestmark = pytest.mark.own_cluster("it uses the very namespace that the documentation names")

NAMESPACE = "goaltrajectory-ai"
BASE = "manifests/base"
DEPLOY = ("kubectl apply -f k8s/chromadb/", "kubectl apply -k k8s/chromadb/")
VERIFY = {
    "kubectl get pods -n goaltrajectory-ai -l app=chromadb": r"(?m)^chromadb-\S+\s+1/1\s+Running\s+0\s",
    "kubectl get svc -n goaltrajectory-ai chromadb-service": r"(?m)^chromadb-service\s+ClusterIP\s.*\s8000/TCP\s",
    "kubectl get pvc -n goaltrajectory-ai chromadb-pvc": r"(?m)^chromadb-pvc\s+Bound\s+\S+\s+10Gi\s+RWO\s+standard\s",
    "kubectl logs -n goaltrajectory-ai -l app=chromadb": r"\S",
}
DESCRIBE = "kubectl describe pod -n goaltrajectory-ai -l app=chromadb"
TOP = "kubectl top pod -n goaltrajectory-ai -l app=chromadb"
FORWARD = "kubectl port-forward -n goaltrajectory-ai svc/chromadb-service 8000:8000"
TOP_NUMBERS = r"(?m)^chromadb-\S+\s+\d+m\s+\d+Mi\s*$"
READY_WITHIN = 300.0  # s
METRICS_WITHIN = 240.0  # s; every 15 s, two samples for a CPU figure, a new pod 15 to 30 s
ANSWERS_WITHIN = 60.0  # s


@pytest.fixture
def seed_namespace(cluster, observer, run, request):
    """The prerequisite of the seed: its namespace exists. It enforces `restricted`, as ours do."""
    if run.options.manifests:
        pytest.skip("the seed's commands are about manifests/base, not about another candidate")
    if namespace_exists(cluster, NAMESPACE):
        raise InfraError(f"namespace {NAMESPACE} exists already", remedy="delete it, or use a fresh cluster")
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "app.kubernetes.io/managed-by": "chroma-qualify"}
    create_namespace(cluster, NAMESPACE, labels)
    observer.follow(NAMESPACE)
    yield
    if run.failed(request.node.nodeid):
        observer.collect(NAMESPACE)
    delete_namespace(cluster, NAMESPACE, wait=False)


@dataclasses.dataclass(frozen=True)
class Terminal:
    """A user's terminal at the root of the repository: kubectl on PATH, the cluster as its only context."""

    root: Path
    environment: Mapping[str, str]

    def start(self, command):
        """Start a command as printed, with our directory; its output and errors as one stream."""
        words = shlex.split(command.replace("k8s/chromadb/", f"{BASE}/"))
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(words, cwd=self.root, env=dict(self.environment), text=True, **streams)

    def run(self, command, timeout=120):
        """Run a command to its end; what it printed. A non-zero exit is the candidate's failure."""
        process = self.start(command)
        try:
            said, _ = process.communicate(timeout=timeout)
        finally:
            end(process)
        if process.returncode != 0:
            raise CandidateError("seed-command", f"`{command}` exits {process.returncode}", evidence=said[-1000:])
        return said


@pytest.fixture
def terminal(cluster, request, tmp_path):
    (tmp_path / "kubectl").symlink_to(Path(cluster.kubectl).resolve())
    path = f"{tmp_path}:{os.environ['PATH']}"
    return Terminal(request.config.rootpath, {**os.environ, "PATH": path, "KUBECONFIG": str(cluster.kubeconfig)})


@pytest.mark.usefixtures("seed_namespace")
def test_commands_as_printed(cluster, terminal, report):
    begin = time.monotonic()
    for command in DEPLOY:
        said = terminal.run(command)
        for kind in ("deployment.apps/chromadb", "service/chromadb-service", "persistentvolumeclaim/chromadb-pvc"):
            assert re.search(rf"{re.escape(kind)} (created|configured|unchanged)", said), f"{command} printed: {said}"
    wait_until_ready(cluster)
    report.measure("ready after apply", time.monotonic() - begin, "s")
    for command, expected in VERIFY.items():
        said = terminal.run(command)
        assert re.search(expected, said), f"{command} printed: {said[:600]!r}"

    said = terminal.run(DESCRIBE)
    for expected in (
        r"(?m)^Status:\s+Running$",
        r"Ready\s+True",
        r"Liveness:\s+http-get\S* http://:\S+/api/v2/heartbeat",
    ):
        assert re.search(expected, said), f"{DESCRIBE} has no {expected}: {said[-1500:]!r}"

    answer = answer_through_port_forward(terminal)
    assert "heartbeat" in answer, f"/api/v2/heartbeat through the port-forward says {answer!r}"

    seconds = wait_for_metrics(cluster)
    report.measure("metrics after", seconds, "s")
    said = terminal.run(TOP)
    assert re.search(TOP_NUMBERS, said), f"{TOP} printed: {said!r}"


def wait_until_ready(cluster):
    try:
        with cluster.api_client() as api:
            wait_for(
                "the pod of the seed's deployment to be ready",
                kubernetes.client.CoreV1Api(api).list_namespaced_pod,
                lambda pods: any(map(is_ready, pods.values())),
                timeout=READY_WITHIN,
                describe=describe,
                namespace=NAMESPACE,
                label_selector="app=chromadb",
            )
    except WaitTimeoutError as error:
        raise CandidateError("never-ready", error.message) from error


def wait_for_metrics(cluster):
    """Until the metrics API knows the pod, which no watch tells of: it cannot be watched. Asked at its own pace."""
    begin = time.monotonic()
    path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/pods?labelSelector=app%3Dchromadb"
    while time.monotonic() - begin < METRICS_WITHIN:
        done = cluster.run_kubectl("get", "--raw", path, check=False)
        if '"containers":[{' in done.stdout:
            return time.monotonic() - begin
        time.sleep(1)
    raise InfraError(
        f"metrics-server has no figures for the pod after {METRICS_WITHIN:.0f} s: {done.stderr or done.stdout}"
    )


def answer_through_port_forward(terminal):
    """Run the port-forward, ask it once, end it by its own process id; what it answered."""
    port = 8000 if is_free(8000) else free_port()
    process = terminal.start(FORWARD.replace("8000:8000", f"{port}:8000"))
    try:
        line = ""  # "Forwarding from …" once it listens; empty if it ended
        with selectors.DefaultSelector() as said:
            said.register(process.stdout, selectors.EVENT_READ)
            if not said.select(ANSWERS_WITHIN):
                raise CandidateError("seed-command", f"`{FORWARD}` says nothing within {ANSWERS_WITHIN:.0f} s")
            line = process.stdout.readline()
        if "Forwarding from" not in line:
            raise CandidateError("seed-command", f"`{FORWARD}` does not forward: {line.strip() or 'it ended'}")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/heartbeat", timeout=ANSWERS_WITHIN) as answer:
            return answer.read().decode()
    except OSError as error:
        raise CandidateError("seed-command", f"`{FORWARD}` listens but does not answer: {error}") from error
    finally:
        end(process)


def end(process):
    """End a process of ours, by its own id, whatever state it is in."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    if process.poll() is None:
        process.kill()
        process.wait()
    process.stdout.close()


def is_free(port):
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port():
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return tried.getsockname()[1]
