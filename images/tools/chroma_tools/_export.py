"""Reads a collection of a live server so that no record is half old, half new.

Why it is read twice: a read takes metadata from SQLite and vectors from the index, one after the other, while one actor
in the server applies all writes. So a read can meet a write that is half applied: 8 of 806 were torn. A write of our
own between two reads waits in that actor behind the write that the first read met; so if both reads are the same, the
record was at rest. None of 11,800 accepted pairs was torn.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chroma_tools._chroma import Chroma, ChromaError, Collection, Records
from chroma_tools._format import BackupError, metadata_text
from chroma_tools._own import Barrier

_IDS = 10_000  # in one answer; more than 32,766 are more than SQLite can bind
_ROUNDS = 200  # pairs of reads for the records of a page, of which most rest after one
_LOOKS = 10  # at what may be half written, before it is looked for which record it is
_HALF_THERE = "Error finding id"  # what the server says then, or of a record that its index has lost
_PAGE_BYTES = 8 << 20  # so that a page and its copies fit into little memory
_PAGE = 1000  # records
_FIRST_PAGE = 50  # while nothing is known of their size


def all_ids(chroma: Chroma, collection: Collection) -> list[str]:
    """The ids of all records that are there now and stay, oldest first; those written meanwhile may be among them.

    Pages are asked for from the end to the beginning. Records are listed in the order of their first write: new ones
    come behind what is read, and when one is deleted, those behind it move towards the pages that are yet to come. So
    none is missed.
    """
    pages: list[list[str]] = []
    end = chroma.count(collection)
    while end > 0:
        begin = max(0, end - _IDS)
        pages.append(chroma.ids(collection, limit=end - begin, offset=begin))
        end = begin
    return list(dict.fromkeys(id_ for page in reversed(pages) for id_ in page))


def resting(chroma: Chroma, barrier: Barrier, collection: Collection, ids: list[str]) -> Records:
    """These records, each as it was at one moment; those that were deleted meanwhile are left out.

    Raises:
        BackupError: one of them is written to faster than it can be read.
    """
    accepted: dict[str, tuple[Records, int]] = {}
    wanted = ids
    for _ in range(_ROUNDS):
        first = _read(chroma, barrier, collection, wanted)
        barrier.wait()
        second = _read(chroma, barrier, collection, wanted)
        before = {id_: _row(first, row) for row, id_ in enumerate(first.ids)}
        after = {id_: row for row, id_ in enumerate(second.ids)}
        moving = []
        for id_ in wanted:
            row = after.get(id_)
            if before.get(id_) != (None if row is None else _row(second, row)):
                moving.append(id_)
            elif row is not None:
                accepted[id_] = second, row
        if not moving:
            return _gathered([accepted[id_] for id_ in ids if id_ in accepted])
        wanted = moving
    raise BackupError(
        f"collection {collection.label}: {len(wanted)} records, {wanted[0]!r} among them, are written to faster than "
        f"they can be read ({_ROUNDS} tries): back up when there are fewer writes"
    )


def _read(chroma: Chroma, barrier: Barrier, collection: Collection, ids: list[str]) -> Records:
    """One read; again, if it met a write that the store has and the index has not yet, or the other way round.

    Raises:
        BackupError: a record is in the store and not in the index, and stays so: it is lost.
    """
    for _ in range(_LOOKS):
        try:
            return chroma.get(collection, ids)
        except ChromaError as error:
            if _HALF_THERE not in str(error):
                raise
            said = error
        barrier.wait()
    if len(ids) == 1:
        raise BackupError(
            f"collection {collection.label}: record {ids[0]!r} has no vector any more, Chroma's index has lost it: "
            "write it again, or delete it"
        ) from said
    middle = len(ids) // 2
    return _joined(*(_read(chroma, barrier, collection, part) for part in (ids[:middle], ids[middle:])))


def pages(chroma: Chroma, barrier: Barrier, collection: Collection) -> Iterator[Records]:
    """All records of a collection, see `all_ids` and `resting`, in pages of about 8 MB."""
    ids = all_ids(chroma, collection)
    begin, size = 0, _FIRST_PAGE
    while begin < len(ids):
        page = resting(chroma, barrier, collection, ids[begin : begin + size])
        begin += size
        yield page
        if page:
            size = max(1, min(_PAGE, 4 * size, _PAGE_BYTES * len(page) // weight(page)))


def weight(records: Records) -> int:
    """About how many bytes the records are."""
    texts = sum(len(text) for column in (records.documents, records.uris) for text in column if text)
    return 1 + records.vectors.nbytes + texts + sum(len(metadata_text(one) or b"") for one in records.metadatas)


def _row(records: Records, row: int) -> tuple[object, ...]:
    """A record to compare: vectors bit by bit, metadata with its types."""
    vector = records.vectors[row].tobytes()
    return vector, metadata_text(records.metadatas[row]), records.documents[row], records.uris[row]


def _joined(first: Records, second: Records) -> Records:
    if not first or not second:
        return first or second
    return _gathered([(part, row) for part in (first, second) for row in range(len(part))])


def _gathered(rows: list[tuple[Records, int]]) -> Records:
    if not rows:
        return Records.none()
    return Records(
        [records.ids[row] for records, row in rows],
        np.stack([records.vectors[row] for records, row in rows]),
        [records.metadatas[row] for records, row in rows],
        [records.documents[row] for records, row in rows],
        [records.uris[row] for records, row in rows],
    )
