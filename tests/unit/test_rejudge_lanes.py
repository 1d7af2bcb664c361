"""`check` judges what both lanes of a run recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chroma_qualify.deployment.qualification import load_promises
from chroma_qualify.errors import UsageError
from chroma_qualify.rejudge import judge_run


def history(directory: Path, *, lost: bool) -> None:
    """One acknowledged record, which the final reads give, or do not."""
    values = {} if lost else {"a": 1}
    common = {"collection": "c", "endpoint": None}
    events = [
        {"f": "upsert", "phase": "before", "type": "invoke", "values": {"a": 1}},
        {"f": "upsert", "phase": "before", "type": "ok"},
    ]
    for asked in ({}, {"vectors": True}):
        final = {"f": "get", "phase": "final"}
        events += [{**final, "type": "invoke", **asked}, {**final, "type": "ok", "values": values}]
    directory.mkdir(exist_ok=True)
    lines = [
        {"index": number, "time": number * 1000, "process": number // 2, **common, **event}
        for number, event in enumerate(events)
    ]
    (directory / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def rules(directory: Path) -> list[str]:
    return [finding.rule for finding in judge_run(directory).findings]


@pytest.mark.parametrize(("first", "second"), [(False, False), (True, False), (False, True), (True, True)])
def test_what_either_lane_recorded_is_judged(tmp_path, first, second):
    history(tmp_path, lost=first)
    history(tmp_path / "beside", lost=second)
    assert rules(tmp_path) == ["lost-store"] * (first + second)


def test_a_run_may_have_a_history_in_its_second_lane_only(tmp_path):
    history(tmp_path / "beside", lost=True)
    assert rules(tmp_path) == ["lost-store"]


def test_a_history_that_was_planned_is_missed_though_the_second_lane_has_one(tmp_path):
    history(tmp_path / "beside", lost=False)
    collection = {"name": "c", "setting": "default", "floors": {}}
    experiment = {"name": "e", "fault": "f", "stress": "graceful", "collections": [collection]}
    (tmp_path / "plan.json").write_text(json.dumps({"experiments": [experiment]}))
    with pytest.raises(UsageError, match=r"has no history\.jsonl"):
        judge_run(tmp_path)


def test_a_second_lane_that_was_cut_decides_nothing(tmp_path):
    history(tmp_path, lost=False)
    history(tmp_path / "beside", lost=False)
    path = tmp_path / "beside" / "history.jsonl"
    path.write_text(path.read_text()[:-5])
    assert rules(tmp_path) == ["cut-short"]


def test_risks_that_are_over_are_told_once(tmp_path):
    overlay = Path(__file__).parents[2] / "manifests" / "overlays" / "single-writer"
    plan = json.dumps({"promises": load_promises(overlay).as_json(), "date": "2099-01-01"})
    history(tmp_path, lost=False)
    (tmp_path / "plan.json").write_text(plan)
    told = rules(tmp_path)
    assert told, "all of them have expired by then"
    history(tmp_path / "beside", lost=False)
    (tmp_path / "beside" / "plan.json").write_text(plan)
    assert rules(tmp_path) == told
