"""A finding is at the line where somebody wrote it, as far as that can be known."""

from __future__ import annotations

from pathlib import Path

import pytest

from chroma_qualify.deployment.places import Place, places_of
from chroma_qualify.findings import Finding, Severity

BASE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: db
  annotations:
    a.b/c: x
spec:
  replicas: 3
  template:
    spec:
      containers:
        - name: one
        - name: two
          image: x
"""
PATCH = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: db}
spec:
  strategy: {type: Recreate}
"""


def finding(path: str = "", of: str = "Deployment/db") -> Finding:
    return Finding("rule", Severity.FAIL, "message", object=of, path=path)


@pytest.fixture
def base(tmp_path) -> Path:
    directory = tmp_path / "base"
    directory.mkdir()
    (directory / "all.yaml").write_text(BASE)
    return directory


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("", 5),
        ("spec.replicas", 12),
        ("spec.template.spec.containers[1].image", 18),
        ("spec.template.spec.containers[1].resources", 17),
        ("spec.template.spec.containers[7]", 15),
        ("metadata.annotations.a.b/c", 10),
        ("metadata.annotations['a.b/c']", 10),
        ("spec.strategy.type", 11),
        ("nothing.of.it", 5),
        ("[0][", 5),
    ],
)
def test_plain_yaml(base, path, line):
    each = finding(path)
    assert places_of(str(base), [each]) == {each: Place(str(base / "all.yaml"), line)}
    assert places_of(str(base / "all.yaml"), [each]) == {each: Place(str(base / "all.yaml"), line)}


def test_what_is_in_no_file_is_in_the_first(base):
    each = finding(of="Service/none")
    assert places_of(str(base), [each]) == {each: Place(str(base / "all.yaml"), 1)}
    assert places_of("-", [each]) == {}
    assert places_of(str(base), []) == {}


def test_through_kustomizations_their_patches_and_generators(base, tmp_path):
    (base / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "patch.yaml").write_text(PATCH)
    (overlay / "kustomization.yaml").write_text(
        "namePrefix: my-\nresources: [../base, ../overlay, https://example.invalid/x]\npatches: [{path: patch.yaml}]\n"
        "configMapGenerator:\n  - name: made\n    literals: [a=b]\n"
    )
    patched, plain = finding("spec.strategy.type", "Deployment/my-db"), finding("spec.replicas", "Deployment/my-db")
    made, lost = finding(of="ConfigMap/my-made-5f6h"), finding(of="Service/x")
    found = places_of(str(overlay), [patched, plain, made, lost])
    assert found == {
        patched: Place(str(overlay / "patch.yaml"), 5),
        plain: Place(str(overlay / "../base/all.yaml"), 12),
        made: Place(str(overlay / "kustomization.yaml"), 5),
        lost: Place(str(overlay / "kustomization.yaml"), 1),
    }


def test_files_that_cannot_be_read_cost_a_line_and_no_more(base):
    (base / "kustomization.yaml").write_text("resources: [all.yaml, bad.yaml, 7, none.yaml]\npatches: [1, {path: 2}]\n")
    (base / "bad.yaml").write_bytes(b"\xff[")
    each = finding("spec.replicas")
    assert places_of(str(base), [each])[each].line == 12
