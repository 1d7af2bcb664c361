"""Names of rules, and their pages: what people look up."""

import re

import pytest
from test_lint_manifests import REPOSITORY

from chroma_qualify.lint.engine import RULES, SETTINGS_RULES

NAMES = [*RULES, *SETTINGS_RULES]
SOURCES = REPOSITORY / "src/chroma_qualify/lint"
PAGES = REPOSITORY / "docs/rules"


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_has_one_name_and_a_page(name):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
    assert {**RULES, **SETTINGS_RULES}[name].__doc__.startswith(f"Rule `{name}`: ")
    page = (PAGES / f"{name}.md").read_text()
    assert re.findall(r"^#+ .+$", page, re.MULTILINE) == [f"# {name}", "## What", "## Why", "## Evidence", "## Remedy"]
    assert all(len(part.split()) > 4 for part in re.split(r"^#.+$", page, flags=re.MULTILINE)[2:])


def test_every_rule_that_is_written_is_listed():
    written = set()
    for path in (SOURCES / "rules").glob("*.py"):
        written |= set(re.findall(r'^    """Rule `([a-z0-9-]+)`', path.read_text(), re.MULTILINE))
    assert written == set(NAMES)


def test_rules_say_their_own_names():
    """What the functions yield must be what the registry says."""
    for path in (SOURCES / "rules").glob("*.py"):
        text = path.read_text()
        said = set(re.findall(r'(?:Finding\(\s*|rule=)"([a-z0-9]+(?:-[a-z0-9]+)+|[a-z]+)"', text))
        assert said <= set(re.findall(r"Rule `([a-z0-9-]+)`", text)), path
