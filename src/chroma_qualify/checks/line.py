"""One line of history.jsonl: what it must be, and what it says. Called by `reader` and `sheet`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Final, TypeAlias

from chroma_qualify.checks.columns import FS, KINDS, NAMED, PHASES, VECTORS
from chroma_qualify.checks.operation import WRITES, F, Kind

Line: TypeAlias = dict[str, object]  # one parsed line, at the edge only

OK: Final = KINDS.index(Kind.OK)
INFO: Final = KINDS.index(Kind.INFO)
INVOKE: Final = len(KINDS)  # besides the kinds of completions
_F: Final = {f.value: number for number, f in enumerate(FS)}
_TYPE: Final = {**{kind.value: number for number, kind in enumerate(KINDS)}, "invoke": INVOKE}
_PHASE: Final = {phase.value: number for number, phase in enumerate(PHASES)}
_ORDER: Final = ("index", "time", "process", "type", "f", "collection", "endpoint", "phase")
_FIELDS: Final = frozenset((*_ORDER, "values", "ids", "k", "vectors", "near", "count", "error"))
_WRITES: Final = frozenset(FS.index(f) for f in WRITES)
_DELETE, _GET, _QUERY, _COUNT = (FS.index(f) for f in (F.DELETE, F.GET, F.QUERY, F.COUNT))
_DECODE: Final[Callable[[str], tuple[object, int]]] = json.JSONDecoder().raw_decode


@dataclasses.dataclass(slots=True)
class Said:
    """What one line says; numbers as in `columns`, but not coded.

    Attributes:
        type: of a completion its place in KINDS, else INVOKE.
    """

    index: int
    time: int
    process: int
    type: int
    f: int = 0
    collection: str = ""
    endpoint: str | None = None
    phase: int = 0
    flags: int = 0
    k: int = 0
    near: str | None = None
    values: dict[str, int] = dataclasses.field(default_factory=dict)
    ids: list[str] | None = None
    count: int = 0
    error: str = ""
    repeated: tuple[str, ...] = ()


def load(raw: bytes) -> object:
    """One line; `json.loads` guesses the encoding first, which takes as long as the rest."""
    text = raw.decode()
    line, end = _DECODE(text)
    return line if text[end:] == "\n" else json.loads(text)


def head(line: Line) -> Said:
    """What all lines have.

    Raises:
        KeyError, TypeError, ValueError: it is not of the format (here and below).
    """
    index, time, process = line["index"], line["time"], line["process"]
    if type(index) is not int or type(time) is not int or type(process) is not int:
        raise TypeError("index, time and process must be whole numbers")
    if not line.keys() <= _FIELDS:
        raise ValueError(f"unknown field {min(line.keys() - _FIELDS)!r}")
    return Said(index, time, process, _TYPE[line["type"]])  # type: ignore[index]


def invocation(line: Line, said: Said) -> None:
    """What an invocation says besides."""
    collection = line["collection"]
    if type(collection) is not str:
        raise TypeError("collection must be a string")
    said.collection = collection
    said.f = f = _F[line["f"]]  # type: ignore[index]
    if f in _WRITES:
        said.values = _values(line)
    said.ids = ids = _ids(line)
    if f == _DELETE and ids is None:
        raise ValueError("delete without ids")
    k = line.get("k", 0)
    near = line.get("near")
    endpoint = line.get("endpoint")
    if type(k) is not int or (f == _QUERY and k < 1):
        raise TypeError("k must be a whole number, at least 1")
    if (near is not None and type(near) is not str) or (endpoint is not None and type(endpoint) is not str):
        raise TypeError("near and endpoint must be strings")
    said.k, said.near, said.endpoint = k, near, endpoint
    said.phase = _PHASE[line["phase"]]  # type: ignore[index]
    said.flags = (VECTORS if line.get("vectors") is True else 0) | (0 if ids is None else NAMED)


def completion(line: Line, raw: bytes, said: Said, f: int, *, final: bool) -> None:
    """What a completion of an operation `f` says besides; not `final`: orjson read it, which has no large numbers."""
    if said.type != OK:
        words = line.get("error", "")
        if type(words) is not str and not final:
            raise TypeError("not a string: json is asked for its words")
        said.error = str(words)
    endpoint = line.get("endpoint")
    if endpoint is not None and type(endpoint) is not str:
        raise TypeError("endpoint must be a string")
    said.endpoint = endpoint
    if said.type == OK and f == _COUNT:
        count = line["count"]
        if type(count) is not int:
            raise TypeError("count must be a whole number")
        said.count = count
    elif said.type == OK and (f in {_GET, _QUERY}):
        if "values" not in line:
            raise ValueError(f"the answer of a {FS[f].value} has no values")
        said.values = _values(line)
        # JSON may name a key twice and the parser keeps the last: as many keys as `":`, or look closer.
        if raw.count(b'":') != len(line) + len(said.values) or b'" ' in raw:
            said.repeated = _repeated(raw)
        ids = _ids(line)
        if ids is not None and len(set(ids)) != len(ids):
            said.repeated += tuple(dict.fromkeys(id_ for id_ in ids if ids.count(id_) > 1))


def whole(line: Line, raw: bytes) -> Said:
    """A line by itself: a completion is taken to be of the operation that it names."""
    said = head(line)
    if said.type == INVOKE:
        invocation(line, said)
        return said
    collection = line["collection"]
    if type(collection) is not str:
        raise TypeError("collection must be a string")
    said.f, said.collection = _F[line["f"]], collection  # type: ignore[index]
    completion(line, raw, said, said.f, final=False)
    return said


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
