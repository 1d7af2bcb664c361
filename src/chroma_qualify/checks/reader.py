"""From lines to columns: what each line must be, and which completion belongs to which invocation.

Called by `history.parse`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

import orjson

from chroma_qualify.checks.columns import FS, KINDS, NAMED, NOBODY, OPEN, PHASES, VECTORS, WIDE, Columns
from chroma_qualify.checks.operation import WRITES, F, Kind
from chroma_qualify.errors import UsageError

Line: TypeAlias = dict[str, object]  # one parsed line, at the edge only

_F: Final = {f.value: f for f in F}
_KIND: Final = {kind.value: kind for kind in Kind}
_PHASE: Final = {phase.value: number for number, phase in enumerate(PHASES)}
_NUMBER: Final = {word: number for words in (FS, KINDS) for number, word in enumerate(words)}
_INFO: Final = KINDS.index(Kind.INFO)
_ORDER: Final = ("index", "time", "process", "type", "f", "collection", "endpoint", "phase")
_FIELDS: Final = frozenset((*_ORDER, "values", "ids", "k", "vectors", "near", "count", "error"))
_SHOWN_FLAWS: Final = 10
_DECODE: Final[Callable[[str], tuple[object, int]]] = json.JSONDecoder().raw_decode


def read(lines: Iterable[bytes]) -> tuple[Columns, int, tuple[str, ...]]:
    """All lines of a history: the columns, how many lines there were, and what is wrong with them.

    Raises:
        UsageError: this is no history.
    """
    reader = Reader()
    for raw in lines:
        if not reader.line(raw):
            break
    return reader.finish()


def _load(raw: bytes) -> object:
    """One line; `json.loads` guesses the encoding first, which takes as long as the rest."""
    text = raw.decode()
    line, end = _DECODE(text)
    return line if text[end:] == "\n" else json.loads(text)


class Reader:
    """Pairs invocations and completions, and notes what breaks the order."""

    def __init__(self) -> None:
        self.columns = Columns()
        self.count = 0  # of lines
        self.time = 0  # of the last one
        self.open: dict[int, int] = {}  # process to row
        self.retired: set[int] = set()
        self._flaws: list[str] = []

    def line(self, raw: bytes) -> bool:
        """Take the next line; False: it cannot be read, and nothing after it either.

        Raises:
            UsageError: it is not of the format.
        """
        if raw[-1:] != b"\n":
            self._flaws.append(f"the last line ({self.count + 1}) is cut off: the recorder was stopped while it wrote")
            return False
        try:
            if raw[:1] == b"{":
                self._take(orjson.loads(raw), raw)
                return True
        except (KeyError, TypeError, ValueError):
            pass  # either it is wrong, or it is one of the few lines that orjson reads in another way: look again
        try:
            line = _load(raw)
        except (ValueError, RecursionError):
            if self.count == 0:
                raise _foreign("its first line is no JSON") from None
            self._flaws.append(f"line {self.count + 1} is no JSON")
            return False
        if type(line) is not dict:
            raise _foreign(f"line {self.count + 1} is no JSON object")
        try:
            self._take(line, raw, final=True)
        except (KeyError, TypeError, ValueError) as error:
            raise _foreign(f"line {self.count + 1}: {_words(error)}") from None
        return True

    def _take(self, line: Line, raw: bytes, *, final: bool = False) -> None:
        """Take a parsed line; raises KeyError, TypeError or ValueError, and changes nothing, if it is of no format."""
        index, time, process = line["index"], line["time"], line["process"]
        if type(index) is not int or type(time) is not int or type(process) is not int:
            raise TypeError("index, time and process must be whole numbers")
        if not line.keys() <= _FIELDS:
            raise ValueError(f"unknown field {min(line.keys() - _FIELDS)!r}")
        flaws = []
        if index != self.count:
            flaws.append(f"index {index} came where {self.count} was due")
        if time < self.time:
            flaws.append(f"time runs backwards at index {index}: {time} ns after {self.time} ns")
        if line["type"] == "invoke":
            self._invoke(line, index, time, process, flaws)
        else:
            self._complete(line, raw, index, time, process, flaws, final)
        if index != self.count:
            self.columns.indices[self.count] = index
        self._flaws += flaws
        self.count += 1
        self.time = time

    def _invoke(self, line: Line, index: int, time: int, process: int, flaws: list[str]) -> None:
        before = self.open.get(process)
        if before is not None:
            flaws.append(f"process {process} began index {index} before {self._told(before)} was over")
        if process in self.retired:
            flaws.append(f"process {process} came back at index {index} after an info completion")
        collection = line["collection"]
        if type(collection) is not str:
            raise TypeError("collection must be a string")
        f = _F[line["f"]]  # type: ignore[index]
        values = _values(line) if f in WRITES else {}
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
        phase = _PHASE[line["phase"]]  # type: ignore[index]
        vectors = line.get("vectors") is True
        columns = self.columns
        row = len(columns.line)
        self.open[process] = row
        columns.line.append(self.count)
        columns.done.append(OPEN)
        columns.start.append(columns.wide.code(time))
        columns.end.append(0)
        columns.process.append(columns.narrow.code(process))
        columns.f.append(_NUMBER[f])
        columns.kind.append(_INFO)
        columns.phase.append(phase)
        columns.flags.append((VECTORS if vectors else 0) | (0 if ids is None else NAMED))
        columns.collection.append(columns.collections[collection])
        columns.endpoint.append(NOBODY if endpoint is None else columns.endpoints[endpoint])
        columns.named_at.append(len(columns.named))
        if ids:
            columns.named.extend([columns.ids[id_] for id_ in ids])
        columns.at.append(len(columns.values))
        columns.length.append(len(values))
        if values:
            self._put(values)
        if k or near is not None:
            columns.asked.append(row)
            columns.k.append(columns.wide.code(k))
            columns.near.append(NOBODY if near is None else columns.ids[near])

    def _complete(
        self, line: Line, raw: bytes, index: int, time: int, process: int, flaws: list[str], final: bool
    ) -> None:
        kind = _KIND[line["type"]]  # type: ignore[index]
        row = self.open.get(process)
        if row is None:
            flaws.append(f"the completion at index {index} belongs to no invocation of process {process}")
            return
        columns = self.columns
        f, collection = FS[columns.f[row]], columns.collections.all[columns.collection[row]]
        if line["f"] != f.value or line["collection"] != collection:
            flaws.append(f"the completion at index {index} names another operation than {self._told(row)}")
        error = _error(line, final) if kind is not Kind.OK else ""
        endpoint = line.get("endpoint")
        if endpoint is not None and type(endpoint) is not str:
            raise TypeError("endpoint must be a string")
        values: dict[str, int] = {}
        repeated: tuple[str, ...] = ()
        if kind is Kind.OK and f is F.COUNT:
            count = line["count"]
            if type(count) is not int:
                raise TypeError("count must be a whole number")
            columns.at[row] = columns.narrow.code(count) if count >= 0 else columns.narrow.odd(count)
        elif kind is Kind.OK and f in _READS:
            values, repeated = _answer(f, line, raw)
        del self.open[process]
        columns.done[row] = self.count
        columns.end[row] = columns.wide.code(time)
        columns.kind[row] = _NUMBER[kind]
        if kind is Kind.INFO:
            self.retired.add(process)
        if error:
            columns.error[row] = error
        if endpoint is not None:
            columns.endpoint[row] = columns.endpoints[endpoint]
        if repeated:
            columns.repeated[row] = repeated
        if values:
            columns.at[row] = len(columns.values)
            columns.length[row] = len(values)
            self._put(values)

    def _put(self, values: dict[str, int]) -> None:
        columns, ids = self.columns, self.columns.ids
        columns.value_ids.extend([ids[id_] for id_ in values])
        numbers = list(values.values())
        if not -WIDE <= min(numbers) <= max(numbers) < WIDE:
            numbers = list(map(columns.wide.code, numbers))
        columns.values.extend(numbers)

    def _told(self, row: int) -> str:
        return self.columns.operation(row).told()

    def finish(self) -> tuple[Columns, int, tuple[str, ...]]:
        """Everything; an invocation that is the last of its process may lack its completion."""
        flaws = self._flaws
        if not self.columns.line and not flaws:
            flaws.append("it holds no operation")
        if len(flaws) > _SHOWN_FLAWS:
            flaws = [*flaws[:_SHOWN_FLAWS], f"and {len(flaws) - _SHOWN_FLAWS} more"]
        self.columns.freeze()
        return self.columns, self.count, tuple(flaws)


_READS: Final = frozenset((F.GET, F.QUERY))


def _error(line: Line, final: bool) -> str:
    said = line.get("error", "")
    if type(said) is not str and not final:
        raise TypeError("not a string: json is asked for its words")
    return str(said)


def _answer(f: F, line: Line, raw: bytes) -> tuple[dict[str, int], tuple[str, ...]]:
    """What an acknowledged read read, and what came more than once in it."""
    if "values" not in line:
        raise ValueError(f"the answer of a {f.value} has no values")
    values = _values(line)
    repeated: tuple[str, ...] = ()
    # JSON may name a key twice and the parser keeps the last: as many keys as `":`, or look closer.
    if raw.count(b'":') != len(line) + len(values) or b'" ' in raw:
        repeated = _repeated(raw)
    ids = _ids(line)
    if ids is not None and len(set(ids)) != len(ids):
        repeated += tuple(dict.fromkeys(id_ for id_ in ids if ids.count(id_) > 1))
    return values, repeated


def _values(line: Line) -> dict[str, int]:
    values = line.get("values")
    if type(values) is not dict:
        raise TypeError("values must be an object")
    if values and set(map(type, values.values())) != {int}:
        raise TypeError("values must be whole numbers")
    return values


def _ids(line: Line) -> list[str] | None:
    ids = line.get("ids")
    if ids is None:
        return None
    if type(ids) is not list or (ids and set(map(type, ids)) != {str}):
        raise TypeError("ids must be a list of strings")
    return ids


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
