"""A proxy in front of a real Chroma that lies in one way, and keeps a list of its lies.

What is lied about follows from the id or the value of a record alone, so the same records are lied about
however the lanes and the machine interleave. Values count the records that a lane writes (see `plans`), so
`value % 100` takes exactly every hundredth of them.
"""

from __future__ import annotations

import dataclasses
import json
import re
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lying_past import Past
from passing_proxy import Handler, PassingProxy

Json = dict[str, Any]
Reply = tuple[int, Any]  # status, and what becomes JSON

LAG = 5.0  # seconds that `Stale` is behind
_ONE_OF = 100
_PATH = re.compile(r"/collections/([0-9a-f-]{36})/(add|upsert|get|query|count|delete)(\?.*)?$")
_COLUMNS = ("ids", "embeddings", "metadatas", "documents", "uris", "distances")


@dataclasses.dataclass(frozen=True)
class Asked:
    """An operation on a collection, and how to have the server do it (or another one in its place)."""

    op: str
    collection: str
    body: Json
    pass_on: Callable[[Json], Reply]

    @property
    def writes(self) -> bool:
        return self.op in {"add", "upsert"}

    def honestly(self) -> Reply:
        return self.pass_on(self.body)


class Lie:
    """The honest one. `told`: operation and id of every lie."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self._lock = threading.Lock()

    @property
    def ids(self) -> set[str]:
        """Which records it lied about."""
        with self._lock:
            return {id_ for _, id_ in self.told}

    def times(self, *ops: str) -> int:
        """How many lies were told in answers to these operations."""
        with self._lock:
            return sum(op in ops for op, _ in self.told)

    def answer(self, asked: Asked) -> Reply:
        return asked.honestly()

    def _tell(self, op: str, ids: Iterable[str]) -> None:
        with self._lock:
            self.told += [(op, id_) for id_ in ids]


class Drop(Lie):
    """Acknowledges every `one_of`th written record and does not write it."""

    def __init__(self, one_of: int = _ONE_OF) -> None:
        super().__init__()
        self._one_of = one_of

    def answer(self, asked: Asked) -> Reply:
        if not asked.writes:
            return asked.honestly()
        body = asked.body
        dropped = set(_every(body, self._one_of))
        kept = [row for row in range(len(body["ids"])) if row not in dropped]
        self._tell(asked.op, [body["ids"][row] for row in dropped])
        return asked.pass_on(_take(body, kept)) if kept else (200, {})


class Swap(Lie):
    """Writes every hundredth record and the next one of its batch with each other's value."""

    swapped = ("metadatas",)

    def answer(self, asked: Asked) -> Reply:
        if not asked.writes or len(asked.body["ids"]) < 2:
            return asked.honestly()
        body = {**asked.body, **{key: list(asked.body[key]) for key in self.swapped}}
        for row in _every(asked.body, _ONE_OF):
            other = (row + 1) % len(body["ids"])
            for key in self.swapped:
                body[key][row], body[key][other] = body[key][other], body[key][row]
            self._tell(asked.op, (body["ids"][row], body["ids"][other]))
        return asked.pass_on(body)


class SwapWhole(Swap):
    """Their vectors, too, so that each vector still fits its value."""

    swapped = ("metadatas", "embeddings")


class SwapVectors(Swap):
    """Only their vectors: no value is wrong, but each of the two is found where the other should be."""

    swapped = ("embeddings",)


class Undead(Lie):
    """Answers a delete of some ids as if it were done."""

    def answer(self, asked: Asked) -> Reply:
        if asked.op != "delete":
            return asked.honestly()
        ids = asked.body["ids"]
        kept = [id_ for id_ in ids if not chosen(id_, 10)]
        self._tell(asked.op, set(ids) - set(kept))
        if kept:
            status, _ = asked.pass_on({**asked.body, "ids": kept})
            assert status == 200
        return 200, {"deleted": len(ids)}


class CountLess(Lie):
    """Leaves some records out of every `count`."""

    def answer(self, asked: Asked) -> Reply:
        status, answer = asked.honestly()
        if status != 200 or asked.op != "count" or answer < 3:
            return status, answer
        self._tell(asked.op, ["three of them"])
        return status, answer - 3


class _InAnswers(Lie):
    """Falsifies the rows of what `get` and `query` answer."""

    ops = frozenset({"get", "query"})

    def answer(self, asked: Asked) -> Reply:
        status, answer = asked.honestly()
        if status != 200 or asked.op not in self.ops:
            return status, answer
        if asked.op == "get":
            return status, _take(answer, self.rows(asked, answer["ids"]))
        flat = {key: column[0] if key in _COLUMNS and column else column for key, column in answer.items()}
        flat = _take(flat, self.rows(asked, flat["ids"]))
        nested = {key: [column] for key, column in flat.items() if key in _COLUMNS and column is not None}
        return status, {**flat, **nested}

    def rows(self, asked: Asked, ids: Sequence[str]) -> list[int]:
        """Which rows to answer, and in which order."""
        raise NotImplementedError


