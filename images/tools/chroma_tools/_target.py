"""The directory that backups are kept in: who may use it now, what is in it, how many stay.

Anything in it that is not named as a backup is somebody else's and left alone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from chroma_tools._chroma import SettingsError
from chroma_tools._format import BackupError, holds_records, sync_directory

DEFAULT = "/backups"
LOCK = ".lock"
PARTIAL = ".partial"
_NAME = re.compile(r"backup-\d{8}T\d{6}\.\d{3}Z")


class BusyError(Exception):
    """Another run holds the directory; one sentence."""


def directory() -> Path:
    """As BACKUPS_DIR says."""
    return Path(os.environ.get("BACKUPS_DIR") or DEFAULT)


def kept() -> int:
    """As BACKUPS_KEPT says.

    Raises:
        SettingsError: no number, or none to keep.
    """
    text = os.environ.get("BACKUPS_KEPT") or "7"
    if not re.fullmatch(r"[1-9]\d*", text):
        raise SettingsError(f"BACKUPS_KEPT is {text!r}: it must be a number, 1 or more")
    return int(text)


def new_name(now: datetime) -> str:
    """Sorts by time."""
    return f"backup-{now.astimezone(UTC):%Y%m%dT%H%M%S}.{now.microsecond // 1000:03d}Z"


@contextlib.contextmanager
def locked(target: Path, *, shared: bool = False) -> Iterator[None]:
    """Nobody else writes here meanwhile (shared: deletes or writes). The kernel lets go when we end, however we do.

    Raises:
        BusyError: somebody does.
        OSError: the directory cannot be used.
    """
    try:
        handle = os.open(target / LOCK, os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        if shared and error.errno == errno.ENOENT and target.is_dir():
            yield  # brought here by other means; nothing has ever been written by us
            return
        raise
    try:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError as error:
            said = os.pread(handle, 200, 0).decode(errors="replace").strip()
            raise BusyError(f"another run uses {target}{f': {said}' if said else ''}") from error
        if not shared:
            os.ftruncate(handle, 0)
            who = os.environ.get("HOSTNAME") or f"process {os.getpid()}"
            os.pwrite(handle, f"{who}, since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n".encode(), 0)
        yield
        if not shared:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def names(target: Path) -> list[str]:
    """The backups, oldest first."""
    return sorted(one.name for one in target.iterdir() if _NAME.fullmatch(one.name) and _is_own(one))


def choose(target: Path, name: str) -> Path:
    """The backup of that name, or the newest for `latest`.

    Raises:
        BackupError: there is none.
    """
    there = names(target)
    if not there:
        raise BackupError(f"there is no backup in {target}")
    if name == "latest":
        return target / there[-1]
    if name not in there:
        raise BackupError(f"there is no backup {name} in {target}; the newest is {there[-1]}")
    return target / name


def sweep(target: Path) -> list[str]:
    """Delete what runs that were killed have left; only under the lock. Their names."""
    left = [one for one in target.iterdir() if _NAME.fullmatch(one.name.removesuffix(PARTIAL)) and _is_own(one)]
    left = [one for one in left if one.name.endswith(PARTIAL)]
    for one in left:
        shutil.rmtree(one)
    return [one.name for one in left]


def prune(target: Path, keep: int) -> list[str]:
    """Delete all but the newest `keep`, the oldest first; only under the lock. Their names.

    Backups without any record, or whose manifest cannot be read, are counted apart: a Chroma that has lost its data and
    goes on being backed up must not push out the backups that could restore it.
    """
    there = names(target)
    full = [name for name in there if holds_records(target / name)]
    surplus = sorted(full[:-keep] + [name for name in there if name not in full][:-keep])
    for name in surplus:
        # By another name first: a run that is killed in between must not leave half a backup under a good one.
        going = (target / name).rename(target / f"{name}{PARTIAL}")
        sync_directory(target)
        shutil.rmtree(going)
    return surplus


def sentence(target: Path, error: OSError) -> str:
    """What is wrong with the target, for who is paged."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return (
                f"the backup target {target} is full ({_free(target)} bytes free): give it space or keep fewer backups"
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return f"the backup target {target} is not writable ({error.strerror}): see its owner, fsGroup and readOnly"
        case errno.ENOENT | errno.ENOTDIR:
            return f"the backup target {target} is not there: mount a volume at it ({error.filename}: {error.strerror})"
    return f"the backup target {target} fails: {error.strerror or error}"


def _free(target: Path) -> int:
    try:
        return shutil.disk_usage(target).free
    except OSError:
        return 0


def _is_own(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
