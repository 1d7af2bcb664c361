"""Judge the files of a run directory again, without a cluster; the same files give the same words.

The reading side of `chroma-qualify check`; the judgement itself is `checks.judge`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from chroma_qualify.checks.history import parse
from chroma_qualify.checks.judge import judge
from chroma_qualify.checks.limits import Limits
from chroma_qualify.errors import UsageError
from chroma_qualify.findings import Finding
from chroma_qualify.report.console import sentence
from chroma_qualify.report.verdict import combine
from chroma_qualify.workload.records import vectors


def judge_run(directory: Path) -> list[Finding]:
    """All findings of the history in a run directory.

    Raises:
        UsageError: there is no such directory, no history in it, or it is none of the known format.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is no directory", remedy="name the directory of a run: runs/<run id>")
    limits = _limits(directory / "plan.json")
    path = directory / "history.jsonl"
    try:
        with path.open("rb") as lines:
            history = parse(lines)
    except FileNotFoundError:
        raise UsageError(
            f"{directory} has no history.jsonl", remedy="only a run that recorded one can be judged"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", remedy=error.remedy) from None
    return judge(history, limits, vectors)


def as_json(findings: Sequence[Finding]) -> str:
    """The form of verdict.json."""
    document = {
        "verdict": combine(findings).value,
        "findings": [dataclasses.asdict(finding) for finding in findings],
    }
    return _printable(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def as_text(findings: Sequence[Finding]) -> str:
    """The form for a person."""
    lines = [f"verdict: {combine(findings).value}", *map(sentence, findings)]
    return _printable("\n".join(lines) + "\n")


def _printable(text: str) -> str:
    """Half a surrogate pair, which JSON may hold and UTF-8 may not, as its escape."""
    return text.encode("utf-8", "backslashreplace").decode()


def _limits(path: Path) -> Limits:
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Limits()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}", remedy="it is written at the start of a run") from None
    if not isinstance(document, dict):
        raise UsageError(f"{path} is no JSON object")
    return Limits.from_json(document["limits"]) if "limits" in document else Limits()
