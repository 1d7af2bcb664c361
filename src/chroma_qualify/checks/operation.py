"""The words of a history and one operation of it: the domain types of `checks`.

`columns` holds millions of operations as arrays and makes these of them where one is looked at.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Final


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
    """An invocation with its completion; never changed.

    (Not `frozen`: creating a frozen instance takes four times as long.)

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


WRITES: Final = frozenset((F.ADD, F.UPSERT))
