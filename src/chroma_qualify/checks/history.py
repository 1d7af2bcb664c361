"""The recorded operations of one run, read from history.jsonl and paired; validity first.

The format is `history-format.md`, an interface: a line that says more or other than the format is refused, because
a judge that skips what it does not understand passes what it should not. Called by `checks.judge`; the recorder
writes, this reads. Pure: it takes lines, not paths.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import gc
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from chroma_qualify.errors import UsageError

Line: TypeAlias = dict[str, object]  # one parsed line, at the edge only


class Kind(enum.StrEnum):
    """How an operation ended. One without completion may or may not have happened: `info`."""

    OK = "ok"
    FAIL = "fail"
    INFO = "info"


class F(enum.StrEnum):
    """The Chroma operation."""

    ADD = "add"
    UPSERT = "upsert"
    DELETE = "delete"
    GET = "get"
    QUERY = "query"
    COUNT = "count"


class Phase(enum.StrEnum):
    """When, relative to the fault; `final` is after everything is healed."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"
    FINAL = "final"


@dataclasses.dataclass(slots=True, eq=False)
class Operation:
    """An invocation with its completion. Never changed once `parse` has returned it.

    (Not `frozen`: creating a frozen instance takes four times as long, and there are millions.)

    Attributes:
        index: of the invocation's line; `done`: of the completion's, or None if there is none.
        start: nanoseconds of the invocation; `end`: of the completion, or None.
        kind: how it ended.
        values: what a write wrote, or a `get`/`query` read; empty for everything else.
        ids: what a `delete` or `get` names; None: a `get` of all.
        repeated: ids that came more than once in the answer.
        phase: of the invocation.
    """

    index: int
    process: int
    f: F
    collection: str
    start: int
    phase: Phase
    values: Mapping[str, int]
    ids: tuple[str, ...] | None
    k: int
    vectors: bool
    near: str | None
    endpoint: str | None
    done: int | None = None
    end: int | None = None
    kind: Kind = Kind.INFO
    count: int | None = None
    error: str = ""
    repeated: tuple[str, ...] = ()

    def told(self) -> str:
        """The operation for a person: what, by whom, from when to when."""
        end = f"{self.end / 1e9:.3f} s" if self.end is not None else "no answer"
        at = f" at {self.endpoint}" if self.endpoint else ""
        kind = "" if self.kind is Kind.OK else f", {self.kind.value}"
        return f"{self.f.value}#{self.index} by process {self.process}{at} ({self.start / 1e9:.3f} s to {end}{kind})"


@dataclasses.dataclass(frozen=True, slots=True)
class History:
    """All operations in the order of their invocations.

    Attributes:
        lines: how many lines were read.
        flaws: sentences about what makes the history untrustworthy; empty: it is whole.
    """

    operations: tuple[Operation, ...]
    lines: int
    flaws: tuple[str, ...] = ()

    def only(self, collections: Collection[str]) -> History:
        """The same history without the operations of other collections; indices, `lines` and `flaws` stay."""
        kept = frozenset(collections)
        return dataclasses.replace(self, operations=tuple(op for op in self.operations if op.collection in kept))


WRITES: Final = frozenset((F.ADD, F.UPSERT))
_F: Final = {f.value: f for f in F}
_KIND: Final = {kind.value: kind for kind in Kind}
_PHASE: Final = {phase.value: phase for phase in Phase}
_NOTHING: Final[Mapping[str, int]] = {}
_ORDER: Final = ("index", "time", "process", "type", "f", "collection", "endpoint", "phase")
_FIELDS: Final = frozenset((*_ORDER, "values", "ids", "k", "vectors", "near", "count", "error"))
_SHOWN_FLAWS: Final = 10
_DECODE: Final[Callable[[str], tuple[object, int]]] = json.JSONDecoder().raw_decode


def parse(lines: Iterable[bytes]) -> History:
    """Read a history.

    Args:
        lines: as a file opened in binary mode gives them, each with its line end.

    Returns:
        The paired operations; what keeps them from being judged is in `flaws`.

    Raises:
        UsageError: this is no history of the known format (another file, an unknown field, a value of a wrong type).
    """
    with without_gc():
        return _parse(lines)


def _parse(lines: Iterable[bytes]) -> History:
    reader = _Reader()
    for number, raw in enumerate(lines):
        if raw[-1:] != b"\n":
            reader.flaw(f"the last line ({number + 1}) is cut off: the recorder was stopped while it wrote")
            break
        try:
            line = _load(raw)
        except (ValueError, RecursionError):
            if number == 0:
                raise _foreign("its first line is no JSON") from None
            reader.flaw(f"line {number + 1} is no JSON")
            break
        if type(line) is not dict:
            raise _foreign(f"line {number + 1} is no JSON object")
        try:
            reader.take(line, raw)
        except (KeyError, TypeError, ValueError) as error:
            raise _foreign(f"line {number + 1}: {_words(error)}") from None
    return reader.finish()


