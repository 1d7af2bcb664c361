"""report.html is made of each run, however it ended; that it cannot be made changes no verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import chroma_qualify.plugin.fixtures  # noqa: F401 (imported here once, not in every inner session)

PLUGIN = (
    *("-p", "chroma_qualify.plugin", "-p", "no:cacheprovider", "-o", "console_output_style=classic"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # because of that import
)


@pytest.fixture
def qualify(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run one inner scenario; returns exit code, output, run directory."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(statement: str, *args: str) -> tuple[int, str, Path]:
        pytester.makepyfile(test_inner=f"def test_it(run_dir):\n    {statement}\n")
        result = pytester.runpytest_inprocess(*PLUGIN, *args)
        said = result.stdout.str() + result.stderr.str()
        return int(result.ret), said, pytester.path / "runs" / "latest"

    return run


@pytest.mark.parametrize(
    ("statement", "code"), [("pass", 0), ("assert 1 == 2", 1), ("raise KeyboardInterrupt", 3), ("1 / 0", 1)]
)
def test_each_run_has_a_page(qualify, statement, code):
    ended, said, place = qualify(statement)
    assert ended == code, said
    assert "<html" in (place / "report.html").read_text()
    assert not any(finding["rule"] == "report-missing" for finding in verdict(place)["findings"])


@pytest.mark.parametrize(("statement", "code"), [("pass", 0), ("assert 1 == 2", 1)])
def test_a_page_that_cannot_be_made_is_a_note(qualify, statement, code):
    # Where the page should be is a directory with something in it.
    ended, said, place = qualify(f"(run_dir / 'report.html' / 'x').mkdir(parents=True)\n    {statement}")
    assert ended == code
    assert "infra: report.html cannot be made: " in said
    notes = [each["severity"] for each in verdict(place)["findings"] if each["rule"] == "report-missing"]
    assert notes == ["note"]
    assert verdict(place)["verdict"] == ("pass" if code == 0 else "fail")


def test_a_view_that_shows_the_verdict_itself_is_left_to_do_so(qualify, monkeypatch):
    assert "verdict: pass" in qualify("pass")[1]
    monkeypatch.setenv("CHROMA_QUALIFY_VIEW", "1")
    assert "verdict: pass" not in qualify("pass")[1]


def verdict(place: Path):
    return json.loads((place / "verdict.json").read_text())
