"""Whatever is given to `lint`, it ends with one sentence and no trace."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {k: 1, l: 2}\n" + "".join(
    f"{new}: &{new} {{<<: [{','.join([f'*{old}'] * 10)}]}}\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "holds no Kubernetes object"),
        (b"---\n---\n# nothing\n", "holds no Kubernetes object"),
        (b"just words", "document 1 is no Kubernetes object"),
        (b"- 1\n- 2\n", "is no Kubernetes object"),
        (b"kind: Pod\nmetadata: {name: x\n", "is broken YAML at line 3"),
        (b"a: b: c\n", "is broken YAML at line 1"),
        (b"\x00\x01\x02\xff", "is not UTF-8"),
        (b"\x7fELF\x00\x00", "is broken YAML"),
        (b"kind: Pod\nname: \xe9t\xe9\n", "is not UTF-8: byte 0xe9 at line 2"),
        (b"a: !!python/object/apply:os.system [ls]\n", "could not determine a constructor for the tag"),
        (b"a: !!int x\n", "cannot be read"),
        (b"a: !!bool x\n", "cannot be read"),
        (b"a: 9" + b"9" * 5000, "cannot be read"),
        (b"? [a]\n: 1\n", "unhashable key"),
        (b"a: &a [*a]\n", "part of"),
        (b"[" * 200_000, "nested deeper than 200 levels"),  # overflows the stack of libyaml's composer
        (b"- " * 5000, "nested deeper than 200 levels"),
        (BOMB.encode(), "aliases that expand to more than"),
        (MERGES.encode(), "aliases that expand to more than"),
        (b"#" * (16 * 2**20 + 1), "larger than 16 MiB"),
        (b"apiVersion: v1\nkind: List\nitems: [1]\n", "an item is no Kubernetes object"),
        (b"apiVersion: v1\nkind: Pod\nmetadata: [1]\n", "is no Kubernetes object"),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else "",
)
@pytest.mark.parametrize("way", ["file", "directory", "pipe"])
def test_a_file_that_cannot_be_read(lint, tmp_path, data, said, way):
    path = tmp_path / "x.yaml"
    path.write_bytes(data)
    what = {"file": path, "directory": tmp_path, "pipe": "-"}[way]
    code, out, err = lint(what, stdin=data if way == "pipe" else b"")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "kustomize cannot render"),
        ("- 1\n", "kustomize cannot render"),
        ("resources: [missing.yaml]\n", "missing.yaml"),
        ("resources: [.]\n", "kustomize cannot render"),
        ("resources: [x.yaml]\nbogus: 1\n", "unknown field `bogus`"),
        ("resources: [binary.yaml]\n", "binary.yaml"),
        ("resources: [deep.yaml]\n", "nested deeper"),
        ("resources: [loop]\n", "loop"),
    ],
)
def test_a_kustomization_that_cannot_be_rendered(lint, tmp_path, text, said):
    (tmp_path / "kustomization.yaml").write_text(text)
    (tmp_path / "x.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")
    if "binary" in text:
        (tmp_path / "binary.yaml").write_bytes(b"\x00\xff\x00")
    if "deep" in text:
        (tmp_path / "deep.yaml").write_text("[" * 100_000)
    if "loop" in text:
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
    code, out, err = lint(tmp_path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


@pytest.mark.parametrize("name", ["no/such", "loop", "bad\x00name", "x" * 300, "empty", ""])
def test_a_path_that_leads_nowhere(lint, tmp_path, name):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "empty").mkdir()
    code, out, err = lint(f"{tmp_path}/{name}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "Errno" not in err


def test_a_device_without_an_end_is_not_read_to_its_end(lint):
    code, out, err = lint("/dev/zero")
    assert (code, out) == (2, "")
    assert "larger than 16 MiB" in err


@pytest.fixture
def nobody():
    """`with nobody():` as a user from whom files can be kept; root gives itself up for that."""

    @contextlib.contextmanager
    def become():
        before = os.geteuid()
        if before == 0:
            os.seteuid(65534)
        try:
            if not os.access(ROOT / "images" / "images.toml", os.R_OK, effective_ids=True):
                pytest.skip("only root may enter this checkout, so nobody else can run what is in it")
            yield
        finally:
            os.seteuid(before)

    return become


@pytest.mark.parametrize("what", ["file", "directory", "waivers"])
def test_what_must_not_be_read(lint, manifests, nobody, what):
    forbidden = {"file": manifests / "all.yaml", "directory": manifests, "waivers": manifests / "lint-waivers.yaml"}[
        what
    ]
    if what == "waivers":
        forbidden.write_text("[]\n")
    for each in (manifests, *manifests.parents):
        if os.geteuid() == 0 and each != Path(each.anchor) and each.stat().st_uid == 0:
            each.chmod(each.stat().st_mode | 0o005)
    lint(manifests)  # everything is imported
    forbidden.chmod(0)
    try:
        with nobody():
            code, out, err = lint(forbidden if what == "file" else manifests)
    finally:
        forbidden.chmod(0o700)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "cannot be read: Permission denied" in err
