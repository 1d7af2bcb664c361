"""Virtual environments with Chroma's own clients of several versions, one each, in the user's cache.

Made by `ensure` outside the sandbox, where the package registries are; found again inside it by the scenarios.
What is in them is locked with hashes in images/clients. uv links the files of its cache, so that the versions share
what they have in common: 380 MB each as `du` counts one of them alone, 580 MB all together.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from chroma_qualify.cluster.images.store import Say, build_lock, cache_dir, definitions, digest, make
from chroma_qualify.errors import InfraError

_TIMEOUT = 900  # seconds


def client_versions() -> tuple[str, ...]:
    """The versions there are, oldest first."""
    found = [path.stem for path in (definitions() / "clients").glob("*.lock")]
    return tuple(sorted(found, key=lambda version: tuple(map(int, version.split(".")))))


def check_program() -> Path:
    """The program that a client's Python runs."""
    return definitions() / "clients" / "check.py"


def client_python(version: str) -> Path:
    """The Python that has this client.

    Raises:
        InfraError: it was not made yet.
    """
    python = _place(version) / "bin" / "python"
    if not python.exists():
        raise InfraError(f"the client {version} was not installed yet", remedy="run `make images`")
    return python


def ensure_clients(say: Say) -> None:
    """Make what is missing.

    Raises:
        InfraError: a package cannot be had.
    """
    missing = [version for version in client_versions() if not _place(version).exists()]
    if missing:
        with build_lock(say):
            for version in missing:
                say(f"installing Chroma's client {version} (usually 3 s; 20 MB to download, the first one 150 MB)")
                make(_place(version), lambda place, version=version: _install(place, version))  # type: ignore[misc]


def _place(version: str) -> Path:
    # A virtual environment is of the Python that made it.
    return cache_dir() / "clients" / f"{version}-{digest([_lock(version), sys.base_prefix, sys.version])}"


def _lock(version: str) -> Path:
    return definitions() / "clients" / f"{version}.lock"


def _install(place: Path, version: str) -> None:
    uv = os.environ.get("UV") or shutil.which("uv") or "uv"
    _run([uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(place)], version)
    _run([uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(place / "bin" / "python"),
          str(_lock(version))], version)  # fmt: skip


def _run(command: list[str], version: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InfraError(f"Chroma's client {version} cannot be installed: {error}") from error
    if done.returncode != 0:
        raise InfraError(f"Chroma's client {version} cannot be installed: {done.stderr.strip()[-400:]}")
