"""How many scenarios pytest selects by these arguments: a list of lists, JSON, in argv. The last line has it, as JSON.

In one process, since most of the time goes into importing what the scenarios import. Called by
tests/unit/docs/test_every_command.py.
"""

from __future__ import annotations

import json
import sys

import pytest


class _Count:
    """Remembers how many are left when all plugins have deselected what they do not want."""

    scenarios = 0

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.scenarios = len(session.items)


def main() -> int:
    """Returns the exit code: 0 if every list of arguments is one that pytest takes."""
    found = []
    for arguments in json.loads(sys.argv[1]):
        count = _Count()
        code = pytest.main(["-p", "chroma_qualify.plugin", "--collect-only", "-qq", *arguments], plugins=[count])
        if code not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            print(f"pytest ends with {code}: {arguments}")
            return 1
        found.append({"arguments": arguments, "scenarios": count.scenarios})
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
