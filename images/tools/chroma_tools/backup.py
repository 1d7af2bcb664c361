"""`python3 -m chroma_tools backup`: take a backup of a Chroma that is written to meanwhile, verify it, keep a few.

BACKUPS_DIR      /backups by default
BACKUPS_KEPT     7: so many stay; older ones are deleted when a new one is verified
BACKUP_TENANTS   default_tenant: names with commas between them; Chroma cannot list its tenants
CHROMA_VERSION   noted in the backup
and those of _chroma.py. Ends with 0, 1 (no backup was taken; earlier ones are as they were), 2 (wrong settings),
3 (another run is at it).
"""

from __future__ import annotations

import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

from chroma_tools import _target
from chroma_tools._chroma import Chroma, Collection, SettingsError
from chroma_tools._ending import ended
from chroma_tools._export import pages
from chroma_tools._format import BackupError, Manifest, RecordsFile, Saved, check, sync_directory, write_manifest
from chroma_tools._own import Barrier, unfinished_restore

_PATIENCE = 300  # s, for a server that restarts


def main() -> int:
    return ended(lambda: run(_target.directory(), _target.kept(), tenants(), patience=_PATIENCE))


def tenants() -> list[str]:
    """As BACKUP_TENANTS says."""
    text = os.environ.get("BACKUP_TENANTS", "default_tenant")
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise SettingsError("BACKUP_TENANTS names no tenant")
    return names


def run(target: Path, keep: int, of: list[str], *, patience: float = 0) -> None:
    """One backup into a directory, then the rule of retention.

    Raises:
        BusyError, BackupError, ChromaError, SettingsError: there is no new backup, and the earlier ones are untouched.
    """
    began = time.monotonic()
    try:
        with _target.locked(target), Chroma.from_environment(patience=patience) as chroma:
            for name in _target.sweep(target):
                print(f"{name}: deleted, left by a run that was killed")
            name, manifest = _take(chroma, target, of)
            seconds = time.monotonic() - began
            print(
                f"{name}: {manifest.records} records of {len(manifest.collections)} collections, "
                f"{manifest.bytes / 1e6:.1f} MB, verified, {seconds:.1f} s"
            )
            for old in _target.prune(target, keep):
                print(f"{old}: deleted, {keep} newer ones are kept")
    except OSError as error:
        raise BackupError(_target.sentence(target, error)) from error


def _take(chroma: Chroma, target: Path, of: list[str]) -> tuple[str, Manifest]:
    now = datetime.now(UTC)
    name = _target.new_name(now)
    partial = target / f"{name}{_target.PARTIAL}"
    partial.mkdir()
    try:
        write_manifest(partial, _export(chroma, partial, of, now))
        # Now, not when it is needed.
        manifest = check(partial)
        partial.rename(target / name)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_directory(target)
    return name, manifest


def _export(chroma: Chroma, directory: Path, of: list[str], started: datetime) -> Manifest:
    if restoring := unfinished_restore(chroma):
        raise BackupError(f"a restore of {restoring.backup} into this Chroma is not finished: finish it first")
    databases: dict[str, list[str]] = {}
    for tenant in of:
        if not chroma.has_tenant(tenant):
            raise BackupError(f"Chroma knows no tenant {tenant!r}: see BACKUP_TENANTS")
        databases[tenant] = chroma.databases(tenant)
    collections = [
        collection
        for tenant, names in databases.items()
        for database in names
        for collection in sorted(chroma.collections(tenant, database), key=lambda one: one.name)
    ]
    barrier = Barrier(chroma)
    saved = []
    for number, collection in enumerate(collections, 1):
        one = _save(chroma, barrier, collection, directory / f"collection-{number:04d}.parquet")
        if one is not None:
            saved.append(one)
    return Manifest(
        started=started.isoformat(),
        finished=datetime.now(UTC).isoformat(),
        chroma=os.environ.get("CHROMA_VERSION", ""),
        databases=databases,
        collections=saved,
    )


def _save(chroma: Chroma, barrier: Barrier, collection: Collection, path: Path) -> Saved | None:
    """None if the collection was deleted meanwhile."""
    file = RecordsFile(path)
    try:
        for page in pages(chroma, barrier, collection):
            file.write(page)
        return file.finish(collection)
    except BaseException as error:
        file.abandon()
        if getattr(error, "status", None) == 404 and collection.id not in {
            one.id for one in chroma.collections(collection.tenant, collection.database)
        }:
            path.unlink(missing_ok=True)
            return None
        raise
