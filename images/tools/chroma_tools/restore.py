"""`python3 -m chroma_tools restore [NAME | latest]`: write a backup into an EMPTY Chroma, and read all of it back.

The backup is read and checked wholly before anything is written. A restore that was interrupted goes on where it was
when it is started again with the same backup. BACKUPS_DIR as for backup; the rest is in _chroma.py. Ends with 0, 1
(what is wrong is said), 2, 3 as backup does.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from chroma_tools import _target
from chroma_tools._chroma import Chroma, ChromaError, Collection, Records
from chroma_tools._ending import ended
from chroma_tools._export import weight
from chroma_tools._format import BackupError, Manifest, Saved, check, metadata_text, read_records
from chroma_tools._own import begin_restore, end_restore, unfinished_restore

_PATIENCE = 300  # s, for a server that restarts
_BATCH_BYTES = 16 << 20  # the server takes 40 MB, and JSON is longer than what it says
_SAMPLE = 100  # records of each collection that are looked for by query
# Of them, or the index answers but does not work. Not more: it is approximate, and on odd data a healthy one finds 0.9.
_FOUND = 0.5
# Of the longest component. For the cosine space Chroma keeps a vector of length 1 and the length, and multiplies them
# when it is read: what it gives back is not what it was given, nor what it gave the time before.
_COSINE = 1e-6


def main() -> int:
    return ended(lambda: run(_target.directory(), sys.argv[1] if len(sys.argv) > 1 else "latest", patience=_PATIENCE))


def run(target: Path, which: str, *, patience: float = 0) -> None:
    """Restore one backup.

    Raises:
        BackupError: it is not what was taken, or Chroma is not empty: nothing was written. Or it could not be read back
            as it was written.
        BusyError, ChromaError, SettingsError: as they say.
    """
    began = time.monotonic()
    try:
        with _target.locked(target, shared=True):
            backup = _target.choose(target, which)
            manifest = check(backup)
            print(f"{backup.name}: whole, {manifest.records} records of {len(manifest.collections)} collections")
            with Chroma.from_environment(patience=patience) as chroma:
                _restore(chroma, backup, manifest)
    except OSError as error:
        raise BackupError(_target.sentence(target, error)) from error
    print(f"{backup.name}: restored and read back, {time.monotonic() - began:.1f} s")


def _restore(chroma: Chroma, backup: Path, manifest: Manifest) -> None:
    there = _collections_of(chroma, manifest)
    mark = unfinished_restore(chroma)
    if mark is not None and mark.digest != manifest.digest:
        raise BackupError(
            f"Chroma holds half of another backup, {mark.backup}: restore that one, or into an empty volume"
        )
    wanted = {saved.collection.label for saved in manifest.collections}
    strangers = [label for label in there if mark is None or label not in wanted]
    if strangers:
        raise BackupError(
            f"Chroma is not empty: it has {len(strangers)} collections, {strangers[0]} among them; nothing was "
            "written. Restore into an empty volume"
        )
    again = mark is not None
    mark = mark or begin_restore(chroma, backup.name, manifest.digest)
    for tenant, databases in manifest.databases.items():
        chroma.create_tenant(tenant)
        for database in databases:
            chroma.create_database(tenant, database)
    pairs = []
    for saved in manifest.collections:
        made = there.get(saved.collection.label) or _create(chroma, saved.collection)
        pairs.append((saved, made))
        for batch in _batches(chroma, backup, saved):
            if not (again and _difference(batch, chroma.get(made, batch.ids), made) is None):
                _write(chroma, made, batch)
    for saved, made in pairs:
        _read_back(chroma, backup, saved, made)
    end_restore(chroma, mark)


def _collections_of(chroma: Chroma, manifest: Manifest) -> dict[str, Collection]:
    """All that Chroma has already where the backup, or anybody by default, would have it; by their labels."""
    return {
        one.label: one
        for tenant in sorted({*manifest.databases, "default_tenant"})
        if chroma.has_tenant(tenant)
        for database in chroma.databases(tenant)
        for one in chroma.collections(tenant, database)
    }


def _create(chroma: Chroma, as_was: Collection) -> Collection:
    return chroma.create_collection(
        as_was.name,
        tenant=as_was.tenant,
        database=as_was.database,
        metadata=as_was.metadata or None,
        configuration=as_was.configuration,
    )


def _batches(chroma: Chroma, backup: Path, saved: Saved) -> Iterator[Records]:
    if saved.file is None:
        return
    largest = chroma.largest_batch()
    for page in read_records(backup / saved.file):
        size = max(1, min(largest, _BATCH_BYTES * len(page) // weight(page)))
        for begin in range(0, len(page), size):
            yield page[begin : begin + size]


def _write(chroma: Chroma, collection: Collection, batch: Records) -> None:
    try:
        chroma.upsert(collection, batch)
    except ChromaError as error:
        if error.status != 413 or len(batch) == 1:
            raise
        half = len(batch) // 2
        _write(chroma, collection, batch[:half])
        _write(chroma, collection, batch[half:])


def _read_back(chroma: Chroma, backup: Path, saved: Saved, made: Collection) -> None:
    """Compare all of it with the backup, and look for some of it by query."""
    count = chroma.count(made)
    if count != saved.records:
        raise BackupError(f"{made.label} has {count} records after the restore, {saved.records} in the backup")
    step = max(1, saved.records // _SAMPLE)
    asked = found = seen = 0
    for batch in _batches(chroma, backup, saved):
        # `get` takes the vectors out of the index by their ids: one that is not in it would be missed here.
        if said := _difference(batch, chroma.get(made, batch.ids), made):
            raise BackupError(f"{made.label} was not restored as it was: {said}")
        rows = [row for row in range(len(batch)) if (seen + row) % step == 0]
        seen += len(batch)
        if rows:
            asked += len(rows)
            found += _found(chroma, made, batch, rows)
    if found < _FOUND * asked:
        raise BackupError(f"{made.label}: only {found} of {asked} records are found by query after the restore")
    print(f"{made.label}: {saved.records} records as they were, {found} of {asked} asked for are found by query")


def _found(chroma: Chroma, made: Collection, batch: Records, rows: list[int]) -> int:
    """How many of these records a query with their own vector finds, or something as near."""
    answers = chroma.query(made, batch.vectors[rows], 10)
    found = 0
    for row, near in zip(rows, answers, strict=True):
        own = _own_distance(batch.vectors[row], made.space)
        found += batch.ids[row] in near.ids or bool(near.distances and near.distances[0] <= own + 1e-5)
    return found


def _own_distance(vector: np.ndarray[tuple[int], np.dtype[np.float32]], space: str) -> float:
    return 1 - float(vector @ vector) if space == "ip" else 0.0


def _difference(wanted: Records, got: Records, collection: Collection) -> str | None:
    """The first one, as words; None if there is none."""
    if wanted.ids != got.ids:
        missing = sorted({*wanted.ids} - {*got.ids})
        return f"{len(missing)} records are missing, {missing[0]!r} among them"
    if wanted.vectors.shape != got.vectors.shape:
        return f"vectors have {got.vectors.shape[1]} dimensions, not {wanted.vectors.shape[1]}"
    if collection.space == "cosine":
        longest = np.abs(wanted.vectors).max(axis=1, initial=0)
        same = np.abs(wanted.vectors - got.vectors).max(axis=1, initial=0) <= _COSINE * longest
    else:
        same = (wanted.vectors.view(np.uint32) == got.vectors.view(np.uint32)).all(axis=1)
    for row, id_ in enumerate(wanted.ids):
        if not same[row]:
            return f"record {id_!r} has another vector"
        if metadata_text(wanted.metadatas[row]) != metadata_text(got.metadatas[row]):
            return f"record {id_!r} has other metadata"
        if (wanted.documents[row], wanted.uris[row]) != (got.documents[row], got.uris[row]):
            return f"record {id_!r} has another document or URI"
    return None
