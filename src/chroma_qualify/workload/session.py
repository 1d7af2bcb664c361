"""One logical client of one collection whose every operation is in the history.

It is Chroma's own client underneath, because that is what users run. A session is used by one
thread at a time. An answer never raises: it is `ok`, `fail` or `info`, in the history and in
what is returned. Used by `workload.runner`, `workload.final` and the scenarios.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import chromadb.errors
import numpy as np

from chroma_qualify.checks.answers import TOLERANCE
from chroma_qualify.errors import UsageError
from chroma_qualify.workload.history import Answer, Call, Op, Outcome, Pairs, Phase
from chroma_qualify.workload.outcome import classify, watch
from chroma_qualify.workload.recorder import Recorder
from chroma_qualify.workload.records import VALUE_KEY, Record, vector, vectors

PAGE = 30_000  # records per `get`: one page is one look at the store, and the server fails above 32,766
VECTOR_PAGE = 250  # records per request with vectors: about 2 MB of JSON
_TEN = 10
# What the server says when the store has an id and the index has not, or has a hole in its place.
_LOST = ("Error finding id", "Error getting embedding")


class Session:
    """Operations of one process on one collection; a new process number after every `info`."""

    def __init__(self, recorder: Recorder, client: Any, collection: str, *, endpoint: str | None = None) -> None:  # noqa: ANN401
        """Look the collection up; the server must answer.

        Args:
            recorder: the run's.
            client: what `workload.client.connect` gave.
            collection: name of an existing collection.
            endpoint: the pod behind the client; None: through the Service.
        """
        self._recorder = recorder
        self._wire = watch(client)
        self._collection = client.get_collection(collection, embedding_function=None)
        self.limit: int = client.get_max_batch_size()  # asked here: chromadb would ask within the first write
        self._call = Call(Op.COUNT, collection, Phase.BEFORE, endpoint)
        self.process = recorder.new_process()

    def add(self, records: Sequence[Record], phase: Phase) -> Answer:
        """Write new records, in one request; the server ignores those whose id it has."""
        return self._write(Op.ADD, self._collection.add, records, phase)

    def upsert(self, records: Sequence[Record], phase: Phase) -> Answer:
        """Write new or changed records, in one request."""
        return self._write(Op.UPSERT, self._collection.upsert, records, phase)

    def delete(self, ids: Sequence[str], phase: Phase) -> Answer:
        """Delete records, in one request; ids that are not there are no error."""
        self._within_limit(len(ids))

        def send() -> Answer:
            self._collection.delete(ids=list(ids))
            return Answer(Outcome.OK)

        return self._run(self._asked(Op.DELETE, phase, ids=tuple(ids)), send)

    def get(self, phase: Phase, ids: Sequence[str] | None = None, *, page: int = PAGE) -> Answer:
        """Read ids and values from the store.

        Args:
            phase: when.
            ids: which, at most `page`; None: all, page by page. More than one page is no single moment's
                state: while others delete, a record can be missed. Let it be quiet, or name ids.
            page: records per request.
        """

        def send() -> Answer:
            if ids is not None:
                return Answer(Outcome.OK, values=_values(self._collection.get(ids=list(ids), include=["metadatas"])))
            read: list[tuple[str, int]] = []
            while True:
                part = _values(self._collection.get(limit=page, offset=len(read), include=["metadatas"]))
                read.extend(part)
                if len(part) < page:
                    return Answer(Outcome.OK, values=tuple(read))

        return self._run(self._asked(Op.GET, phase, ids=None if ids is None else tuple(ids)), send)

    def get_vectors(self, phase: Phase, ids: Sequence[str], *, page: int = VECTOR_PAGE, split: bool = True) -> Answer:
        """Read records with their embeddings; only those whose embedding came back right are in the answer.

        The server fails a whole request when one id of it is lost to the index, so a failed page is asked
        again in tens, and a failed ten one by one: cheaper than halving when a tenth or more is lost, and
        little dearer when few are. Any other error fails the operation; without `split` that one does, too.
        """

        def send() -> Answer:
            right: list[tuple[str, int]] = []
            waiting = _parts(ids, page)
            while waiting:
                part = waiting.pop()
                try:
                    right.extend(_right(self._collection.get(ids=part, include=["metadatas", "embeddings"])))
                except chromadb.errors.InternalError as error:
                    if not split or not any(words in str(error) for words in _LOST):
                        raise
                    if len(part) > 1:
                        waiting += _parts(part, _TEN if len(part) > _TEN else 1)
            return Answer(Outcome.OK, values=tuple(right))

        return self._run(self._asked(Op.GET, phase, ids=tuple(ids), vectors=True), send)

    def query(self, phase: Phase, near: Record, k: int) -> Answer:
        """The `k` nearest records of a record's own embedding, nearest first."""
        target = vector(near.value)

        def send() -> Answer:
            answer = self._collection.query(query_embeddings=[target], n_results=k, include=["metadatas"])
            return Answer(Outcome.OK, values=_pairs(answer["ids"][0], answer["metadatas"][0]))

        return self._run(self._asked(Op.QUERY, phase, k=k, near=near.id), send)

    def count(self, phase: Phase) -> Answer:
        """How many records the store has."""
        return self._run(self._asked(Op.COUNT, phase), lambda: Answer(Outcome.OK, count=int(self._collection.count())))

    def _write(self, op: Op, method: Callable[..., object], records: Sequence[Record], phase: Phase) -> Answer:
        self._within_limit(len(records))
        embeddings = vectors([record.value for record in records])  # before the invocation: not the server's time

        def send() -> Answer:
            method(
                ids=[record.id for record in records],
                embeddings=embeddings,
                metadatas=[{VALUE_KEY: record.value} for record in records],
            )
            return Answer(Outcome.OK)

        values = tuple((record.id, record.value) for record in records)
        return self._run(self._asked(op, phase, values=values), send)

    def _asked(self, op: Op, phase: Phase, **fields: Any) -> Call:  # noqa: ANN401
        return dataclasses.replace(self._call, f=op, phase=phase, **fields)

    def _within_limit(self, count: int) -> None:
        if count > self.limit:
            raise UsageError(f"a batch of {count} records is more than the server takes ({self.limit})")

    def _run(self, call: Call, send: Callable[[], Answer]) -> Answer:
        """Record, send, record."""
        self._recorder.invoke(self.process, call)
        self._wire.begin()
        try:
            answer = send()
        except Exception as error:  # noqa: BLE001 (whatever a broken server makes the client raise is an outcome)
            answer = classify(error, self._wire, writes=call.f.writes)
        except BaseException:  # interrupted: the call stays open, so its process must be the last of its number
            self.process = self._recorder.new_process()
            raise
        self._recorder.complete(self.process, answer)
        if answer.outcome is Outcome.INFO:
            self.process = self._recorder.new_process()
        return answer


