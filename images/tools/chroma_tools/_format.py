"""What a backup is on disk, written by `backup`, read and checked by `verify` and `restore`.

    backup-20261125T141500.123Z/
        manifest.json          what is in it, and the sha256 of each file
        manifest.sha256        of manifest.json, as `sha256sum -c` takes it
        collection-0001.parquet   id, vector (float32, bit by bit), metadata (JSON, types kept), document, uri

A directory whose name ends in `.partial` is no backup: it is being written, or being deleted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from chroma_tools._chroma import Collection, Records

FORMAT = 1
MANIFEST = "manifest.json"
DIGEST = "manifest.sha256"
_CHUNK = 1 << 20


class BackupError(Exception):
    """A backup could not be taken, is not what was taken, or must not be restored here; one sentence."""


@dataclasses.dataclass(frozen=True)
class Saved:
    """One collection in a backup. `file` is None when it held no records."""

    collection: Collection
    records: int
    file: str | None
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a backup holds.

    Attributes:
        started: UTC, ISO 8601; all that was acknowledged before is in the backup.
        finished: likewise; nothing that was written after is in it.
        chroma: version, as the environment says (the server's own answer is the same for all versions), or "".
        databases: all of them by tenant, also those without collections.
        collections: with what their files hold.
        digest: sha256 of the manifest file; "" until it is written.
    """

    started: str
    finished: str
    chroma: str
    databases: dict[str, list[str]]
    collections: list[Saved]
    digest: str = ""

    @property
    def records(self) -> int:
        return sum(saved.records for saved in self.collections)

    @property
    def bytes(self) -> int:
        return sum(saved.bytes for saved in self.collections)


class _Hashed:
    """A file to be written from its beginning to its end; counts and digests what is written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb")
        self._digest = hashlib.sha256()
        self.written = 0
        self.closed = False

    def write(self, data: Any) -> int:
        if self.closed:  # given up: a ParquetWriter still writes its end when it is thrown away
            return memoryview(data).nbytes
        self._file.write(data)
        self._digest.update(data)
        self.written += memoryview(data).nbytes
        return memoryview(data).nbytes

    def tell(self) -> int:
        return self.written

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """Onto the disk, not only into its cache."""
        if not self.closed:
            self.closed = True
            with self._file:
                self._file.flush()
                os.fsync(self._file.fileno())

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


class RecordsFile:
    """Writes the records of one collection, page by page; the file comes to be with the first one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sink: _Hashed | None = None
        self._writer: pq.ParquetWriter | None = None
        self._records = 0

    def write(self, records: Records) -> None:
        if not records:
            return
        table = _table(records)
        if self._writer is None:
            self._sink = _Hashed(self._path)
            self._writer = pq.ParquetWriter(pa.PythonFile(self._sink, mode="w"), table.schema, compression="zstd")
        self._writer.write_table(table)
        self._records += len(records)

    def finish(self, collection: Collection) -> Saved:
        if self._writer is None or self._sink is None:
            return Saved(collection, 0, None, 0, "")
        self._writer.close()
        self._sink.close()
        return Saved(collection, self._records, self._path.name, self._sink.written, self._sink.hexdigest())

    def abandon(self) -> None:
        """Close what is open, whatever its state: the directory is about to be deleted."""
        if self._sink is not None:
            self._sink.close()


def metadata_text(metadata: dict[str, Any] | None) -> bytes | None:
    """The same text for the same metadata; 1, 1.0 and true stay apart. Chroma makes no difference of {} and null."""
    return orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS) if metadata else None


def _table(records: Records) -> pa.Table:
    vectors = np.ascontiguousarray(records.vectors, np.float32)
    texts = [metadata_text(one) for one in records.metadatas]
    columns = {
        "id": pa.array(records.ids, pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1]),
        "metadata": pa.array([None if text is None else text.decode() for text in texts], pa.string()),
        "document": pa.array(records.documents, pa.string()),
        "uri": pa.array(records.uris, pa.string()),
    }
    return pa.table(columns)


