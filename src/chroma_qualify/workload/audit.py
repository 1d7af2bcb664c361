"""Reads a quiet collection in every way there is, and judges it.

One call after a fault: the store by `get`, the index exactly by `get` with embeddings, and
the user's view by `query` with each record's own embedding. Called by the scenarios.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from chroma_qualify.checks import answers, recall
from chroma_qualify.findings import Finding
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
        The figures and the findings (`lost-store`, `lost-index`, `wrong-value`, `duplicate`, `phantom`, `low-recall`).
    """
    name: str = collection.name
    ids = list(expected)
    store = client.read_store(collection)
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
        own = list(client.query(collection, vectors(list(expected.values())), _K))
        found = sum(id_ in answer for id_, answer in zip(ids, own, strict=True))
        findings += answers.duplicates(own, collection=name)
        findings += answers.phantoms(ids, (id_ for answer in own for id_ in answer), collection=name)
        there = frozenset(index.ids)  # a lost record is no miss of the search
        reachable = [(id_, answer) for id_, answer in zip(ids, own, strict=True) if id_ in there]
        share = sum(id_ in answer for id_, answer in reachable) / max(1, len(reachable))
        what = f"the share of {len(reachable)} indexed records that a query with their own embedding finds"
        findings += recall.low_recall(share, OWN_RECALL, what, collection=name)
    return Audit(name, len(ids), len(set(store.ids)), len(set(index.ids)), found, tuple(findings))
