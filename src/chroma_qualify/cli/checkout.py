"""The checkout that a run needs beside the package: scripts/, tests/e2e, manifests/.

A run is a session of pytest over tests/e2e; the package alone, installed somewhere, can lint, check and plan.
"""

from __future__ import annotations

from pathlib import Path

import chroma_qualify
from chroma_qualify.errors import UsageError

_NEEDED = ("scripts/sandbox", "scripts/setup", "tests/e2e/conftest.py", "manifests/overlays", "images/images.toml")


def find_checkout(package: Path = Path(chroma_qualify.__file__).parent) -> Path:
    """The checkout that this package is the `src` of.

    Raises:
        UsageError: it is not in one.
    """
    root = package.resolve().parents[1]
    missing = [name for name in _NEEDED if not (root / name).exists()]
    if missing:
        raise UsageError(
            f"a run needs a checkout of chroma-qualify, and {root} is none: it has no {missing[0]}",
            remedy="clone the repository, run scripts/setup in it, and call its .venv/bin/chroma-qualify",
        )
    return root
