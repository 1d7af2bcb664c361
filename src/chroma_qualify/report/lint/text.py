"""The lint's findings for a person: by object, the worst first; plain where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.text import Text

from chroma_qualify.report.lint.told import Lint, Told, ordered
from chroma_qualify.report.pages import where

if TYPE_CHECKING:
    from rich.console import Console

_STYLE = {"fail": "bold red", "unknown": "bold yellow", "accepted": "bold cyan", "note": "bold blue"}
_NOBODY = "the manifests as a whole"


def print_lint(lint: Lint, console: Console) -> None:
    """Print the findings and the line that counts them."""
    groups: dict[str, list[Told]] = {}
    for each in ordered(lint.told):
        groups.setdefault(each.finding.object or _NOBODY, []).append(each)
    for name, told in groups.items():
        _print(console, Text(_plain(name), "bold underline"))
        for each in told:
            _print(console, _head(each), 2)
            for line in _below(each):
                _print(console, line, 4)
        console.print()
    if lint.without_schema:
        unknown = _plain(", ".join(lint.without_schema))
        _print(console, Text(f"held against no schema, for their kinds are not known: {unknown}", "dim"))
    _print(console, Text(_plain(lint.count), _STYLE.get(lint.verdict.value, "bold green")))


def _print(console: Console, text: Text, indent: int = 0) -> None:
    """A terminal's lines are broken where they end; a log's are left whole, so that they can be searched."""
    if console.is_terminal:
        console.print(Padding(text, (0, 0, 0, indent), expand=False))
    else:
        console.print(Text(" " * indent) + text, soft_wrap=True)


def _head(told: Told) -> Text:
    finding = told.finding
    head = Text(finding.severity.value, _STYLE.get(finding.severity.value, ""))
    head.append(f"  {finding.rule}", "bold")
    if finding.path:
        head.append(f"  {_plain(finding.path)}")
    return head


def _below(told: Told) -> Iterator[Text]:
    finding = told.finding
    if told.place:
        yield Text(_plain(told.place), "dim")
    yield Text(_plain(finding.message))
    for label, words in (("seen", finding.evidence), ("remedy", finding.remedy), ("page", where(finding.rule))):
        if words:
            remedy = label == "remedy"
            yield Text(f"{label}: ", "green" if remedy else "dim") + Text(_plain(words), "" if remedy else "dim")


def _plain(words: str) -> str:
    """Words of somebody's YAML steer neither a terminal nor the log of a workflow."""
    return "".join(letter if letter.isprintable() else " " for letter in words)
