"""What we ship and what must be refused, as `kubectl kustomize` renders them."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from chroma_qualify.lint import lint_objects

REPOSITORY = Path(__file__).parents[3]
MANIFESTS = REPOSITORY / "manifests"


def render(directory):
    kubectl = shutil.which("kubectl")
    assert kubectl, "kubectl is needed to render manifests: run this through `make test`"
    done = subprocess.run([kubectl, "kustomize", directory], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def only(objects, kind):
    (found,) = (obj for obj in objects if obj["kind"] == kind)
    return found


def test_single_writer_is_clean():
    assert lint_objects(render(MANIFESTS / "overlays/single-writer")) == []


@pytest.mark.parametrize("topology", ["base", "overlays/autoscaling"])
def test_the_seeds_autoscaler_is_all_there_is_to_say_of_the_others(topology):
    found = lint_objects(render(MANIFESTS / topology))
    assert [(f.rule, f.object) for f in found] == [("two-servers-one-volume", "HorizontalPodAutoscaler/chromadb-hpa")]


def test_plain_apply_meets_no_kustomization():
    """`kubectl apply -f manifests/base/` reads every *.yaml, *.yml and *.json, and needs the namespace in each."""
    files = [path for path in (MANIFESTS / "base").iterdir() if path.suffix in (".yaml", ".yml", ".json")]
    objects = [obj for path in files for obj in yaml.safe_load_all(path.read_text())]
    assert "Kustomization" not in {obj["kind"] for obj in objects}
    assert {obj["metadata"]["namespace"] for obj in objects} == {"goaltrajectory-ai"}
    key = lambda obj: (obj["kind"], obj["metadata"]["name"])  # noqa: E731
    assert sorted(objects, key=key) == sorted(render(MANIFESTS / "base"), key=key)


@pytest.mark.parametrize("topology", ["base", "overlays/single-writer", "overlays/autoscaling"])
def test_an_outer_kustomization_moves_everything(topology, tmp_path):
    relative = Path("../" * len(tmp_path.resolve().parts[1:])) / (MANIFESTS / topology).relative_to("/")
    outer = {"namespace": "elsewhere", "resources": [str(relative)]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(outer))
    moved = render(tmp_path)
    assert {obj["metadata"]["namespace"] for obj in moved} == {"elsewhere"}
    assert "goaltrajectory-ai" not in yaml.safe_dump_all(moved)
    # The policy still means "backend pods beside Chroma", and monitoring stays where it is.
    backend, monitoring = only(moved, "NetworkPolicy")["spec"]["ingress"][0]["from"]
    assert set(backend) == {"podSelector"}
    assert monitoring["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}


def test_the_seeds_figures_stay_in_base():
    base = render(MANIFESTS / "base")
    (container,) = only(base, "Deployment")["spec"]["template"]["spec"]["containers"]
    claim, scaler = only(base, "PersistentVolumeClaim"), only(base, "HorizontalPodAutoscaler")["spec"]
    service = only(base, "Service")
    assert container["resources"] == {
        "requests": {"cpu": "250m", "memory": "512Mi"},
        "limits": {"cpu": "500m", "memory": "1Gi"},
    }
    assert claim["metadata"]["name"] == "chromadb-pvc"
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "standard",
        "resources": {"requests": {"storage": "10Gi"}},
    }
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (1, 3)
    assert [(m["resource"]["name"], m["resource"]["target"]["averageUtilization"]) for m in scaler["metrics"]] == [
        ("cpu", 70),
        ("memory", 80),
    ]
    assert (service["metadata"]["name"], service["spec"]["ports"][0]["port"]) == ("chromadb-service", 8000)
    assert {obj["metadata"]["labels"]["app"] for obj in base} == {"chromadb"}


def test_topologies_differ_where_they_should():
    single, scaled = render(MANIFESTS / "overlays/single-writer"), render(MANIFESTS / "overlays/autoscaling")
    assert "HorizontalPodAutoscaler" not in {obj["kind"] for obj in single}
    assert only(single, "Deployment")["spec"]["replicas"] == 1
    # Given here, each apply would take the replicas away from the HPA.
    assert "replicas" not in only(scaled, "Deployment")["spec"]
    assert only(single, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert only(scaled, "Deployment")["spec"]["strategy"] == {"type": "Recreate"}
