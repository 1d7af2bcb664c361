"""Each name that a finding can have has a page, each page a name; all have the four parts; the index is up to date."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from chroma_qualify.lint.engine import all_rules
from chroma_qualify.report.pages import INDEX, SECTIONS, directory, index, pages

ROOT = Path(__file__).parents[3]
NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
# What makes a finding, or an error that becomes one: the name is its first argument, or its second behind who says it.
MAKERS = frozenset(
    {"Finding", "CandidateError", "Cause", "_fail", "_found", "fail", "found", "infra", "note", "undecided", "unknown"}
)
# Names that are put together, or returned.
MADE = {
    *(f"migration-{way}" for way in ("one-way", "back-without-lists", "back", "unknown")),
    *("secret-missing", "configmap-missing", "runs-as-root-group"),
    *("timeout", "undecided", "infra", "usage", "scenario-failed", "setup-failed", "cluster-api", "harness-error"),
    *(
        "duplicate",
        "diverged",
        "unschedulable",
        "interrupted",
        "no-answer",
        "resurrected",
        "phantom",
        "time-limit",
        "left-out",
        "stood-in",
        "rollback-refused",
        "guard-undecided",
    ),
}
SOURCES = [
    path
    for path in [*(ROOT / "src/chroma_qualify").rglob("*.py"), *(ROOT / "tests/e2e").glob("*.py")]
    if not {"lint", "doctor"} & set(path.relative_to(ROOT).parts)
]


def names_in(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = [key.value for key in node.keywords if key.arg == "rule"]
        given += node.args[:1] if name in MAKERS else []
        found |= {each.value for each in given if isinstance(each, ast.Constant) and isinstance(each.value, str)}
    return {name for name in found if NAME.fullmatch(name)}  # names of one word are in MADE: others call so, too


def dynamic_rules() -> set[str]:
    return MADE.union(*map(names_in, SOURCES))


def test_every_rule_has_its_page():
    assert sorted((dynamic_rules() | set(all_rules())) - set(pages())) == []


def test_no_page_is_without_a_rule():
    """A dynamic rule's name stands in quotes in what says it, unless it is put together there."""
    text = "\n".join(path.read_text() for path in SOURCES)
    known = {*all_rules(), *MADE}
    assert [name for name in pages() if name not in known and f'"{name}"' not in text] == []


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_page_has_its_parts(name):
    page = pages()[name]
    assert page.text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", page.text, re.MULTILINE) == list(SECTIONS)
    assert all(page.section(title) for title in SECTIONS)
    assert 20 < len(page.summary) < 250
    for link in re.findall(r"\]\(([^)#:]+)", page.text):
        assert (directory() / link).exists(), link


def test_the_index_is_made_of_the_pages():
    assert (directory() / INDEX).read_text() == index(all_rules()), "run `python -m chroma_qualify.report.pages`"


def test_the_package_carries_the_pages(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {f"chroma_qualify/report/rules/{name}.md" for name in pages()} <= inside
    assert "chroma_qualify/report/schemas/lint.schema.json" in inside
