"""Histories as short tables: `write("p0", "w1", a=1)` … made into the bytes of history.jsonl."""

from __future__ import annotations

import json

import numpy as np

from chroma_qualify.checks.history import parse
from chroma_qualify.checks.judge import judge
from chroma_qualify.checks.limits import Limits


class Lines:
    """Builds a history line by line; each operation is sequential unless `begin` and `end` are used."""

    def __init__(self) -> None:
        self.lines: list[dict[str, object]] = []
        self.time = 0
        self.processes = 0

    def line(self, **fields: object) -> dict[str, object]:
        self.time += 1_000_000
        line = {"index": len(self.lines), "time": self.time, **fields}
        self.lines.append(line)
        return line

    def begin(self, f: str, phase: str = "before", process: int | None = None, **fields: object) -> dict[str, object]:
        if process is None:
            process = self.processes
            self.processes += 1
        fields.setdefault("collection", "c")
        return self.line(process=process, type="invoke", f=f, phase=phase, **fields)

    def end(self, begun: dict[str, object], kind: str = "ok", **fields: object) -> Lines:
        repeated = {key: begun[key] for key in ("process", "f", "collection", "phase")}
        self.line(**repeated, type=kind, **fields)
        return self

    def write(self, f: str = "upsert", kind: str = "ok", phase: str = "before", **values: int) -> Lines:
        return self.end(self.begin(f, phase, values=values), kind, **({} if kind == "ok" else {"error": "boom"}))

    def delete(self, *ids: str, kind: str = "ok", phase: str = "before") -> Lines:
        return self.end(self.begin("delete", phase, ids=list(ids)), kind)

    def read(self, phase: str = "final", endpoint: str | None = None, ids=None, vectors=False, **values: int) -> Lines:
        fields: dict[str, object] = {}
        if ids is not None:
            fields["ids"] = list(ids)
        if vectors:
            fields["vectors"] = True
        return self.end(self.begin("get", phase, **fields), endpoint=endpoint, values=values)

    def query(self, near: str | None = None, k: int = 10, phase: str = "final", endpoint=None, **values: int) -> Lines:
        fields = {} if near is None else {"near": near}
        return self.end(self.begin("query", phase, k=k, **fields), endpoint=endpoint, values=values)

    def count(self, number: int, phase: str = "final", endpoint: str | None = None) -> Lines:
        return self.end(self.begin("count", phase), endpoint=endpoint, count=number)

    def final(self, **values: int) -> Lines:
        return self.read(**values).read(vectors=True, **values)

    def raw(self) -> bytes:
        return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in self.lines)


def circle(values):
    """Embeddings on a circle: neighbours are those of the nearest value."""
    angles = np.asarray(values, dtype=np.float64) / 100
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def findings(lines: Lines | bytes, limits: Limits | None = None):
    raw = lines if isinstance(lines, bytes) else lines.raw()
    return judge(parse(raw.splitlines(keepends=True)), limits or Limits(), circle)


def rules(lines: Lines | bytes, limits: Limits | None = None) -> list[str]:
    return [finding.rule for finding in findings(lines, limits)]
