"""Reads a quiet collection in every way there is, and judges it.

One call after a fault: the store by `get`, the index exactly by `get` with embeddings, and
the user's view by `query` with each record's own embedding. Called by the scenarios.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import chromadb.errors

from chroma_qualify.checks import answers, recall
from chroma_qualify.findings import Finding, Severity
from chroma_qualify.workload import client
from chroma_qualify.workload.records import vectors

OWN_RECALL = 0.99  # share of records that their own embedding must find; healthy data: 0.997 to 1
_K = 3  # neighbours asked for with an own embedding: HNSW may rank two near ones differently


@dataclasses.dataclass(frozen=True, slots=True)
class Audit:
    """What one collection was found to hold.

    Attributes:
        collection: its name.
        expected: how many records should be in it.
        stored: how many distinct ids the store gave.
        indexed: how many distinct ids the index gave an embedding for.
        found: how many records a query with their own embedding found.
        findings: what is wrong with it.
    """

    collection: str
    expected: int
    stored: int
    indexed: int
    found: int
    findings: tuple[Finding, ...]


def audit(collection: Any, expected: Mapping[str, int]) -> Audit:  # noqa: ANN401
    """Read everything and judge it; nobody may write meanwhile.

    Args:
        collection: a chromadb collection.
        expected: id to value of every live record: acknowledged, not deleted.

    Returns:
        The figures and the findings (`lost-store`, `lost-index`, `wrong-value`, `duplicate`, `phantom`,
        `low-recall`, and `read-failed` when the server cannot read the collection at all).
    """
    name: str = collection.name
    ids = list(expected)
    try:
        store = client.read_store(collection)
    except chromadb.errors.InternalError as error:
        return Audit(name, len(ids), 0, 0, 0, (_read_failed(name, "get", error),))
    index = client.read_index(collection, ids)
    known = [(row, id_) for row, id_ in enumerate(index.ids) if id_ in expected]
    right = vectors([expected[id_] for _, id_ in known])
    findings = [
        *answers.completeness(ids, store.ids, index.ids, collection=name, server_said=index.errors),
        *answers.phantoms(ids, (*store.ids, *index.ids), collection=name),
        *answers.duplicates((store.ids, index.ids), collection=name),
        *answers.wrong_values(expected, store.values, collection=name),
        *answers.wrong_vectors(
            [id_ for _, id_ in known], index.vectors[[row for row, _ in known]], right, collection=name
        ),
    ]
    found = 0
    if index.ids:  # an index that cannot be read cannot be queried: that is `lost-index` already
        found, more = _by_own_vector(collection, expected, frozenset(index.ids))
        findings += more
    return Audit(name, len(ids), len(set(store.ids)), len(set(index.ids)), found, tuple(findings))


def _by_own_vector(
    collection: Any,  # noqa: ANN401
    expected: Mapping[str, int],
    indexed: frozenset[str],
) -> tuple[int, list[Finding]]:
    """Query for each record with its own embedding: how many were found, and what is wrong with the answers."""
    name: str = collection.name
    try:
        own = list(client.query(collection, vectors(list(expected.values())), _K))
    except chromadb.errors.InternalError as error:
        return 0, [_read_failed(name, "query", error)]
    hits = [id_ for id_, answer in zip(expected, own, strict=True) if id_ in answer]
    share = len(indexed.intersection(hits)) / len(indexed)  # a lost record is no miss of the search
    what = f"the share of {len(indexed)} indexed records that a query with their own embedding finds"
    return len(hits), [
        *answers.duplicates(own, collection=name),
        *answers.phantoms(expected, (id_ for answer in own for id_ in answer), collection=name),
        *recall.low_recall(share, OWN_RECALL, what, collection=name),
    ]


def _read_failed(collection: str, how: str, error: Exception) -> Finding:
    return Finding(
        "read-failed",
        Severity.FAIL,
        f"`{how}` fails with an internal error of the server (collection {collection})",
        evidence=str(error),
        remedy="restore the volume from a backup, or write the records again into a new collection",
        collection=collection,
    )
