"""States of a deployment as the API server shows them, and the sentence that each deserves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from chroma_qualify.deployment.causes import State
from chroma_qualify.deployment.diagnose import certain_failure, describe, is_ready, late_failure
from chroma_qualify.errors import CandidateError, InfraError

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
LATER, EARLIER = "2026-11-23T12:00:05Z", "2026-11-23T11:59:00Z"


def pod(*, ready: bool = False, state: dict[str, Any] | None = None, restarts: int = 0, **more: Any) -> dict[str, Any]:
    probe = {"httpGet": {"path": more.pop("path", "/api/v2/heartbeat"), "port": 8000}}
    status = {"name": "chromadb", "image": "chromadb/chroma:9.9.9", "restartCount": restarts, "state": state or {}}
    return {
        "kind": "Pod",
        "metadata": {"name": "chromadb-1", "uid": "p1"},
        "spec": {
            "containers": [
                {"name": "chromadb", "readinessProbe": probe, "resources": {"limits": {"memory": "16Mi"}}},
            ]
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [status | more],
        },
    }


def with_volume(item: dict[str, Any]) -> dict[str, Any]:
    volumes = [{"name": "t", "secret": {"secretName": "chromadb-token"}}]
    return item | {"spec": item["spec"] | {"volumes": volumes}}


def event(reason: str, message: str, *, about: str = "p1", kind: str = "Pod", count: int = 1) -> dict[str, Any]:
    involved = {"kind": kind, "uid": about, "fieldPath": "spec.containers{chromadb}"}
    return {"reason": reason, "message": message, "count": count, "involvedObject": involved}


def state(*events: dict[str, Any], pods: list[dict[str, Any]] | None = None, **more: Any) -> State:
    found = {item["metadata"]["uid"]: item for item in pods or []}
    return State(since=NOW, pods=found, events={str(n): item for n, item in enumerate(events)}, **more)


def claim(wanted: str | None) -> dict[str, Any]:
    return {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "chromadb-pvc", "uid": "c1"},
        "spec": {"storageClassName": wanted},
        "status": {"phase": "Pending"},
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


DEAD = {"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": LATER}}
NEVER_BEGAN = {
    "terminated": {
        "reason": "StartError",
        "message": "runc create failed: container init was OOM-killed (memory limit too low?)",
        "exitCode": 128,
        "finishedAt": LATER,
    }
}
UNREACHABLE = (
    "the nodes do not have it, and its registry registry-1.docker.io cannot be reached (its name cannot be looked up)"
)
NETWORK = (
    'failed to do request: Head "https://registry-1.docker.io/": dial tcp: lookup registry-1.docker.io: no such host'
)
NO_SECRET = 'MountVolume.SetUp failed for volume "token" : secret "chromadb-token" not found'
HTTP = "Readiness probe failed: HTTP probe failed with statuscode: "


@pytest.mark.parametrize(
    ("seen", "rule", "sentence"),
    [
        (
            state(pods=[pod(state=waiting("ErrImagePull", "docker.io/chromadb/chroma:9.9.9: not found"))]),
            "image-pull",
            "the image chromadb/chroma:9.9.9 cannot be pulled: its registry has no such image",
        ),
        (
            state(
                event("Failed", f'Failed to pull image "chromadb/chroma:9.9.9": {NETWORK}', count=2),
                pods=[pod(state=waiting("ImagePullBackOff", "Back-off pulling image"))],
            ),
            "image-pull",
            "the image chromadb/chroma:9.9.9 cannot be pulled: " + UNREACHABLE,
        ),
        (
            state(
                event(
                    "ProvisioningFailed",
                    'storageclass.storage.k8s.io "fast" not found',
                    about="c1",
                    kind="PersistentVolumeClaim",
                ),
                claims={"c1": claim("fast")},
            ),
            "pvc-pending",
            "PVC chromadb-pvc stays Pending: no StorageClass named fast",
        ),
        (
            state(
                event(
                    "FailedBinding",
                    "no persistent volumes available for this claim and no storage class is set",
                    about="c1",
                ),
                claims={"c1": claim(None)},
            ),
            "pvc-pending",
            "PVC chromadb-pvc stays Pending: it names no StorageClass and the cluster has no default one",
        ),
        (
            state(pods=[pod(state=waiting("CrashLoopBackOff"), lastState=NEVER_BEGAN, restarts=1)]),
            "oom-killed",
            "container chromadb was OOM-killed (limit 16Mi)",
        ),
        (
            state(pods=[pod(state=waiting("CrashLoopBackOff"), lastState=DEAD, restarts=1)]),
            "oom-killed",
            "container chromadb was OOM-killed (limit 16Mi)",
        ),
        (
            state(
                pods=[
                    pod(
                        state=waiting("CrashLoopBackOff"),
                        lastState={"terminated": {"exitCode": 2, "finishedAt": LATER}},
                        restarts=2,
                    )
                ]
            ),
            "crash-loop",
            "container chromadb of pod chromadb-1 keeps crashing: 2 restarts, last exit code 2",
        ),
        (
            state(event("Unhealthy", HTTP + "410"), pods=[pod(path="/api/v1/heartbeat")]),
            "probe-v1-api",
            "the readiness probe GET /api/v1/heartbeat is answered 410 (Chroma 1.x removed the v1 API)",
        ),
        (
            state(event("Unhealthy", HTTP + "404", count=3), pods=[pod(path="/healthz")]),
            "probe-failing",
            "the readiness probe GET /healthz is answered 404",
        ),
        (
            state(
                event(
                    "FailedCreate",
                    'Error creating: pods "chromadb-1" is forbidden: violates PodSecurity "restricted:latest": '
                    "allowPrivilegeEscalation != false",
                    kind="ReplicaSet",
                )
            ),
            "not-admitted",
            'the cluster refuses the pods: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false',
        ),
        (
            state(
                event("FailedMount", NO_SECRET, count=3),
                pods=[pod(state=waiting("ContainerCreating"))],
            ),
            "secret-missing",
            "pod chromadb-1 cannot start: it needs Secret chromadb-token, which does not exist",
        ),
        (
            state(
                event("FailedMount", 'MountVolume.SetUp failed for volume "c" : configmap "conf" not found', count=4),
                pods=[pod(state=waiting("PodInitializing"))],
            ),
            "configmap-missing",
            "pod chromadb-1 cannot start: it needs ConfigMap conf, which does not exist",
        ),
        (
            state(
                event(
                    "FailedMount",
                    'MountVolume.SetUp failed for volume "t" : references non-existent secret key: token',
                    count=3,
                ),
                pods=[with_volume(pod(state=waiting("ContainerCreating")))],
            ),
            "secret-missing",
            "pod chromadb-1 cannot start: it needs the key token of Secret chromadb-token, which does not exist",
        ),
        (
            state(
                event("Failed", "Error: couldn't find key token in Secret ns/chromadb-token", count=2),
                pods=[
                    pod(
                        state=waiting(
                            "CreateContainerConfigError", "couldn't find key token in Secret ns/chromadb-token"
                        )
                    )
                ],
            ),
            "secret-missing",
            "pod chromadb-1 cannot start: it needs the key token of Secret chromadb-token, which does not exist",
        ),
        (
            state(
                event("Failed", "Error: container has runAsNonRoot and image will run as root", count=2),
                pods=[
                    pod(
                        state=waiting(
                            "CreateContainerConfigError", "container has runAsNonRoot and image will run as root"
                        )
                    )
                ],
            ),
            "container-config",
            "container chromadb cannot be made: container has runAsNonRoot and image will run as root",
        ),
    ],
)
def test_certain_failures(seen, rule, sentence):
    failure = certain_failure(seen)
    assert failure is not None
    assert (failure.rule, failure.message) == (rule, sentence)


@pytest.mark.parametrize(
    "seen",
    [
        state(),
        # The first try failed by the network: the next may not.
        state(event("Failed", f"Failed to pull image: {NETWORK}"), pods=[pod(state=waiting("ErrImagePull", NETWORK))]),
        state(claims={"c1": claim("standard")}),  # waits for its first consumer
        state(pods=[pod(state=waiting("CrashLoopBackOff"), restarts=1)]),
        # Restarts and deaths of before the wait: a fault's, not this wait's.
        state(pods=[pod(state=waiting("CrashLoopBackOff"), restarts=9)], restarts={("p1", "chromadb"): 8}),
        state(pods=[pod(lastState={"terminated": {"reason": "OOMKilled", "finishedAt": EARLIER}}, restarts=1)]),
        # The Secret may be on its way: the kubelet tries again after 0.5, 1, 2 s.
        state(event("FailedMount", NO_SECRET, count=2), pods=[pod(state=waiting("ContainerCreating"))]),
        state(event("FailedMount", NO_SECRET, count=9), pods=[pod(state={"running": {}})]),
        state(pods=[pod(state=waiting("CreateContainerConfigError", 'secret "x" not found'))]),
        state(event("Unhealthy", HTTP + "503", count=9), pods=[pod()]),
        state(event("Unhealthy", HTTP + "404", count=1), pods=[pod()]),
        state(event("Unhealthy", HTTP + "410"), pods=[pod(ready=True, path="/api/v1/heartbeat")]),
        state(event("Unhealthy", HTTP + "410", about="another"), pods=[pod(path="/api/v1/heartbeat")]),
        state(
            event(
                "FailedCreate", 'pods "x" is forbidden: error looking up service account ns/default', kind="ReplicaSet"
            )
        ),
    ],
)
def test_what_may_still_pass(seen):
    assert certain_failure(seen) is None


def test_a_late_failure_names_the_probe():
    failing = "Readiness probe failed: Get http://10.0.0.1:8000/: context deadline exceeded"
    failure = late_failure(state(event("Unhealthy", failing), pods=[pod()]), 120)
    assert failure.rule == "probe-failing"
    assert failure.message.startswith("pod chromadb-1 is not ready after 120 s: its readiness probe fails with: Get ")


def test_a_late_failure_names_the_scheduler():
    failure = late_failure(state(event("FailedScheduling", "0/1 nodes are available: node affinity"), pods=[pod()]), 9)
    assert isinstance(failure, CandidateError)
    assert failure.rule == "not-ready"
    assert "node affinity" in failure.message


def test_a_class_whose_driver_is_not_there_is_named():
    said = "Waiting for a volume to be created either by the external provisioner 'ebs.csi.aws.com' or manually"
    waits = event("ExternalProvisioning", said, about="c1", kind="PersistentVolumeClaim")
    seen = state(waits, event("FailedScheduling", "0/1 nodes"), pods=[pod()], claims={"c1": claim("chromadb-ebs")})
    assert certain_failure(seen) is None  # a provisioner may be slow
    failure = late_failure(seen, 120)
    assert isinstance(failure, CandidateError)
    assert failure.rule == "pvc-pending"
    assert "PVC chromadb-pvc stays Pending" in failure.message
    assert "StorageClass chromadb-ebs" in failure.message
    assert "ebs.csi.aws.com" in failure.evidence


def test_no_room_is_the_clusters_failure():
    failure = late_failure(
        state(event("FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu."), pods=[pod()]), 9
    )
    assert isinstance(failure, InfraError)
    assert "Insufficient cpu" in failure.message


def test_a_late_failure_shows_the_last_state():
    failure = late_failure(state(pods=[pod(state=waiting("ContainerCreating"))], workload=deployment()), 120)
    assert failure.rule == "not-ready"
    assert failure.message == (
        "waited 120 s for ready pods; last seen: Deployment chromadb: 1 of 1 available; "
        "pod chromadb-1: Running, not ready, chromadb ContainerCreating"
    )


def deployment(**status: int) -> dict[str, Any]:
    counts = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "observedGeneration": 2}
    return {
        "kind": "Deployment",
        "metadata": {"name": "chromadb", "generation": 2},
        "spec": {"replicas": status.pop("wanted", 1)},
        "status": counts | status,
    }


@pytest.mark.parametrize(
    ("workload", "pods", "ready"),
    [
        (None, [], False),
        (deployment(), [pod(ready=True)], True),
        (deployment(), [pod(ready=False)], False),
        (deployment(observedGeneration=1), [pod(ready=True)], False),
        (deployment(updatedReplicas=0), [pod(ready=True)], False),
        (deployment(replicas=2), [pod(ready=True)], False),  # one of the old revision is left
        (deployment(wanted=3), [pod(ready=True)], False),
        (deployment(wanted=0, replicas=0, updatedReplicas=0, availableReplicas=0), [], True),
        (deployment(wanted=0, replicas=0, updatedReplicas=0, availableReplicas=0), [pod()], False),
    ],
)
def test_is_ready(workload, pods, ready):
    assert is_ready(state(pods=pods, workload=workload)) is ready


def test_describe_with_nothing_there():
    assert describe(state()) == "the workload is not there"


def test_a_pod_of_earlier_manifests_says_nothing_of_these():
    """It is not deleted yet, and goes on crashing with the image that was replaced."""
    old = pod(state={"waiting": {"reason": "CrashLoopBackOff"}}, restarts=5)
    old["metadata"]["creationTimestamp"] = EARLIER
    old["spec"]["containers"][0]["image"] = "chromadb/chroma:1.4.1"

    def workload(image: str) -> dict[str, Any]:
        template = {"spec": {"containers": [{"name": "chromadb", "image": image}]}}
        return {"kind": "Deployment", "metadata": {"name": "chromadb"}, "spec": {"template": template}}

    assert certain_failure(state(pods=[old], workload=workload("chromadb/chroma:1.5.9"))) is None
    failure = certain_failure(state(pods=[old], workload=workload("chromadb/chroma:1.4.1")))
    assert failure is not None
    assert failure.rule == "crash-loop"
