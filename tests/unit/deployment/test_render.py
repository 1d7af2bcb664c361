"""Every way to get a directory of manifests wrong is one sentence; kustomize is the real one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from test_candidate import DEPLOYMENT, HPA, SERVICES

from chroma_qualify.deployment.manifests import KUSTOMIZATIONS
from chroma_qualify.deployment.objects import Candidate, of_kind
from chroma_qualify.deployment.render import in_namespace, load_candidate
from chroma_qualify.errors import UsageError

FOUND = shutil.which("kubectl")  # `make test` provides one
KUBECTL = Path(FOUND or "kubectl")
needs_kubectl = pytest.mark.skipif(FOUND is None, reason="kubectl is not installed")
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-us, namespace: ours}
spec:
  podSelector: {}
  ingress:
    - from:
        - namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ours}}
        - namespaceSelector:
            matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [ours, monitoring]}]
        - podSelector: {matchLabels: {app: ours}}
"""


@pytest.fixture
def base(tmp_path) -> Path:
    directory = tmp_path / "base"
    directory.mkdir()
    (directory / "deployment.yaml").write_text(DEPLOYMENT)
    (directory / "service.yaml").write_text(SERVICES)
    return directory


def kustomize(directory: Path, text: str = "resources: [deployment.yaml, service.yaml]\n", name: str = "") -> Path:
    (directory / (name or KUSTOMIZATIONS[0])).write_text(text)
    return directory


def error_of(directory: Path) -> str:
    with pytest.raises(UsageError) as caught:
        load_candidate(directory, KUBECTL)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_plain_yaml(base):
    (base / "list.yml").write_text(
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}\n"
    )
    (base / "qualification.yaml").write_text("durability: graceful\n")
    (base / "empty.yaml").write_text("---\n# nothing\n---\n")
    found = load_candidate(base, Path("not-needed"))
    assert found.directory == base
    assert [item["metadata"]["name"] for item in of_kind(found.objects, "ConfigMap")] == ["c"]


@needs_kubectl
@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_kustomize_under_each_name(base, name):
    kustomize(base, name=name)
    assert load_candidate(base, KUBECTL).service == "vectors-api"


@needs_kubectl
def test_an_overlay_changes_the_base(base, tmp_path):
    kustomize(base)
    overlay = tmp_path / "overlays" / "small"
    overlay.mkdir(parents=True)
    kustomize(overlay, "namePrefix: small-\nresources: [../../base]\n")
    found = load_candidate(overlay, KUBECTL)
    assert (found.name, found.service) == ("deployment/small-vectors", "small-vectors-api")


def test_no_such_directory(tmp_path):
    assert error_of(tmp_path / "nope") == f"{tmp_path / 'nope'} is not a directory"


def test_no_yaml(tmp_path):
    assert error_of(tmp_path) == f"{tmp_path} holds no YAML file"


def test_broken_yaml_names_file_and_line(base):
    (base / "service.yaml").write_text("kind: Service\nmetadata:\n  name: a: b\n")
    assert (
        error_of(base)
        == f"{base}/service.yaml is broken YAML at line 3: mapping values are not allowed in this context"
    )


def test_not_kubernetes(base):
    (base / "values.yaml").write_text("replicas: 3\n")
    assert "values.yaml: document 1 is no Kubernetes object" in error_of(base)


def test_no_chroma(tmp_path):
    (tmp_path / "c.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}")
    assert error_of(tmp_path).startswith(f"no Chroma workload in {tmp_path}: ")


@needs_kubectl
def test_broken_yaml_in_the_base_of_an_overlay(base, tmp_path):
    kustomize(base)
    (base / "service.yaml").write_text("kind: Service\nmetadata:\n  name: a: b\n")
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    kustomize(overlay, "resources: [../base]\n")
    assert (
        error_of(overlay)
        == f"{base}/service.yaml is broken YAML at line 3: mapping values are not allowed in this context"
    )


@needs_kubectl
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resource: [a.yaml]\n", "a kustomization has the unknown field `resource`: "),
        ("resources: [a.yaml]\n", "needs "),
        ("resources: [a.yaml\n", "kustomization.yaml is broken YAML at line "),
        ("resources: [../other]\n", "/other, which does not exist"),
    ],
)
def test_a_wrong_kustomization(base, text, words):
    assert words in error_of(kustomize(base, text))


@needs_kubectl
def test_an_object_without_kind(base):
    (base / "service.yaml").write_text("apiVersion: v1\nmetadata: {name: x}\n")
    assert error_of(kustomize(base)) == "service.yaml holds an object without a kind"


@needs_kubectl
def test_moving_to_another_namespace():
    namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: ours}}"
    role = (
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: r, namespace: ours},"
        " roleRef: {kind: Role, name: r, apiGroup: rbac.authorization.k8s.io},"
        " subjects: [{kind: ServiceAccount, name: default, namespace: ours}]}"
    )
    text = "\n---\n".join([namespace, DEPLOYMENT, SERVICES, HPA % ("h", "vectors"), POLICY, role])
    candidate = Candidate.from_objects(list(yaml.safe_load_all(text)), Path("there"), kubectl=KUBECTL)
    moved = in_namespace(candidate, "t-1")
    assert {item["metadata"]["namespace"] for item in moved.objects} == {"t-1"}
    assert not list(of_kind(moved.objects, "Namespace"))
    assert (moved.namespace, moved.digest, moved.service) == ("t-1", candidate.digest, "vectors-api")
    peers = moved.network_policies[0]["spec"]["ingress"][0]["from"]
    assert peers[0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "t-1"}
    assert peers[1]["namespaceSelector"]["matchExpressions"][0]["values"] == ["t-1", "monitoring"]
    assert peers[2]["podSelector"]["matchLabels"] == {"app": "ours"}
    assert in_namespace(moved, "t-2").namespace == "t-2"