def _parts(ids: Sequence[str], size: int) -> list[list[str]]:
    """Cut into parts, the first one last, as `pop` takes them."""
    return [list(ids[start : start + size]) for start in reversed(range(0, len(ids), size))]


def _pairs(ids: Sequence[str], metadatas: Sequence[Any]) -> Pairs:
    """Id and value of each record; -1 where the metadata has no whole number as its value."""
    values = ((metadata or {}).get(VALUE_KEY) for metadata in metadatas)
    return tuple((id_, value if type(value) is int else -1) for id_, value in zip(ids, values, strict=True))


def _values(answer: Any) -> Pairs:  # noqa: ANN401
    return _pairs(answer["ids"], answer["metadatas"])


def _right(answer: Any) -> Pairs:  # noqa: ANN401
    """Those records of a `get` whose embedding is that of their value."""
    pairs = _values(answer)
    got = answer["embeddings"]
    known = [row for row, (_, value) in enumerate(pairs) if value >= 0 and got[row] is not None]
    if not known:
        return ()
    expected = vectors([pairs[row][1] for row in known])
    return tuple(
        pairs[row]
        for row, want in zip(known, expected, strict=True)
        if len(got[row]) == len(want) and bool(np.abs(np.asarray(got[row], dtype=np.float32) - want).max() <= TOLERANCE)
    )
