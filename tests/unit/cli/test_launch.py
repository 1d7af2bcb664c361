"""The process that starts a run: what it hands on, how it ends, what a terminal shows. No engine is needed."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from chroma_qualify.cli.checkout import find_checkout
from chroma_qualify.cli.launch import Runner
from chroma_qualify.errors import UsageError
from chroma_qualify.report.verdict import Outcome, RunResult, ScenarioResult, Verdict
from chroma_qualify.report.write import write_verdict

PATIENCE = 240  # s; a busy machine is no bug
MOVES = r"\x1b\[[0-9;?]*[A-Za-z]"  # of the cursor, and colours
EMPTY: Mapping[str, str] = {}


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


@pytest.mark.parametrize(
    ("code", "ours"),
    [("0", 0), ("1", 1), ("2", 2), ("3", 3), ("4", 4), ("5", 4), ("137", 4), ("130", 4)],
)
def test_no_other_exit_codes_than_ours(tmp_path, capfd, code, ours):
    runner = Runner(tmp_path)
    ended = runner.run(python(f"raise SystemExit({code})"))
    assert runner.code(ended) == ours
    assert ("ended with exit code" in capfd.readouterr().err) == (int(code) > 4)


def test_a_killed_run_is_infra_and_says_so(tmp_path, capfd):
    runner = Runner(tmp_path)
    ended = runner.run(python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))
    assert runner.code(ended) == 4
    assert "ended with signal SIGKILL; what it left goes with the next run" in capfd.readouterr().err


# The outer one is what the user started, the inner one stands for pytest: it counts what it is sent.
INNER = """
    import signal, sys, time
    got = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: got.append(signal.Signals(number).name))
    print("ready", flush=True)
    while not got:  # no lock that a handler could meet held
        time.sleep(0.05)
    time.sleep(0.5)  # time for a second one to come
    print("got", *got, flush=True)
    sys.exit(3)
"""
OUTER = f"""
    import sys
    from pathlib import Path
    from chroma_qualify.cli.launch import Runner
    runner = Runner(Path("."))
    sys.exit(runner.code(runner.run([sys.executable, "-c", {textwrap.dedent(INNER)!r}])))
"""


@pytest.mark.parametrize(("sent", "handed_on"), [("SIGINT", "SIGINT"), ("SIGTERM", "SIGTERM"), ("SIGHUP", "SIGTERM")])
@pytest.mark.parametrize("to_group", [False, True])
def test_what_ends_us_is_handed_on_once(tmp_path, sent, handed_on, to_group):
    outer = subprocess.Popen(python(OUTER), cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert outer.stdout is not None
    assert outer.stdout.readline() == "ready\n"
    (os.killpg if to_group else os.kill)(outer.pid, signal.Signals[sent])
    said, _ = outer.communicate(timeout=PATIENCE)
    assert (said, outer.returncode) == (f"got {handed_on}\n", 3)


def test_a_run_ends_orderly_when_who_started_it_is_killed(tmp_path):
    inner = """
        import signal, time
        from chroma_qualify.plugin import lifeline
        got = []
        signal.signal(signal.SIGTERM, lambda *_: got.append(1))
        lifeline.hold(gently=True)
        print("ready", flush=True)
        while not got:
            time.sleep(0.05)
        open("cleared", "w").close()
    """
    outer = subprocess.Popen(
        python(OUTER.replace(repr(textwrap.dedent(INNER)), repr(textwrap.dedent(inner)))),
        cwd=tmp_path, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert outer.stdout is not None
    assert outer.stdout.readline() == "ready\n"
    outer.kill()
    outer.communicate(timeout=PATIENCE)  # until the inner one, which has the other end, is gone
    assert (tmp_path / "cleared").exists()


def test_what_comes_while_a_process_starts_is_handed_on(tmp_path, monkeypatch):
    class Struck(subprocess.Popen):
        """A process whose start a signal meets, before anybody knows of it."""

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Struck)
    runner = Runner(tmp_path)
    assert runner.run(["sleep", "60"]) == -signal.SIGTERM
    assert runner.asked_to_end
    monkeypatch.undo()
    assert runner.run(["true"]) == 0, "what is run to clear away is not ended, too"


RESULT = RunResult(
    run_id="2026-11-25-aaaaaa", verdict=Verdict.FAIL, findings=(), parts=(), versions={}, seed=7, images="auto",
    scenarios=(ScenarioResult("data::recall", Outcome.FAIL, 1.0),),
)  # fmt: skip
# Stands for the run: it says what one says, and goes on when the terminal has shown that (a pipe is opened).
SAYS = """
    import os, pathlib
    place = pathlib.Path("runs/one").absolute()
    def shown(name):
        if "PIPES" in os.environ:
            open(name).close()
    print("collected 2 items", flush=True)
    print(f"[   0.1 s] run one: 2 scenario(s), seed 7, evidence in {place}", flush=True)
    print("[   0.2 s] data::recall: begins (1 of 2)", flush=True)
    shown("running")
    with (place / "history.jsonl").open("w") as file:
        file.write('{"type": "ok", "time": 900000000000000}\\n' * 20)
    shown("rate")
    print("[   4.0 s] data::recall: fail after 3.8 s", flush=True)
    print("left to the view" if os.environ.get("CHROMA_QUALIFY_VIEW") else "summary by the run", flush=True)
