"""Whose fault it is that replicas are not ready; and calls aside."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chroma_qualify.errors import CandidateError, InfraError, UndecidedError
from chroma_qualify.load import aside
from chroma_qualify.load.scale import why_not_ready


def pod(name="chroma-1", *, unscheduled="", waiting="", restarts=0, ready=False):
    conditions = [{"type": "Ready", "status": str(ready)}]
    if unscheduled:
        conditions.append(
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": unscheduled}
        )
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {}}
    containers = [] if unscheduled else [{"name": "chromadb", "state": state, "restartCount": restarts}]
    return {"metadata": {"name": name}, "status": {"conditions": conditions, "containerStatuses": containers}}


REFUSED = "2m  Warning  Unhealthy  Pod/chroma-1  Readiness probe failed: HTTP probe failed with statuscode: 410"
SLOW = "2m  Warning  Unhealthy  Pod/chroma-1  Startup probe failed: dial tcp 10.0.0.1:8000: connection refused"


@pytest.mark.parametrize(
    ("pods", "events", "kind", "rule"),
    [
        ([pod(unscheduled="0/1 nodes are available: 1 Insufficient cpu.")], "", InfraError, None),
        ([pod(unscheduled="1 node has pod using ReadWriteOncePod")], "", CandidateError, "scaling-unschedulable"),
        ([pod(waiting="ImagePullBackOff")], "", CandidateError, "scaling-not-ready"),
        ([pod(restarts=2)], "", CandidateError, "scaling-not-ready"),
        ([pod()], REFUSED, CandidateError, "scaling-not-ready"),
        ([pod("chroma-10")], REFUSED, UndecidedError, None),
        ([pod()], SLOW, UndecidedError, None),
        ([pod(waiting="ContainerCreating")], "", UndecidedError, None),
        ([pod(restarts=1, ready=True), pod("chroma-2")], "", UndecidedError, None),
        ([], "", UndecidedError, None),
    ],
)
def test_whose_fault(pods, events, kind, rule):
    found = why_not_ready(pods, "waited 9 s", events)
    assert (type(found), getattr(found, "rule", None)) == (kind, rule)


def test_all_at_once_gives_results_by_name():
    assert aside.all_at_once({"a": lambda: 1, "b": lambda: 2}) == {"a": 1, "b": 2}


def test_all_at_once_raises_what_a_call_raised():
    def broken():
        raise InfraError("broken")

    with pytest.raises(InfraError, match="broken"):
        aside.all_at_once({"a": lambda: 1, "b": broken})


def test_an_interrupt_does_not_wait_for_a_call_aside():
    """An error in the caller, as Ctrl-C is, ends the process although a call is still under way."""
    program = "import time; from chroma_qualify.load.aside import start; start(lambda: time.sleep(60)); 1 / 0"
    done = subprocess.run([sys.executable, "-c", program], timeout=30, capture_output=True, text=True, check=False)
    assert "ZeroDivisionError" in done.stderr
