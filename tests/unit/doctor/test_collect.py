"""The whole command against an API server of ours: what it asks, what it may not see, what it prints and exits with."""

import http.server
import json
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
from doctor_builders import NAMESPACE, healthy, pod
from typer.testing import CliRunner

from chroma_qualify import cli
from chroma_qualify.doctor.collect import _KINDS
from chroma_qualify.errors import InfraError, UsageError

USAGE = {"containers": [{"name": "chromadb", "usage": {"memory": "204800Ki"}}], "metadata": {"name": "chromadb-1"}}
SUMMARY = {
    "pods": [
        {
            "podRef": {"name": "chromadb-1", "namespace": NAMESPACE},
            "containers": [{"name": "chromadb", "memory": {"workingSetBytes": 200 * 2**20}}],
            "volume": [
                {"name": "tmp", "capacityBytes": 5, "availableBytes": 0},
                {
                    "pvcRef": {"name": "chromadb-pvc", "namespace": NAMESPACE},
                    "time": "2026-11-25T11:59:00Z",
                    "capacityBytes": 10 * 2**30,
                    "availableBytes": 9 * 2**30,
                    "usedBytes": 2**30,
                    "inodes": 100,
                    "inodesFree": 90,
                },
            ],
        },
        {"podRef": {"name": "chromadb-1", "namespace": "other"}, "volume": [{"capacityBytes": 1}]},
    ]
}


class FakeApi(http.server.ThreadingHTTPServer):
    """`answers`: by path, what is answered, or a status; what is in neither is 404. `asked`: paths and queries."""

    daemon_threads = True

    def __init__(self):
        self.answers, self.asked = {f"/api/v1/namespaces/{NAMESPACE}": {}}, []
        for resource, group, _, _ in _KINDS:
            self.answers[f"/{group}/namespaces/{NAMESPACE}/{resource}"] = []
        for item in healthy().values():
            self.list_of(item["kind"]).append({key: value for key, value in item.items() if key != "kind"})
        self.answers["/apis/metrics.k8s.io/v1beta1/namespaces/vectors/pods"] = [USAGE]
        self.answers["/api/v1/nodes/node-1/proxy/stats/summary"] = SUMMARY
        self.answers[f"/api/v1/namespaces/{NAMESPACE}/pods/chromadb-1/log"] = (
            "2026-11-25T11:00:00Z Saving data to: /data"
        )
        super().__init__(("127.0.0.1", 0), Handler)

    def path(self, kind):
        return next(f"/{group}/namespaces/{NAMESPACE}/{name}" for name, group, known, _ in _KINDS if known == kind)

    def list_of(self, kind):
        return self.answers[self.path(kind)]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        self.server.asked.append((url.path, parse_qs(url.query)))
        answer = self.server.answers.get(url.path, 404)
        if self.headers["Authorization"] != "Bearer T":
            answer = 401
        body = (
            answer if isinstance(answer, str) else json.dumps({"items": answer} if isinstance(answer, list) else answer)
        )
        self.send_response(answer if isinstance(answer, int) else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def api():
    with FakeApi() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def kubeconfig(api, tmp_path):
    return write_kubeconfig(tmp_path, api.server_port)


def write_kubeconfig(tmp_path, port, token="T"):
    path = tmp_path / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
    }
    path.write_text(json.dumps(config))
    return path


