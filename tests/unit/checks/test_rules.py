"""Each rule: histories that must and that must not trigger it. Two rules never name one thing."""

from __future__ import annotations

import pytest
from lines import Lines, findings, rules

from chroma_qualify.checks.history import Phase, parse
from chroma_qualify.checks.judge import judge
from chroma_qualify.checks.limits import Limits
from chroma_qualify.findings import Severity


def H():  # noqa: N802 (reads like a word in the tables)
    return Lines()


def overlapping_read():
    lines = H().write(a=1)
    read = lines.begin("get", "after")
    lines.delete("a", phase="after")
    return lines.end(read, values={"a": 1}).read()


def overlapping_delete():
    lines = H()
    write = lines.begin("upsert", values={"a": 1})
    lines.delete("a")
    return lines.end(write).final()


def pending_write_surfaces():
    lines = H().write(a=1)
    lines.begin("upsert", values={"b": 2})
    return lines.read("after", a=1).final(a=1, b=2)


def lost_index_by_error():
    lines = H().write(a=1, b=2).read(a=1, b=2).read(vectors=True, ids=["b"], b=2)
    get = lines.begin("get", "final", ids=["a"], vectors=True)
    return lines.end(get, "fail", error="500: Error finding id")


def near_read_by_many():
    """k = all misses one of 400, then its own vector finds it: the approximate index, no loss."""
    values = {f"r{n}": n for n in range(400)}
    short = {id_: value for id_, value in values.items() if id_ != "r7"}
    return (
        H().write(**values).read(**values).query("r0", 400, **short).query("r7", 10, **dict(list(values.items())[:15]))
    )


HEALTHY = {
    "written and read": H().write(a=1, b=2).final(a=1, b=2),
    "add": H().write("add", a=1).final(a=1),
    "deleted": H().write(a=1, b=2).delete("a").final(b=2),
    "deleted and written again": H().write(a=1).delete("a").write(a=2).final(a=2),
    "overwritten": H().write(a=1).read("before", a=1).write(a=2).final(a=2),
    "add of an existing id changes nothing": H().write(a=1).write("add", a=2).final(a=1),
    "info write surfaces": H().write(a=1).write(kind="info", b=2).final(a=1, b=2),
    "info write does not surface": H().write(a=1).write(kind="info", b=2).final(a=1),
    "info write surfaces late": H().write(a=1).write(kind="info", b=2).read("after", a=1).final(a=1, b=2),
    "info overwrite": H().write(a=1).write(kind="info", a=2).read("after", a=1).final(a=2),
    "info delete works": H().write(a=1, b=2).delete("a", kind="info").final(b=2),
    "info delete does not work": H().write(a=1).delete("a", kind="info").final(a=1),
    "info delete works late":
        H().write(a=1, b=3).delete("a", kind="info").write(a=2).read("after", a=2, b=3).final(b=3),
    "invocation without completion": pending_write_surfaces(),
    "failed write stays away": H().write(a=1).write(kind="fail", b=2).final(a=1),
    "read overlaps delete": overlapping_read().write(b=1).final(b=1),
    "write overlaps delete": overlapping_delete(),
    "delete of nothing": H().delete("x").write(a=1).final(a=1),
    "failed delete": H().write(a=1).delete("a", kind="fail").final(a=1),
    "index short on k = all": near_read_by_many(),
    "counts": H().write(a=1, b=2).count(2).final(a=1, b=2),
    "replicas agree": H().write(a=1).read(endpoint="p1", a=1).read(endpoint="p2", a=1).read(vectors=True, a=1),
    "replicas differ with a write between":
        H().write(a=1).read("after", endpoint="p1", a=1).write(b=2)
        .read("after", endpoint="p2", a=1, b=2).final(a=1, b=2),
    "replicas differ by an info write":
        H().write(a=1).write(kind="info", b=2).read(endpoint="p1", a=1).read(endpoint="p2", a=1, b=2)
        .read(vectors=True, a=1),
    "query with near": H().write(a=1, b=2, c=90).final(a=1, b=2, c=90).query("a", 2, a=1, b=2),
}  # fmt: skip

