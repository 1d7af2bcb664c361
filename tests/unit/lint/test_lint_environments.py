"""The environments, and the providers' storage classes, as `kubectl kustomize` renders them."""

import functools

import pytest
import test_lint_manifests
from kubernetes.utils.quantity import parse_quantity
from test_lint_manifests import MANIFESTS, REPOSITORY, only

from chroma_qualify.cluster.images.addons import addon_dir
from chroma_qualify.cluster.images.catalog import load_catalog
from chroma_qualify.deployment.schemas import ClusterSchemas
from chroma_qualify.lint import lint_objects, schema_invalid
from chroma_qualify.lint.schema import without_schema

OVERLAYS = MANIFESTS / "overlays"
render = functools.cache(test_lint_manifests.render)  # nobody here changes what it gives
ENVIRONMENTS = ("dev", "staging", "production")
# component → class, the provider's driver
STORAGE = {
    "storage-aws": ("chromadb-ebs", "ebs.csi.aws.com"),
    "storage-gcp": ("chromadb-pd", "pd.csi.storage.gke.io"),
    "storage-azure": ("chromadb-disk", "disk.csi.azure.com"),
}
SHIPPED = [*sorted(OVERLAYS.iterdir()), MANIFESTS / "base", *(REPOSITORY / "tests/overlays" / name for name in STORAGE)]
SCHEMAS = ClusterSchemas("", addon_dir(load_catalog()) / "crds.yaml")


def chroma(objects):
    (server,) = (obj for obj in objects if obj["kind"] == "Deployment" and obj["metadata"]["name"] == "chromadb")
    containers = server["spec"]["template"]["spec"]["containers"]
    return server, next(container for container in containers if container["name"] == "chromadb")


@pytest.mark.parametrize("directory", SHIPPED, ids=lambda path: path.name)
def test_every_field_that_is_shipped_exists(directory):
    objects = render(directory)
    assert schema_invalid(objects, SCHEMAS) == []
    unknown = {name.partition("/")[0] for name in without_schema(objects, SCHEMAS)}
    # Where the add-ons are not rendered, these are left to tests/e2e/test_environments.py.
    assert unknown <= {"ServiceMonitor", "PrometheusRule"}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_is_clean(name):
    assert lint_objects(render(OVERLAYS / name)) == []


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_has_one_server_that_nothing_scales(name):
    objects = render(OVERLAYS / name)
    server, _ = chroma(objects)
    assert server["spec"]["replicas"] == 1
    assert server["spec"]["strategy"] == {"type": "Recreate"}
    assert not {obj["kind"] for obj in objects} & {"HorizontalPodAutoscaler", "ScaledObject"}
    claim = next(obj for obj in objects if obj["metadata"]["name"] == "chromadb-pvc")
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    budget = only(objects, "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1
    assert "minAvailable" not in budget["spec"]


def test_only_one_overlay_has_an_autoscaler():
    having = {
        path.name for path in OVERLAYS.iterdir() if "HorizontalPodAutoscaler" in {o["kind"] for o in render(path)}
    }
    assert having == {"autoscaling"}


def test_each_environment_is_larger_than_the_one_before():
    sizes = []
    for name in ENVIRONMENTS:
        objects = render(OVERLAYS / name)
        _, container = chroma(objects)
        claim = next(obj for obj in objects if obj["metadata"]["name"] == "chromadb-pvc")
        memory = parse_quantity(container["resources"]["limits"]["memory"])
        volume = parse_quantity(claim["spec"]["resources"]["requests"]["storage"])
        assert volume > memory  # see base/pvc.yaml
        sizes.append((memory, volume))
    assert sizes == sorted(sizes)
    assert sizes[-1][0] >= parse_quantity("2Gi")  # Chroma's documented floor
    assert chroma(render(OVERLAYS / "staging"))[1]["resources"] == {
        "requests": {"cpu": "250m", "memory": "512Mi"},
        "limits": {"cpu": "500m", "memory": "1Gi"},
    }


def test_production_is_the_single_writer_with_more():
    """Nothing of the qualified topology is lost on the way."""
    single, production = render(OVERLAYS / "single-writer"), render(OVERLAYS / "production")
    named = lambda objects: {(obj["kind"], obj["metadata"]["name"]) for obj in objects}  # noqa: E731
    assert named(single) < named(production)
    server, container = chroma(production)
    assert container["resources"]["requests"]["memory"] == container["resources"]["limits"]["memory"]
    priority = only(production, "PriorityClass")
    assert server["spec"]["template"]["spec"]["priorityClassName"] == priority["metadata"]["name"]
    assert priority["preemptionPolicy"] == "Never"  # it is deployed beside other scenarios, which it must not end


@pytest.mark.parametrize("name", STORAGE)
def test_a_provider_s_volumes_are_kept_grow_and_follow_the_pod(name):
    wanted, driver = STORAGE[name]
    objects = render(REPOSITORY / "tests/overlays" / name)
    storage = only(objects, "StorageClass")
    assert (storage["metadata"]["name"], storage["provisioner"]) == (wanted, driver)
    assert storage["reclaimPolicy"] == "Retain"
    assert storage["allowVolumeExpansion"] is True
    assert storage["volumeBindingMode"] == "WaitForFirstConsumer"
    assert "annotations" not in storage["metadata"]  # it is not made the cluster's default
    claims = [obj for obj in objects if obj["kind"] == "PersistentVolumeClaim"]
    assert claims
    assert {claim["spec"]["storageClassName"] for claim in claims} == {wanted}
    assert all(isinstance(value, str) for value in storage["parameters"].values())
