"""The lint's findings for a person: by object, the worst first; plain where there is no terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from chroma_qualify.report.lint.told import Lint, Told, ordered
from chroma_qualify.report.pages import explained

if TYPE_CHECKING:
    from rich.console import Console

_STYLE = {"fail": "bold red", "unknown": "bold yellow", "accepted": "bold cyan", "note": "bold blue"}
_NOBODY = "the manifests as a whole"


@dataclasses.dataclass(frozen=True, slots=True)
class _Line:
    """A line: its indent, and its parts, each with a style of rich's."""

    indent: int
    parts: tuple[tuple[str, str], ...]


def write_lint(lint: Lint, file: TextIO) -> None:
    """Print the findings and the line that counts them, in colours if `file` is a terminal."""
    if file.isatty():
        from rich.console import Console

        print_lint(lint, Console(file=file, highlight=False))
        return
    # A log's lines are left whole, so that they can be searched; and rich takes longer to import than all rules to run.
    file.writelines(f"{' ' * line.indent}{''.join(text for text, _ in line.parts)}\n" for line in _lines(lint))


def print_lint(lint: Lint, console: Console) -> None:
    """Print it to a terminal, or to a console that records: lines are broken where they end, and stay indented."""
    from rich.padding import Padding
    from rich.text import Text

    for line in _lines(lint):
        console.print(Padding(Text.assemble(*line.parts), (0, 0, 0, line.indent), expand=False))


def _lines(lint: Lint) -> Iterator[_Line]:
    groups: dict[str, list[Told]] = {}
    for each in ordered(lint.told):
        groups.setdefault(each.finding.object or _NOBODY, []).append(each)
    for name, told in groups.items():
        yield _line(0, (name, "bold underline"))
        for each in told:
            yield from _of(each)
        yield _line(0)
    if lint.without_schema:
        unknown = ", ".join(lint.without_schema)
        yield _line(0, (f"held against no schema, for their kinds are not known: {unknown}", "dim"))
    yield _line(0, (lint.count, _STYLE.get(lint.verdict.value, "bold green")))


def _of(told: Told) -> Iterator[_Line]:
    finding = told.finding
    severity = finding.severity.value
    path = [(f"  {finding.path}", "")] if finding.path else []
    yield _line(2, (severity, _STYLE.get(severity, "")), (f"  {finding.rule}", "bold"), *path)
    if told.place:
        yield _line(4, (told.place, "dim"))
    yield _line(4, (finding.message, ""))
    for label, words in (("seen", finding.evidence), ("remedy", finding.remedy), ("more", explained(finding.rule))):
        if words:
            remedy = label == "remedy"
            yield _line(4, (f"{label}: ", "green" if remedy else "dim"), (words, "" if remedy else "dim"))


def _line(indent: int, *parts: tuple[str, str]) -> _Line:
    return _Line(indent, tuple((_plain(words), style) for words, style in parts))


def _plain(words: str) -> str:
    """Words of somebody's YAML steer neither a terminal nor the log of a workflow."""
    return "".join(letter if letter.isprintable() else " " for letter in words)