def run(kubeconfig, *more, namespace=NAMESPACE):
    """Exit code and output; an error that `main` turns into a sentence is raised."""
    words = ["doctor", "--namespace", namespace, "--kubeconfig", str(kubeconfig), *more]
    done = CliRunner().invoke(cli.app, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_healthy(api, kubeconfig):
    code, said = run(kubeconfig)
    assert code == 0
    assert said == "Deployment/chromadb in namespace vectors: 1 of 1 ready\n\nhealthy: nothing was found\n"
    assert not any("secrets" in path or "exec" in path for path, _ in api.asked)


def test_as_the_documentation_says_it(api, kubeconfig):
    command = "chroma-qualify doctor -n chroma --context staging --format json"
    kubeconfig.write_text(kubeconfig.read_text().replace('"name": "c", "context"', '"name": "staging", "context"'))
    words = command.replace("chroma ", f"{NAMESPACE} ").split()[1:]
    done = CliRunner().invoke(cli.app, [*words, "--kubeconfig", str(kubeconfig)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["namespace"] == NAMESPACE


def test_the_log_is_asked_for_with_its_times(api, kubeconfig):
    run(kubeconfig)
    asked = [query for path, query in api.asked if path.endswith("/log")]
    assert [query["previous"] for query in asked] == [["false"], ["true"]]
    assert all(query["timestamps"] == ["true"] and query["container"] == ["chromadb"] for query in asked)


def test_a_finding_as_text_and_as_json(api, kubeconfig):
    api.list_of("Service")[0]["spec"]["selector"] = {"app": "chroma"}
    code, said = run(kubeconfig)
    assert code == 1
    assert "\nconnection refused: unreachable  (Service/chromadb-service)\n  Service chromadb-service leads" in said
    assert "\n  remedy: Make spec.selector of Service chromadb-service match" in said
    assert said.endswith("found: 1 thing to mend; more on each in docs/how-to/troubleshooting.md\n")
    code, said = run(kubeconfig, "--format", "json")
    told = json.loads(said)
    assert (code, told["condition"], told["namespace"]) == (1, "found", NAMESPACE)
    assert told["found"][0]["issue"] == "connection refused"
    assert told["servers"] == [{"workload": "Deployment/chromadb", "ready": 1, "wanted": 1}]


def test_what_is_forbidden_is_said_and_the_rest_is_judged(api, kubeconfig):
    for path in (api.path("NetworkPolicy"), "/api/v1/nodes/node-1/proxy/stats/summary"):
        api.answers[path] = 403
    code, said = run(kubeconfig)
    assert code == 3
    assert (
        "listing networkpolicies is forbidden; it takes the right to list networkpolicies (see manifests/rbac)" in said
    )
    assert (
        "how full the volumes are: the kubelet's figures of node node-1 are forbidden; it takes the right to get"
        in said
    )
    assert said.endswith("unknown: nothing was found, and not everything could be looked at\n")
    api.list_of("Service")[0]["spec"]["selector"] = {"app": "chroma"}
    code, said = run(kubeconfig)
    assert code == 1
    assert "unreachable" in said
    assert "not looked at: why connections fail" in said


def test_claims_that_may_not_be_seen_are_not_called_missing(api, kubeconfig):
    api.answers[api.path("PersistentVolumeClaim")] = 403
    code, said = run(kubeconfig)
    assert (code, "pvc-missing" in said) == (3, False)


def test_without_the_right_to_see_pods_nothing_can_be_said(api, kubeconfig):
    for kind in ("Pod", "Deployment"):
        api.answers[api.path(kind)] = 403
    api.answers[f"/api/v1/namespaces/{NAMESPACE}"] = 403
    with pytest.raises(InfraError, match="lacks the right to list pods, list deployments") as raised:
        run(kubeconfig)
    assert "manifests/rbac/doctor-role.yaml" in raised.value.remedy


def test_no_metrics_server_no_figures_no_monitoring(api, kubeconfig):
    """A cluster without them is no less healthy; the kubelet knows the memory as well."""
    for path in list(api.answers):
        if "metrics.k8s.io" in path or "monitoring" in path:
            del api.answers[path]
    assert run(kubeconfig)[0] == 0
    del api.answers["/api/v1/nodes/node-1/proxy/stats/summary"]
    code, said = run(kubeconfig)
    assert code == 0
    assert "not looked at: how much memory Chroma takes: the cluster has no metrics server" in said
    assert "not looked at: how full the volumes are: node node-1 gives no figures" in said


def test_a_volume_that_the_kubelet_does_not_measure(api, kubeconfig):
    api.answers["/api/v1/nodes/node-1/proxy/stats/summary"] = {"pods": []}
    code, said = run(kubeconfig)
    assert code == 0
    assert "how full the volume of claim chromadb-pvc is: the kubelet has no figures of it" in said


def test_the_figures_are_read(api, kubeconfig):
    volume = api.answers["/api/v1/nodes/node-1/proxy/stats/summary"]["pods"][0]["volume"][1]
    full = SUMMARY["pods"][0] | {"volume": [volume | {"availableBytes": 0}]}
    api.answers["/api/v1/nodes/node-1/proxy/stats/summary"] = {"pods": [full]}
    api.answers["/apis/metrics.k8s.io/v1beta1/namespaces/vectors/pods"] = [
        USAGE | {"containers": [{"name": "chromadb", "usage": {"memory": "1000Mi"}}]}
    ]
    _, said = run(kubeconfig, "--format", "json")
    assert [item["rule"] for item in json.loads(said)["found"]] == ["volume-full", "memory-near-limit"]


def test_no_chroma_here(api, kubeconfig):
    api.list_of("Deployment").clear()
    api.list_of("Pod").clear()
    code, said = run(kubeconfig)
    assert code == 3
    assert said.startswith("namespace vectors: no Chroma here: ")


def test_wrong_requests(api, kubeconfig, tmp_path):
    with pytest.raises(UsageError, match="there is no namespace nowhere"):
        run(kubeconfig, namespace="nowhere")
    with pytest.raises(UsageError, match=r"'\.\./x' is no name of a namespace"):
        run(kubeconfig, namespace="../x")
    with pytest.raises(UsageError, match="there is no kubeconfig"):
        run(tmp_path / "none")
    with pytest.raises(UsageError, match=r"the kubeconfig cannot be used: .*other"):
        run(kubeconfig, "--context", "other")
    broken = tmp_path / "broken"
    for text in ("a: [", "words", ""):
        broken.write_text(text)
        with pytest.raises(UsageError, match="the kubeconfig cannot be used"):
            run(broken)
    assert run(kubeconfig, "--format", "xml")[0] == 2


def test_a_cluster_that_cannot_be_looked_at(api, tmp_path):
    with pytest.raises(InfraError, match="the cluster refuses these credentials"):
        run(write_kubeconfig(tmp_path, api.server_port, token="old"))
    api.answers[api.path("Pod")] = 500
    with pytest.raises(InfraError, match="the API server failed: 500"):
        run(write_kubeconfig(tmp_path, api.server_port))
    with pytest.raises(InfraError, match=r"the cluster does not answer: .*refused"):
        run(write_kubeconfig(tmp_path, 1))


def test_a_log_that_is_not_there_is_no_gap(api, kubeconfig):
    stuck = pod(ready=False, state={"waiting": {"reason": "ErrImagePull", "message": "not found"}})
    api.list_of("Pod")[:] = [stuck]
    api.answers[f"/api/v1/namespaces/{NAMESPACE}/pods/chromadb-1/log"] = 400
    code, said = run(kubeconfig, "--format", "json")
    assert (code, json.loads(said)["not_looked_at"]) == (1, [])
