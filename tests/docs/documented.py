"""The commands of the documentation, as a reader would type them. For the tests that run them; nothing here runs one.

A code block says in its first line what it is. The lines of `sh` are commands; in `console` those behind `$ ` are, and
the rest is what they print. A comment right above a block says more of it:

    <!-- exits: 1 -->       the exit code of its last command; 0 where nothing is said
    <!-- on a cluster -->   tests/e2e/test_documented_commands.py runs it, as printed

A block whose first line is a comment with nothing but a path, as `# my-chroma/kustomization.yaml`, is a file of the
reader's. Commands inside a sentence count, too: a code span that begins with a program of `PROGRAMS` and says what it
is to do. `chroma-qualify check` or `kubectl apply` alone are names there.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
ON_A_CLUSTER = "on a cluster"
LANGUAGES = {"sh", "console", "yaml", "toml", "json", "python", "text"}
# What a code span of a sentence begins with, if it is a command.
PROGRAMS = ("chroma-qualify", ".venv/bin/", "scripts/", "make", "kubectl", "git", "uv", "docker", "pytest", "sha256sum")
_NAMED_IN_TWO_WORDS = {"chroma-qualify", "kubectl", "git"}
_MORE = re.compile(r"<!--\s*(?:exits:\s*(?P<code>\d+)|(?P<cluster>on a cluster))\s*-->")


@dataclasses.dataclass(frozen=True)
class Command:
    """One command of a page.

    Attributes:
        page: relative to the repository.
        line: of the block, from 1.
        text: as printed, without the prompt and without a comment behind it; a continued line is one command.
        prints: what the page says that it prints, None where it says nothing.
        exits: the exit code that the page says.
        on_a_cluster: the scenario of documented commands runs it.
        in_a_sentence: it is a code span.
    """

    page: str
    line: int
    text: str
    prints: str | None = None
    exits: int = 0
    on_a_cluster: bool = False
    in_a_sentence: bool = False

    @property
    def where(self) -> str:
        """For messages."""
        return f"{self.page}:{self.line}: {self.text}"


@dataclasses.dataclass(frozen=True)
class Block:
    """A code block with its language and what the comment above it says."""

    page: str
    line: int
    language: str
    content: str
    exits: int = 0
    on_a_cluster: bool = False

    @property
    def file(self) -> str | None:
        """The path that its first line names, if that is what it does."""
        named = re.match(r"# ([\w./-]+\.(?:yaml|toml|json))\n", self.content)
        return named[1] if named else None

    def commands(self) -> Iterator[Command]:
        """Its commands in their order; none if its language has none."""
        found: list[tuple[str, str | None]] = []
        if self.language == "sh":
            found = [(text, None) for text in _commands_of(self.content.splitlines())]
        elif self.language == "console":
            found = list(_session(self.content))
        for number, (text, prints) in enumerate(found, 1):
            last = number == len(found)
            exits = self.exits if last else 0
            yield Command(self.page, self.line, text, prints, exits, self.on_a_cluster)


def pages() -> list[Path]:
    """Everything that tells a reader what to type."""
    also = ("README.md", "manifests/README.md", "images/README.md")
    return [*(ROOT / name for name in also), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page."""
    tokens = _parse(page)
    name = str(page.relative_to(ROOT))
    found = []
    for before, token in zip([None, *tokens], tokens, strict=False):
        if token.type not in {"fence", "code_block"}:
            continue
        more = _MORE.fullmatch(before.content.strip()) if before and before.type == "html_block" else None
        exits = int(more["code"]) if more and more["code"] else 0
        language = token.info.split()[0] if token.info else ""
        cluster = bool(more and more["cluster"])
        found.append(Block(name, (token.map or [0])[0] + 1, language, token.content, exits, cluster))
    return found


def commands(page: Path) -> list[Command]:
    """The commands of a page: of its blocks, then those in its sentences."""
    found = [command for block in blocks(page) for command in block.commands()]
    name = str(page.relative_to(ROOT))
    for token in _parse(page):
        for span in token.children or ():
            if span.type == "code_inline" and _is_command(span.content):
                line = (token.map or [0])[0] + 1
                found.append(Command(name, line, span.content, in_a_sentence=True))
    return found


def links(page: Path) -> list[str]:
    """Where the links and pictures of a page lead."""
    spans = [span for token in _parse(page) for span in token.children or ()]
    found = [span.attrGet("href") if span.type == "link_open" else span.attrGet("src") for span in spans]
    return [str(target) for target in found if target]


def _parse(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text())


def _is_command(span: str) -> bool:
    program, _, rest = span.partition(" ")
    known = program in PROGRAMS or any(program.startswith(each) for each in PROGRAMS if each.endswith("/"))
    return known and bool(rest) and not (program in _NAMED_IN_TWO_WORDS and " " not in rest)


def _session(content: str) -> Iterator[tuple[str, str]]:
    """The commands of a console and what follows each."""
    typed: list[str] = []
    printed: list[str] = []
    for line in content.splitlines():
        if line.startswith("$ "):
            if typed:
                yield _joined(typed, printed)
            typed, printed = [line[2:]], []
        elif typed and typed[-1].endswith("\\") and not printed:
            typed.append(line.removeprefix("> "))
        else:
            printed.append(line)
    if typed:
        yield _joined(typed, printed)


def _joined(typed: Sequence[str], printed: Sequence[str]) -> tuple[str, str]:
    (command,) = _commands_of(typed)
    return command, "\n".join(printed)


def _commands_of(lines: Sequence[str]) -> list[str]:
    """Lines of a shell script as commands: continued ones joined, comments left out."""
    found: list[str] = []
    waiting = ""
    for line in lines:
        stripped = _without_comment(line)
        waiting = f"{waiting}{stripped}" if not waiting else f"{waiting} {stripped.strip()}"
        if waiting.endswith("\\"):
            waiting = waiting.removesuffix("\\").rstrip()
            continue
        if waiting.strip():
            found.append(waiting.strip())
        waiting = ""
    if waiting:
        found.append(waiting)
    return found


def _without_comment(line: str) -> str:
    quote = ""
    for at, letter in enumerate(line):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter == "#" and (at == 0 or line[at - 1].isspace()):
            return line[:at].rstrip()
    return line.rstrip()