BROKEN = {
    "lost": (H().write(a=1, b=2).final(b=2), ["lost-store"]),
    "lost from the store, later": (H().write(a=1, b=2).read("after", a=1, b=2).final(b=2), ["lost-store"]),
    "lost by count": (H().write(a=1, b=2).count(1), ["lost-store", "index-not-read"]),
    "lost in the index": (H().write(a=1, b=2).read(a=1, b=2).read(vectors=True, a=1), ["lost-index"]),
    "lost in the index by error": (lost_index_by_error(), ["lost-index"]),
    "lost in the index by near":
        (H().write(a=1, b=2).read(a=1, b=2).query("a", 2, b=2).query("b", 2, b=2), ["lost-index", "low-recall"]),
    "stale": (H().write(a=1).read("after").final(a=1), ["stale-read"]),
    "stale in the index": (H().write(a=1).read("after", vectors=True).final(a=1), ["stale-read"]),
    "diverged store": (
        H().write(a=1, b=2).read(endpoint="p1", a=1, b=2).read(endpoint="p2", b=2).read(vectors=True, a=1, b=2),
        ["stale-read", "diverged"],
    ),
    "diverged store, read last": (
        H().write(a=1, b=2).read(vectors=True, a=1, b=2).read(endpoint="p1", a=1, b=2).read(endpoint="p2", b=2),
        ["diverged"],
    ),
    "diverged index": (
        H().write(a=1, b=2).read(a=1, b=2).read(vectors=True, endpoint="p1", a=1, b=2)
        .read(vectors=True, endpoint="p2", b=2), ["diverged"],
    ),
    "diverged counts": (H().write(a=1).count(1, endpoint="p1").count(0, endpoint="p2").final(a=1), ["diverged"]),
    "diverged near": (
        H().write(a=1).final(a=1).query("a", 1, endpoint="p1", a=1).query("a", 1, endpoint="p2"),
        ["diverged", "low-recall"],
    ),
    "phantom": (H().write(a=1).final(a=1, x=9), ["phantom"]),
    "failed write surfaces": (H().write(a=1).write(kind="fail", b=2).final(a=1, b=2), ["phantom"]),
    "failed overwrite surfaces": (H().write(a=1).write(kind="fail", a=2).final(a=2), ["phantom"]),
    "read before written": (H().read("before", a=1).write(a=1).final(a=1), ["phantom"]),
    "too many counted": (H().write(a=1).count(2).final(a=1), ["phantom"]),
    "resurrected": (H().write(a=1, b=2).delete("a").final(a=1, b=2), ["resurrected"]),
    "resurrected later": (H().write(a=1, b=2).delete("a").read("after", b=2).final(a=1, b=2), ["resurrected"]),
    "resurrected by count": (H().write(a=1, b=2).delete("a").count(2).final(b=2), ["resurrected"]),
    "another's value": (H().write(a=1, b=2).final(a=2, b=1), ["wrong-value"]),
    "an old value": (H().write(a=1).write(a=2).final(a=1), ["wrong-value"]),
    "an old value after the new":
        (H().write(a=1).write(a=2).read("after", a=2).read("after", a=1).final(a=2), ["wrong-value"]),
    "absent between": (H().write(a=1).read("after", a=1).read("after").write(a=2).final(a=2), ["stale-read"]),
    "absent, then deleted": (H().write(a=1, b=2).read("after", b=2).delete("a").final(b=2), ["wrong-value"]),
    "low recall": (
        H().write(a=1, b=2, c=3, d=90).final(a=1, b=2, c=3, d=90).query("a", 3, a=1, d=90), ["low-recall"],
    ),
    "no final reads": (H().write(a=1).read("after", a=1), ["no-final-reads"]),
    "index not read": (H().write(a=1).read(a=1), ["index-not-read"]),
    "nothing written": (H().read(), ["too-little-traffic"]),
}  # fmt: skip


@pytest.mark.parametrize("lines", HEALTHY.values(), ids=HEALTHY)
def test_what_is_right_is_not_accused(lines):
    assert findings(lines) == []


@pytest.mark.parametrize(("lines", "expected"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_named(lines, expected):
    assert rules(lines) == expected


def test_one_id_twice_in_one_answer():
    raw = H().write(a=1).final(a=1).raw()
    twice = raw.replace(b'"values":{"a":1}}\n', b'"values":{"a":1,"a":1}}\n')
    assert twice != raw
    assert "duplicate" in rules(twice)


def test_ids_that_look_like_keys_are_no_duplicates():
    lines = H().write(**{'x":1,"y': 1, 'q" r': 2, "ä\\": 3}).final(**{'x":1,"y': 1, 'q" r': 2, "ä\\": 3})
    assert findings(lines) == []


def test_a_loss_tells_number_ids_witness_and_remedy():
    values = {f"r{n:02}": n for n in range(30)}
    kept = {id_: value for id_, value in values.items() if value % 10}
    (finding,) = [each for each in findings(H().write(**values).final(**kept)) if each.rule == "lost-store"]
    assert finding.severity is Severity.FAIL
    assert finding.message.startswith("3 acknowledged records")
    assert "r00, r10, r20" in finding.evidence
    assert "upsert#0" in finding.evidence
    assert "get#2" in finding.evidence
    assert finding.remedy
    assert finding.collection == "c"


def test_a_stale_read_tells_for_how_long_and_may_be_promised():
    lines = H().write(a=1)  # acknowledged at 2 ms
    lines.time = 502_000_000 - 1_000_000
    lines.read("after").final(a=1)
    (finding,) = findings(lines)
    assert "0.500 s" in finding.message
    assert findings(lines, Limits(stale=1.0)) == []
    assert rules(lines, Limits(stale=0.4)) == ["stale-read"]


def test_too_little_traffic_is_unknown():
    lines = H().write(a=1).final(a=1)
    (finding,) = findings(lines, Limits(floors={Phase.DURING: 1, Phase.BEFORE: 1}))
    assert (finding.rule, finding.severity) == ("too-little-traffic", Severity.UNKNOWN)
    assert "during" in finding.message


def test_collections_are_judged_apart():
    lines = H().write(a=1).final(a=1)
    begun = lines.begin("upsert", values={"a": 2}, collection="d")
    lines.end(begun)
    begun = lines.begin("get", "final", collection="d")
    lines.end(begun, values={})
    assert [(each.rule, each.collection) for each in findings(lines)] == [("lost-store", "d")]


def test_one_collection_alone():
    lines = H().write(a=1).final(a=1)
    begun = lines.begin("upsert", values={"a": 2}, collection="d")
    lines.end(begun)
    begun = lines.begin("get", "final", collection="d")
    lines.end(begun, values={})
    whole = parse(lines.raw().splitlines(keepends=True))
    for name, expected in (("c", []), ("d", ["lost-store"])):
        part = whole.only([name])
        assert (part.lines, part.flaws) == (whole.lines, whole.flaws)
        assert [op.index for op in part.operations] == [op.index for op in whole.operations if op.collection == name]
        assert [finding.rule for finding in judge(part, Limits())] == expected


def test_judging_twice_gives_the_same():
    lines = H().write(**{f"r{n}": n for n in range(50)}).final(r1=1, r3=4, x=1)
    assert findings(lines) == findings(lines)
