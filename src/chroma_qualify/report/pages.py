"""The page of each rule: what, why, evidence, remedy. They are docs/rules/*.md, of the checkout or of the package.

Told by `lint --explain`, and carried by SARIF. `python -m chroma_qualify.report.pages` writes their index anew.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import sys
from pathlib import Path

from chroma_qualify.errors import UsageError

INDEX = "index.md"
SECTIONS = ("What", "Why", "Evidence", "Remedy")
_HEAD = """# Rules

Every name that a finding can have, of `chroma-qualify lint` and of a run; each page says what it means, why it matters,
what was measured, and what to do. A run uses the lint's names where it proves the same thing.
This page is written by `python -m chroma_qualify.report.pages` from the others.
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """A rule's page.

    Attributes:
        rule: its name.
        text: the whole page, Markdown.
    """

    rule: str
    text: str

    def section(self, title: str) -> str:
        """What is below `## title`, without the blank lines around it; "" if there is no such section."""
        found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", self.text, re.MULTILINE | re.DOTALL)
        return found[1].strip() if found else ""

    @property
    def summary(self) -> str:
        """The first sentence of `What`, on one line, without Markdown."""
        paragraph = " ".join(self.section("What").partition("\n\n")[0].split()).replace("`", "")
        return re.split(r"(?<=[.?!])\s", paragraph, maxsplit=1)[0]


@functools.cache
def directory() -> Path:
    """Where the pages are: inside an installed package, else docs/rules of the checkout."""
    packaged = Path(__file__).resolve().parent / "rules"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "docs" / "rules"


@functools.cache
def pages() -> dict[str, Page]:
    """All pages by the name of their rule."""
    found = sorted(path for path in directory().glob("*.md") if path.name != INDEX)
    return {path.stem: Page(path.stem, path.read_text(encoding="utf-8")) for path in found}


def page_of(rule: str) -> Page:
    """The page of one rule.

    Raises:
        UsageError: there is no such rule.
    """
    try:
        return pages()[rule]
    except KeyError:
        near = [name for name in pages() if rule in name or name in rule]
        remedy = f"there is {', '.join(near)}" if near else "`chroma-qualify lint --list` names them"
        raise UsageError(f"there is no rule {rule}", remedy=remedy) from None


def where(rule: str) -> str:
    """The page's path in the repository; "" if there is no page."""
    return f"docs/rules/{rule}.md" if (directory() / f"{rule}.md").is_file() else ""


def explained(rule: str) -> str:
    """The command that prints the page, wherever one is; "" if there is no page."""
    return f"chroma-qualify lint --explain {rule}" if where(rule) else ""


def index(linted: list[str]) -> str:
    """The page that lists all pages: first the rules of the lint, in their order, then the others."""
    others = [rule for rule in pages() if rule not in linted]
    parts = [_HEAD, "## Of the lint\n", _table(linted), "## Of a run\n", _table(others)]
    return "\n".join(parts)


def _table(rules: list[str]) -> str:
    rows = [f"| [{rule}]({rule}.md) | {pages()[rule].summary} |" for rule in rules if rule in pages()]
    return "\n".join(["| rule | what |", "|---|---|", *rows, ""])


def main() -> int:
    """Write the index anew."""
    from chroma_qualify.lint.engine import all_rules

    (directory() / INDEX).write_text(index(all_rules()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
