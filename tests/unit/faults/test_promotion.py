"""What goes from one set of manifests to another: what is pruned, what counts as a rollout, which pair it is."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from chroma_qualify.checks.plan import read_plan
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.deployment.migrations import is_guarded
from chroma_qualify.deployment.objects import Candidate
from chroma_qualify.deployment.render import load_candidate
from chroma_qualify.errors import UndecidedError
from chroma_qualify.faults import promotion as module
from chroma_qualify.faults.base import Injected, ServerState
from chroma_qualify.faults.experiments import experiments, fault_names, plan_json
from chroma_qualify.faults.promotion import Promotion, left_behind, promotion, prune
from chroma_qualify.plugin import promotions
from chroma_qualify.plugin.candidates import Candidates, chroma_image, with_objects
from chroma_qualify.plugin.promotions import promotion_pair

ROOT = Path(__file__).parents[3]
OLDEST = "docker.io/chromadb/chroma:1.0.20"


@pytest.fixture(scope="module")
def guarded():
    return load_candidate(ROOT / "tests/overlays/guarded", Path("kubectl"))


@pytest.fixture(scope="module")
def baseline():
    return load_candidate(ROOT / "tests/overlays/baseline-1.0", Path("kubectl"))


class Kubectl:
    """A cluster that remembers what it was asked to do, and answers with generations."""

    def __init__(self, *generations):
        self.asked = []
        self.generations = iter(generations)
        self.nodes = ()

    def run_kubectl(self, *args, **_):
        self.asked.append(args)
        return SimpleNamespace(returncode=0, stdout="", stderr="")

    def get_json(self, *_):
        return {"metadata": {"generation": next(self.generations)}}


def test_the_guard_looks_at_the_image_of_the_overlay_on_top(guarded, baseline):
    for candidate, image in ((guarded, "chromadb/chroma:1.5.9"), (baseline, "chromadb/chroma:1.0.20")):
        assert is_guarded(candidate)
        pod = candidate.deployment["spec"]["template"]["spec"]
        assert chroma_image(candidate) == image
        assert [each["image"] for each in pod["initContainers"] if each["name"] == "guard-image"] == [image]


def test_what_only_the_baseline_has_is_deleted_but_nothing_that_holds_data(guarded, baseline):
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "old-data"}}
    before = with_objects(baseline, [*baseline.objects, claim])
    assert [item["metadata"]["name"] for item in left_behind(before, guarded)] == ["chromadb-notes", "old-data"]
    cluster = Kubectl()
    deleted = prune(Deployed(cluster, guarded, "here"), before, guarded)
    assert deleted == ("configmap/chromadb-notes",)
    (asked,) = cluster.asked
    assert asked[0] == "delete"
    assert "configmap/chromadb-notes" in asked
    assert not any("claim" in word for word in asked)

    cluster.asked.clear()
    assert prune(Deployed(cluster, guarded, "here"), guarded, guarded) == ()
    assert cluster.asked == []


def test_another_version_of_a_group_is_the_same_object(guarded):
    def renamed(item):
        return {**item, "apiVersion": "monitoring.coreos.com/v2"} if item["kind"] == "ServiceMonitor" else item

    before = with_objects(guarded, [renamed(item) for item in guarded.objects])
    assert left_behind(before, guarded) == ()


@pytest.mark.parametrize(("generations", "mark"), [((3, 3), "no rollout"), ((3, 4), "")])
def test_an_apply_that_changes_nothing_of_the_workload_is_no_rollout(monkeypatch, guarded, baseline, generations, mark):
    before = ServerState("pod", "uid", "node", "container", 0, ready=True)
    monkeypatch.setattr(module, "the_server", lambda _: before)
    monkeypatch.setattr(module, "apply", lambda *_: None)
    fault = Promotion(baseline, guarded)
    deployed = Deployed(Kubectl(*generations), baseline, "here")
    injected = fault.inject(deployed)
    assert injected.mark == mark
    assert injected.asked.startswith("kubectl apply of guarded over baseline-1.0; deleted configmap/chromadb-notes")
    if mark:
        assert "changes nothing" in fault.prove(deployed, injected).claim


def test_a_promotion_that_was_only_planned_is_none():
    fault = Promotion()
    with pytest.raises(UndecidedError):
        fault.prove(SimpleNamespace(), Injected("promotion", ServerState("", "", "", "", 0, ready=False), ""))


def test_its_lanes_and_collections_are_its_own_and_the_plan_can_be_read():
    mine = promotion()
    taken = [workload for each in experiments(100) for workload in each.workloads] + list(mine.workloads)
    lanes = list(itertools.chain(*(range(each.first_lane, each.first_lane + each.lanes) for each in taken)))
    assert len(lanes) == len(set(lanes))
    assert len({each.collection for each in mine.workloads}) == len(mine.workloads)
    assert "promotion" in fault_names()
    (planned,) = read_plan({"experiments": json.loads(json.dumps(plan_json([mine])))}).experiments
    assert (planned.name, planned.fault) == ("promotion", "promotion")


@pytest.fixture
def pair(monkeypatch):
    """`pair(manifests=…, baseline=…)`: which images it is about, and which were loaded."""
    loaded = []
    monkeypatch.setattr(promotions, "load_missing_images", lambda _, images: loaded.extend(images))

    def make(**asked):
        names = ("manifests", "baseline", "chroma_version", "kubectl", "use_cluster", "images", "k8s_version")
        options = SimpleNamespace(**{**dict.fromkeys(names), "kubectl": Path("kubectl"), "chroma_version": "", **asked})
        candidates = Candidates(options, ROOT / "manifests/overlays")
        return promotion_pair(SimpleNamespace(options=options), SimpleNamespace(guest=None), candidates, ROOT), loaded

    return make


def images(pair):
    return [chroma_image(each).removeprefix("docker.io/") for each in pair]


def test_without_directories_it_is_our_own_pair(pair):
    found, loaded = pair()
    assert images(found) == ["chromadb/chroma:1.0.20", "chromadb/chroma:1.5.9"]
    assert [each.directory.name for each in found] == ["baseline-1.0", "guarded"]
    assert loaded == [OLDEST]


def test_a_candidate_alone_comes_from_itself_with_the_oldest_image(pair):
    found, loaded = pair(manifests=ROOT / "manifests/overlays/single-writer")
    assert images(found) == ["chromadb/chroma:1.0.20", "chromadb/chroma:1.5.9"]
    assert loaded == [OLDEST]


def test_a_candidate_that_is_not_newer_cannot_be_promoted_from_an_older_one(pair):
    with pytest.raises(pytest.skip.Exception, match="not newer"):
        pair(manifests=ROOT / "tests/overlays/baseline-1.0")


@pytest.mark.parametrize(("name", "loads"), [("baseline-1.0", [OLDEST]), ("guarded", [])])
def test_from_directory_to_directory(pair, name, loads):
    found, loaded = pair(baseline=ROOT / "tests/overlays" / name, manifests=ROOT / "manifests/overlays/single-writer")
    assert [each.directory.name for each in found] == [name, "single-writer"]
    assert loaded == loads


def test_a_candidate_keeps_its_directory_with_other_objects(guarded):
    other = with_objects(guarded, guarded.objects)
    assert isinstance(other, Candidate)
    assert dataclasses.replace(other, digest="") == dataclasses.replace(guarded, digest="")
