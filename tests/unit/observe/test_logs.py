"""Which lives of a container a status tells of."""

from __future__ import annotations

from chroma_qualify.observe.logs import Instance, instances


def test_a_container_that_waits_has_no_log():
    assert instances({"name": "c", "state": {"waiting": {"reason": "ContainerCreating"}}}) == []


def test_a_running_one():
    status = {"restartCount": 0, "containerID": "id-0", "state": {"running": {"startedAt": "T0"}}}
    assert instances(status) == [Instance("id-0", 0, "T0", over=False)]


def test_a_restart_tells_of_both():
    status = {
        "restartCount": 1,
        "containerID": "id-1",
        "state": {"running": {"startedAt": "T1"}},
        "lastState": {"terminated": {"containerID": "id-0", "startedAt": "T0"}},
    }
    assert instances(status) == [Instance("id-0", 0, "T0", over=True), Instance("id-1", 1, "T1", over=False)]


def test_a_crash_loop_between_two_lives():
    status = {
        "restartCount": 3,
        "containerID": "id-2",
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"containerID": "id-2", "startedAt": "T2"}},
    }
    assert [one.container_id for one in instances(status)] == ["id-2"]
