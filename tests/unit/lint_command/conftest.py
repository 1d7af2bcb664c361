"""The command as a shell sees it, and a small set of manifests to spoil."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

MANIFESTS = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: vectors
spec:
  replicas: 2
  strategy: {type: Recreate}
  selector: {matchLabels: {app: vectors}}
  template:
    metadata: {labels: {app: vectors}}
    spec:
      containers:
        - name: chroma
          image: chromadb/chroma:1.5.9
          volumeMounts: [{name: data, mountPath: /data}]
      volumes:
        - name: data
          persistentVolumeClaim: {claimName: vectors}
---
apiVersion: v1
kind: Service
metadata: {name: vectors}
spec:
  selector: {app: vectors}
  ports: [{port: 8000}]
"""
LOST = "two-servers-one-volume"


class _Stdin(io.TextIOWrapper):
    """What is piped in."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))


@pytest.fixture
def lint(monkeypatch, capsys, console):
    """Run `chroma-qualify lint …`; returns exit code, stdout, stderr."""

    def run(*args: object, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", _Stdin(stdin))
        capsys.readouterr()
        return console("lint", *map(str, args))

    return run


@pytest.fixture
def manifests(tmp_path) -> Path:
    """A directory of plain YAML with one fault: two servers on one volume."""
    directory = tmp_path / "manifests"
    directory.mkdir()
    (directory / "all.yaml").write_text(MANIFESTS)
    return directory
