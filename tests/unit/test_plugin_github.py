"""A run inside a job of GitHub Actions, in a process of its own: what its log and its summary hold."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

SCENARIOS = """
def test_it(report):
    print("::error::from a server's log")
    report.fail("lost-index", "1 of 3 is lost", evidence="::add-mask::x")
def test_next():
    import pytest
    pytest.skip("no HPA")
"""


def start(command, place, environment):
    settings = {**os.environ, **environment}
    return subprocess.run(command, cwd=place, env=settings, capture_output=True, text=True, timeout=400, check=False)


@pytest.mark.parametrize("view", ["", "1"])
def test_the_log_has_annotations_and_the_job_a_summary(pytester, view):
    pytester.makepyfile(test_inner=SCENARIOS)
    summary = pytester.path / "summary.md"
    environment = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(summary),
        "CHROMA_QUALIFY_VIEW": view,
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    command = [sys.executable, "-m", "chroma_qualify.plugin", "-p", "no:cacheprovider", "--seed=7"]
    done = start(command, pytester.path, environment)
    assert done.returncode == 1, done.stdout
    lines = [line.strip() for line in done.stdout.splitlines()]
    (begin,) = [number for number, line in enumerate(lines) if line.startswith("::stop-commands::")]
    end = lines.index(f"::{lines[begin].removeprefix('::stop-commands::')}::")
    commands = [number for number, line in enumerate(lines) if re.match(r"::(error|add-mask)", line)]
    assert [lines[number] for number in commands if not begin < number < end] == [
        "::error title=lost-index::1 of 3 is lost"
    ]
    assert any(begin < number < end for number in commands), "the server's words are shown, and not obeyed"
    told = summary.read_text()
    assert told.startswith("## chroma-qualify: fail\n")
    assert "| inner::next | no HPA |" in told


def test_a_wrong_request_leaves_the_log_as_it_was(pytester):
    pytester.makepyfile(test_inner=SCENARIOS)
    environment = {"GITHUB_ACTIONS": "true", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "chroma_qualify.plugin", "-p", "no:cacheprovider", "-k", "nothing_like_it"]
    done = start(command, pytester.path, environment)
    assert done.returncode == 2
    (token,) = re.findall(r"^::stop-commands::(\w+)$", done.stdout, re.MULTILINE)
    assert done.stdout.count(f"\n::{token}::\n") == 1
