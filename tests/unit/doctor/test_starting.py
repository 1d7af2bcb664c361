"""Issue `pod not starting`: each cause is named, once, with what to do."""

import pytest
from doctor_builders import (
    JUST_NOW,
    LABELS,
    container,
    died,
    event,
    healthy,
    meta,
    pod,
    pod_spec,
    snapshot,
    waiting,
)

from chroma_qualify.doctor.diagnosis import Issue
from chroma_qualify.doctor.tell import Condition, report_on

PORT = (
    "thread 'main' panicked at rust/frontend/src/config.rs:233:23:\n"
    'Error loading config: invalid type: found string "tcp://10.0.0.1:8000", expected u16 for key "PORT" in `CHROMA_` '
    "environment variable(s)\nnote: run with `RUST_BACKTRACE=1`"
)
TYPE = (
    'Error loading config: invalid type: found string "*", expected a sequence for key "default.cors_allow_origins" in '
    "/etc/chroma/config.yaml YAML file"
)
TMP = "error returned from database: (code: 6410) disk I/O error"
CRASHED = {"ready": False, "state": waiting("CrashLoopBackOff"), "lastState": died(101), "restartCount": 3}


def with_claim(phase, *events, wanted="fast"):
    objects = healthy()
    claim = objects["PersistentVolumeClaim/chromadb-pvc"]
    claim["status"]["phase"], claim["spec"]["storageClassName"] = phase, wanted
    conditions = [
        {"type": "Ready", "status": "False"},
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "unbound immediate"},
    ]
    stuck = pod(ready=False, status={"phase": "Pending", "conditions": conditions, "containerStatuses": []})
    return snapshot(objects, stuck, *events)


def about_claim(reason, message):
    return event(reason, message, about="chromadb-pvc", kind="PersistentVolumeClaim")


def unscheduled(message):
    conditions = [
        {"type": "Ready", "status": "False"},
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message},
    ]
    return pod(ready=False, status={"phase": "Pending", "conditions": conditions, "containerStatuses": []})


def without_claim():
    objects = healthy()
    del objects["PersistentVolumeClaim/chromadb-pvc"]
    return snapshot(objects, unscheduled('persistentvolumeclaim "chromadb-pvc" not found'))


def refused():
    objects = healthy()
    del objects["Pod/chromadb-1"]
    message = 'pods "chromadb-1" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
    condition = {"type": "ReplicaFailure", "status": "True", "message": message}
    objects["Deployment/chromadb"]["status"]["conditions"] = [condition]
    return snapshot(objects)


def no_tmp():
    spec = pod_spec(container(volumeMounts=[{"name": "data", "mountPath": "/data"}]))
    objects = healthy(spec=spec)
    return snapshot(objects, pod(spec, **CRASHED), logs=[(True, TMP)])


