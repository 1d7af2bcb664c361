"""Where built things are kept, and how they get there whole or not at all.

Used by every other module of this package.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from chroma_qualify.errors import InfraError

Say = Callable[[str], None]
GIB = 1024**3


def cache_dir() -> Path:
    """The user's cache directory of this project."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chroma-qualify"


def definitions() -> Path:
    """The directory `images/` of the checkout this package was installed from (an editable install)."""
    found = Path(__file__).resolve().parents[4] / "images"
    if not (found / "images.toml").exists():
        raise InfraError("the image definitions (images/) are not beside this package", remedy="run from a checkout")
    return found


def digest(parts: Iterable[str | Path]) -> str:
    """A short hash over strings and over the names and contents of files and directories."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            total.update(f"{part}\0".encode())
            continue
        files = [part] if part.is_file() else sorted(path for path in part.rglob("*") if path.is_file())
        for file in files:
            total.update(f"{file.relative_to(part.parent)}\0".encode())
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:12]


def make(path: Path, produce: Callable[[Path], None]) -> Path:
    """Produce a file or directory beside its place and move it there when it is whole.

    A process killed halfway leaves only a temporary name, which the next `sweep` removes.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".making-", dir=path.parent))
    try:
        produced = temporary / path.name
        produce(produced)
        produced.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return path


def sweep(root: Path) -> None:
    """Remove what killed builds left; call it with the lock held."""
    for pattern in ("*/.making-*", "node-*", "context-*"):
        for leftover in root.glob(pattern):
            shutil.rmtree(leftover, ignore_errors=True)


@contextlib.contextmanager
def build_lock(say: Say) -> Iterator[None]:
    """One build at a time for this user; a second one waits and says so."""
    path = cache_dir() / "build.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            say(f"another image build is running (process {file.read().strip() or '?'}); waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield


def require_space(needed: int) -> None:
    """Refuse to begin what cannot end: `needed` bytes must be free where the cache is.

    Raises:
        InfraError: there is less.
    """
    root = cache_dir()
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    if free < needed:
        raise InfraError(
            f"building the images needs {needed / GIB:.0f} GiB of disk space under {root}, and {free / GIB:.1f} GiB "
            "are free",
            remedy="make room, or set XDG_CACHE_HOME to a larger disk",
        )
