"""Files of JSON lines that grow: what is new is read once, a line that is not whole yet is left for the next time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_MOST = 4 * 2**20  # bytes a look, so that a look never takes long; what is left is for the next one


class Tail:
    """One file, which need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def new(self) -> list[dict[str, Any]]:
        """Objects of the lines that were added since the last call; a line that is no object is passed over."""
        try:
            if self._path.stat().st_size <= self._at:
                return []
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read(_MOST)
        except OSError:  # not there yet
            return []
        whole = data.rfind(b"\n") + 1
        if not whole and len(data) == _MOST:  # a line without an end: nothing that we could show
            whole = _MOST
        self._at += whole
        return [found for line in data[:whole].splitlines() if (found := _object(line)) is not None]


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
