"""Arithmetic on columns and a look at every event give the same findings, word for word."""

from __future__ import annotations

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lines import Lines, circle

from chroma_qualify.checks import plain
from chroma_qualify.checks.history import Phase, parse
from chroma_qualify.checks.judge import judge
from chroma_qualify.checks.limits import Limits

EXAMPLES = int(os.environ.get("CHROMA_QUALIFY_EXAMPLES", "300"))
FS = ("add", "upsert", "upsert", "upsert", "delete", "get", "get", "get", "query", "count")
PHASES = ("before", "during", "after", "final")


class Server:
    """One register for each id that tells the truth, at a random point of each operation; and then some lies.

    Args:
        lies: share of the reads that are changed.
        plain: of the operations that are kept simple: no counts, no endpoints, no `near`.
    """

    def __init__(self, chance: random.Random, ids: int, lies: float, *, plain: bool) -> None:
        self.chance = chance
        self.ids = [f"r{number}" for number in range(ids)]
        self.state: dict[tuple[str, str], int] = {}
        self.lies = lies
        self.plain = plain
        self.values = 0
        self.stride = chance.choice((1, 1, 1 << 40))  # far apart, or one after the other as a run's are
        self.past: dict[str, list[int]] = {id_: [0] for id_ in self.ids}
        self.lines = Lines()
        self.open: list[dict[str, object]] = []
        self.answers: dict[int, dict[str, object]] = {}
        self.phase = "before"

    def begin(self) -> None:
        chance = self.chance
        f = chance.choice(FS[:8] if self.plain else FS)
        ids = chance.sample(self.ids, min(len(self.ids), chance.choice((1, 1, 1, 2, 5))))
        fields: dict[str, object] = {"collection": chance.choice("ccd")}
        if f in {"add", "upsert"}:
            fields["values"] = {id_: (self.values + place) * self.stride for place, id_ in enumerate(ids)}
            self.values += len(ids)
            if chance.random() < self.lies / 20:  # a value that is used twice
                fields["values"] = dict.fromkeys(ids, chance.randrange(self.values) * self.stride)
            for id_, value in fields["values"].items():
                self.past[id_].append(value)
        elif f == "delete" or (f == "get" and chance.random() < 0.7):
            fields["ids"] = ids if chance.random() > self.lies / 20 else [*ids, ids[0]]
        if f == "get" and chance.random() < 0.3:
            fields["vectors"] = True
        if f == "query":
            fields["k"] = chance.choice((1, 3, 100))
            if chance.random() < 0.6:
                fields["near"] = chance.choice(self.ids)
        if not self.plain and chance.random() < 0.5:
            fields["endpoint"] = chance.choice(("p1", "p2"))
        self.open.append(self.lines.begin(f, self.phase, **fields))
        if chance.random() < 0.4:
            self.take_effect(self.open[-1])

    def take_effect(self, op) -> None:  # noqa: PLR0912
        if op["index"] in self.answers:
            return
        chance, where, f = self.chance, op["collection"], op["f"]
        answer: dict[str, object] = {}
        kind = "ok" if chance.random() < 0.93 else chance.choice(("info", "fail"))
        if f in {"add", "upsert", "delete"}:
            if kind == "ok" or (kind == "info" and chance.random() < 0.5):
                for id_ in op.get("values", op.get("ids")):
                    if f == "upsert" or (f == "add" and (where, id_) not in self.state):
                        self.state[where, id_] = op["values"][id_]
                    elif f == "delete":
                        self.state.pop((where, id_), None)
        elif kind == "ok":
            values = {id_: value for (name, id_), value in self.state.items() if name == where}
            if f == "get" and "ids" in op:
                values = {id_: value for id_, value in values.items() if id_ in op["ids"]}
            if f == "query" and self.lies:
                values = dict(chance.sample(sorted(values.items()), min(op["k"], len(values))))
            for id_ in self.ids if chance.random() < self.lies else ():
                if chance.random() < 0.2:
                    values.pop(id_, None)
                elif chance.random() < 0.1:
                    values[id_] = chance.choice((chance.randrange(self.values + 1) * self.stride, *self.past[id_][-3:]))
            answer = {"count": len(values)} if f == "count" else {"values": values}
        if kind != "ok":
            answer["error"] = chance.choice(("boom", "500: Error finding id"))
        self.answers[op["index"]] = {"kind": kind, **answer}

    def end(self, op) -> None:
        self.take_effect(op)
        answer = self.answers[op["index"]]
        if "endpoint" in op:
            answer["endpoint"] = op["endpoint"]
        if answer["kind"] != "info" or self.chance.random() < 0.7:  # else: no completion
            self.lines.end(op, **answer)

    def run(self, number: int, processes: int) -> bytes:
        begun = 0
        for phase in PHASES:
            self.phase = phase
            for _ in range(number // 4 + 1):
                if self.open and (len(self.open) == processes or self.chance.random() < 0.5):
                    self.end(self.open.pop(self.chance.randrange(len(self.open))))
                else:
                    self.begin()
                    begun += 1
        while self.open:
            self.end(self.open.pop())
        raw = self.lines.raw()
        if self.chance.random() < self.lies:
            raw = raw.replace(b'"r1":', b'"r1":1,"r1":', 1)
        return raw


def agree(raw: bytes, limits: Limits) -> list[str]:
    history = parse(raw.splitlines(keepends=True))
    quick, thorough = (judge(history, limits, circle, thorough=each) for each in (False, True))
    assert quick == thorough
    for name in "cd":
        part = history.only([name])
        assert judge(part, limits) == judge(part, limits, thorough=True)
    return [finding.rule for finding in quick]


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    st.integers(0, 1 << 40),
    st.integers(1, 160),
    st.integers(1, 6),
    st.integers(1, 12),
    st.sampled_from([0.0, 0.0, 0.02, 0.1, 0.5]),
    st.booleans(),
    st.sampled_from([1, 7, 1 << 19]),
)
def test_the_same_findings_in_both_ways(seed, number, processes, ids, lies, plain_, portion):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "_PORTION", portion)
        raw = Server(random.Random(seed), ids, lies, plain=plain_).run(number, processes)
        agree(raw, Limits(floors={Phase.DURING: 5}, recall=1.0, stale=0.001 * (seed % 3)))