@pytest.mark.parametrize(
    ("seen", "rule", "words", "remedy"),
    [
        (
            with_claim("Pending", about_claim("ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found')),
            "pvc-pending",
            "PVC chromadb-pvc stays Pending: no StorageClass named fast",
            "StorageClass",
        ),
        (
            with_claim("Pending", about_claim("ExternalProvisioning", "Waiting for a volume to be created by x.y/z")),
            "pvc-pending",
            "Waiting for a volume to be created by x.y/z",
            "provisioner",
        ),
        (with_claim("Lost"), "pvc-lost", "is Lost", "restore a backup"),
        (without_claim(), "pvc-missing", "needs PersistentVolumeClaim chromadb-pvc, which does not exist", "create"),
        (
            snapshot(None, unscheduled("0/1 nodes are available: 1 Insufficient memory.")),
            "unschedulable",
            "pod chromadb-1 is on no node: 0/1 nodes are available: 1 Insufficient memory.",
            "resources.requests",
        ),
        (
            snapshot(None, pod(ready=False, state=waiting("ErrImagePull", "chromadb/chroma:9: not found"))),
            "image-pull",
            "its registry has no such image",
            "image",
        ),
        (
            snapshot(
                None,
                pod(ready=False, state=waiting("ContainerCreating")),
                event("FailedMount", 'MountVolume.SetUp failed for volume "t" : secret "chromadb-token" not found'),
            ),
            "secret-missing",
            "needs Secret chromadb-token",
            "create Secret chromadb-token",
        ),
        (
            snapshot(
                None,
                pod(ready=False, state=waiting("CreateContainerConfigError", 'configmap "settings" not found')),
            ),
            "configmap-missing",
            "needs ConfigMap settings",
            "create ConfigMap settings",
        ),
        (refused(), "not-admitted", 'the cluster refuses the pods: violates PodSecurity "restricted', "pod template"),
        (
            snapshot(None, pod(**CRASHED), logs=[(True, PORT)]),
            "service-links",
            "CHROMA_PORT=tcp://",
            "enableServiceLinks: false",
        ),
        (snapshot(None, pod(**CRASHED), logs=[(True, TYPE)]), "config-wrong", "cors_allow_origins", "correct that key"),
        (no_tmp(), "no-writable-tmp", "SQLite finds no directory", "emptyDir on /tmp"),
        (
            snapshot(None, pod(**CRASHED), logs=[(True, "unable to open database file")]),
            "data-not-writable",
            "cannot write",
            "fsGroup",
        ),
        (
            snapshot(None, pod(**CRASHED), logs=[(True, "range start index 10 out of range for slice of length 9")]),
            "older-than-its-data",
            "migrated by a newer Chroma",
            "newer image",
        ),
        (snapshot(None, pod(**CRASHED), logs=[(True, "what?")]), "crash-loop", "last exit code 101", "--previous"),
        (
            snapshot(None, pod(ready=False), event("Unhealthy", "Readiness probe failed: context deadline exceeded")),
            "probe-failing",
            "context deadline exceeded",
            "probe",
        ),
        (snapshot(None, pod(ready=False)), "not-ready", "nothing says why", "kubectl describe pod"),
    ],
)
def test_named_with_its_remedy(seen, rule, words, remedy):
    report = report_on(seen)
    assert [item.rule for item in report.found] == [rule]
    (found,) = report.found
    assert found.issue is Issue.STARTING
    assert words in found.message
    assert remedy in found.remedy
    assert report.condition is Condition.FOUND


def test_a_pod_that_has_just_begun_is_no_finding():
    report = report_on(snapshot(None, pod(ready=False, created=JUST_NOW)))
    assert report.found == ()
    assert report.condition is Condition.UNKNOWN
    assert "still starting" in report.gaps[0].why


def test_an_init_container_that_fails_is_named():
    failing = {"name": "guard", "restartCount": 2, "state": waiting("CrashLoopBackOff"), "lastState": died(3)}
    stuck = pod(ready=False, state=waiting("PodInitializing"), status={"initContainerStatuses": [failing]})
    (found,) = report_on(snapshot(None, stuck)).found
    assert (found.rule, "container guard" in found.message) == ("crash-loop", True)
    assert "-c guard" in found.remedy


def test_a_guard_that_refuses_is_told_in_its_own_words():
    said = "rollback refused: the database has 18 migrations (Chroma 1.5); nothing was touched"
    ended = died(1, message=said)
    refusing = {"name": "guard", "restartCount": 2, "state": waiting("CrashLoopBackOff"), "lastState": ended}
    stuck = pod(ready=False, state=waiting("PodInitializing"), status={"initContainerStatuses": [refusing]})
    (found,) = report_on(snapshot(None, stuck)).found
    assert (found.rule, found.message) == ("rollback-refused", said)
    assert "restore a backup" in found.remedy


def test_what_failed_before_is_over():
    """Events outlive what they tell of."""
    old = [
        event("FailedMount", 'MountVolume.SetUp failed for volume "t" : secret "x" not found'),
        event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 410"),
        event("FailedCreate", "pods is forbidden: exceeded quota", about="chromadb", kind="StatefulSet"),
    ]
    assert report_on(snapshot(None, *old)).condition is Condition.HEALTHY


def test_a_pod_that_is_leaving_is_not_waited_for():
    going = pod(ready=False, name="chromadb-0")
    going["metadata"]["deletionTimestamp"] = JUST_NOW
    going["status"]["containerStatuses"] = []
    assert report_on(snapshot(None, going)).condition is Condition.HEALTHY


def test_a_stateful_set_and_a_bare_pod():
    objects = healthy()
    held = objects.pop("Deployment/chromadb")
    del objects["ReplicaSet/chromadb-rs"]
    objects["StatefulSet/chromadb"] = held | {"kind": "StatefulSet"}
    objects["Pod/chromadb-1"]["metadata"]["ownerReferences"] = [{"kind": "StatefulSet", "name": "chromadb"}]
    assert report_on(snapshot(objects)).condition is Condition.HEALTHY
    alone = objects.pop("Pod/chromadb-1")
    alone["metadata"] = meta("chromadb-1", labels=LABELS)
    del objects["StatefulSet/chromadb"]
    report = report_on(snapshot(objects | {"Pod/chromadb-1": alone}))
    assert [server.workload.reference for server in report.patient.servers] == ["Pod/chromadb-1"]
    assert report.condition is Condition.HEALTHY
