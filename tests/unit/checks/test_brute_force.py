"""The set rules against their definitions, written down with all pairs of operations, on small random histories."""

from __future__ import annotations

import os
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from lines import Lines

from chroma_qualify.checks.history import WRITES, F, Kind, Phase, parse
from chroma_qualify.checks.judge import sweep
from chroma_qualify.checks.rules import lost_store

EXAMPLES = int(os.environ.get("CHROMA_QUALIFY_EXAMPLES", "300"))
IDS = ("a", "b", "c")


def random_history(chance: random.Random, number: int, processes: int) -> Lines:
    """Concurrent writes, deletes and reads with any answers, then two final reads."""
    lines = Lines()
    open_ops: list[dict[str, object]] = []
    values = 0
    for _ in range(number):
        if open_ops and (len(open_ops) == processes or chance.random() < 0.5):
            op = open_ops.pop(chance.randrange(len(open_ops)))
            answer = {id_: chance.randrange(values + 1) for id_ in IDS if chance.random() < 0.5}
            fields = {"values": answer} if op["f"] == "get" else {}
            lines.end(op, "ok" if op["f"] == "get" else chance.choice(["ok", "ok", "ok", "fail", "info"]), **fields)
            continue
        f = chance.choice(["add", "upsert", "upsert", "delete", "get", "get"])
        ids = chance.sample(IDS, chance.randint(1, 2))
        if f in {"add", "upsert"}:
            open_ops.append(lines.begin(f, values={id_: values + place for place, id_ in enumerate(ids)}))
            values += len(ids)
        else:
            named = {"ids": ids} if f == "delete" or chance.random() < 0.5 else {}
            open_ops.append(lines.begin(f, "after", **named))
    for _ in range(2):
        lines.read(**{id_: chance.randrange(values + 1) for id_ in IDS if chance.random() < 0.6})
    return lines


def covers(read, id_):
    return read.ids is None or id_ in read.ids


def surely(changes, against, start, end):
    """Has one of `changes` certainly happened before `start`, and none of `against` after it until `end`?"""
    return any(
        one.kind is Kind.OK
        and one.done < start
        and all((not_.kind is Kind.OK and not_.done < one.index) or not_.index > end for not_ in against)
        for one in changes
    )


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.integers(0, 1 << 40), st.integers(1, 24), st.integers(1, 5))
def test_the_set_rules_are_what_they_say(seed, number, processes):
    history = parse(random_history(random.Random(seed), number, processes).raw().splitlines(keepends=True))
    assert history.flaws == ()
    track = sweep(history)["c"]
    phantom, resurrected, lost, stale = set(), set(), set(), set()
    for id_ in IDS:
        reads = [op for op in history.operations if op.f is F.GET and op.kind is Kind.OK]
        tried = [op for op in history.operations if op.f in WRITES and id_ in op.values]
        writes = [op for op in tried if op.kind is not Kind.FAIL]
        deletes = [op for op in history.operations if op.f is F.DELETE and id_ in op.ids and op.kind is not Kind.FAIL]
        missing = []
        for read in sorted(reads, key=lambda op: op.done):
            begun = [op for op in writes if op.index < read.done]
            live = surely(writes, deletes, read.index, read.done)
            gone = bool(begun) and surely(deletes, begun, read.index, read.done)
            value = read.values.get(id_)
            if value is None:
                if live and covers(read, id_):
                    missing.append(read)
                continue
            if not begun or any(
                op.kind is Kind.FAIL and op.values[id_] == value for op in tried if op.index < read.done
            ):
                phantom.add((id_, read.index))
            elif gone and any(op.values[id_] == value for op in begun):
                resurrected.add((id_, read.index))
            if any(
                one.done < read.done
                and one.index < read.index
                and not any(one.done < op.index < read.done for op in deletes)
                for one in missing
            ):
                stale.add(id_)
        final = [op for op in reads if op.phase is Phase.FINAL]
        end = history.lines
        if all(surely(writes, deletes, op.index, end) and id_ not in op.values for op in final):
            lost.add(id_)
    assert {(id_, op.index) for id_, op in track.phantom} == phantom
    assert {(id_, op.index) for id_, op in track.resurrected} == resurrected
    assert {each.id for each in track.stale} == stale
    found, _ = lost_store(track)
    assert [finding.message.split()[0] for finding in found] == ([str(len(lost))] if lost else [])
