"""What is known of a run while it runs, from what runs really said and wrote."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from chroma_qualify.cli.board import draw
from chroma_qualify.cli.progress import BESIDE, FIRST, Found, Progress, directory_of
from chroma_qualify.cli.tail import Tail

SAID = """\
============================= test session starts ==============================
[   0.6 s] run 2026-11-25-91e754: 3 scenario(s), seed 7, evidence in /some where/runs/2026-11-25-91e754
[   0.9 s] lint: fail: mutable-tag: chroma/chroma: the image tag can move
[   0.9 s] data::recall[20000]: begins (1 of 2)
[   3.2 s] cluster cq-a: ready
[   4.0 s] second lane: 1 scenario(s) beside these, all it says is in /x/beside.txt
[   8.0 s] beside: run 2026-11-25-ffffff: 1 scenario(s), seed 7, evidence in /some where/beside
[   8.1 s] beside: monitoring::alerts: begins (1 of 1)
[  12.5 s] data::recall[20000]: pass after 11.6 s
[  12.6 s] faults::fault[pod-kill]: begins (2 of 2)
"""
ENDS = """\
[  30.0 s] faults::fault[pod-kill]: fail after 17.4 s
[  30.0 s] faults::fault[pod-kill]: fail: lost-index: 3 of 40: x
[  31.0 s] beside: monitoring::alerts: not-run after 23.0 s no such thing
"""


def told(*texts: str) -> Progress:
    progress = Progress()
    for line in "".join(texts).splitlines():
        progress.line(line)
    return progress


def picture(progress: Progress, planned=(), now=20.0, width=100) -> str:
    console = Console(width=width, height=24, color_system=None, force_terminal=True, highlight=False)
    with console.capture() as captured:
        console.print(draw(progress, planned, now))
    return captured.get()


def test_lines_of_progress_are_taken_and_others_left_to_the_reader():
    progress = Progress()
    taken = [progress.line(line) for line in SAID.splitlines()]
    assert taken == [False] + [True] * 9
    assert (progress.id, progress.seed, progress.scenarios) == ("2026-11-25-91e754", 7, 3)
    assert progress.directory == Path("/some where/runs/2026-11-25-91e754")
    assert progress.lanes[FIRST].scenario == "faults::fault[pod-kill]"
    assert (progress.lanes[FIRST].fault, progress.lanes[FIRST].position) == ("pod-kill", "2 of 2")
    assert progress.lanes[BESIDE].scenario == "monitoring::alerts"
    assert progress.outcomes == {"data::recall[20000]": "pass"}
    assert progress.findings == [Found("fail", "mutable-tag", "lint", "chroma/chroma: the image tag can move")]


def test_ends_of_both_lanes_and_findings():
    progress = told(SAID, ENDS)
    assert progress.outcomes == {
        "data::recall[20000]": "pass", "faults::fault[pod-kill]": "fail", "monitoring::alerts": "not-run",
    }  # fmt: skip
    assert progress.findings[-1] == Found("fail", "lost-index", "faults::fault[pod-kill]", "3 of 40: x")
    assert all(not lane.scenario for lane in progress.lanes.values())


def test_the_picture_has_what_a_person_waits_for():
    progress = told(SAID)
    progress.timeline(
        [
            {"kind": "Deployment", "namespace": "cq-1", "name": "chroma", "event": "ADDED", "ready": 0, "wanted": 1},
            {"kind": "Deployment", "namespace": "cq-1", "name": "chroma", "event": "MODIFIED", "ready": 1, "wanted": 1},
            {"kind": "StatefulSet", "namespace": "cq-2", "name": "db", "event": "ADDED", "ready": None, "wanted": 2},
            {"kind": "Pod", "namespace": "cq-1", "name": "chroma-0", "event": "ADDED"},
        ]
    )
    second = 1_000_000_000
    progress.operations(
        FIRST,
        [{"type": kind, "time": at * second, "phase": "during"} for kind, at in [("ok", 15)] * 30 + [("info", 16)] * 5],
    )
    shown = picture(progress, ["data::recall[20000]", "faults::fault[pod-kill]", "monitoring::alerts"])
    for words in (
        "run 2026-11-25-91e754, seed 7", "20 s", "1 of 3 done, 1 pass; 2 running; 1 finding so far",
        "faults::fault[pod-kill]", "fault in effect", "(2 of 2)", "monitoring::alerts",
        "3.0 operations/s, 0.5 errors/s",
        "1/1 cq-1/chroma", "0/2 cq-2/db", "fail mutable-tag",
    ):  # fmt: skip
        assert words in shown
    assert "0.0 operations/s" in picture(progress, now=60)  # what is ten seconds ago is no rate


def test_an_interrupted_run_says_that_it_clears_away():
    progress = told(SAID)
    progress.ending = True
    assert "interrupted: what was made is cleared away" in picture(progress)


def test_a_narrow_terminal_and_hostile_text_break_nothing():
    progress = told(SAID, "[  13.0 s] [bold]not markup[/nonsense] \x1b[2J" + "x" * 500 + "\n")
    shown = picture(progress, width=30)
    assert max(len(line) for line in shown.splitlines()) <= 30
    assert "[bold]" in picture(progress, width=200)
    assert "\x1b[2J" not in picture(progress, width=200)


def test_expected_time_from_the_plan_and_from_an_earlier_run():
    progress = told(SAID)
    assert progress.outlook(["a::b"], 20.0) == 0.0
    progress.plan({"experiments": [{"name": "pod-kill", "expected_seconds": 15}]})
    progress.earlier({"scenarios": [{"name": "monitoring::alerts", "outcome": "pass", "seconds": 40.0}, {"name": "x"}]})
    planned = ["lint", "data::recall[20000]", "faults::fault[pod-kill]", "monitoring::alerts"]
    # 15 - 7.4 of the one, 40 - 11.9 of the other, in two lanes, and the end.
    assert round(progress.outlook(planned, 20.0), 1) == round(20 + (7.6 + 28.1) / 2 + 5, 1)


def test_the_run_directory_is_found_in_its_line_only():
    assert directory_of(SAID.splitlines()[1] + "\n") == Path("/some where/runs/2026-11-25-91e754")
    assert directory_of("run x: evidence in /etc") is None


def test_a_growing_file_is_read_once_and_half_a_line_later(tmp_path):
    path = tmp_path / "history.jsonl"
    tail = Tail(path)
    assert tail.new() == []
    with path.open("w") as file:
        file.write(json.dumps({"n": 1}) + '\nnot json\n[1]\n{"n":')
        file.flush()
        assert tail.new() == [{"n": 1}]
        assert tail.new() == []
        file.write(" 2}\n")
    assert tail.new() == [{"n": 2}]
    assert tail.new() == []
