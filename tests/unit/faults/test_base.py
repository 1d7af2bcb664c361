# ruff: noqa: ARG002 (the protocol gives the arguments)
"""What is read off a pod, and the order in which a fault is struck."""

import dataclasses
import itertools
import json
from types import SimpleNamespace

import kubernetes.client as k
import pytest

from chroma_qualify.errors import CandidateError, InfraError, UndecidedError
from chroma_qualify.faults import FAULTS, by_name
from chroma_qualify.faults.base import Injected, Proof, ServerState, state_of
from chroma_qualify.faults.strike import strike


def pod(*, container="chromadb", ready=True, restarts=0, ended=None, deleted=False, statuses=True):
    status = k.V1ContainerStatus(
        name=container,
        container_id="containerd://abc123",
        image="i",
        image_id="i",
        ready=ready,
        restart_count=restarts,
        last_state=k.V1ContainerState(
            terminated=ended and k.V1ContainerStateTerminated(exit_code=ended[0], reason=ended[1])
        ),
    )
    return k.V1Pod(
        metadata=k.V1ObjectMeta(name="p", uid="u", deletion_timestamp="2026-01-01T00:00:00Z" if deleted else None),
        spec=k.V1PodSpec(containers=[k.V1Container(name=container)], node_name="node-1"),
        status=k.V1PodStatus(container_statuses=[status] if statuses else None),
    )


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (pod(), ServerState("p", "u", "node-1", "abc123", 0, ready=True)),
        (pod(deleted=True), ServerState("p", "u", "node-1", "abc123", 0, ready=False)),
        (pod(statuses=False), ServerState("p", "u", "node-1", "", 0, ready=False)),
        (pod(container="sidecar"), ServerState("p", "u", "node-1", "", 0, ready=False)),
        (
            pod(ready=False, restarts=2, ended=(137, "Error")),
            ServerState("p", "u", "node-1", "abc123", 2, ready=False, exit_code=137, reason="Error"),
        ),
    ],
)
def test_state_of(seen, expected):
    assert state_of(seen, "chromadb") == expected


def test_a_state_reads_well():
    text = str(state_of(pod(ready=False, restarts=1, ended=(137, "Error")), "chromadb"))
    assert text == "pod p (uid u) not ready, container abc123, 1 restarts, last life ended with 137 (Error)"


def test_every_fault_has_a_name_of_its_own():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert all(by_name(fault.name) is fault for fault in FAULTS)
    with pytest.raises(KeyError, match="pod-delete"):
        by_name("nonsense")


def test_faults_of_the_node_say_that_a_remote_cluster_has_none():
    remote = SimpleNamespace(cluster=SimpleNamespace(nodes=()), candidate=SimpleNamespace(claim="data", hpa=None))
    unavailable = {fault.name for fault in FAULTS if fault.available(remote)}
    possible = {"pod-delete", "pod-kill", "rollout-restart", "scale-out", "image-upgrade"}
    assert unavailable == {fault.name for fault in FAULTS} - possible


@dataclasses.dataclass
class Scripted:
    """A fault that does nothing but keep count, for the order of the steps."""

    fails_at: str = ""
    reason: str | None = None
    name: str = "scripted"
    steps: list[str] = dataclasses.field(default_factory=list)

    def _step(self, step):
        self.steps.append(step)
        if step == self.fails_at:
            raise UndecidedError(f"no {step}")

    def available(self, deployed):
        return self.reason

    def inject(self, deployed):
        self._step("inject")
        return Injected(self.name, state_of(pod(), "chromadb"), "asked for it")

    def prove(self, deployed, injected):
        self._step("prove")
        return Proof("it happened", "seen")

    def undo(self, deployed, injected):
        self._step("undo")

    def prove_undone(self, deployed, injected):
        self._step("prove_undone")
        return Proof("it is over", "seen")


DEPLOYED = SimpleNamespace(namespace="ns")
CLOCK = itertools.count(1_000_000_000, 500_000_000).__next__  # ns


def logged(run_dir):
    return [json.loads(line) for line in (run_dir / "faults.jsonl").read_text().splitlines()]


def test_strike(tmp_path):
    fault = Scripted()
    struck = strike(fault, DEPLOYED, tmp_path, CLOCK, experiment="scripted-1")
    assert fault.steps == ["inject", "prove", "undo", "prove_undone"]
    assert (struck.proof_seconds, struck.ready_seconds) == (0.5, 1.0)
    (line,) = logged(tmp_path)
    assert (line["experiment"], line["healed"] - line["begin"]) == ("scripted-1", 1_000_000_000)
    assert (line["fault"], line["namespace"], line["asked"]) == ("scripted", "ns", "asked for it")
    assert line["proof"] == {"claim": "it happened", "seen": "seen"}
    assert line["undone"]["claim"] == "it is over"


def test_without_proof_it_is_undone_and_undecided(tmp_path):
    fault = Scripted(fails_at="prove")
    with pytest.raises(UndecidedError, match="no prove"):
        strike(fault, DEPLOYED, tmp_path, CLOCK, experiment="scripted-1")
    assert fault.steps == ["inject", "prove", "undo"]
    (line,) = logged(tmp_path)
    assert line["error"] == "no prove"
    assert "proof" not in line


def test_unavailable_is_undecided_and_written_down(tmp_path):
    fault = Scripted(reason="no such node")
    with pytest.raises(UndecidedError, match="not available: no such node"):
        strike(fault, DEPLOYED, tmp_path, CLOCK, experiment="scripted-1")
    assert fault.steps == []
    (line,) = logged(tmp_path)
    assert line["error"] == "no such node"
    assert "unavailable" not in line  # that is for what was never begun: its history would not be judged


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (CandidateError("not-recovered", "gone", evidence="e"), {"rule": "not-recovered", "evidence": "e"}),
        (InfraError("no node"), {"infra": True}),
        (KeyboardInterrupt(), {}),
    ],
)
def test_whose_fault_an_end_was_is_written_down(tmp_path, error, fields):
    fault = Scripted()
    fault.prove_undone = lambda *_: (_ for _ in ()).throw(error)
    with pytest.raises(type(error)):
        strike(fault, DEPLOYED, tmp_path, CLOCK, experiment="scripted-1")
    (line,) = logged(tmp_path)
    assert fields.items() <= line.items()
    assert line["error"]
    assert "healed" not in line
