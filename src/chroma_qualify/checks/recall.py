"""How many of the true nearest neighbours does the index find?

HNSW is approximate, so this is a figure with a limit, never "all". Pure; called by
`workload.audit` and the data scenarios.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from chroma_qualify.findings import Finding, Severity

Space = Literal["cosine", "l2", "ip"]
Floats = npt.NDArray[np.floating]
_CHUNK = 256  # queries at a time: 256 x 20,000 distances are 20 MB


def exact_neighbours(matrix: Floats, queries: Floats, k: int, space: Space = "cosine") -> npt.NDArray[np.intp]:
    """The `k` nearest rows of each query, by looking at all of them.

    Args:
        matrix: what is searched, shape (n, dimension).
        queries: shape (q, dimension).
        k: neighbours wanted; fewer come back when `matrix` has fewer rows.
        space: Chroma's name of the distance.

    Returns:
        Row numbers, shape (q, min(k, n)), nearest first; of equals the lower number first.

    Raises:
        ValueError: `k` is below 1, or the dimensions differ.
    """
    if k < 1:
        raise ValueError("k must be at least 1")
    if matrix.shape[1] != queries.shape[1]:
        raise ValueError(f"dimensions differ: {matrix.shape[1]} and {queries.shape[1]}")
    k = min(k, len(matrix))
    found = np.empty((len(queries), k), dtype=np.intp)
    for start in range(0, len(queries), _CHUNK):
        distance = _distances(matrix, queries[start : start + _CHUNK], space)
        found[start : start + _CHUNK] = np.argsort(distance, axis=1, kind="stable")[:, :k]
    return found


def recall(exact: Sequence[Sequence[str]], returned: Sequence[Sequence[str]], k: int) -> float:
    """Mean share of the `k` exact neighbours that were returned, 0 to 1.

    Args:
        exact: true neighbours per query, nearest first; fewer than `k` in a small collection.
        returned: the index's answers, in the same order; only the first `k` of each count, an id counts once.
        k: how many neighbours are compared.

    Raises:
        ValueError: no queries, none to find, or the two differ in length.
    """
    if not exact or len(exact) != len(returned):
        raise ValueError(f"{len(exact)} exact and {len(returned)} returned answers")
    wanted = sum(len(set(truth[:k])) for truth in exact)
    if wanted == 0:
        raise ValueError("nothing to find")
    hits = sum(len(set(truth[:k]) & set(answer[:k])) for truth, answer in zip(exact, returned, strict=True))
    return hits / wanted


def low_recall(measured: float, floor: float, what: str, *, collection: str | None = None) -> list[Finding]:
    """`low-recall`, if a measured recall is below what was asked.

    Args:
        measured: 0 to 1.
        floor: the least that is enough.
        what: what was measured, e.g. `recall@10 of 200 queries over 20,000 vectors`.
        collection: name, for the finding.
    """
    if measured >= floor:
        return []
    return [
        Finding(
            "low-recall",
            Severity.FAIL,
            f"{what} is {measured:.4f}, asked is at least {floor}",
            evidence=f"{measured:.4f}",
            remedy="raise hnsw ef_search of the collection; look for lost-index findings first",
            collection=collection,
        )
    ]


def _distances(matrix: Floats, queries: Floats, space: Space) -> Floats:
    products: Floats = queries @ matrix.T
    if space == "ip":
        return -products
    squares: Floats = np.square(matrix).sum(axis=1)
    if space == "l2":
        l2: Floats = squares[None, :] - 2 * products  # the query's own length is the same for all rows
        return l2
    lengths = np.sqrt(squares)
    cosine: Floats = -products / np.where(lengths > 0, lengths, 1)[None, :]
    return cosine