def test_all_rules_are_tried_in_both_ways():
    """The generator is worth something only if it makes both healthy histories and ones that break each rule."""
    chance = random.Random(11)
    wanted = {"none", "lost-store", "lost-index", "stale-read", "diverged", "phantom", "resurrected", "duplicate"}
    wanted |= {"wrong-value", "low-recall", "no-final-reads", "index-not-read"}
    said: set[str] = set()
    for _ in range(20 * EXAMPLES):
        lies = chance.choice((0.0, 0.02, 0.3))
        raw = Server(chance, chance.randint(1, 8), lies, plain=chance.random() < 0.5).run(60, 4)
        said.update(agree(raw, Limits()) or ["none"])
        if wanted <= said:
            return
    assert wanted <= said


def test_numbers_of_any_size():
    """JSON has no largest number; columns have."""
    big = 1 << 80
    lines = Lines().write(a=big, b=-big, c=big + 1)
    lines.time = big
    lines.begin("query", "after", big, near="a", k=big)
    lines.count(-big, "after").final(a=big, b=-big, c=big + 2)
    history = parse(lines.raw().splitlines(keepends=True))
    write, query, count, *reads = history.operations
    assert (write.values, query.process, query.k) == ({"a": big, "b": -big, "c": big + 1}, big, big)
    assert (count.count, count.start, reads[0].values["c"]) == (-big, big + 2_000_000, big + 2)
    assert "wrong-value" in agree(lines.raw(), Limits())