@contextlib.contextmanager
def without_gc() -> Iterator[None]:
    """Keep the cycle collector away: it would walk millions of objects that are in no cycle, again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _load(raw: bytes) -> object:
    """One line; `json.loads` guesses the encoding first, which takes as long as the rest."""
    text = raw.decode()
    line, end = _DECODE(text)
    return line if text[end:] == "\n" else json.loads(text)


class _Reader:
    """Pairs invocations and completions, and notes what breaks the order."""

    def __init__(self) -> None:
        self._operations: list[Operation] = []
        self._open: dict[int, Operation] = {}
        self._retired: set[int] = set()
        self._flaws: list[str] = []
        self._count = 0
        self._time = 0

    def flaw(self, sentence: str) -> None:
        self._flaws.append(sentence)

    def take(self, line: Line, raw: bytes) -> None:
        """Take the next line; raises KeyError, TypeError or ValueError if it is not of the format."""
        index, time, process = line["index"], line["time"], line["process"]
        if type(index) is not int or type(time) is not int or type(process) is not int:
            raise TypeError("index, time and process must be whole numbers")
        if not line.keys() <= _FIELDS:
            raise ValueError(f"unknown field {min(line.keys() - _FIELDS)!r}")
        if index != self._count:
            self.flaw(f"index {index} came where {self._count} was due")
        if time < self._time:
            self.flaw(f"time runs backwards at index {index}: {time} ns after {self._time} ns")
        self._count += 1
        self._time = time
        if line["type"] == "invoke":
            self._invoke(line, index, time, process)
        else:
            self._complete(line, raw, index, time, process)

    def _invoke(self, line: Line, index: int, time: int, process: int) -> None:
        before = self._open.get(process)
        if before is not None:
            self.flaw(f"process {process} began index {index} before {before.told()} was over")
        if process in self._retired:
            self.flaw(f"process {process} came back at index {index} after an info completion")
        collection = line["collection"]
        if type(collection) is not str:
            raise TypeError("collection must be a string")
        f = _F[line["f"]]  # type: ignore[index]
        values = _values(line) if f in WRITES else _NOTHING
        ids = _ids(line)
        if f is F.DELETE and ids is None:
            raise ValueError("delete without ids")
        k = line.get("k", 0)
        near = line.get("near")
        endpoint = line.get("endpoint")
        if type(k) is not int or (f is F.QUERY and k < 1):
            raise TypeError("k must be a whole number, at least 1")
        if (near is not None and type(near) is not str) or (endpoint is not None and type(endpoint) is not str):
            raise TypeError("near and endpoint must be strings")
        operation = Operation(
            index, process, f, collection, time, _PHASE[line["phase"]], values, ids, k,  # type: ignore[index]
            line.get("vectors") is True, near, endpoint,
        )  # fmt: skip
        self._open[process] = operation
        self._operations.append(operation)

    def _complete(self, line: Line, raw: bytes, index: int, time: int, process: int) -> None:
        kind = _KIND[line["type"]]  # type: ignore[index]
        operation = self._open.pop(process, None)
        if operation is None:
            self.flaw(f"the completion at index {index} belongs to no invocation of process {process}")
            return
        if line["f"] != operation.f.value or line["collection"] != operation.collection:
            self.flaw(f"the completion at index {index} names another operation than {operation.told()}")
        operation.done, operation.end, operation.kind = index, time, kind
        if kind is Kind.INFO:
            self._retired.add(process)
        if kind is not Kind.OK:
            operation.error = str(line.get("error", ""))
        endpoint = line.get("endpoint")
        if endpoint is not None:
            if type(endpoint) is not str:
                raise TypeError("endpoint must be a string")
            operation.endpoint = endpoint
        if kind is Kind.OK:
            _answer(operation, line, raw)

    def finish(self) -> History:
        """The history; an invocation that is the last of its process may lack its completion."""
        if not self._operations and not self._flaws:
            self.flaw("it holds no operation")
        flaws = self._flaws
        if len(flaws) > _SHOWN_FLAWS:
            flaws = [*flaws[:_SHOWN_FLAWS], f"and {len(flaws) - _SHOWN_FLAWS} more"]
        return History(tuple(self._operations), self._count, tuple(flaws))


def _answer(operation: Operation, line: Line, raw: bytes) -> None:
    """Put what an acknowledged read read into its operation."""
    if operation.f is F.COUNT:
        count = line["count"]
        if type(count) is not int:
            raise TypeError("count must be a whole number")
        operation.count = count
        return
    if operation.f is not F.GET and operation.f is not F.QUERY:
        return
    if "values" not in line:
        raise ValueError(f"the answer of a {operation.f.value} has no values")
    values = _values(line)
    operation.values = values
    # JSON may name a key twice and the parser keeps the last: as many keys as `":`, or look closer.
    if raw.count(b'":') != len(line) + len(values) or b'" ' in raw:
        operation.repeated = _repeated(raw)
    ids = _ids(line)
    if ids is not None and len(set(ids)) != len(ids):
        operation.repeated += tuple(dict.fromkeys(id_ for id_ in ids if ids.count(id_) > 1))


def _values(line: Line) -> dict[str, int]:
    values = line.get("values")
    if type(values) is not dict:
        raise TypeError("values must be an object")
    if values and set(map(type, values.values())) != {int}:
        raise TypeError("values must be whole numbers")
    return values


def _ids(line: Line) -> tuple[str, ...] | None:
    ids = line.get("ids")
    if ids is None:
        return None
    if type(ids) is not list or (ids and set(map(type, ids)) != {str}):
        raise TypeError("ids must be a list of strings")
    return tuple(ids)


def _repeated(raw: bytes) -> tuple[str, ...]:
    """Keys that stand more than once in one object of the line."""
    found: list[str] = []

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        seen: set[str] = set()
        for key, _ in items:
            if key in seen:
                found.append(key)
            seen.add(key)
        return dict(items)

    json.loads(raw, object_pairs_hook=pairs)
    return tuple(dict.fromkeys(found))


def _foreign(why: str) -> UsageError:
    return UsageError(f"this is no history that can be read: {why}", remedy="see docs: the format of history.jsonl")


def _words(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"missing or unknown: {error.args[0]!r}"
    return str(error)
