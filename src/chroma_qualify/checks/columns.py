"""Millions of operations as columns: about 60 bytes each instead of 700.

`reader` appends, `plain` computes on the columns as numpy arrays, everyone else sees `Operations`, a sequence that
makes an `Operation` of a row when it is looked at. Ids and names are interned; numbers that do not fit into a column
(JSON knows integers of any size, and a history that holds one is odd, not foreign) are coded.
"""

from __future__ import annotations

import bisect
from array import array
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from chroma_qualify.checks.operation import F, Kind, Operation, Phase

Column: TypeAlias = Any  # array while rows are appended, npt.NDArray after that
FS: Final = tuple(F)  # the codes of the columns f, kind and phase are places in these
KINDS: Final = tuple(Kind)
PHASES: Final = tuple(Phase)
VECTORS, NAMED = 1, 2  # bits of the column flags: embeddings asked for; `ids` is not None
OPEN: Final = -1  # in `done`: no completion
NOBODY: Final = -1  # in `endpoint`: None
_SHORT: Final = (1 << 15) - 1
WIDE, NARROW = 1 << 62, 1 << 30  # what is below is its own code, in columns of 64 and of 32 bits


class Codes:
    """Integers of any size as integers of a column: small ones as they are, each other one as `limit` + a number."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._odd: dict[int, int] = {}
        self._back: list[int] = []

    def code(self, number: int) -> int:
        """The code; equal numbers have equal codes."""
        return number if -self._limit <= number < self._limit else self.odd(number)

    def odd(self, number: int) -> int:
        """The code of any number as if it were a big one, so that it is positive."""
        known = self._odd.setdefault(number, self._limit + len(self._back))
        if known == self._limit + len(self._back):
            self._back.append(number)
        return known

    def number(self, code: int) -> int:
        """What was coded."""
        return code if code < self._limit else self._back[code - self._limit]


class Names(dict[str, int]):
    """Strings as numbers 0, 1, 2 … in the order in which they are first asked for: `names["a"]`."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[str] = []

    def __missing__(self, name: str) -> int:
        self[name] = number = len(self.all)
        self.all.append(name)
        return number


