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

from chroma_qualify.workload.history import Answer, Outcome, Phase
from chroma_qualify.workload.records import Record
from chroma_qualify.workload.session import VECTOR_PAGE, Session

BUDGET = 240.0  # seconds for all reads of a collection; what is not asked by then is `index-not-read`: unknown
MOST_NEAR = 500  # missing records that are asked for by their own embedding, too
COVER_K = 200  # neighbours per query where the index cannot be read by ids
_UNREADABLE = 2  # reads that fail, each several times, before an index counts as one that cannot be read at all
_LITTLE = 5  # new ids that a query of COVER_K must bring for another one to be worth its time
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
    ask = _Reader(tries, pause, time.monotonic() + BUDGET)
    count = ask(lambda: session.count(Phase.FINAL)).count
    store = ask(lambda: session.get(Phase.FINAL))
    stored = dict(store.values or ())
    indexed, missed, readable = _read_index(session, ask, stored, sorted({*stored, *written}))
    chance = random.Random(_SAMPLE_SEED)  # noqa: S311 (no secret)
    rest = sorted(set(stored) - missed)
    asked = [*sorted(missed)[:MOST_NEAR], *chance.sample(rest, min(near, len(rest)))]
    targets = [Record(id_, stored[id_]) for id_ in asked if stored[id_] >= 0]  # below: no value, so no embedding
    if stored and ask.failed and not readable:
        del targets[_UNREADABLE:]  # it cannot be read at all: no need to be told for each record
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
        failed=tuple(dict.fromkeys(ask.failed)),
    )


class _Reader:
    """Asks until there is an answer, a few times; and no more at all once the time for all reads is up."""

    def __init__(self, tries: int, pause: float, deadline: float) -> None:
        self.failed: list[str] = []
        self._tries = tries
        self._pause = pause
        self._deadline = deadline

    def __call__(self, read: Callable[[], Answer], *, once: bool = False) -> Answer:
        tries = 1 if once else self._tries
        answer = Answer(Outcome.FAIL, error="not asked: the time for the final reads was up")
        for number in range(tries):
            if time.monotonic() > self._deadline:
                break
            answer = read()
            if answer.ok:
                return answer
            if number < tries - 1:
                time.sleep(self._pause)
        if not once:
            self.failed.append(answer.error or "")
        return answer


def _read_index(
    session: Session, ask: _Reader, stored: Mapping[str, int], ids: list[str]
) -> tuple[set[str], set[str], bool]:
    """Ask the index for every id exactly.

    The server fails a request for many as soon as one of them is lost, so of a damaged index nearly every request
    fails. Then queries for many neighbours tell what it holds most of, so that requests for those succeed, and only
    the rest has to be asked for one by one.

    Returns:
        Which ids it gave, which of the stored ones it did not give, and whether it could be read at all.
    """
    indexed: set[str] = set()
    failed: list[str] = []
    for part in _parts(ids, VECTOR_PAGE):
        answer = ask(lambda part=part: session.get_vectors(Phase.FINAL, part, split=False), once=True)  # type: ignore[misc]
        if answer.ok:
            indexed.update(id_ for id_, _ in answer.values or ())
        else:
            failed.extend(part)
    seen = _cover(session, ask, stored, [id_ for id_ in failed if id_ in stored])
    for part in _parts([id_ for id_ in failed if id_ in seen], VECTOR_PAGE):
        answer = ask(lambda part=part: session.get_vectors(Phase.FINAL, part))  # type: ignore[misc]
        indexed.update(id_ for id_, _ in answer.values or ())
    rest = [id_ for id_ in failed if id_ not in seen]
    for number, part in enumerate(_parts(rest, VECTOR_PAGE)):
        if number >= _UNREADABLE and not indexed and not seen:
            break
        answer = ask(lambda part=part: session.get_vectors(Phase.FINAL, part))  # type: ignore[misc]
        indexed.update(id_ for id_, _ in answer.values or ())
    missed = set(stored) - indexed
    if not failed and 0 < len(stored) <= MOST_K:  # of a damaged index such a query has been seen to end the server
        first = Record(*next(iter(stored.items())))
        whole = ask(lambda: session.query(Phase.FINAL, first, len(stored)))
        if whole.ok:  # else it tells nothing of any record
            missed |= set(stored) - {id_ for id_, _ in whole.values or ()}
    return indexed, missed, bool(indexed or seen)


def _cover(session: Session, ask: _Reader, stored: Mapping[str, int], wanted: list[str]) -> set[str]:
    """Which of the wanted ids are found by queries near those not found yet, as long as that brings many."""
    seen: set[str] = set()
    left = {id_: stored[id_] for id_ in wanted if stored[id_] >= 0}
    barren = 0
    while left and barren < 5:
        id_, value = next(iter(left.items()))
        near = Record(id_, value)
        answer = ask(lambda near=near: session.query(Phase.FINAL, near, COVER_K), once=True)  # type: ignore[misc]
        found = {each for each, _ in answer.values or ()} & left.keys()
        barren = 0 if len(found) >= _LITTLE else barren + 1
        seen |= found
        for each in found | {id_}:
            left.pop(each, None)
    return seen


def _parts(ids: list[str], size: int) -> Iterable[tuple[str, ...]]:
    return (tuple(ids[start : start + size]) for start in range(0, len(ids), size))