"""
SHOWN = f"""
    import sys
    from pathlib import Path
    from chroma_qualify.cli.launch import Runner
    from chroma_qualify.cli.show import choose
    show = choose(plain="--plain" in sys.argv, json="--json" in sys.argv)
    runner = Runner(Path("."))
    says = [sys.executable, "-c", {textwrap.dedent(SAYS)!r}]
    code = runner.run(says, output=show.feed, environment=show.environment)
    show.end()
    show.close()
    sys.exit(runner.code(code))
"""


@pytest.fixture
def run_dir(tmp_path) -> Path:
    place = tmp_path / "runs" / "one"
    place.mkdir(parents=True)
    write_verdict(RESULT, place)
    (place / "plan.json").write_text(json.dumps({"scenarios": ["data::recall", "data::write"]}))
    return place


def in_terminal(directory: Path, *args: str, pipes: Mapping[str, str] = EMPTY, **environment: str) -> str:
    """What a terminal of 100 columns gets; `pipes`: which is opened when which words are shown."""
    waiting = dict(pipes)
    for name in waiting:
        os.mkfifo(directory / name)
        environment["PIPES"] = "1"
    ours, theirs = pty.openpty()
    given = {name: value for name, value in os.environ.items() if name not in {"CI", "NO_COLOR"}}
    given |= {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30", **environment}
    process = subprocess.Popen(
        [*python(SHOWN), *args], cwd=directory, env=given, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    said, until = b"", time.monotonic() + PATIENCE
    while time.monotonic() < until:
        readable, _, _ = select.select([ours], [], [], 1)
        if readable:
            try:
                data = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            said += data
            for name in [
                name for name, words in waiting.items() if words in re.sub(MOVES, "", said.decode(errors="replace"))
            ]:
                del waiting[name]
                (directory / name).open("w").close()
    os.close(ours)
    assert not waiting
    assert process.wait(PATIENCE) == 0
    return said.decode(errors="replace")


def test_a_terminal_has_a_live_view_and_then_the_verdict(tmp_path, run_dir):
    said = in_terminal(tmp_path, pipes={"running": "0 of 2 done; 1 running", "rate": "2.0 operations/s"})
    text = re.sub(MOVES, "", said)
    assert "\x1b[2K" in said  # it is drawn over
    assert "run one, seed 7" in text
    assert "collected 2 items" in text
    assert "[   0.2 s]" not in text
    assert text.index("left to the view") < text.index("verdict: fail")
    assert text.count("verdict: fail") == 1
    assert "data::recall: begins" in (run_dir / "logs" / "run.txt").read_text()
    assert said.rfind("\x1b[?25h") > said.rfind("\x1b[?25l")  # the cursor is back


@pytest.mark.parametrize(
    ("args", "environment"), [((), {"NO_COLOR": "1"}), ((), {"TERM": "dumb"}), ((), {"CI": "true"}), (("--plain",), {})]
)
def test_lines_where_nobody_looks_at_a_picture(tmp_path, run_dir, args, environment):
    said = in_terminal(tmp_path, *args, **environment)
    assert "\x1b" not in said
    assert "[   0.2 s] data::recall: begins (1 of 2)\r\n" in said
    assert "summary by the run" in said


def test_json_is_all_that_is_on_standard_output(tmp_path, run_dir):
    done = subprocess.run(
        [*python(SHOWN), "--json"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0
    assert done.stdout == (run_dir / "verdict.json").read_text()
    assert "data::recall: begins" in done.stderr


def test_outside_of_a_checkout_one_sentence_says_so(tmp_path):
    package = tmp_path / "lib" / "site-packages" / "chroma_qualify"
    package.mkdir(parents=True)
    with pytest.raises(UsageError, match="a run needs a checkout of chroma-qualify"):
        find_checkout(package)
    assert find_checkout() == Path(__file__).parents[3]
