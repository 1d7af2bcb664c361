"""Which references IMAGES=registry asks for; that they can be pulled is scripts/prove-registry's."""

import pytest

from chroma_qualify.cluster.images.catalog import load_catalog
from chroma_qualify.cluster.images.ensure import (
    MIRROR_VARIABLE,
    _mark,
    _node_image,
    pulled_as,
    registry_images,
)
from chroma_qualify.cluster.images.packages import LOADER


@pytest.fixture(autouse=True)
def no_mirror(monkeypatch):
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("mirror", "reference", "pulled"),
    [
        ("", "quay.io/cilium/cilium:v1.20.2", "quay.io/cilium/cilium:v1.20.2"),
        ("127.0.0.1:5000", "quay.io/cilium/cilium:v1.20.2", "127.0.0.1:5000/cilium/cilium:v1.20.2"),
        ("mirror.example/all/", "docker.io/library/python:3.11", "mirror.example/all/library/python:3.11"),
        ("m:1", "docker.io/kindest/node:v1@sha256:ab", "m:1/kindest/node:v1@sha256:ab"),
    ],
)
def test_a_mirror_replaces_the_registry_and_nothing_else(monkeypatch, mirror, reference, pulled):
    monkeypatch.setenv(MIRROR_VARIABLE, mirror)
    assert pulled_as(reference) == pulled


def test_the_default_node_image_is_pinned_by_digest_and_another_version_is_not():
    catalog = load_catalog()
    pinned = f"docker.io/kindest/node:v{catalog.registry_kubernetes}@{catalog.registry_digest}"
    assert _node_image(catalog, None) == pinned
    assert _node_image(catalog, f"v{catalog.registry_kubernetes}") == pinned
    assert _node_image(catalog, "1.2.3") == "docker.io/kindest/node:v1.2.3"


def test_what_manifests_name_keeps_its_usual_name_under_a_mirror(monkeypatch):
    monkeypatch.setenv(MIRROR_VARIABLE, "127.0.0.1:5000")
    catalog = load_catalog()
    assert catalog.chroma_reference in registry_images(catalog)
    assert not [reference for reference in registry_images(catalog) if reference.startswith("127.")]
    assert _node_image(catalog, "1.2.3") == "127.0.0.1:5000/kindest/node:v1.2.3"


def test_the_loader_on_the_registrys_python_is_known_by_what_it_is_made_of():
    assert _mark(LOADER, load_catalog()).startswith("docker.io/chroma-qualify/loader:registry-")
    assert _mark(LOADER, load_catalog()) == _mark(LOADER, load_catalog())
