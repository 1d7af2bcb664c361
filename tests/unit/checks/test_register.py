"""Our decision per id against Porcupine's, on random histories: the same answer each time.

Histories are made in two ways: wholly random ones (mostly broken), and ones that a real register could have given,
then perhaps with one answer changed (hard cases on both sides of the border).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lines import Lines, findings

from chroma_qualify.checks.register import NEVER, Flaw, conflict, new_cluster
from chroma_qualify.cluster.images.catalog import GoModule
from chroma_qualify.cluster.images.golang import build_programs
from chroma_qualify.findings import Severity

WRITE, DELETE, READ = range(3)
ABSENT = -1
EXAMPLES = int(os.environ.get("CHROMA_QUALIFY_EXAMPLES", "300"))
MODULE = Path(__file__).resolve().parents[3] / "images/go/porcupine-check"

Row = tuple[int, int, int, int]  # f, value, call, return (-1: none)


@pytest.fixture(scope="module")
def porcupine():
    """Ask Porcupine; one process for all questions."""
    if shutil.which("go") is None:
        pytest.skip("Go is not on PATH, and Porcupine, against which this is tested, is a Go program")
    module = GoModule("porcupine-check", "github.com/anishathalye/porcupine", MODULE, "1.3.1", about=30)
    program = build_programs(module, print) / "porcupine-check"
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(rows: list[Row]) -> bool:
            print(json.dumps(rows), file=process.stdin, flush=True)
            return {"true\n": True, "false\n": False}[process.stdout.readline()]

        yield ask
        process.stdin.close()


def ours(rows: list[Row]) -> bool:
    """Our decision, from the same rows."""
    clusters = {
        value: new_cluster(value, call, NEVER if back < 0 else back) for f, value, call, back in rows if f == WRITE
    }
    deletes = [(call, NEVER if back < 0 else back) for f, _, call, back in rows if f == DELETE]
    absent = []
    for f, value, call, back in rows:
        if f == READ and value == ABSENT:
            absent.append((call, back))
        elif f == READ:
            if value not in clusters:
                return False
            clusters[value].add_read(call, back)
    return conflict(list(clusters.values()), deletes, absent) is None


def spread(chance: random.Random, number: int, processes: int, info: float) -> list[Row]:
    """Operations with intervals: each process does one at a time; values are not set yet."""
    events: list[tuple[int, int]] = []
    rows: list[list[int]] = []
    busy: dict[int, int] = {}
    clock = 0
    while len(rows) < number or busy:
        clock += 1
        process = chance.randrange(processes)
        if process in busy:
            row = busy.pop(process)
            rows[row][3] = clock
        elif len(rows) < number:
            busy[process] = len(rows)
            rows.append([chance.choice((WRITE, WRITE, DELETE, READ, READ, READ)), ABSENT, clock, -1])
        events.append((clock, process))
    for row in rows:
        if row[0] != READ and chance.random() < info:
            row[3] = -1
    return [tuple(row) for row in rows]


def at_random(chance: random.Random, rows: list[Row]) -> list[Row]:
    """Reads give any value that is written somewhere, or "absent"."""
    values = [number for number, row in enumerate(rows) if row[0] == WRITE]
    return [
        (f, number if f == WRITE else chance.choice([*values, ABSENT]) if f == READ else ABSENT, call, back)
        for number, (f, _, call, back) in enumerate(rows)
    ]


def played(chance: random.Random, rows: list[Row], lies: int) -> list[Row]:
    """What a register would have answered, each operation at a random point of its interval; then some lies."""
    end = max((max(row[2:]) for row in rows), default=0) + 1
    points = sorted(
        (chance.uniform(call, back if back >= 0 else end * 1.3), number)
        for number, (_, _, call, back) in enumerate(rows)
    )
    state = ABSENT
    result = list(rows)
    for _, number in points:
        f, _, call, back = rows[number]
        if f == WRITE:
            state = number
        elif f == DELETE:
            state = ABSENT
        result[number] = (f, state, call, back)
    reads = [number for number, row in enumerate(rows) if row[0] == READ]
    values = [ABSENT, *(number for number, row in enumerate(rows) if row[0] == WRITE)]
    for number in chance.sample(reads, min(lies, len(reads))):
        f, _, call, back = result[number]
        result[number] = (f, chance.choice(values), call, back)
    return result


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 1 << 40), st.integers(1, 14), st.integers(1, 6), st.sampled_from([0.0, 0.2, 0.5]), st.integers(0, 3)
)
def test_the_same_answer_as_porcupine(porcupine, seed, number, processes, info, lies):
    chance = random.Random(seed)
    rows = spread(chance, number, processes, info)
    for each in (at_random(chance, rows), played(chance, rows, 0), played(chance, rows, lies)):
        assert ours(each) == porcupine(each), each


def test_histories_on_both_sides_are_tried(porcupine):
    """The generator is worth something only if both answers come up often, also among the hard ones."""
    chance = random.Random(7)
    said = {True: 0, False: 0}
    for _ in range(EXAMPLES):
        rows = played(chance, spread(chance, 12, 4, 0.2), 1)
        answer = porcupine(rows)
        assert ours(rows) == answer, rows
        said[answer] += 1
    assert min(said.values()) > EXAMPLES / 10


def test_what_a_register_answers_is_always_right():
    chance = random.Random(3)
    for _ in range(EXAMPLES):
        rows = played(chance, spread(chance, 60, 8, 0.1), 0)
        assert ours(rows), rows


@pytest.mark.parametrize(
    ("rows", "flaw"),
    [
        ([(WRITE, 1, 5, 6), (READ, 1, 1, 2)], Flaw.BEFORE_WRITE),
        ([(WRITE, 1, 1, 2), (WRITE, 2, 3, 4), (READ, 2, 5, 6), (READ, 1, 7, 8)], Flaw.TWO_AT_ONCE),
        ([(WRITE, 1, 1, 2), (WRITE, 2, 3, 4), (READ, 1, 5, 6)], Flaw.INSIDE),
        ([(WRITE, 1, 1, 2), (READ, ABSENT, 3, 4), (READ, 1, 5, 6)], Flaw.ABSENT_INSIDE),
        ([(WRITE, 1, 1, 2), (DELETE, 0, 3, 4), (READ, 1, 5, 6)], Flaw.DELETE_INSIDE),
        ([(WRITE, 1, 1, 2), (READ, ABSENT, 3, 4)], Flaw.ABSENT),
    ],
)
def test_a_conflict_names_its_kind(rows, flaw):
    clusters = {value: new_cluster(value, call, back) for f, value, call, back in rows if f == WRITE}
    for f, value, call, back in rows:
        if f == READ and value != ABSENT:
            clusters[value].add_read(call, back)
    deletes = [row[2:] for row in rows if row[0] == DELETE]
    absent = [row[2:] for row in rows if row[:2] == (READ, ABSENT)]
    found = conflict(list(clusters.values()), deletes, absent)
    assert found is not None
    assert found.flaw is flaw


def as_history(rows: list[Row]) -> Lines:
    """The same operations as lines: `upsert`, `delete` and `get` of one id, each by a process of its own."""
    lines = Lines()
    events = sorted([(row[2], number) for number, row in enumerate(rows)])
    events = sorted([*events, *((row[3], number) for number, row in enumerate(rows) if row[3] >= 0)])
    begun: dict[int, dict[str, object]] = {}
    for _, number in events:
        f, value, _, _ = rows[number]
        if number in begun:
            values = {} if value == ABSENT else {"a": value}
            lines.end(begun[number], **({"values": values} if f == READ else {}))
        elif f == WRITE:
            begun[number] = lines.begin("upsert", values={"a": value})
        else:
            begun[number] = lines.begin("delete" if f == DELETE else "get", ids=["a"])
    return lines


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1 << 40), st.integers(1, 14), st.integers(1, 6), st.sampled_from([0.0, 0.3]), st.integers(0, 3))
def test_a_whole_history_is_accused_exactly_if_porcupine_says_so(porcupine, seed, number, processes, info, lies):
    """All rules together: what one of them takes from another must not get lost between them."""
    chance = random.Random(seed)
    rows = spread(chance, number, processes, info)
    for each in (at_random(chance, rows), played(chance, rows, 0), played(chance, rows, lies)):
        accusing = [finding.rule for finding in findings(as_history(each)) if finding.severity is Severity.FAIL]
        assert (not accusing) == porcupine(each), (each, accusing)
