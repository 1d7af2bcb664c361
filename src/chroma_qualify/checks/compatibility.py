"""Which client works with which server: from what a client's program printed to a judgement and a row of a table.

Pure. Called by the scenario and by scripts/client-table.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

from chroma_qualify.findings import Finding, Severity

_NOT_TRIED = "not tried"
_LEAST = 15  # checks that a program of ours makes; fewer mean that it was cut short


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing that the client was asked to do, and the error if it could not."""

    name: str
    ok: bool
    error: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class ClientRun:
    """What a client did with a server.

    Attributes:
        client: version of the client, as asked.
        server: image or version of the server.
        reported: the version that the client says it has.
        checks: in order; none where the program did not come to its end.
        said: its last words then.
    """

    client: str
    server: str
    reported: str
    checks: tuple[Check, ...]
    said: str = ""

    @property
    def compatible(self) -> bool:
        """Did everything work?"""
        return len(self.checks) >= _LEAST and all(check.ok for check in self.checks)

    @property
    def first_failure(self) -> Check | None:
        """The first check that was tried and failed."""
        return next((check for check in self.checks if not check.ok), None)

    def as_json(self) -> dict[str, Any]:
        """The form that the run directory carries."""
        return dataclasses.asdict(self)


def read_run(client: str, server: str, printed: str, said: str = "") -> ClientRun:
    """What images/clients/check.py printed; anything else is a run without checks.

    Args:
        client: version that was asked for.
        server: what it talked to.
        printed: its standard output.
        said: its standard error.
    """
    try:
        told = json.loads(printed)
        checks = tuple(Check(str(each["name"]), each["ok"] is True, str(each["error"])) for each in told["checks"])
        reported = str(told["client"])
    except (ValueError, KeyError, TypeError):
        return ClientRun(client, server, "", (), " ".join((said or printed).split())[-400:])
    return ClientRun(client, server, reported, checks)


def from_json(document: Mapping[str, Any]) -> ClientRun:
    """The reverse of `ClientRun.as_json`."""
    checks = tuple(Check(**check) for check in document["checks"])
    return ClientRun(document["client"], document["server"], document["reported"], checks, document["said"])


def judge_client(run: ClientRun, *, compatible: bool = True) -> list[Finding]:
    """What speaks against a pair of client and server.

    Args:
        run: what it did.
        compatible: is it meant to work? Else it must be found not to, by an error.
    """
    pair = f"client {run.client} with server {run.server}"
    if run.reported != run.client or len(run.checks) < _LEAST:
        seen = run.said or f"it says it is {run.reported!r} and made {len(run.checks)} checks"
        return [Finding("client-not-tried", Severity.UNKNOWN, f"{pair}: its program did not do its checks", seen)]
    if compatible == run.compatible:
        return []
    if not compatible:
        text = f"{pair}: everything works, although it is known to be incompatible"
        return [Finding("client-known-wrongly", Severity.FAIL, text, remedy="correct docs/reference/clients.md")]
    failed = [check for check in run.checks if not check.ok and not check.error.startswith(_NOT_TRIED)]
    seen = "; ".join(f"{check.name}: {check.error}" for check in failed)
    text = f"{pair}: {len(failed)} of {len(run.checks)} checks fail, the first is {failed[0].name}"
    return [Finding("client-incompatible", Severity.FAIL, text, seen, remedy="use another version of the client")]


def table(runs: Iterable[ClientRun]) -> str:
    """A Markdown table, one row for each pair."""
    rows = ["| client | server | works | the first error |", "|---|---|---|---|"]
    for run in runs:
        good = sum(check.ok for check in run.checks)
        works = "yes" if run.compatible else "**no**"
        first = run.first_failure
        error = f"{first.name}: `{first.error}`" if first else run.said
        rows.append(f"| {run.client} | {run.server} | {works}, {good} of {len(run.checks)} | {error} |")
    return "\n".join(rows) + "\n"
