"""A count that is short is a stale read, unless another rule has said which records are missing."""

from lines import Lines, findings, rules

from chroma_qualify.checks.limits import Limits


def written():
    return Lines().write(a=1, b=2, c=3)


def test_a_count_that_misses_what_every_other_read_finds():
    for phase in ("before", "final"):
        (finding,) = findings(written().count(1, phase).final(a=1, b=2, c=3))
        assert finding.rule == "stale-read"
        assert finding.evidence.startswith("count#2 by process 1")
        assert finding.evidence.endswith("found 1 of at least 3")
    assert rules(written().final(a=1, b=2, c=3).count(2)) == ["stale-read"]


def test_how_stale_it_is_follows_from_the_youngest_that_it_can_have_missed():
    lines = written()
    lines.time += 2_000_000_000
    lines.write(d=4).count(3).final(a=1, b=2, c=3, d=4)
    assert rules(lines) == ["stale-read"]
    assert rules(lines, Limits(stale=1.0)) == []  # it may be d
    lines = written()
    lines.time += 2_000_000_000
    lines.write(d=4).count(2).final(a=1, b=2, c=3, d=4)
    assert rules(lines, Limits(stale=1.0)) == ["stale-read"]  # it cannot be d alone


def test_what_is_in_doubt_need_not_be_counted():
    lines = written().write(kind="info", d=4)
    write = lines.begin("upsert", values={"e": 5})
    count = lines.begin("count", "before")
    lines.end(write).end(count, count=3)
    assert rules(lines.final(a=1, b=2, c=3, e=5)) == []
    lines = written()
    count = lines.begin("count", "before")
    lines.delete("a").end(count, count=2)
    assert rules(lines.final(b=2, c=3)) == []


def test_what_another_rule_names_is_not_named_again():
    assert rules(written().count(2).final(b=2, c=3)) == ["lost-store"]
    assert rules(written().read("before", b=2, c=3).count(2, "before").final(a=1, b=2, c=3)) == ["stale-read"]
    assert rules(written().count(2, endpoint="p").count(3, endpoint="q").final(a=1, b=2, c=3)) == ["diverged"]
