"""Rules on memory and on images."""

import pytest
from lint_builders import assert_one, container, findings, merge, meta, workload

from chroma_qualify.findings import Severity
from chroma_qualify.lint.objects import quantity
from chroma_qualify.lint.settings import Settings

DB = "Deployment/vector-db"
PATH = "spec.template.spec.containers[0].resources.limits.memory"


def limited(memory, **annotations):
    named = {f"chroma-qualify/{name}": value for name, value in annotations.items()}
    objects = workload(containers=[container(resources={"limits": {"memory": memory}})])
    return [merge(objects, {"metadata": {"annotations": named}})]


def vectors(number, dimensions=384):
    return Settings(vectors=number, dimensions=dimensions)


@pytest.mark.parametrize(
    ("objects", "settings"),
    [
        (limited("1Gi"), vectors(400_000)),
        (limited("2Gi"), vectors(400_000, 1536)),
        (limited("1Gi", vectors="400000"), Settings()),
        (limited("2Gi", vectors="400000", dimensions="1536"), Settings()),
        (limited("1Gi", vectors="1"), vectors(400_000)),
        (limited(100_000_000), vectors(1)),
    ],
)
def test_too_little_for_so_many_vectors_is_named(objects, settings):
    assert_one("memory-too-small", objects, DB, "MiB", "8 bytes", path=PATH, settings=settings)


@pytest.mark.parametrize(
    ("objects", "settings"),
    [
        (limited("1Gi"), vectors(300_000)),
        (limited("1Gi"), Settings()),
        (limited("1Gi", vectors="300000"), Settings()),
        (limited("1Gi", vectors="400000"), vectors(1)),
        (limited("1Gi", vectors="many"), Settings()),
        (limited(None), vectors(10**9)),
    ],
)
def test_enough_for_so_many(objects, settings):
    assert findings("memory-too-small", objects, settings=settings) == []


def test_below_the_documented_floor():
    assert_one("memory-below-floor", limited("1Gi"), DB, "2 GB", severity=Severity.NOTE, path=PATH)
    assert_one("memory-below-floor", limited("1900M"), DB, severity=Severity.NOTE)
    for good in (limited("2Gi"), limited("2G"), limited(None), limited("1Gi", vectors="1000")):
        assert findings("memory-below-floor", good) == []
    # Who says how many is judged by that.
    assert findings("memory-below-floor", limited("1Gi"), settings=vectors(1000)) == []


DEFAULTS = {
    "kind": "LimitRange",
    "metadata": meta("defaults"),
    "spec": {"limits": [{"type": "Container", "default": {"memory": "4Gi"}}]},
}


def test_no_limit_at_all():
    assert_one("memory-unlimited", limited(None), DB, "not set", severity=Severity.NOTE, path=PATH)
    assert_one("memory-unlimited", limited("much"), DB, severity=Severity.NOTE)
    assert findings("memory-unlimited", limited("1Gi")) == []
    assert findings("memory-unlimited", [*limited(None), DEFAULTS]) == []
    whole = merge(limited(None)[0], {"spec": {"template": {"spec": {"resources": {"limits": {"memory": "4Gi"}}}}}})
    assert findings("memory-unlimited", [whole]) == []


def of_image(image):
    return [workload(containers=[container(image=image)])]


@pytest.mark.parametrize(
    ("image", "severity"),
    [
        ("chromadb/chroma", Severity.FAIL),
        ("registry.example:5000/chroma", Severity.FAIL),
        ("chromadb/chroma:latest", Severity.FAIL),
        ("chromadb/chroma:main", Severity.FAIL),
        ("ghcr.io/chroma-core/chroma:1.5-dev", Severity.FAIL),
        ("own/chroma:nightly", Severity.FAIL),
        ("chromadb/chroma:1.5", Severity.NOTE),
        ("chromadb/chroma:1", Severity.NOTE),
    ],
)
def test_an_image_that_moves_is_named(image, severity):
    path = "spec.template.spec.containers[0].image"
    assert_one("mutable-image", of_image(image), DB, image, severity=severity, path=path)


@pytest.mark.parametrize(
    "image",
    [
        "chromadb/chroma:1.5.9",
        "chromadb/chroma:1.5.10.dev3",
        "chromadb/chroma@sha256:ab",
        "chromadb/chroma:latest@sha256:ab",
        "own/chroma:1",
        "own/chroma:1.2.3-stable",
        "own/chroma:git-3f2a1b",
        "own/chroma:mainframe",
    ],
)
def test_images_that_stay(image):
    assert findings("mutable-image", of_image(image)) == []


def test_an_old_chroma_is_noted():
    assert_one("old-chroma", of_image("chromadb/chroma:0.6.3"), DB, "0.6.3", severity=Severity.NOTE)
    for image in ("chromadb/chroma:1.5.9", "chromadb/chroma", "own/chroma:10.2"):
        assert findings("old-chroma", of_image(image)) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("512Mi", 2**29),
        ("1.5Gi", 1.5 * 2**30),
        ("2G", 2e9),
        ("500m", 0.5),
        ("2e9", 2e9),
        ("1E", 1e18),
        (3, 3.0),
        (".5", 0.5),
    ],
)
def test_quantities(text, number):
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["", "much", "1 Gi", "-1", "1KiB", True, None, [], "1" * 40, "٣Gi"])
def test_no_quantities(text):
    assert quantity(text) is None