class Columns:
    """One row for each operation, in the order of the invocations.

    While a history is read the columns are growing `array`s; after `freeze` they are numpy arrays on the same memory.

    Attributes:
        line: of the invocation, counted from 0; `done`: of the completion, or OPEN.
        start: time of the invocation, `end`: of the completion, coded (nanoseconds).
        process: coded.
        f: place in FS; `kind` in KINDS, `phase` in PHASES; `flags`: bits.
        collection: place in `collections`; `endpoint` in `endpoints`, or NOBODY.
        at: where the operation's part of `value_ids` and `values` begins (a `count`: the coded number);
            `length`: of that part.
        named_at: where its part of `named` begins; it ends where that of the next operation begins.
        value_ids: of all `values` objects one after the other: place in `ids`; `values`: coded.
        named: of all `ids` lists one after the other: place in `ids`.
        asked: the rows that have `k` or `near`; `k`: coded; `near`: place in `ids`, or NOBODY.
        error: row to words; `repeated`: row to ids; both are rare.
        indices: lines whose `index` is not their number (the history is flawed then), to that index.
    """

    def __init__(self) -> None:
        self.line: Column = array("i")
        self.done: Column = array("i")
        self.start: Column = array("q")
        self.end: Column = array("q")
        self.process: Column = array("i")
        self.f: Column = array("B")
        self.kind: Column = array("B")
        self.phase: Column = array("B")
        self.flags: Column = array("B")
        self.collection: Column = array("h")  # wider as soon as there are so many
        self.endpoint: Column = array("h")
        self.at: Column = array("I")
        self.length: Column = array("I")
        self.named_at: Column = array("I")
        self.value_ids: Column = array("i")
        self.values: Column = array("q")
        self.named: Column = array("i")
        self.asked: Column = array("i")
        self.k: Column = array("q")
        self.near: Column = array("i")
        self.error: dict[int, str] = {}
        self.repeated: dict[int, tuple[str, ...]] = {}
        self.indices: dict[int, int] = {}
        self.ids = Names()
        self.collections = Names()
        self.endpoints = Names()
        self.wide = Codes(WIDE)
        self.narrow = Codes(NARROW)

    def collection_of(self, name: str) -> int:
        """The place of a collection, for the column."""
        number = self.collections[name]
        if number > _SHORT and self.collection.typecode == "h":
            self.collection = array("i", self.collection)
        return number

    def endpoint_of(self, name: str | None) -> int:
        """The place of an endpoint, for the column."""
        number = NOBODY if name is None else self.endpoints[name]
        if number > _SHORT and self.endpoint.typecode == "h":
            self.endpoint = array("i", self.endpoint)
        return number

    def freeze(self) -> None:
        """No more rows: from now on numpy arrays, on the same memory."""
        for name, column in vars(self).items():
            if isinstance(column, array):
                kind = np.dtype(f"{'u' if column.typecode.isupper() else 'i'}{column.itemsize}")
                setattr(self, name, np.frombuffer(column, kind) if column else np.empty(0, kind))

    def operation(self, row: int, only: npt.NDArray[np.bool_] | None = None) -> Operation:
        """One row as an operation; of its `values` those of `only` these ids (a flag for each)."""
        f, kind, flags = FS[self.f[row]], KINDS[self.kind[row]], self.flags[row]
        line, done, endpoint = int(self.line[row]), int(self.done[row]), self.endpoint[row]
        at, wide, ids = int(self.at[row]), self.wide.number, self.ids.all
        values: dict[str, int] = {}
        if f is not F.COUNT and self.length[row]:
            part = slice(at, at + int(self.length[row]))
            numbers, codes = self.value_ids[part], self.values[part]
            if only is not None:
                kept = only[numbers]
                numbers, codes = numbers[kept], codes[kept]
            values = {ids[id_]: wide(code) for id_, code in zip(numbers.tolist(), codes.tolist(), strict=True)}
        named = None
        if flags & NAMED:
            until = int(self.named_at[row + 1]) if row + 1 < len(self.named_at) else len(self.named)
            named = tuple(ids[id_] for id_ in self.named[int(self.named_at[row]) : until].tolist())
        here = bisect.bisect_left(self.asked, row)
        asked = here < len(self.asked) and self.asked[here] == row
        near = int(self.near[here]) if asked else NOBODY
        return Operation(
            self.indices.get(line, line),
            self.narrow.number(int(self.process[row])),
            f,
            self.collections.all[self.collection[row]],
            wide(int(self.start[row])),
            PHASES[self.phase[row]],
            values,
            named,
            wide(int(self.k[here])) if asked else 0,
            bool(flags & VECTORS),
            ids[near] if near != NOBODY else None,
            self.endpoints.all[endpoint] if endpoint != NOBODY else None,
            self.indices.get(done, done) if done != OPEN else None,
            wide(int(self.end[row])) if done != OPEN else None,
            kind,
            self.narrow.number(at) if f is F.COUNT and kind is Kind.OK else None,
            self.error.get(row, ""),
            self.repeated.get(row, ()),
        )


class Operations(Sequence[Operation]):
    """Rows of columns as operations, each made when it is looked at.

    Args:
        columns: frozen.
        rows: which, ascending; None: all.
    """

    def __init__(self, columns: Columns, rows: npt.NDArray[np.integer] | None = None) -> None:
        self.columns = columns
        self.rows = rows

    def __len__(self) -> int:
        return len(self.columns.line) if self.rows is None else len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Operation: ...
    @overload
    def __getitem__(self, place: slice) -> Operations: ...
    def __getitem__(self, place: int | slice) -> Operation | Operations:
        if isinstance(place, slice):
            return Operations(self.columns, self.all_rows()[place])
        number = range(len(self))[place]
        return self.columns.operation(number if self.rows is None else int(self.rows[number]))

    def __iter__(self) -> Iterator[Operation]:
        rows = range(len(self)) if self.rows is None else map(int, self.rows)
        return map(self.columns.operation, rows)

    def all_rows(self) -> npt.NDArray[np.integer]:
        """The rows, also if they are all."""
        return np.arange(len(self), dtype=np.int32) if self.rows is None else self.rows

    def only(self, collections: Collection[str]) -> Operations:
        """Those on these collections."""
        known = self.columns.collections
        numbers = [known[name] for name in set(collections) if name in known]
        rows = self.all_rows()
        return Operations(self.columns, rows[np.isin(self.columns.collection[rows], numbers)])
