"""Is what was read what was written?

Pure functions over one collection; `workload.audit` and the scenarios call them with what
they wrote and read. The rule names are those of the history format, an interface.
"""

from __future__ import annotations

import collections
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from chroma_qualify.findings import Finding, Severity

SHOWN = 20  # ids that a finding spells out
TOLERANCE = 1e-5  # largest difference of one component: float32 and one normalisation by the server

_REMEDY_STORE = "never run two servers on one volume; restore the volume from a backup"
_REMEDY_INDEX = (
    "never let two servers use one volume (strategy Recreate, one replica, no HPA); "
    "write the lost records again (upsert)"
)


def completeness(
    acknowledged: Collection[str],
    store_ids: Collection[str],
    index_ids: Collection[str],
    *,
    collection: str | None = None,
    server_said: Sequence[str] = (),
) -> list[Finding]:
    """Are all acknowledged records in the store, and those of the store in the index?

    Args:
        acknowledged: ids that the server acknowledged and nobody deleted.
        store_ids: ids that `get` gave.
        index_ids: ids whose embedding `get` gave when asked for it.
        collection: name, for the finding.
        server_said: the server's words about ids it could not give, as evidence.

    Returns:
        `lost-store` and `lost-index`, each at most once, with number and ids.
    """
    store, index = frozenset(store_ids), frozenset(index_ids)
    gone = [id_ for id_ in acknowledged if id_ not in store]
    unindexed = [id_ for id_ in acknowledged if id_ in store and id_ not in index]
    findings = []
    if gone:
        text = f"{len(gone)} of {len(acknowledged)} acknowledged records are not in the store"
        findings.append(_fail("lost-store", text, some(gone), collection, _REMEDY_STORE))
    if unindexed:
        text = f"{len(unindexed)} of {len(acknowledged)} acknowledged records are in the store but not in the index"
        evidence = "; ".join([some(unindexed), *(f"the server said: {words}" for words in server_said)])
        findings.append(_fail("lost-index", text, evidence, collection, _REMEDY_INDEX))
    return findings


def phantoms(written: Collection[str], read: Iterable[str], *, collection: str | None = None) -> list[Finding]:
    """`phantom`: ids read that nothing wrote (or that were deleted, if `written` leaves those out)."""
    known = frozenset(written)
    strange = list(dict.fromkeys(id_ for id_ in read if id_ not in known))
    if not strange:
        return []
    return [_fail("phantom", f"{len(strange)} ids were read that nothing wrote", some(strange), collection)]


def duplicates(answers: Iterable[Sequence[str]], *, collection: str | None = None) -> list[Finding]:
    """`duplicate`: one id twice in one answer; each answer is judged by itself."""
    repeated: dict[str, int] = {}
    for answer in answers:
        if len(set(answer)) == len(answer):
            continue
        for id_, times in collections.Counter(answer).items():
            if times > 1:
                repeated[id_] = max(times, repeated.get(id_, 0))
    if not repeated:
        return []
    shown = some([f"{id_} ({times} times)" for id_, times in sorted(repeated.items())])
    return [_fail("duplicate", f"{len(repeated)} ids came more than once in one answer", shown, collection)]


def wrong_values(
    expected: Mapping[str, int], read: Mapping[str, int], *, collection: str | None = None
) -> list[Finding]:
    """`wrong-value`: the metadata of an id does not carry the value last written to it.

    Args:
        expected: id to value, as acknowledged.
        read: id to value, as read; ids of which nothing is expected are not judged.
        collection: name, for the finding.
    """
    wrong = [
        f"{id_}: read {value}, wrote {expected[id_]}"
        for id_, value in read.items()
        if id_ in expected and expected[id_] != value
    ]
    if not wrong:
        return []
    text = f"{len(wrong)} of {len(expected)} records came back with another value than was written"
    return [_fail("wrong-value", text, some(wrong), collection)]


def wrong_vectors(
    ids: Sequence[str],
    read: npt.NDArray[np.floating],
    expected: npt.NDArray[np.floating],
    *,
    collection: str | None = None,
    tolerance: float = TOLERANCE,
) -> list[Finding]:
    """`wrong-value`: an embedding is not the one that was written.

    Args:
        ids: n ids, in the order of the rows.
        read: embeddings as read, shape (n, dimension).
        expected: embeddings as written, the same shape.
        collection: name, for the finding.
        tolerance: largest absolute difference of one component that is not an error.
    """
    if len(ids) == 0:
        return []
    if read.shape != expected.shape:
        text = f"embeddings came back with shape {read.shape}, written were {expected.shape}"
        return [_fail("wrong-value", text, some(ids), collection)]
    distance = np.max(np.abs(read - expected), axis=1)
    wrong = [int(row) for row in np.flatnonzero(~(distance <= tolerance))]  # negated: NaN is wrong, too
    if not wrong:
        return []
    text = f"{len(wrong)} of {len(ids)} records came back with another embedding than was written"
    shown = some([f"{ids[row]} (off by {distance[row]:.2g})" for row in wrong])
    return [_fail("wrong-value", text, shown, collection)]


def some(ids: Sequence[str]) -> str:
    """Ids for a person: all of few, the first of many with how many more there are."""
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return ", ".join(ids[:SHOWN]) + more


def _fail(rule: str, message: str, evidence: str, collection: str | None, remedy: str = "") -> Finding:
    where = f" (collection {collection})" if collection else ""
    return Finding(rule, Severity.FAIL, message + where, evidence, remedy, collection=collection)
