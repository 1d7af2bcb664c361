"""The recorded operations of one run, read from history.jsonl and paired; validity first.

The format is `history-format.md`, an interface: a line that says more or other than the format is refused, because
a judge that skips what it does not understand passes what it should not. Called by `checks.judge`; the recorder
writes, this reads. Pure: it takes lines, not paths.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
from collections.abc import Collection, Iterable, Iterator

from chroma_qualify.checks.columns import Operations
from chroma_qualify.checks.operation import WRITES, F, Kind, Operation, Phase
from chroma_qualify.checks.reader import read

__all__ = ["WRITES", "F", "History", "Kind", "Operation", "Phase", "parse", "without_gc"]


@dataclasses.dataclass(frozen=True, slots=True)
class History:
    """All operations in the order of their invocations.

    Attributes:
        operations: made when they are looked at; the same place gives an equal operation, not the same object.
        lines: how many lines were read.
        flaws: sentences about what makes the history untrustworthy; empty: it is whole.
    """

    operations: Operations
    lines: int
    flaws: tuple[str, ...] = ()

    def only(self, collections: Collection[str]) -> History:
        """The same history without the operations of other collections; indices, `lines` and `flaws` stay."""
        return dataclasses.replace(self, operations=self.operations.only(collections))


def parse(lines: Iterable[bytes], *, lenient: bool = False) -> History:
    """Read a history.

    Args:
        lines: as a file opened in binary mode gives them, each with its line end.
        lenient: take what comes before a line of another format, which is then a flaw.

    Returns:
        The paired operations; what keeps them from being judged is in `flaws`.

    Raises:
        UsageError: this is no history of the known format (another file, an unknown field, a value of a wrong type).
    """
    with without_gc():
        columns, number, flaws = read(lines, lenient=lenient)
    return History(Operations(columns), number, flaws)


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
