"""What a client's program printed, judged."""

from __future__ import annotations

import json

import pytest

from chroma_qualify.checks.compatibility import from_json, judge_client, read_run, table

NAMES = [f"check {number}" for number in range(17)]


def printed(client="1.5.9", **errors):
    checks = [{"name": name, "ok": name not in errors, "error": errors.get(name, "")} for name in NAMES]
    return json.dumps({"client": client, "checks": checks})


WHOLE = read_run("1.5.9", "chroma:1.5.9", printed())
# As 0.6.3 ends with 1.5.9.
BROKEN = {"check 2": "KeyError: '_type'", "check 3": "not tried: there is no collection"}
OLD = read_run("0.6.3", "chroma:1.5.9", printed("0.6.3", **BROKEN))


def test_all_is_well():
    assert WHOLE.compatible
    assert judge_client(WHOLE) == []
    assert from_json(json.loads(json.dumps(WHOLE.as_json()))) == WHOLE


def test_an_incompatible_client_is_named_with_its_error():
    assert not OLD.compatible
    (finding,) = judge_client(OLD)
    assert finding.rule == "client-incompatible"
    assert finding.message.startswith("client 0.6.3 with server chroma:1.5.9: 1 of 17 checks fail")
    assert finding.evidence == "check 2: KeyError: '_type'"
    assert judge_client(OLD, compatible=False) == []


def test_what_is_said_to_be_incompatible_must_be():
    (finding,) = judge_client(WHOLE, compatible=False)
    assert finding.rule == "client-known-wrongly"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Traceback: no module named chromadb"),
        ("{}", ""),
        ("[1]", ""),
        ('{"client": "1.5.9", "checks": [{"name": "connect", "ok": true, "error": ""}]}', ""),
        (printed("1.5.8"), ""),
    ],
)
@pytest.mark.parametrize("compatible", [True, False])
def test_a_program_that_did_not_do_its_checks_tells_nothing(text, said, compatible):
    (finding,) = judge_client(read_run("1.5.9", "any", text, said), compatible=compatible)
    assert (finding.rule, finding.severity.value) == ("client-not-tried", "unknown")


def test_the_table_has_a_row_for_each_pair():
    rows = table([WHOLE, OLD]).splitlines()
    assert rows[2] == "| 1.5.9 | chroma:1.5.9 | yes, 17 of 17 |  |"
    assert rows[3] == "| 0.6.3 | chroma:1.5.9 | **no**, 15 of 17 | check 2: `KeyError: '_type'` |"
