"""Reads a history back with nothing of ours but the format, and says what is wrong with it."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

FIELDS = {
    "index", "time", "process", "type", "f", "collection", "endpoint", "values", "ids",
    "k", "vectors", "near", "count", "error", "phase",
}  # fmt: skip


def read(path: Path, *, cut: bool = False) -> list[dict]:
    """The lines; `cut`: the last may be half a line, which is left out."""
    text = path.read_text()
    lines = text.split("\n")
    assert cut or lines[-1] == ""
    return [json.loads(line) for line in lines[:-1]]


def validate(lines: list[dict]) -> None:
    """What history-format.md promises of every history."""
    assert [line["index"] for line in lines] == list(range(len(lines)))
    assert all(first["time"] <= second["time"] for first, second in itertools.pairwise(lines))
    opened: dict[int, dict] = {}
    retired: set[int] = set()
    written: set[int] = set()
    for line in lines:
        assert set(line) <= FIELDS
        process = line["process"]
        assert process not in retired, f"process {process} returned after info"
        if line["type"] == "invoke":
            assert process not in opened, f"process {process} does two things at once"
            opened[process] = line
            if line["f"] in {"add", "upsert"}:
                new = set(line["values"].values())
                assert len(new) == len(line["values"])
                assert not new & written, "a value used twice"
                written |= new
        else:
            asked = opened.pop(process)
            assert all(asked[key] == line[key] for key in ("process", "f", "collection", "phase", "endpoint"))
            assert ("error" in line) == (line["type"] != "ok")
            if line["type"] == "info":
                assert line["f"] in {"add", "upsert", "delete"}
                retired.add(process)
