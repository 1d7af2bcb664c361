"""What a collection held at an earlier time, as far as one proxy saw it written."""

from __future__ import annotations

import base64
import dataclasses
import threading
import time
from typing import Any

import numpy as np

Row = tuple[Any, Any]  # embedding, metadata


class Past:
    """A log of acknowledged writes; `add` of what is there already changes nothing, as with Chroma."""

    def __init__(self) -> None:
        self._log: dict[str, list[tuple[float, str, Row | None]]] = {}
        self._lock = threading.Lock()

    def note(self, op: str, collection: str, body: dict[str, Any]) -> None:
        """A write is about to be acknowledged."""
        with self._lock:
            log = self._log.setdefault(collection, [])
            now = time.monotonic()
            if op == "delete":
                log += [(now, id_, None) for id_ in body["ids"]]
                return
            there = _replay(log, now) if op == "add" else {}
            rows = zip(body["ids"], map(_vector, body["embeddings"]), body["metadatas"], strict=True)
            log += [(now, id_, (vector, metadata)) for id_, vector, metadata in rows if id_ not in there]

    def changed_since(self, when: float, collection: str | None = None) -> set[str]:
        """Ids written or deleted after that time, in one collection or in any."""
        with self._lock:
            logs = self._log.values() if collection is None else [self._log.get(collection, [])]
            return {id_ for log in logs for at, id_, _ in log if at > when}

    def at(self, collection: str, when: float) -> Held:
        """The records at that time."""
        with self._lock:
            return Held(_replay(self._log.get(collection, []), when))


@dataclasses.dataclass(frozen=True)
class Held:
    """Records, and Chroma's answers about them."""

    rows: dict[str, Row]

    def __len__(self) -> int:
        return len(self.rows)

    def get(self, body: dict[str, Any]) -> dict[str, Any]:
        """By id, or all of them, page by page."""
        ids = list(self.rows) if body["ids"] is None else [id_ for id_ in body["ids"] if id_ in self.rows]
        start = body["offset"] or 0
        return self._answer(ids[start : start + (body["limit"] or len(ids))], body["include"])

    def query(self, body: dict[str, Any]) -> dict[str, Any]:
        """The nearest, by looking at all of them."""
        ids = list(self.rows)
        near = np.asarray(body["query_embeddings"][0], dtype=np.float32)
        order = np.argsort([-float(near @ self.rows[id_][0]) for id_ in ids], kind="stable")
        flat = self._answer([ids[row] for row in order[: body["n_results"]]], body["include"])
        return {key: [column] if key != "include" and column is not None else column for key, column in flat.items()}

    def _answer(self, ids: list[str], include: list[str]) -> dict[str, Any]:
        vectors = [self.rows[id_][0].tolist() for id_ in ids] if "embeddings" in include else None
        return {
            "ids": ids,
            "embeddings": vectors,
            "metadatas": [self.rows[id_][1] for id_ in ids],
            "documents": None,
            "uris": None,
            "include": include,
        }


def _replay(log: list[tuple[float, str, Row | None]], when: float) -> dict[str, Row]:
    held: dict[str, Row] = {}
    for at, id_, row in log:
        if at > when:
            break
        if row is None:
            held.pop(id_, None)
        else:
            held[id_] = row
    return held


def _vector(sent: str | list[float]) -> Any:
    """Clients send base64 of float32 where the server takes it."""
    return np.frombuffer(base64.b64decode(sent), "<f4") if isinstance(sent, str) else np.asarray(sent, np.float32)
