"""How long was Chroma away, and what did its clients see? From the recorded operations around one fault.

Pure; called by `checks.run`, once for each experiment.
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping

from chroma_qualify.checks.history import Kind, Operation, Phase

_STATUS = re.compile(r"(?:(\d{3}) )?(\w+)")


@dataclasses.dataclass(frozen=True, slots=True)
class Outage:
    """What a fault did to the clients; seconds.

    Attributes:
        first_error: from the fault to the first answer that was an error; None: there was none.
        unavailable: the longest time without any acknowledged operation, from the fault on.
        recovered: from the fault to the first acknowledged operation after that time.
        errors: how many of each kind, e.g. `{"503 Exception": 3, "ReadTimeout": 1}`, most frequent first.
        operations: sent from the fault on, before the final reads.
    """

    first_error: float | None
    unavailable: float
    recovered: float
    errors: Mapping[str, int]
    operations: int


def outage(operations: Iterable[Operation], begin: int) -> Outage | None:
    """Look at the operations that were under way at `begin` (ns) or later; final reads do not count.

    Returns:
        None if none was acknowledged after `begin`: then nothing can be said of how long it lasted.
    """
    errors: collections.Counter[str] = collections.Counter()
    first: int | None = None
    acknowledged: list[int] = []
    sent = 0
    for op in operations:
        if op.phase is Phase.FINAL or op.end is None or op.end < begin:
            continue
        sent += op.start >= begin
        if op.kind is Kind.OK:
            acknowledged.append(op.end)
            continue
        errors[kind_of(op.error)] += 1
        first = op.end if first is None else min(first, op.end)
    if not acknowledged:
        return None
    acknowledged.sort()
    gap, until = max(
        (later - earlier, later) for earlier, later in zip([begin, *acknowledged], acknowledged, strict=False)
    )
    return Outage(
        first_error=None if first is None else (first - begin) / 1e9,
        unavailable=gap / 1e9,
        recovered=(until - begin) / 1e9,
        errors=dict(sorted(errors.items(), key=lambda item: (-item[1], item[0]))),
        operations=sent,
    )


def kind_of(error: str) -> str:
    """The status and the class of an error, without its words: `500 InternalError`."""
    found = _STATUS.match(error)
    if found is None:
        return "unknown"
    return " ".join(part for part in found.groups() if part)
