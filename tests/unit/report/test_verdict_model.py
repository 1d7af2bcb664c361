"""verdict.json as it is written and read again: tables, the command, digests, times; and older files."""

from __future__ import annotations

import dataclasses
import json

import pytest

from chroma_qualify.load.truth_table import Cell, Control, as_matrix
from chroma_qualify.report.verdict import Matrix, MatrixCell, Outcome, RunResult, ScenarioResult, Verdict
from chroma_qualify.report.write import read_verdict, write_verdict

MATRIX = Matrix(
    "who may reach what",
    "network_policy::truth_table",
    ("backend", "a stranger"),
    ("Chroma", "DNS"),
    ((MatrixCell("open", "open", "right"), None), (MatrixCell("closed", "timeout", "right"), None)),
)
RESULT = RunResult(
    "2026-01-01-abcdef",
    Verdict.PASS,
    (),
    (ScenarioResult("data::a", Outcome.PASS, 1.5, began=31.25),),
    (),
    {"chroma": "1.5.9"},
    7,
    "packages",
    matrices=(MATRIX,),
    command="chroma-qualify run --seed 7",
    digests={"chroma:1.5.9": "sha256:00"},
    started="2026-01-01T00:00:00+00:00",
    seconds=864.5,
)


def test_all_of_it_is_read_again(tmp_path):
    write_verdict(RESULT, tmp_path)
    assert read_verdict(tmp_path) == RESULT


def test_an_older_verdict_is_read_too(tmp_path):
    document = json.loads(write_verdict(RESULT, tmp_path).read_text())
    for name in ("matrices", "command", "digests", "started", "seconds", "experiments"):
        del document[name]
    for scenario in document["scenarios"]:
        del scenario["began"]
    (tmp_path / "verdict.json").write_text(json.dumps(document))
    (scenario,) = RESULT.scenarios
    assert read_verdict(tmp_path) == dataclasses.replace(
        RESULT,
        scenarios=(dataclasses.replace(scenario, began=None),),
        matrices=(),
        command="",
        digests={},
        started="",
        seconds=0.0,
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "Expecting value"), *((text, "is no verdict") for text in ("[]", "{}", "null", '{"verdict": 3}'))],
)
def test_what_is_no_verdict_is_refused(tmp_path, text, why):
    (tmp_path / "verdict.json").write_text(text)
    with pytest.raises(ValueError, match=why):
        read_verdict(tmp_path)


def test_a_truth_table_becomes_a_matrix():
    failed = Control("a fence keeps a stranger out", expected=False, outcomes=("open",))
    cells = [
        Cell("backend", "Chroma", True, ("open", "open"), ()),
        Cell("a stranger", "Chroma", False, ("timeout", "open"), ()),
        Cell("Chroma", "DNS", True, (), (failed,)),
    ]
    rows, columns, table = as_matrix(cells)
    assert (rows, columns) == (["backend", "a stranger", "Chroma"], ["Chroma", "DNS"])
    assert table == [
        [MatrixCell("open", "open", "right"), None],
        [MatrixCell("closed", "timeout/open", "wrong"), None],
        [None, MatrixCell("open", "not probed", "undecided")],
    ]
