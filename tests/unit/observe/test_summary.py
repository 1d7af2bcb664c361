"""The fields of a timeline line."""

from __future__ import annotations

from chroma_qualify.observe.summary import fields

POD = {
    "kind": "Pod",
    "metadata": {"name": "db-0", "uid": "u", "resourceVersion": "1"},
    "spec": {"nodeName": "n1"},
    "status": {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [
            {
                "name": "chroma",
                "restartCount": 2,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
            }
        ],
    },
}


def test_a_pod():
    assert fields(POD) == {
        "uid": "u",
        "phase": "Running",
        "ready": False,
        "restarts": 2,
        "node": "n1",
        "ip": "10.0.0.1",
        "reason": "chroma: CrashLoopBackOff",
        "died": "OOMKilled (137)",
        "terminating": False,
    }


def test_a_pod_that_was_just_made():
    found = fields(
        {"kind": "Pod", "metadata": {"name": "db-0", "uid": "u"}, "spec": {}, "status": {"phase": "Pending"}}
    )
    assert (found["phase"], found["ready"], found["restarts"], found["node"]) == ("Pending", False, 0, None)


def test_what_does_not_matter_makes_no_new_line():
    other = {**POD, "metadata": {**POD["metadata"], "resourceVersion": "2", "managedFields": []}}
    assert fields(other) == fields(POD)


def test_an_autoscaler_with_its_metrics():
    found = fields(
        {
            "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "h"},
            "spec": {"minReplicas": 1, "maxReplicas": 3},
            "status": {
                "currentReplicas": 1,
                "desiredReplicas": 3,
                "conditions": [{"type": "ScalingActive", "status": "True"}],
                "currentMetrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 154}}},
                    {"type": "External"},
                ],
            },
        }
    )
    assert found == {"min": 1, "max": 3, "replicas": 1, "wanted": 3, "active": True, "cpu_percent": 154}


def test_an_unknown_kind_has_no_fields():
    assert fields({"kind": "Lease", "metadata": {"name": "x"}}) == {}
