"""The final reads: after everything is healed, ask for all that may be there, in every way.

`count` and `get` show the store, `get` with vectors shows the index exactly, `query` shows what a
user gets. Without them a history proves nothing (`unknown`). Nobody may write meanwhile, and all
writers must have their last answer. Called by the scenarios, once for each endpoint.
"""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable, Iterable, Mapping

from chroma_qualify.workload.history import Answer, Phase
from chroma_qualify.workload.records import Record
from chroma_qualify.workload.session import Session

ASKED = 2000  # ids per `get` with vectors
MOST_K = 30_000  # the server fails above 32,766
NEAR_K = 10
_SAMPLE_SEED = 0  # which records are asked for by `near` is no secret and needs no luck


@dataclasses.dataclass(frozen=True, slots=True)
class FinalReads:
    """What the final reads came to; the judgement is of `checks`, from the history.

    Attributes:
        count: what `count` said; None: it failed.
        stored: distinct ids that `get` gave; None: it failed.
        indexed: distinct ids whose embedding came back right.
        near_asked: records asked for with their own embedding.
        near_found: of those, found.
        failed: errors of reads that failed every time.
    """

    count: int | None
    stored: int | None
    indexed: int
    near_asked: int
    near_found: int
    failed: tuple[str, ...]


def final_reads(
    session: Session,
    written: Mapping[str, int],
    *,
    near: int = 200,
    tries: int = 3,
    pause: float = 0.5,
) -> FinalReads:
    """Read a quiet collection wholly.

    Args:
        session: on the collection, through the endpoint that is to be read.
        written: id to value of all that was ever tried; ids beyond these are found by `get`.
        near: how many records that the index gave are asked for by their own embedding, beside
            every one that the index did not give or the query for all missed.
        tries: how often a failing read is asked; each try is in the history.
        pause: seconds between tries: "Failed to apply logs" has been seen on the first read after a kill only.
    """
    failed: list[str] = []

    def ask(read: Callable[[], Answer]) -> Answer:
        for _ in range(tries - 1):
            answer = read()
            if answer.ok:
                return answer
            time.sleep(pause)
        answer = read()
        if not answer.ok:
            failed.append(answer.error or "")
        return answer

    count = ask(lambda: session.count(Phase.FINAL)).count
    store = ask(lambda: session.get(Phase.FINAL))
    stored = dict(store.values or ())
    indexed: set[str] = set()
    for part in _parts(sorted({*stored, *written}), ASKED):
        answer = ask(lambda part=part: session.get_vectors(Phase.FINAL, part))  # type: ignore[misc]
        indexed.update(id_ for id_, _ in answer.values or ())
    missed = set(stored) - indexed
    if 0 < len(stored) <= MOST_K:
        first = Record(*next(iter(stored.items())))
        whole = ask(lambda: session.query(Phase.FINAL, first, len(stored)))
        if whole.ok:  # else it tells nothing of any record
            missed |= set(stored) - {id_ for id_, _ in whole.values or ()}
    chance = random.Random(_SAMPLE_SEED)  # noqa: S311 (no secret)
    rest = sorted(set(stored) - missed)
    asked = [*sorted(missed), *chance.sample(rest, min(near, len(rest)))]
    targets = [Record(id_, stored[id_]) for id_ in asked if stored[id_] >= 0]  # below: no value, so no embedding
    found = 0
    for record in targets:
        answer = ask(lambda record=record: session.query(Phase.FINAL, record, NEAR_K))  # type: ignore[misc]
        found += record.id in dict(answer.values or ())
    return FinalReads(
        count=count,
        stored=None if store.values is None else len(stored),
        indexed=len(indexed),
        near_asked=len(targets),
        near_found=found,
        failed=tuple(dict.fromkeys(failed)),
    )


def _parts(ids: list[str], size: int) -> Iterable[tuple[str, ...]]:
    return (tuple(ids[start : start + size]) for start in range(0, len(ids), size))
