"""Recall of the recorded queries: of the k nearest records that were certainly there, how many came back?

Only queries with `near` are judged, as only their vector is known: it is the embedding of that record's value, which
must be certain, too. A record in doubt that came back may have pushed a certain one out, and is not held against the
server. Noted while the events pass by, judged at the end, by phase. Called by `checks.judge`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from chroma_qualify.checks.limits import Limits
from chroma_qualify.checks.operation import Operation, Phase
from chroma_qualify.checks.recall import low_recall
from chroma_qualify.findings import Finding

Vectors: TypeAlias = Callable[[Sequence[int]], npt.NDArray[np.float32]]
# Queries of a phase that are compared with exact search. While there are writes each of them needs a matrix of its own.
QUIET, BUSY = 200, 60
_MOST_VALUE = 1 << 62  # of no other value is there an embedding


class Alive(Protocol):
    """A record that is certainly there."""

    @property
    def since(self) -> int:
        """The line since which it is."""

    @property
    def value(self) -> int | None:
        """Its value, if that is certain, too."""


class Moment(Protocol):
    """What is certainly there at the end of a query, by id; `version` changes whenever that does."""

    @property
    def live(self) -> Mapping[str, Alive]:
        """In the order in which it came to be there."""

    @property
    def foreign(self) -> Sequence[tuple[str, Operation]]:
        """Ids that were read with a value that nobody wrote under them, so far."""

    @property
    def version(self) -> int:
        """Any number."""


class Nearest:
    """The recall of one collection."""

    def __init__(self, collection: str, vectors: Vectors) -> None:
        """`vectors` makes embeddings of length 1 from values, so that cosine and l2 give the same order."""
        self._collection = collection
        self._vectors = vectors
        self._hits = dict.fromkeys(Phase, 0)
        self._wanted = dict.fromkeys(Phase, 0)
        self._queries = dict.fromkeys(Phase, 0)
        self._version = -1
        self._ids: list[str] = []
        self._since = np.empty(0, dtype=np.int64)
        self._matrix = np.empty((0, 0), dtype=np.float32)
        self._known: dict[int, npt.NDArray[np.float32]] = {}

    def note(self, op: Operation, moment: Moment) -> bool:
        """Compare an acknowledged query with exact search over what is certainly live now and was at its start.

        Returns:
            False: no more queries of its phase are compared.
        """
        if self._queries[op.phase] >= (QUIET if op.phase is Phase.FINAL else BUSY):
            return False
        near = moment.live.get(op.near or "")
        if near is None or near.value is None or near.since > op.index or not 0 <= near.value < _MOST_VALUE:
            return True
        if any(id_ == op.near for id_, _ in moment.foreign):
            return True  # who asks with the embedding of a foreign value that was read asks for other neighbours
        if self._version != moment.version:
            self._renew(moment)
        mine = self._since < op.index
        number = int(mine.sum())
        rows = np.flatnonzero(mine)
        certain = {self._ids[row] for row in rows}
        doubtful = sum(1 for id_ in op.values if id_ not in certain)
        k = min(op.k - doubtful, number)
        if k < 1:
            return True
        query = self._known[near.value]
        products = self._matrix[rows] @ query
        best = rows[np.argsort(-products, kind="stable")[:k]]
        self._queries[op.phase] += 1
        self._wanted[op.phase] += k
        self._hits[op.phase] += sum(1 for row in best if self._ids[row] in op.values)
        return True

    def measured(self) -> dict[Phase, tuple[int, int]]:
        """Of each phase with queries: how many of the true neighbours came back, and how many there were."""
        return {phase: (self._hits[phase], wanted) for phase, wanted in self._wanted.items() if wanted}

    def findings(self, limits: Limits) -> list[Finding]:
        """`low-recall`, for each phase with less than the limit."""
        findings = []
        for phase, queries in self._queries.items():
            if queries and self._wanted[phase] >= limits.neighbours:
                what = (
                    f"recall of the first {queries} queries of phase {phase.value} ({self._wanted[phase]} neighbours)"
                )
                measured = self._hits[phase] / self._wanted[phase]
                findings += low_recall(measured, limits.recall, what, collection=self._collection)
        return findings

    def _renew(self, moment: Moment) -> None:
        self._version = moment.version
        certain = [
            (id_, there)
            for id_, there in moment.live.items()
            if there.value is not None and 0 <= there.value < _MOST_VALUE
        ]
        values = [there.value for _, there in certain if there.value is not None]
        new = [value for value in values if value not in self._known]
        if new:
            self._known.update(zip(new, self._vectors(new), strict=True))
        self._ids = [id_ for id_, _ in certain]
        self._since = np.array([there.since for _, there in certain], dtype=np.int64)
        self._matrix = np.stack([self._known[value] for value in values]) if values else self._matrix[:0]