class Repeat(_InAnswers):
    """Gives some records twice."""

    def rows(self, asked: Asked, ids: Sequence[str]) -> list[int]:
        again = [row for row, id_ in enumerate(ids) if chosen(id_)]
        self._tell(asked.op, [ids[row] for row in again])
        return [*range(len(ids)), *again]


class Truncate(_InAnswers):
    """Gives the nearer half of what a query found."""

    ops = frozenset({"query"})

    def rows(self, asked: Asked, ids: Sequence[str]) -> list[int]:
        half = (len(ids) + 1) // 2
        self._tell(asked.op, ids[half:])
        return list(range(half))


class Hide(_InAnswers):
    """Leaves some records out of every `get` and `query`: one of the two faces."""

    def rows(self, asked: Asked, ids: Sequence[str]) -> list[int]:
        kept = [row for row, id_ in enumerate(ids) if not chosen(id_)]
        self._tell(asked.op, set(ids) - {ids[row] for row in kept})
        return kept


class LoseIndex(Hide):
    """What a server does whose index has lost records that the store has."""

    ops = frozenset({"query"})

    def answer(self, asked: Asked) -> Reply:
        status, answer = super().answer(asked)
        if asked.op == "get" and status == 200 and "embeddings" in asked.body["include"]:
            lost = [id_ for id_ in answer["ids"] if chosen(id_)]
            if lost:
                self._tell(asked.op, lost)
                return 500, {"error": "InternalError", "message": "Error executing plan: Error finding id"}
        return status, answer


class Invent(_InAnswers):
    """Gives a record that nobody wrote, with the value of another."""

    def rows(self, asked: Asked, ids: Sequence[str]) -> list[int]:  # noqa: ARG002
        return [*range(len(ids)), *([0] if ids else [])]

    def answer(self, asked: Asked) -> Reply:
        status, answer = super().answer(asked)
        if status == 200 and asked.op in self.ops:
            ids = answer["ids"] if asked.op == "get" else answer["ids"][0]
            if ids:
                ids[-1] = f"invented-{zlib.crc32(ids[-1].encode())}"
                self._tell(asked.op, ids[-1:])
        return status, answer


class Stale(Lie):
    """Answers every read with what the collection held `LAG` seconds ago; when that is what it holds now, the truth."""

    def __init__(self) -> None:
        super().__init__()
        self.old = 0  # lies that were not just "nothing there yet"
        self._past = Past()

    def behind(self) -> bool:
        """Is there anything that the next read would not see."""
        return self._past.changed_since(time.monotonic() - LAG) != set()

    def answer(self, asked: Asked) -> Reply:
        if asked.writes or asked.op == "delete":
            status, answer = asked.honestly()
            if status < 300:
                self._past.note(asked.op, asked.collection, asked.body)
            return status, answer
        when = time.monotonic() - LAG
        changed = self._past.changed_since(when, asked.collection)
        if not changed:
            return asked.honestly()
        held = self._past.at(asked.collection, when)
        if asked.op == "count":
            return 200, len(held)
        self.old += len(held) > 0
        answer = held.get(asked.body) if asked.op == "get" else held.query(asked.body)
        self._tell(asked.op, changed.intersection(asked.body["ids"] or changed))
        return 200, answer


class LyingProxy(PassingProxy):
    """Passes everything on but what its lie is about."""

    def __init__(self, port: int, lie: Lie) -> None:
        self.lie = lie
        self.errors: list[Exception] = []
        super().__init__(port)

    def handle(self, handler: Handler, body: bytes) -> None:
        place = _PATH.search(handler.path)
        if place is None:
            super().handle(handler, body)
            return

        def pass_on(changed: Json) -> Reply:
            status, data = self.forward(handler, json.dumps(changed).encode() if changed else body)
            return status, json.loads(data)

        try:
            asked = Asked(place[2], place[1], json.loads(body) if body else {}, pass_on)
            status, answer = self.lie.answer(asked)
        except Exception as error:
            self.errors.append(error)  # a mistake of the proxy must not pass for one of the server
            raise
        handler.reply(status, json.dumps(answer).encode())


def _every(body: Json, one_of: int) -> list[int]:
    """The rows of a write whose number is due."""
    return [row for row, data in enumerate(body["metadatas"]) if data["value"] % one_of == one_of - 1]


def chosen(id_: str, one_of: int = _ONE_OF) -> bool:
    """Is this id one of those that are lied about."""
    return zlib.crc32(id_.encode()) % one_of == 0


def _take(columns: Json, rows: Sequence[int]) -> Json:
    return {
        key: [column[row] for row in rows] if key in _COLUMNS and column is not None else column
        for key, column in columns.items()
    }
