"""`python3 -m chroma_tools verify [NAME | latest | all]`: read backups from the disk, every byte and every record.

BACKUPS_DIR as for backup. Ends with 0, 1 (one of them is not what was taken), 2, 3 as backup does.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chroma_tools import _target
from chroma_tools._ending import ended
from chroma_tools._format import BackupError, check


def main() -> int:
    return ended(lambda: run(_target.directory(), sys.argv[1] if len(sys.argv) > 1 else "all"))


def run(target: Path, which: str) -> None:
    """Say of each what it holds.

    Raises:
        BackupError: one is not what was taken, or there is none.
    """
    try:
        with _target.locked(target, shared=True):
            first = _target.choose(target, "latest" if which == "all" else which)
            chosen = [target / name for name in _target.names(target)] if which == "all" else [first]
            bad = []
            for one in chosen:
                try:
                    manifest = check(one)
                except BackupError as error:
                    bad.append(str(error))
                    continue
                print(f"{one.name}: whole, {manifest.records} records of {len(manifest.collections)} collections")
    except OSError as error:
        raise BackupError(_target.sentence(target, error)) from error
    if bad:
        raise BackupError("; ".join(bad))
