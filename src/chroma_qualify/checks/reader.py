"""From lines to columns: what each line must be, and which completion belongs to which invocation.

Called by `history.parse`.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import orjson

from chroma_qualify.checks.columns import FS, NOBODY, OPEN, WIDE, Columns
from chroma_qualify.checks.line import INFO, INVOKE, OK, Line, Said, completion, head, invocation, load
from chroma_qualify.checks.operation import F
from chroma_qualify.checks.pairing import Clients, take
from chroma_qualify.checks.sheet import Kinds
from chroma_qualify.errors import UsageError

_SHOWN_FLAWS: Final = 10
_BLOCK, _BYTES, _SOME = 1 << 15, 1 << 21, 64  # lines and bytes of a block, about; lines that are fetched at a time


def read(lines: Iterable[bytes], *, lenient: bool = False) -> tuple[Columns, int, tuple[str, ...]]:
    """All lines of a history: the columns, how many lines there were, and what is wrong with them.

    With `lenient` what comes before the first line that is none is read, and the line is a flaw: for who only shows it.

    Raises:
        UsageError: this is no history, and `lenient` is not set.
    """
    reader = Reader()
    kinds = Kinds(reader.columns)
    try:
        for block in _blocks(lines):
            sheet = kinds.read(block)
            if not (sheet.whole and take(sheet, reader.columns, reader.clients)) and not all(map(reader.line, block)):
                break
    except UsageError as error:
        if not lenient:
            raise
        reader.flaws.append(error.message)
    return reader.finish()


def _blocks(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Some lines at a time: enough that arithmetic pays, and few enough that they stay in the cache."""
    if isinstance(lines, io.BufferedIOBase):  # a file knows how to, several times as fast
        yield from iter(lambda: lines.readlines(_BYTES), [])
        return
    source = iter(lines)
    while True:
        block: list[bytes] = []
        size = 0
        while len(block) < _BLOCK and size < _BYTES:
            some = list(islice(source, _SOME))
            if not some:
                break
            block += some
            size += sum(map(len, some))
        if not block:
            return
        yield block


class Reader:
    """Pairs invocations and completions, and notes what breaks the order."""

    def __init__(self) -> None:
        self.columns = Columns()
        self.clients = Clients()
        self.flaws: list[str] = []

    def line(self, raw: bytes) -> bool:
        """Take the next line; False: it cannot be read, and nothing after it either.

        Raises:
            UsageError: it is not of the format.
        """
        if raw[-1:] != b"\n":
            self.flaws.append(
                f"the last line ({self.clients.lines + 1}) is cut off: the recorder was stopped while it wrote"
            )
            return False
        try:
            if raw[:1] == b"{":
                self._take(orjson.loads(raw), raw)
                return True
        except (KeyError, TypeError, ValueError):
            pass  # either it is wrong, or it is one of the few lines that orjson reads in another way: look again
        try:
            line = load(raw)
        except (ValueError, RecursionError):
            if self.clients.lines == 0:
                raise _foreign("its first line is no JSON") from None
            self.flaws.append(f"line {self.clients.lines + 1} is no JSON")
            return False
        if type(line) is not dict:
            raise _foreign(f"line {self.clients.lines + 1} is no JSON object")
        try:
            self._take(line, raw, final=True)
        except (KeyError, TypeError, ValueError) as error:
            raise _foreign(f"line {self.clients.lines + 1}: {_words(error)}") from None
        return True

    def _take(self, line: Line, raw: bytes, *, final: bool = False) -> None:
        """Take a parsed line; raises KeyError, TypeError or ValueError, and changes nothing, if it is of no format."""
        said = head(line)
        flaws = []
        if said.index != self.clients.lines:
            flaws.append(f"index {said.index} came where {self.clients.lines} was due")
        if said.time < self.clients.time:
            flaws.append(f"time runs backwards at index {said.index}: {said.time} ns after {self.clients.time} ns")
        if said.type == INVOKE:
            invocation(line, said)
            self._begin(said, flaws)
        else:
            self._complete(line, raw, said, flaws, final)
        if said.index != self.clients.lines:
            self.columns.indices[self.clients.lines] = said.index
        self.flaws += flaws
        self.clients.lines += 1
        self.clients.time = said.time

    def _begin(self, said: Said, flaws: list[str]) -> None:
        before = self.clients.open.get(said.process)
        if before is not None:
            flaws.append(f"process {said.process} began index {said.index} before {self._told(before)} was over")
        if said.process in self.clients.retired:
            flaws.append(f"process {said.process} came back at index {said.index} after an info completion")
        columns = self.columns
        row = len(columns.line)
        self.clients.open[said.process] = row
        columns.line.append(self.clients.lines)
        columns.done.append(OPEN)
        columns.start.append(columns.wide.code(said.time))
        columns.end.append(0)
        columns.process.append(columns.narrow.code(said.process))
        columns.f.append(said.f)
        columns.kind.append(INFO)
        columns.phase.append(said.phase)
        columns.flags.append(said.flags)
        collection, endpoint = columns.collection_of(said.collection), columns.endpoint_of(said.endpoint)
        columns.collection.append(collection)
        columns.endpoint.append(endpoint)
        columns.named_at.append(len(columns.named))
        if said.ids:
            columns.named.extend([columns.ids[id_] for id_ in said.ids])
        columns.at.append(len(columns.values))
        columns.length.append(len(said.values))
        if said.values:
            self._put(said.values)
        if said.k or said.near is not None:
            columns.asked.append(row)
            columns.k.append(columns.wide.code(said.k))
            columns.near.append(NOBODY if said.near is None else columns.ids[said.near])

    def _complete(self, line: Line, raw: bytes, said: Said, flaws: list[str], final: bool) -> None:
        row = self.clients.open.get(said.process)
        if row is None:
            flaws.append(f"the completion at index {said.index} belongs to no invocation of process {said.process}")
            return
        columns = self.columns
        f, collection = FS[columns.f[row]], columns.collections.all[columns.collection[row]]
        if line["f"] != f.value or line["collection"] != collection:
            flaws.append(f"the completion at index {said.index} names another operation than {self._told(row)}")
        completion(line, raw, said, columns.f[row], final=final)
        del self.clients.open[said.process]
        columns.done[row] = self.clients.lines
        columns.end[row] = columns.wide.code(said.time)
        columns.kind[row] = said.type
        if said.type == INFO:
            self.clients.retired.add(said.process)
        if said.error:
            columns.error[row] = said.error
        if said.endpoint is not None:
            endpoint = columns.endpoint_of(said.endpoint)
            columns.endpoint[row] = endpoint
        if said.repeated:
            columns.repeated[row] = said.repeated
        if f is F.COUNT and said.type == OK:
            columns.at[row] = columns.narrow.code(said.count) if said.count >= 0 else columns.narrow.odd(said.count)
        if said.values:
            columns.at[row] = len(columns.values)
            columns.length[row] = len(said.values)
            self._put(said.values)

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
        flaws = self.flaws
        if not self.columns.line and not flaws:
            flaws.append("it holds no operation")
        if len(flaws) > _SHOWN_FLAWS:
            flaws = [*flaws[:_SHOWN_FLAWS], f"and {len(flaws) - _SHOWN_FLAWS} more"]
        self.columns.freeze()
        return self.columns, self.clients.lines, tuple(flaws)


def _foreign(why: str) -> UsageError:
    return UsageError(f"this is no history that can be read: {why}", remedy="see docs: the format of history.jsonl")


def _words(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"missing or unknown: {error.args[0]!r}"
    return str(error)
