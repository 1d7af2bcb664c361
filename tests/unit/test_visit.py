"""Before a run in a cluster that is not ours: what is asked and refused, on inner sessions and an API server of ours.

The API server answers reviews of rights; kubectl is a script. What a run does in a real cluster is for tests/e2e.
"""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from test_plugin import PLUGIN, qualify  # noqa: F401 (a fixture)

ROOT = Path(__file__).parents[2]
BODY = "def test_it():\n    pass\n"
KUBECTL = """#!/bin/sh
shift
case "$1" in
  api-resources) cat "$HERE/kinds" ;;
  api-versions) echo v1 ;;
  get) case "$2" in storageclasses) echo '{"items": []}' ;; *) cat "$HERE/there" ;; esac ;;
  version) echo '{"serverVersion": {"gitVersion": "v1.37.0"}}' ;;
esac
"""
KINDS = """pods po v1 true Pod
services svc v1 true Service
secrets v1 true Secret
configmaps cm v1 true ConfigMap
serviceaccounts sa v1 true ServiceAccount
deployments deploy apps/v1 true Deployment
cronjobs cj batch/v1 true CronJob
"""
CHROMA = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: chroma}
spec:
  selector: {matchLabels: {app: chroma}}
  template:
    metadata: {labels: {app: chroma}}
    spec: {containers: [{name: chroma, image: "chromadb/chroma:1.5.9", ports: [{containerPort: 8000}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: chroma-service}
spec: {selector: {app: chroma}, ports: [{port: 8000}]}
"""
DEFAULT = {"kind": "ServiceAccount", "metadata": {"name": "default"}}
ALL = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}


class Theirs(BaseHTTPRequestHandler):
    """Has rules, and allows by itself what the rules do not show only where told so."""

    rules: ClassVar[list[dict]] = [ALL]

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = {"allowed": False}
        if self.path.endswith("selfsubjectrulesreviews"):
            status = {"resourceRules": self.rules, "nonResourceRules": [], "incomplete": False}
        body = json.dumps({**asked, "status": status}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def theirs(tmp_path, monkeypatch, pytester):
    """Their cluster, and the candidate; `theirs(*options)` are the arguments of a run there."""

    class Own(Theirs):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Own)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kubectl = tmp_path / "bin" / "kubectl"
    kubectl.parent.mkdir()
    kubectl.write_text(KUBECTL)
    kubectl.chmod(0o755)
    (tmp_path / "kinds").write_text(KINDS)
    (tmp_path / "there").write_text(json.dumps({"items": [DEFAULT]}))
    (tmp_path / "chroma").mkdir()
    (tmp_path / "chroma" / "all.yaml").write_text(CHROMA)
    (pytester.path / "manifests").symlink_to(ROOT / "manifests")
    monkeypatch.setenv("PATH", f"{kubectl.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kubeconfig = tmp_path / "kubeconfig"
    there = {"cluster": {"server": f"http://127.0.0.1:{server.server_port}"}, "name": "c"}
    document = {
        "contexts": [{"name": "theirs", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [there],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    kubeconfig.write_text(yaml.safe_dump(document))

    def arguments(*options):
        place = ("--rootdir", str(pytester.path), "--manifests", str(tmp_path / "chroma"))
        return ("--cluster", "theirs", "--kubeconfig", str(kubeconfig), *place, *options)

    arguments.api, arguments.place = Own, tmp_path
    yield arguments
    server.shutdown()
    server.server_close()


def left(place):
    return list((place / "cache" / "chroma-qualify").glob("guests/*"))


def test_it_says_where_it_goes_and_wants_a_yes(qualify, theirs):  # noqa: F811
    result, written = qualify(BODY, *theirs())
    assert result.ret == 2
    said = result.stdout.str() + result.stderr.str()
    assert "the context theirs, http://127.0.0.1:" in said
    assert "Deployment, Service" in said
    assert "give --yes to confirm it" in said
    assert written is None
    assert left(theirs.place) == []


def test_with_yes_it_runs_and_leaves_no_lease(qualify, theirs):  # noqa: F811
    result, written = qualify(BODY, *theirs("--yes"))
    assert written is not None, result.stdout.str()
    assert left(theirs.place) == []


@pytest.mark.parametrize("lent", [(), ("--namespace", "theirs")])
def test_missing_rights_are_named_before_anything_is_made(qualify, theirs, lent):  # noqa: F811
    theirs.api.rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    result, written = qualify(BODY, *theirs("--yes", *lent))
    assert (result.ret, written) == (2, None)
    said = result.stdout.str() + result.stderr.str()
    assert "this account lacks rights that a run needs" in said
    assert ("run-role.yaml" if lent else "run-cluster.yaml") in said
    assert ("list pods" if lent else "create namespaces") in said
    assert left(theirs.place) == []


def test_rights_on_kinds_of_the_candidate_alone_are_asked_for_too(qualify, theirs):  # noqa: F811
    cron = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"}, "spec": {}}
    (theirs.place / "chroma" / "cron.yaml").write_text(yaml.safe_dump(cron))
    theirs.api.rules = [{"apiGroups": ["", "apps"], "resources": ["*"], "verbs": ["*"]}]
    result, _ = qualify(BODY, *theirs("--yes", "--namespace", "theirs"))
    assert result.ret == 2
    assert "in theirs: get cronjobs.batch" in result.stdout.str() + result.stderr.str()


def test_a_lent_namespace_must_be_empty_of_what_is_not_everywhere(qualify, theirs):  # noqa: F811
    usual = [
        {"kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}},
        DEFAULT,
        {"kind": "Secret", "type": "kubernetes.io/dockerconfigjson", "metadata": {"name": "pull"}},
    ]
    there = theirs.place / "there"
    there.write_text(json.dumps({"items": usual}))
    result, written = qualify(BODY, *theirs("--yes", "--namespace", "theirs"))
    assert written is not None, result.stdout.str()
    there.write_text(json.dumps({"items": [*usual, {"kind": "Service", "metadata": {"name": "shop"}}]}))
    result, _ = qualify(BODY, *theirs("--yes", "--namespace", "theirs"))
    assert result.ret == 2
    assert "the namespace theirs is not empty, there is: Service shop" in result.stdout.str() + result.stderr.str()


def test_a_lent_namespace_must_be_there(qualify, theirs):  # noqa: F811
    (theirs.place / "there").write_text('{"items": []}')
    result, _ = qualify(BODY, *theirs("--yes", "--namespace", "theirs"))
    assert result.ret == 2
    assert "there is no namespace theirs; make it" in result.stdout.str() + result.stderr.str()


def test_an_api_server_that_does_not_answer(qualify, theirs):  # noqa: F811
    (theirs.place / "kinds").unlink()
    result, _ = qualify(BODY, *theirs("--yes"))
    assert result.ret == 4
    assert "the API server of context theirs (http://127.0.0.1:" in result.stdout.str() + result.stderr.str()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--nodes", "2"), "--nodes cannot be used with --cluster theirs"),
        (("--cluster-name", "cq-x"), "--cluster-name cannot be used with --cluster theirs"),
        (("--keep-cluster",), "--keep-cluster cannot be used with --cluster theirs"),
        (("--k8s-version", "1.37"), "--k8s-version cannot be used with --cluster theirs"),
        (("--cluster", "other"), "has no context other"),
        (("--cluster", "kind"), "--kubeconfig cannot be used"),
    ],
)
def test_what_cannot_go_together_is_refused(qualify, theirs, options, sentence):  # noqa: F811
    result, _ = qualify(BODY, *theirs("--yes", *options))
    assert result.ret == 2
    assert sentence in result.stdout.str() + result.stderr.str()


def test_a_lent_namespace_needs_a_cluster(qualify):  # noqa: F811
    result, _ = qualify(BODY, "--namespace", "theirs")
    assert result.ret == 2
    assert "--namespace is for a cluster that is not ours" in result.stdout.str() + result.stderr.str()


def test_scenarios_that_cannot_be_there_say_why(qualify, theirs):  # noqa: F811
    body = """
import pytest
from chroma_qualify.errors import UnavailableError
@pytest.fixture(scope="module")
def helper():
    raise UnavailableError("no helper image", remedy="name one")
@pytest.mark.own_cluster("it breaks nodes")
def test_node(): raise AssertionError
@pytest.mark.own_namespaces("it needs two")
def test_two(): pass
def test_first(helper): pass
def test_second(helper): pass
def test_inside(): raise UnavailableError("no second namespace")
def test_plain(): pass
"""
    marks = ("-o", "markers=own_cluster\nown_namespaces")
    _, written = qualify(body, *theirs("--yes", "--namespace", "theirs"), *marks)
    seen = {each["name"].partition("::")[2]: (each["outcome"], each["reason"]) for each in written["scenarios"]}
    assert seen["node"] == ("not-run", "it needs a cluster of our own: it breaks nodes")
    assert seen["two"] == ("not-run", "it needs namespaces of its own: it needs two")
    assert seen["first"] == seen["second"] == ("not-run", "no helper image; name one")
    assert seen["inside"] == ("not-run", "no second namespace")
    assert seen["plain"] == ("pass", "")
    assert not [each for each in written["findings"] if each.get("scenario") not in {"lint", ""}]
    _, written = qualify(body, *theirs("--yes"), *marks)
    assert {each["name"].partition("::")[2]: each["outcome"] for each in written["scenarios"]}["two"] == "pass"
