"""Built things are there whole or not at all, and their names follow from what they are made of."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chroma_qualify.cluster.images.catalog import default_versions, load_catalog
from chroma_qualify.cluster.images.store import digest, make, sweep
from chroma_qualify.errors import UsageError


def test_what_is_there_is_not_made_again(tmp_path):
    target = tmp_path / "kind" / "thing"
    assert make(target, lambda place: place.write_text("first") and None) == target
    make(target, lambda place: place.write_text("second") and None)
    assert target.read_text() == "first"
    assert [path.name for path in target.parent.iterdir()] == ["thing"]


def test_a_failed_production_leaves_nothing(tmp_path):
    def fail(place):
        place.mkdir()
        (place / "half").touch()
        raise RuntimeError("no more disk")

    with pytest.raises(RuntimeError, match="no more disk"):
        make(tmp_path / "kind" / "thing", fail)
    assert list((tmp_path / "kind").iterdir()) == []


def test_a_production_killed_halfway_leaves_nothing_under_its_name_and_is_swept(tmp_path):
    program = """
import os, signal, sys
from pathlib import Path
from chroma_qualify.cluster.images.store import make
def produce(place):
    place.mkdir()
    (place / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
make(Path(sys.argv[1]), produce)
"""
    target = tmp_path / "kind" / "thing"
    killed = subprocess.run([sys.executable, "-c", program, str(target)], check=False)
    assert killed.returncode == -9
    assert not target.exists()
    assert [path.name[:8] for path in target.parent.iterdir()] == [".making-"]
    sweep(tmp_path)
    assert list(target.parent.iterdir()) == []


def test_a_digest_changes_with_content_name_and_place(tmp_path):
    def tree(**files):
        root = tmp_path / str(len(list(tmp_path.iterdir()))) / "root"
        for name, text in files.items():
            path = root / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return digest([root])

    same = tree(a="1", b="2")
    assert tree(b="2", a="1") == same
    others = [tree(a="1", b="3"), tree(a="1", c="2"), tree(a="2", b="1"), tree(a="1", d__b="2"), tree(a="1")]
    assert len({same, *others}) == 6


def test_a_digest_tells_its_parts_apart(tmp_path):
    assert digest(["ab", "c"]) != digest(["a", "bc"])
    assert digest(["a"]) != digest(["a", ""])
    file = tmp_path / "f"
    file.write_text("1")
    before = digest([file])
    file.write_text("2")
    assert digest([file]) != before


def test_the_catalog_of_the_default_versions():
    catalog = load_catalog()
    assert (catalog.kubernetes, catalog.chroma) == default_versions()
    assert load_catalog(f"v{catalog.kubernetes}") == catalog
    assert catalog.chroma_reference == f"docker.io/chromadb/chroma:{catalog.chroma}"
    for module in catalog.go.values():
        assert (module.directory / "go.sum").exists() or module.version == "0", module.name


@pytest.mark.parametrize(
    ("asked", "what"), [({"kubernetes": "1.2.3"}, "Kubernetes 1.2.3"), ({"chroma": "0.0.1"}, "Chroma 0.0.1")]
)
def test_an_unknown_version_is_told_with_those_that_there_are(asked, what):
    known = dict(zip(("kubernetes", "chroma"), default_versions(), strict=True))[next(iter(asked))]
    with pytest.raises(UsageError, match=rf"no definition for {what}; there is .*{known}"):
        load_catalog(**asked)
