"""The words of history.jsonl: what was asked of Chroma, and what came of it.

`history-format.md` is the interface; this file is the writing side of it. `checks` reads the same
lines with a parser of its own, so that a mistake here cannot hide behind the same mistake there.
Used by `workload.recorder` (lines) and by everything that records.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import time
from collections.abc import Callable, Iterable
from json.encoder import encode_basestring_ascii as _quote

Clock = Callable[[], int]
Pairs = tuple[tuple[str, int], ...]


class Op(enum.StrEnum):
    """Operations of Chroma, `f` in a line."""

    ADD = "add"
    UPSERT = "upsert"
    DELETE = "delete"
    GET = "get"
    QUERY = "query"
    COUNT = "count"

    @property
    def writes(self) -> bool:
        """May it change what the server holds."""
        return self in (Op.ADD, Op.UPSERT, Op.DELETE)


class Outcome(enum.StrEnum):
    """How an operation ended, `type` of a completion."""

    OK = "ok"
    FAIL = "fail"  # it certainly did not happen; of a read: nothing was read
    INFO = "info"  # it may or may not have happened, or may yet happen


class Phase(enum.StrEnum):
    """When, relative to the fault."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"
    FINAL = "final"


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """What is asked; the fields are those of an invocation.

    Attributes:
        f: the operation.
        collection: its collection's name.
        phase: when.
        endpoint: the pod that is asked; None: through the Service.
        values: writes: id and value of each record.
        ids: `delete`, and `get` of some ids; None: all.
        k: `query`: how many neighbours.
        vectors: `get`: with the embeddings.
        near: `query`: the id whose own embedding is the query vector.
    """

    f: Op
    collection: str
    phase: Phase
    endpoint: str | None = None
    values: Pairs | None = None
    ids: tuple[str, ...] | None = None
    k: int | None = None
    vectors: bool = False
    near: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call; the fields are those of a completion.

    Attributes:
        outcome: how it ended.
        values: reads: id and value of each record, in the order of the answer, a repeated one repeated.
        count: `count` only.
        error: what went wrong, in one line; only when not ok.
    """

    outcome: Outcome
    values: Pairs | None = None
    count: int | None = None
    error: str | None = None

    @property
    def ok(self) -> bool:
        """Did the server acknowledge it."""
        return self.outcome is Outcome.OK


def run_clock(origin: int | None = None) -> Clock:
    """The clock of a run: monotonic nanoseconds since this call, or since `origin`, another process's call of it."""
    start = time.monotonic_ns() if origin is None else origin
    return lambda: time.monotonic_ns() - start


def invocation(process: int, call: Call) -> str:
    """The line of an invocation, from `process` on; the recorder puts index and time before it."""
    parts = [_head(process, "invoke", call)]
    if call.values is not None:
        parts.append(f'"values":{_object(call.values)}')
    if call.ids is not None:
        parts.append(f'"ids":{json.dumps(call.ids, separators=(",", ":"))}')
    if call.k is not None:
        parts.append(f'"k":{call.k}')
    if call.vectors:
        parts.append('"vectors":true')
    if call.near is not None:
        parts.append(f'"near":{_quote(call.near)}')
    return ",".join(parts)


def completion(process: int, call: Call, answer: Answer) -> str:
    """The line of a completion, from `process` on."""
    parts = [_head(process, answer.outcome.value, call)]
    if answer.values is not None:
        parts.append(f'"values":{_object(answer.values)}')
    if answer.count is not None:
        parts.append(f'"count":{answer.count}')
    if answer.error is not None:
        parts.append(f'"error":{_quote(answer.error)}')
    return ",".join(parts)


def _head(process: int, type_: str, call: Call) -> str:
    endpoint = "null" if call.endpoint is None else _quote(call.endpoint)
    return (
        f'"process":{process},"type":"{type_}","f":"{call.f.value}","collection":{_quote(call.collection)},'
        f'"endpoint":{endpoint},"phase":"{call.phase.value}"'
    )


def _object(pairs: Iterable[tuple[str, int]]) -> str:
    """A JSON object, written by hand: an answer with an id twice must keep both (rule `duplicate`)."""
    return "{" + ",".join(f"{_quote(id_)}:{value}" for id_, value in pairs) + "}"
