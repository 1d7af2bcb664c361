"""Plans: the seed decides everything, and no value is used twice."""

import dataclasses
import itertools
import json

import pytest

from chroma_qualify.errors import UsageError
from chroma_qualify.workload import plans
from chroma_qualify.workload.history import Op
from chroma_qualify.workload.plans import Kind, Workload, both_settings, preload, steps

ALL = [Workload(kind, rate=10, lanes=3, preload=50 if kind is Kind.READ_ONLY else 0) for kind in Kind]


def take(workload, seed, lane, count=400):
    return list(itertools.islice(steps(workload, seed, lane), count))


@pytest.mark.parametrize("workload", ALL, ids=lambda workload: workload.kind.value)
def test_the_seed_reproduces_the_plan(workload):
    assert take(workload, 7, 1) == take(workload, 7, 1)
    assert take(workload, 7, 1) != take(workload, 8, 1)
    assert take(workload, 7, 1) != take(workload, 7, 2)
    json.dumps(workload.as_json())


@pytest.mark.parametrize("seed", [0, 1, 2**30 - 1, 2**63])
def test_no_value_is_used_twice_in_a_run(seed):
    run, lane = [], 0
    for workload in ALL:
        for each in both_settings(dataclasses.replace(workload, first_lane=lane, preload=50)):
            run.append(each)
            lane = each.first_lane + each.lanes
    assert len({workload.collection for workload in run}) == len(run)
    used = [record.value for workload in run for record in preload(workload, seed)]
    for workload in run:
        for number in range(workload.lanes):
            used += [record.value for step in take(workload, seed, number) for record in step.records]
    assert len(used) > 50_000
    assert len(set(used)) == len(used)
    assert 0 <= min(used) <= max(used) < 2**62


def test_runs_with_other_seeds_share_no_value():
    first, second = ({record.value for step in take(ALL[0], seed, 0) for record in step.records} for seed in (1, 2))
    assert not first & second


@pytest.mark.parametrize("workload", ALL, ids=lambda workload: workload.kind.value)
def test_a_batch_has_no_id_twice_and_every_step_is_whole(workload):
    for step in take(workload, 3, 0):
        ids = [record.id for record in step.records]
        assert len(set(ids)) == len(ids) <= 500
        assert bool(ids) == (step.f in {Op.ADD, Op.UPSERT})
        assert step.f is not Op.DELETE or step.ids
        assert step.f is not Op.QUERY or (step.near and step.k)
        assert not step.vectors or step.ids
        assert not step.ids or len(set(step.ids)) == len(step.ids)


def test_what_each_kind_is_for():
    by_kind = {workload.kind: take(workload, 5, 0, 600) for workload in ALL}
    added = [record.id for step in by_kind[Kind.APPEND] for record in step.records]
    assert len(set(added)) == len(added)  # an id once
    assert {len(step.records) for step in by_kind[Kind.APPEND] if step.records} == {1, 3, 10, 32, 100}
    assert sum(len(step.records) for step in by_kind[Kind.BULK][:100]) > 20 * 1000  # many persist boundaries
    hot = [{record.id for step in take(ALL[1], 5, lane) for record in step.records} for lane in (0, 1)]
    assert ALL[1].kind is Kind.REGISTER
    assert hot[0] == hot[1]  # contended
    assert len(hot[0]) == 8
    assert {step.f for step in by_kind[Kind.REGISTER]} == {Op.UPSERT, Op.DELETE, Op.GET}
    assert not any(step.f.writes for step in by_kind[Kind.READ_ONLY])
    known = {record.id for record in preload(ALL[4], 5)}
    assert {id_ for step in by_kind[Kind.READ_ONLY] for id_ in step.ids or ()} == known


def test_churn_deletes_what_lives_and_writes_again_what_does_not():
    for lane in range(3):
        live, again, ever = set(), 0, set()
        for step in take(ALL[2], 5, lane, 3000):
            ids = {record.id for record in step.records}
            if step.f is Op.DELETE:
                assert set(step.ids) <= live
                live -= set(step.ids)
            elif step.f is Op.ADD:
                assert not ids & live
                again += len(ids & ever)
                live |= ids
                ever |= ids
            elif step.near:
                assert step.near.id in live
        assert again > 5000
        assert len(live) <= 330


def test_the_lanes_take_turns_and_keep_the_rate():
    workload = Workload(Kind.APPEND, rate=20, lanes=3)
    due = sorted(workload.due(lane, number) for lane in range(3) for number in range(40))
    assert due == pytest.approx([number / 20 for number in range(120)])


def test_what_cannot_run_is_refused():
    for bad in (
        {"rate": 0},
        {"lanes": 0},
        {"floor": 0},
        {"floor": 1.1},
        {"preload": -1},
        {"first_lane": plans.MOST_LANES - 1},
        {"kind": Kind.READ_ONLY},
    ):
        with pytest.raises(UsageError):
            Workload(**{"kind": Kind.APPEND, "rate": 1, **bad})


def test_a_lane_that_runs_out_of_values_says_so():
    values = plans.lane_values(1, 1)
    for _ in range(1 << 20):
        next(values)
    with pytest.raises(UsageError, match="needs more"):
        next(values)
