"""Run directories made by hand: each file as the recorder of it writes it."""

from __future__ import annotations

import json
from pathlib import Path

SECOND = 1_000_000_000


class History:
    """Lines of history.jsonl: each operation with its own begin and end, in seconds."""

    def __init__(self) -> None:
        self._events: list[tuple[float, dict[str, object]]] = []
        self._processes = 0

    def add(self, f: str, begin: float, took: float | None, kind: str = "ok", **fields: object) -> History:
        """One operation; `took` None: it has no answer. Of the answer are `count`, `error` and a read's `values`."""
        process, self._processes = self._processes, self._processes + 1
        common = {"process": process, "f": f, "collection": fields.pop("collection", "c"),
                  "endpoint": fields.pop("endpoint", None), "phase": fields.pop("phase", "before")}  # fmt: skip
        answer = {name: fields.pop(name) for name in ("count", "error") if name in fields}
        if f in {"get", "query"} and "values" in fields:
            answer["values"] = fields.pop("values")
        self._events.append((begin, {**common, "type": "invoke", **fields}))
        if took is not None:
            self._events.append((begin + took, {**common, "type": kind, **answer}))
        return self

    def text(self) -> str:
        events = sorted(self._events, key=lambda event: event[0])
        lines = [{"index": number, "time": round(at * SECOND), **line} for number, (at, line) in enumerate(events)]
        return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)

    def write(self, directory: Path) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "history.jsonl").write_text(self.text())
        return directory


def write_lines(path: Path, *lines: dict[str, object], tail: str = "") -> None:
    """A file of JSON lines, and what comes after them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)


def ns(seconds: float) -> int:
    return round(seconds * SECOND)