def read_records(path: Path) -> Iterator[Records]:
    """The pages of a records file, as they were written.

    Raises:
        BackupError: it is no Parquet file, or holds something else.
    """
    try:
        with pq.ParquetFile(path, memory_map=False) as file:
            for group in range(file.num_row_groups):
                yield _records(file.read_row_group(group))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise BackupError(f"{path.name} cannot be read: {_first_line(error)}") from error


def _records(table: pa.Table) -> Records:
    vectors = table["vector"].combine_chunks()
    width = vectors.type.list_size
    metadatas = [None if text is None else orjson.loads(text) for text in table["metadata"].to_pylist()]
    return Records(
        table["id"].to_pylist(),
        np.asarray(vectors.values, np.float32).reshape(-1, width),
        metadatas,
        table["document"].to_pylist(),
        table["uri"].to_pylist(),
    )


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """The last files of a backup, and the directory itself, onto the disk."""
    told = dataclasses.asdict(manifest)
    del told["digest"]
    content = orjson.dumps({"format": FORMAT, **told}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    digest = hashlib.sha256(content).hexdigest()
    for name, data in ((MANIFEST, content), (DIGEST, f"{digest}  {MANIFEST}\n".encode())):
        file = _Hashed(directory / name)
        try:
            file.write(data)
        finally:
            file.close()
    sync_directory(directory)


def sync_directory(directory: Path) -> None:
    """Names in it are durable afterwards, too."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check(directory: Path) -> Manifest:
    """Read a backup from the disk, every byte and every record of it.

    Raises:
        BackupError: it is not what was taken: one sentence that names the file.
    """
    try:
        manifest = _read_manifest(directory)
        for saved in manifest.collections:
            _check_file(directory, saved)
    except BackupError as error:
        raise BackupError(f"backup {directory.name} is not what was taken: {error}") from error
    except OSError as error:
        where = Path(error.filename or directory).name
        raise BackupError(f"backup {directory.name} cannot be read: {where}: {error.strerror}") from error
    return manifest


def holds_records(directory: Path) -> bool:
    """Whether there is anything in a backup, as far as its manifest says."""
    try:
        return _read_manifest(directory).records > 0
    except (BackupError, OSError):
        return False


def _read_manifest(directory: Path) -> Manifest:
    content, told = (directory / MANIFEST).read_bytes(), (directory / DIGEST).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if told != f"{digest}  {MANIFEST}\n".encode():
        raise BackupError(f"{MANIFEST} and {DIGEST} do not belong together")
    try:
        raw = orjson.loads(content)
        if raw["format"] != FORMAT:
            raise BackupError(f"its format is {raw['format']}, this tool reads {FORMAT}: take a newer one")
        return Manifest(
            started=raw["started"],
            finished=raw["finished"],
            chroma=raw["chroma"],
            databases=raw["databases"],
            collections=[Saved(**{**one, "collection": Collection(**one["collection"])}) for one in raw["collections"]],
            digest=digest,
        )
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise BackupError(f"{MANIFEST} cannot be understood: {_first_line(error)}") from error


def _check_file(directory: Path, saved: Saved) -> None:
    if saved.file is None:
        return
    path = directory / saved.file
    size = path.stat().st_size
    if size != saved.bytes:
        raise BackupError(f"{saved.file} has {size} bytes, {saved.bytes} were written")
    if _digest(path) != saved.sha256:
        raise BackupError(f"{saved.file} was altered: its sha256 is another one")
    ids: set[str] = set()
    records = 0
    for page in read_records(path):
        records += len(page)
        ids.update(page.ids)
    if (records, len(ids)) != (saved.records, saved.records):
        raise BackupError(f"{saved.file} has {records} records with {len(ids)} ids, not {saved.records}")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        # From the disk, not from what the kernel still remembers of writing it.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
