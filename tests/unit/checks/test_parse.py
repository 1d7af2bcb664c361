"""Validity first: what is not whole or not ours is said, and never judged as if it were."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lines import Lines, findings, rules

from chroma_qualify.checks.history import parse
from chroma_qualify.checks.judge import judge
from chroma_qualify.checks.limits import Limits
from chroma_qualify.checks.run import Judgement
from chroma_qualify.errors import UsageError
from chroma_qualify.rejudge import as_json, as_text
from chroma_qualify.workload.records import vectors

GOOD = Lines().write(a=1).final(a=1)
REUSED = Lines()
REUSED.end(REUSED.begin("upsert", values={"a": 1}, process=5), "info")
REUSED.end(REUSED.begin("upsert", values={"a": 2}, process=5)).final(a=2)
OVERLAPPING = Lines()
_first = OVERLAPPING.begin("upsert", values={"a": 1}, process=5)
OVERLAPPING.end(OVERLAPPING.begin("upsert", values={"a": 2}, process=5)).final(a=2)


def changed(number: int, **fields: object) -> bytes:
    """GOOD with one line changed."""
    lines = [dict(line) for line in GOOD.lines]
    lines[number].update(fields)
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def without(number: int, field: str) -> bytes:
    lines = [dict(line) for line in GOOD.lines]
    del lines[number][field]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (GOOD.raw()[:-1], "cut off"),
        (GOOD.raw()[:-20], "cut off"),
        (b"".join(GOOD.raw().splitlines(keepends=True)[1:]), "index 1 came where 0"),
        (changed(3, index=7), "index 7 came where 3"),
        (changed(3, time=5), "backwards"),
        (changed(1, process=99), "belongs to no invocation"),
        (changed(1, f="add"), "another operation"),
        (REUSED.raw(), "came back"),
        (OVERLAPPING.raw(), "before upsert#0"),
        (GOOD.raw().replace(b'"time":3000000', b'"time":30000 00'), "no JSON"),
        (b"", "no operation"),
    ],
)
def test_what_is_not_whole_is_unknown(raw, words):
    (finding,) = findings(raw)
    assert (finding.rule, finding.severity.value) == ("cut-short", "unknown")
    assert words in finding.message


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"hello\n", "no JSON"),
        (b"[]\n", "no JSON object"),
        (b'{"a": 1}\n', "index"),
        (b"\x80\x04\n", "no JSON"),
        (changed(2, extra=1), "unknown field 'extra'"),
        (changed(2, type="done"), "done"),
        (changed(2, f="peek"), "peek"),
        (changed(2, phase="never"), "never"),
        (changed(2, time="1"), "whole numbers"),
        (changed(0, values={"a": "1"}), "whole numbers"),
        (changed(0, values={"a": True}), "whole numbers"),
        (changed(0, values=[1]), "values must be an object"),
        (changed(2, ids=[1]), "ids"),
        (changed(2, f="query", k=0), "k must"),
        (changed(2, f=["get"]), "unhashable"),
        (without(0, "values"), "values must be an object"),
        (without(3, "values"), "no values"),
        (without(2, "process"), "process"),
    ],
)
def test_what_is_no_history_is_refused(raw, words):
    with pytest.raises(UsageError, match="this is no history") as error:
        rules(raw)
    assert words in error.value.message


def test_no_part_of_a_history_passes():
    """Cut anywhere: whatever is missing, what is left must not look like a whole run."""
    whole = Lines().write(a=1).write("add", b=2).delete("b").final(a=1).raw()
    assert findings(whole) == []
    for end in range(len(whole)):
        try:
            assert findings(whole[:end]), end
        except UsageError:
            assert b"\n" not in whole[:end]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_a_file_holds_there_is_an_answer(data):
    """Fields of any type, lines doubled, dropped or swapped: findings, or a sentence; nothing else comes out."""
    odd = st.sampled_from([None, True, -1, 1 << 70, 0.5, "", "a", "\ud800", [], ["a"], [1], {}, {"a": 1}, {"a": -9}])
    history = Lines().write(a=1, b=2).delete("b").query("a", 2, a=1).count(1).final(a=1)
    lines = [dict(line) for line in history.lines]
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(["field", "double", "drop", "swap"])):
            case "field":
                lines[place][data.draw(st.sampled_from([*lines[place], "ids", "near", "k", "vectors"]))] = data.draw(
                    odd
                )
            case "double":
                lines.insert(place, dict(lines[place]))
            case "drop" if len(lines) > 1:
                del lines[place]
            case "swap":
                lines[0], lines[place] = lines[place], lines[0]
    raw = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    try:
        found = judge(parse(raw.splitlines(keepends=True)), Limits(), vectors)
    except UsageError as error:
        assert error.message  # noqa: PT017 (either is right)
        return
    judgement = Judgement(tuple(found), ())
    as_json(judgement).encode()
    as_text(judgement).encode()


@pytest.fixture
def check(tmp_path, console):
    def run(raw: bytes | None, *args: str, plan: object = None) -> tuple[int, str, str]:
        if raw is not None:
            (tmp_path / "history.jsonl").write_bytes(raw)
        if plan is not None:
            (tmp_path / "plan.json").write_text(json.dumps(plan))
        return console("check", str(tmp_path), *args)

    return run


def test_check_ends_with_the_verdict(check):
    assert check(GOOD.raw())[0] == 0
    assert check(Lines().write(a=1, b=2).final(a=1).raw())[0] == 1
    assert check(GOOD.raw()[:-1])[0] == 3
    assert check(b"hello\n")[0] == 2


def test_check_without_a_history(check):
    code, out, err = check(None)
    assert (code, out) == (2, "")
    assert "no history.jsonl" in err


def test_check_prints_what_verdict_json_says(check):
    raw = Lines().write(a=1, b=2).final(a=1).raw()
    code, out, _ = check(raw, "--format", "json")
    assert check(raw, "--format", "json") == (code, out, "")
    document = json.loads(out)
    assert document["verdict"] == "fail"
    (finding,) = document["findings"]
    assert {"rule": "lost-store", "severity": "fail", "collection": "c"}.items() <= finding.items()
    assert finding["evidence"]
    assert finding["remedy"]


def test_check_asks_for_what_the_plan_asks(check):
    plan = {"limits": {"floors": {"during": 5}}}
    code, out, _ = check(GOOD.raw(), plan=plan)
    assert code == 3
    assert "too-little-traffic" in out


@pytest.mark.parametrize(
    "limits", [{"recal": 1}, {"recall": 2}, {"floors": {"x": 1}}, {"floors": {"final": "1"}}, 7, {"stale": -1}]
)
def test_check_refuses_a_plan_it_does_not_understand(check, limits):
    code, _, err = check(GOOD.raw(), plan={"limits": limits})
    assert code == 2
    assert "limit" in err
