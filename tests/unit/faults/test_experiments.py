"""The table of experiments, and that what it writes into plan.json is what the judgement reads."""

import json
from types import SimpleNamespace

import pytest

from chroma_qualify.checks.history import Phase
from chroma_qualify.checks.plan import read_plan
from chroma_qualify.checks.promises import Setting, Stress, stress_of
from chroma_qualify.faults import FAULTS
from chroma_qualify.faults.experiments import SCALING_LOAD, experiments, plan_json, scaled_out_writes, setting_of
from chroma_qualify.plugin.bench import no_upgrade


def test_every_fault_is_struck():
    assert {each.fault.name for each in experiments()} == {fault.name for fault in FAULTS}


@pytest.mark.parametrize("power_losses", [1, 2, 20])
def test_names_collections_and_lanes_are_used_once(power_losses):
    table = experiments(power_losses)
    assert sum(each.fault.name == "power-loss" for each in table) == power_losses
    assert len({each.name for each in table}) == len(table)
    workloads = [workload for each in table for workload in each.workloads] + [SCALING_LOAD]
    assert len({workload.collection for workload in workloads}) == len(workloads)
    lanes = [lane for each in workloads for lane in range(each.first_lane, each.first_lane + each.lanes)]
    assert len(set(lanes)) == len(lanes)


def test_what_can_cost_data_strikes_both_settings():
    for each in experiments():
        assert {setting_of(workload) for workload in each.workloads} == set(Setting)


def test_the_plan_is_what_the_judgement_reads():
    table = experiments()
    document = {"experiments": [*plan_json(table), scaled_out_writes(by_load=True)], "promises": None}
    plan = read_plan(json.loads(json.dumps(document)))
    for ours, theirs in zip(table, plan.experiments, strict=False):
        assert (ours.name, ours.fault.name, ours.stress) == (theirs.name, theirs.fault, theirs.stress)
        assert [workload.collection for workload in ours.workloads] == [each.name for each in theirs.collections]
        assert all(set(each.floors) == {Phase.BEFORE, Phase.DURING, Phase.AFTER} for each in theirs.collections)
    assert plan.experiments[-1].stress is Stress.SCALED_OUT


def test_stress_by_name_is_that_of_the_table():
    """A promise that contradicts an accepted risk is found by the fault's name."""
    for each in experiments():
        if (stress := stress_of(each.fault.name)) is not None:
            assert each.stress.value.startswith(stress.value) or each.fault.name == "scale-out"


@pytest.mark.parametrize(
    ("older", "newer", "why"),
    [
        ("docker.io/chromadb/chroma:1.4.1", "chromadb/chroma:1.5.9", None),
        ("docker.io/chromadb/chroma:1.4.1", "r:5000/chroma:1.10.0@sha256:abc", None),
        ("docker.io/chromadb/chroma:1.4.1", "chromadb/chroma:1.4.1", "not newer"),
        ("docker.io/chromadb/chroma:1.4.1", "chromadb/chroma:1.0.20", "not newer"),
        ("docker.io/chromadb/chroma:1.4.1", "chromadb/chroma:latest", "no version as its tag"),
        ("docker.io/chromadb/chroma:1.4.1", "chromadb/chroma", "no version as its tag"),
    ],
)
def test_an_upgrade_goes_up_only(older, newer, why):
    told = no_upgrade(older, newer)
    assert told is None if why is None else why in told


def test_the_plan_knows_what_needs_nodes_of_our_own():
    """As the faults themselves say it of a cluster that has none."""
    remote = SimpleNamespace(cluster=SimpleNamespace(nodes=()), candidate=SimpleNamespace(claim="data", hpa=None))
    for each in experiments():
        assert each.own_nodes == (each.fault.available(remote) is not None), each.name
