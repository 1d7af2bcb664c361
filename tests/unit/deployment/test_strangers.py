"""Chroma is found in each shape of tests/strangers, and what a cluster cannot have of them is told."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import yaml

from chroma_qualify.deployment.fit import STOOD_IN, Place, fit
from chroma_qualify.deployment.foreign import LEFT_OUT, own_objects
from chroma_qualify.deployment.objects import Candidate, of_kind
from chroma_qualify.deployment.render import in_namespace, load_candidate
from chroma_qualify.errors import UsageError
from chroma_qualify.findings import Severity

STRANGERS = Path(__file__).parents[2] / "strangers"
FOUND = shutil.which("kubectl")  # `make test` provides one
KUBECTL = Path(FOUND or "kubectl")
needs_kubectl = pytest.mark.skipif(FOUND is None, reason="kubectl is not installed")
KIND = Place(
    own=True,
    kinds={
        **{("", kind): True for kind in ("ConfigMap", "PersistentVolumeClaim", "Service", "ServiceAccount")},
        **{("apps", kind): True for kind in ("Deployment", "StatefulSet")},
        ("", "Namespace"): False,
        ("networking.k8s.io", "Ingress"): True,
        ("rbac.authorization.k8s.io", "ClusterRole"): False,
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"): False,
    },
    classes={"standard": "rancher.io/local-path"},
    priorities=frozenset({"system-node-critical"}),
    labels=({"kubernetes.io/hostname": "kind-control-plane", "kubernetes.io/os": "linux"},),
    images=frozenset({"docker.io/chromadb/chroma:1.5.9"}),
    pulls=False,
)
SOMEBODYS = dataclasses.replace(KIND, own=False)


def load(name: str) -> Candidate:
    return load_candidate(STRANGERS / name, KUBECTL)


def messages(candidate: Candidate, rule: str) -> list[str]:
    assert {finding.severity for finding in candidate.notes} <= {Severity.NOTE}
    return [finding.message for finding in candidate.notes if finding.rule == rule]


def pod_of(candidate: Candidate) -> dict:
    return candidate.deployment["spec"]["template"]["spec"]


@needs_kubectl
@pytest.mark.parametrize(
    ("name", "workload", "service", "ports", "container", "claim"),
    [
        (
            "community-chart",
            "statefulset/vectors-chromadb",
            "vectors-chromadb",
            (8000, 8000, 8000),
            "chromadb",
            "data-vectors-chromadb-0",
        ),
        ("plain", "deployment/memory-store", "memory", (80, 9100, 9100), "store", "memory-store-disk"),
        (
            "sidecar",
            "statefulset/embeddings-blue",
            "embeddings-blue",
            (443, 8443, 8123),
            "engine",
            "vectors-embeddings-blue-0",
        ),
        ("exported", "deployment/chroma-db", "chroma-db", (8000, 8000, 8000), "chroma-db", "chroma-disk"),
        ("elsewhere", "deployment/knowledge", "knowledge", (8000, 8000, 8000), "knowledge", None),
    ],
)
def test_chroma_is_found_in_every_shape(name, workload, service, ports, container, claim):
    found = load(name)
    assert (found.name, found.service, found.container, found.claim) == (workload, service, container, claim)
    assert (found.service_port, found.container_port, found.server_port) == ports
    moved = in_namespace(fit(found, KIND), "t-1")
    assert (moved.name, moved.service, moved.claim, moved.digest) == (workload, service, claim, found.digest)
    assert {item["metadata"].get("namespace", "t-1") for item in moved.objects} == {"t-1"}


def test_of_several_its_owner_says_which(tmp_path):
    with pytest.raises(UsageError, match=r"holds 2 Chroma servers: Deployment/chroma-red, Deployment/chroma-green"):
        load("several")
    shutil.copy(STRANGERS / "several" / "all.yaml", tmp_path)
    (tmp_path / "qualification.yaml").write_text("chroma: Deployment/chroma-green\n")
    assert load_candidate(tmp_path, KUBECTL).name == "deployment/chroma-green"
    (tmp_path / "qualification.yaml").write_text("chroma: Deployment/chroma-blue\n")
    with pytest.raises(UsageError, match="there is no Deployment/chroma-blue in"):
        load_candidate(tmp_path, KUBECTL)
    (tmp_path / "qualification.yaml").write_text("chroma: chroma-green\n")
    with pytest.raises(UsageError, match="chroma must be Deployment/NAME or StatefulSet/NAME"):
        load_candidate(tmp_path, KUBECTL)


def test_of_several_the_one_with_a_service(tmp_path):
    text = (STRANGERS / "several" / "all.yaml").read_text().rpartition("---")[0]
    (tmp_path / "all.yaml").write_text(text)
    assert load_candidate(tmp_path, KUBECTL).name == "deployment/chroma-red"


def test_the_same_name_in_two_namespaces_is_refused(tmp_path):
    text = (STRANGERS / "exported" / "list.yaml").read_text()
    (tmp_path / "one.yaml").write_text(text)
    (tmp_path / "two.yaml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: chroma-db, namespace: other}\n")
    with pytest.raises(UsageError, match="Service chroma-db in two namespaces, production and other"):
        load_candidate(tmp_path, KUBECTL)


def test_a_bare_pod_is_told_apart_from_none(tmp_path):
    pod = {"containers": [{"name": "c", "image": "chromadb/chroma:1.5.9"}]}
    (tmp_path / "pod.yaml").write_text(
        yaml.safe_dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lonely"}, "spec": pod})
    )
    with pytest.raises(UsageError, match="Chroma runs in Pod/lonely"):
        load_candidate(tmp_path, KUBECTL)


def test_hooks_that_an_installation_does_not_run_are_left_out():
    found = load("community-chart")
    assert not list(of_kind(found.objects, "Job"))
    assert [item["metadata"]["name"] for item in of_kind(found.objects, "ConfigMap")] == ["log-config", "v1-config"]
    (told,) = messages(found, LEFT_OUT)
    assert "Job/vectors-chromadb-test-api (test), Job/vectors-chromadb-test-connection (test)" in told
    assert {item["metadata"]["namespace"] for item in found.objects} == {"search"}  # some of them name none


def test_what_a_server_wrote_is_left_out():
    found = load("exported")
    assert [item["kind"] for item in found.objects] == ["Deployment", "Service", "PersistentVolumeClaim"]
    for item in found.objects:
        assert not item.keys() & {"status"}
        assert not item["metadata"].keys() & {"uid", "resourceVersion", "managedFields", "generation"}
    (claim,) = of_kind(found.objects, "PersistentVolumeClaim")
    assert "volumeName" not in claim["spec"]
    assert messages(found, LEFT_OUT) == [
        "not applied in this run: ReplicaSet/chroma-db-6d5f7c9b8: objects that a controller makes by itself"
    ]


def test_what_is_one_owners_alone_is_as_it_was():
    objects = [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}]
    assert own_objects(objects) == (objects, ())


def test_what_a_kind_cluster_cannot_have_is_replaced_and_told():
    found = load("plain")
    here = fit(found, KIND)
    pod = pod_of(here)
    assert pod["containers"][0]["image"] == "docker.io/chromadb/chroma:1.5.9"
    assert pod["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert "nodeSelector" not in pod
    assert pod["affinity"] == {"nodeAffinity": {}}
    assert pod["topologySpreadConstraints"] == []
    assert pod["tolerations"] == pod_of(found)["tolerations"]  # they ask for nothing
    (claim,) = of_kind(here.objects, "PersistentVolumeClaim")
    assert "storageClassName" not in claim["spec"]
    (service,) = of_kind(here.objects, "Service")
    assert (service["spec"].get("clusterIP"), service["spec"]["ports"]) == (
        None,
        [{"name": "rest", "port": 80, "targetPort": "rest"}],
    )
    told = " ".join(messages(here, STOOD_IN))
    for word in ("gke-nodepool", "node affinity", "topology spread", "standard-rwo", "30881", "10.96.77.7", "company"):
        assert word in told
    assert here.digest == found.digest
    assert fit(here, KIND) is here  # nothing is left to change


def test_an_account_that_somebody_else_makes():
    found = load("elsewhere")
    assert pod_of(fit(found, KIND))["serviceAccountName"] == "knowledge"
    without = found.with_objects([item for item in found.objects if item["kind"] != "ServiceAccount"])
    here = fit(without, KIND)
    assert "serviceAccountName" not in pod_of(here)
    assert "the ServiceAccount knowledge, which is not among the manifests" in " ".join(messages(here, STOOD_IN))


def test_where_nodes_pull_the_image_stays():
    here = fit(load("plain"), dataclasses.replace(KIND, pulls=True))
    assert pod_of(here)["containers"][0]["image"] == "registry.company.example/mirrors/chroma:1.5.9"


def test_another_version_does_not_stand_in():
    here = fit(load("plain"), dataclasses.replace(KIND, images=frozenset({"docker.io/chromadb/chroma:1.4.1"})))
    assert pod_of(here)["containers"][0]["image"] == "registry.company.example/mirrors/chroma:1.5.9"


def test_what_a_cluster_has_is_left_alone():
    found = load("plain")
    labels = {"cloud.google.com/gke-nodepool": "vectors", "topology.kubernetes.io/zone": "europe-west1-b"}
    place = dataclasses.replace(KIND, labels=(labels,), classes={"standard-rwo": "pd.csi.storage.gke.io"}, pulls=True)
    here = fit(found, place)
    assert here.deployment == found.deployment
    assert list(of_kind(here.objects, "PersistentVolumeClaim")) == list(of_kind(found.objects, "PersistentVolumeClaim"))


def test_a_kind_without_a_definition_and_a_priority_that_is_not_there():
    here = fit(load("elsewhere"), KIND)
    assert not list(of_kind(here.objects, "Certificate"))
    assert "Certificate/knowledge" in messages(here, LEFT_OUT)[0]
    assert "priorityClassName" not in pod_of(here)
    assert len(list(of_kind(here.objects, "ClusterRole"))) == 1


def test_in_somebodys_cluster_nothing_outside_the_namespace_is_touched_and_nothing_replaced():
    here = fit(load("elsewhere"), SOMEBODYS)
    assert not list(of_kind(here.objects, "ClusterRole", "ClusterRoleBinding"))
    assert len(list(of_kind(here.objects, "Certificate"))) == 1  # the API server will say that it knows none
    assert pod_of(here)["priorityClassName"] == "business-critical"
    plain = fit(load("plain"), SOMEBODYS)
    assert plain.deployment == load("plain").deployment
    (told,) = messages(plain, STOOD_IN)
    assert told == (
        "Service/memory is run with one that the cluster chooses in place of the address 10.96.77.7; "
        "one that the cluster chooses in place of the node port 30881"
    )


def test_a_chart_is_not_manifests(tmp_path):
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: chromadb\n")
    (tmp_path / "values.yaml").write_text("replicaCount: 1\n")
    with pytest.raises(UsageError, match="is a chart of Helm, not manifests"):
        load_candidate(tmp_path, KUBECTL)


def test_what_helm_writes_into_directories_is_read(tmp_path):
    below = tmp_path / "chromadb" / "templates"
    below.mkdir(parents=True)
    shutil.copy(STRANGERS / "community-chart" / "all.yaml", below / "all.yaml")
    assert load_candidate(tmp_path, KUBECTL).name == "statefulset/vectors-chromadb"
    (below / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    with pytest.raises(UsageError, match=r"holds no manifests itself, but below it: .*templates"):
        load_candidate(tmp_path, KUBECTL)
