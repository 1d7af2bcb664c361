"""Which scenarios a run has, and what happens when its time is over; inner sessions, none of them needs a cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import chroma_qualify.plugin.fixtures  # noqa: F401 (imported here once, not in every inner session)
from chroma_qualify.plugin.limit import TimeLimit, TimeLimitError

PLUGIN = (
    *("-p", "chroma_qualify.plugin", "-p", "no:cacheprovider", "-o", "console_output_style=classic"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # because of that import
)
BODY = """
    import pytest
    def test_fault(experiment): pass
    def test_recall(): pass
    @pytest.mark.parametrize("size", [10, 100])
    def test_write(size): pass
"""


@pytest.fixture
def qualify(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run an inner test file; returns exit code, output, verdict.json (None: there is none)."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(body: str, *args: str):
        pytester.makepyfile(test_data=body)
        result = pytester.runpytest_inprocess(*PLUGIN, *args)
        latest = pytester.path / "runs" / "latest" / "verdict.json"
        said = result.stdout.str() + result.stderr.str()
        return int(result.ret), said, json.loads(latest.read_text()) if latest.exists() else None

    return run


def names(verdict) -> list[str]:
    return [scenario["name"] for scenario in verdict["scenarios"]]


@pytest.mark.parametrize(
    ("args", "found"),
    [
        (("-k", "data::recall"), ["data::recall"]),
        (("-k", "data::write[100]"), ["data::write[100]"]),
        (("-k", "data::recall or write"), ["data::recall", "data::write[10]", "data::write[100]"]),
        (("--only", "data::write[10]"), ["data::write[10]"]),
        (("--only=data::recall", "--only=data::write[100]"), ["data::recall", "data::write[100]"]),
        (("--fault", "pod-kill"), ["data::fault[pod-kill]"]),
        (("--fault=power-loss", "--power-losses=3"), [f"data::fault[power-loss-{n}]" for n in (1, 2, 3)]),
        (("--fault=power-loss-2", "--fault=pod-kill"), ["data::fault[pod-kill]", "data::fault[power-loss-2]"]),
        (("--fault=pod-kill", "-k", "fault or recall"), ["data::fault[pod-kill]", "data::recall"]),
    ],
)
def test_what_is_asked_for_is_what_runs(qualify, args, found):
    code, said, verdict = qualify(BODY, *args)
    assert code == 0, said
    assert names(verdict) == found


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--fault", "earthquake"), "there is no fault 'earthquake'; there are api-server-down, cpu-starvation"),
        (("--only", "data::nothing"), "there is no scenario 'data::nothing' here"),
        (("--fault", "pod-kill", "-k", "no_such_thing"), "no scenario matches 'no_such_thing'"),
        (("--time-limit", "soon"), "--time-limit 'soon' is no span of time; write seconds, or as in 90s, 30m, 1h30m"),
        (("--time-limit", "0"), "--time-limit '0' is not from 1 s to 7 days"),
        (("--time-limit", ""), "--time-limit '' is no span of time"),
        (("--load-pods", "-1"), "--load-pods -1 is less than 0"),
        (("--kubeconfig", "/dev/null"), "--kubeconfig cannot be used: a run makes a cluster"),
    ],
)
def test_a_wrong_choice_ends_with_2(qualify, args, sentence):
    code, said, verdict = qualify(BODY, *args)
    assert (code, verdict) == (2, None), said
    assert sentence in said
    assert "Traceback" not in said


@pytest.mark.parametrize("args", [("-k", "and"), ("--nonsense",)])
def test_what_pytest_itself_refuses_ends_with_2_too(tmp_path, args):
    (tmp_path / "test_data.py").write_text("def test_it(): pass")
    done = subprocess.run(
        [sys.executable, "-m", "chroma_qualify.plugin", "-p", "no:cacheprovider", *args],
        cwd=tmp_path, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    assert args[-1] in done.stdout + done.stderr


def test_the_command_of_the_verdict_says_what_was_asked(qualify):
    _, _, verdict = qualify(BODY, "-k", "recall", "--seed=3", "--time-limit=1h")
    assert verdict["command"] == ".venv/bin/chroma-qualify run --scenario=recall --seed=3 --time-limit=3600"


SLOW = """
    import signal, threading, pytest
    from pathlib import Path
    @pytest.fixture(scope="module")
    def place():
        yield
        threading.Event().wait(2)  # clearing away takes its time, and is not interrupted
        Path("cleared").touch()
    def test_quick(): pass
    def test_slow(place, report):
        signal.setitimer(signal.ITIMER_REAL, 0.5)  # the time is over half a second from here
        try:
            threading.Event().wait(300)
        except Exception:
            report.note("swallowed", "no scenario may")
    def test_later(): open("began", "w")
"""


def test_when_the_time_is_over_what_runs_ends_and_nothing_begins(qualify, pytester):
    code, said, verdict = qualify(SLOW, "--time-limit=1h")
    assert (code, verdict["verdict"]) == (3, "unknown"), said
    outcomes = {scenario["name"]: scenario["outcome"] for scenario in verdict["scenarios"]}
    assert outcomes == {"data::quick": "pass", "data::slow": "unknown", "data::later": "not-run"}
    later = next(scenario for scenario in verdict["scenarios"] if scenario["name"] == "data::later")
    assert later["reason"] == "the time limit was over before it"
    rules = {finding["rule"] for finding in verdict["findings"]}
    assert rules == {"time-limit"}
    assert "the time limit of 1 h 00 min was over: " in said
    assert not (pytester.path / "began").exists()
    assert (pytester.path / "cleared").exists()
    assert "Traceback" not in said


def test_what_must_be_whole_is_ended_after_it():
    """A process that was started and is not yet known would be left alone."""
    limit, done = TimeLimit(3600), []

    def struck() -> None:
        with limit.interruptible():
            with limit.whole():
                signal.raise_signal(signal.SIGALRM)
                done.append("whole")
            done.append("interrupted")

    try:
        with pytest.raises(TimeLimitError):
            struck()
        with limit.whole():  # what is not interruptible is not ended after it either
            done.append("later")
    finally:
        limit.close()
    assert done == ["whole", "later"]


def test_a_limit_that_is_not_reached_changes_nothing(qualify):
    code, _, verdict = qualify(BODY, "-k", "recall", "--time-limit=1h")
    assert (code, verdict["findings"]) == (0, [])


ROOT = Path(__file__).parents[2]


def test_the_scenarios_are_found_by_pytest_alone():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/e2e", "--collect-only", "-q", "--seed=7", "-k", "data::recall"],
        cwd=ROOT, env={**os.environ, "PYTEST_ADDOPTS": "-p no:cacheprovider"}, capture_output=True, text=True,
        timeout=400, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test_data.py::test_recall" in done.stdout
    assert "test_faults.py" not in done.stdout
