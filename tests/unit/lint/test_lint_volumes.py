"""Rule `two-servers-one-volume`."""

import pytest
from lint_builders import assert_one, claim, container, findings, hpa, merge, meta, workload

RULE = "two-servers-one-volume"
STORE = {"name": "store", "mountPath": "/data"}
SCRATCH = {"name": "scratch", "mountPath": "/tmp"}


@pytest.mark.parametrize(
    ("objects", "about", "words"),
    [
        ([workload(spec={"replicas": 2})], "Deployment/vector-db", "2 replicas"),
        ([workload(spec={"strategy": None})], "Deployment/vector-db", "not set, so RollingUpdate"),
        (
            [workload(spec={"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0}}})],
            "Deployment/vector-db",
            "rolling update",
        ),
        ([workload(), hpa()], "HorizontalPodAutoscaler/scaler", "up to 3"),
        ([workload(spec={"replicas": 1}), hpa(2)], "HorizontalPodAutoscaler/scaler", "up to 2"),
        ([workload("StatefulSet", spec={"replicas": 3})], "StatefulSet/vector-db", "3 replicas"),
        ([workload("StatefulSet"), hpa(kind="StatefulSet")], "HorizontalPodAutoscaler/scaler", "up to 3"),
        ([workload("DaemonSet")], "DaemonSet/vector-db", "per node"),
        ([workload(), workload(name="second")], "Deployment/second", "2 workloads"),
        ([workload(spec={"replicas": 2}), claim(["ReadWriteMany"])], "Deployment/vector-db", "2 replicas"),
        (
            [
                workload(),
                {"kind": "ScaledObject", "metadata": meta("keda"), "spec": {"scaleTargetRef": {"name": "vector-db"}}},
            ],
            "ScaledObject/keda",
            "up to 100",
        ),
        (
            [workload(spec={"replicas": 2}, pod={"volumes": [{"name": "store", "hostPath": {"path": "/srv"}}]})],
            "Deployment/vector-db",
            "hostPath /srv",
        ),
        (
            [workload(spec={"replicas": 2}, pod={"volumes": [{"name": "store", "nfs": {"path": "/srv"}}]})],
            "Deployment/vector-db",
            "nfs",
        ),
    ],
)
def test_two_servers_are_named(objects, about, words):
    assert_one(RULE, objects, about, words)


OWN_VOLUME = {"volumes": [{"name": "store", "emptyDir": {}}, {"name": "scratch", "emptyDir": {}}]}


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([workload(spec={"replicas": 1}), claim()], id="one replica, Recreate"),
        pytest.param([workload(spec={"replicas": 0}), claim()], id="none at all"),
        pytest.param([workload(), hpa(1)], id="an HPA that may not scale"),
        pytest.param([workload(), hpa(target="web")], id="another workload's HPA"),
        pytest.param([workload(), merge(hpa(), {"metadata": {"namespace": "other"}})], id="another namespace's HPA"),
        pytest.param(
            [workload("StatefulSet", spec={"updateStrategy": {"type": "RollingUpdate"}})], id="StatefulSet waits"
        ),
        pytest.param([workload(spec={"replicas": 3}, pod=OWN_VOLUME)], id="no shared volume"),
        pytest.param(
            [
                workload(
                    spec={"replicas": 3}, containers=[container(volumeMounts=[{**STORE, "readOnly": True}, SCRATCH])]
                )
            ],
            id="mounted read-only",
        ),
        pytest.param(
            [
                workload(
                    spec={"replicas": 3},
                    pod={
                        "volumes": [
                            {"name": "store", "persistentVolumeClaim": {"claimName": "store", "readOnly": True}},
                            {"name": "scratch", "emptyDir": {}},
                        ]
                    },
                )
            ],
            id="a read-only claim",
        ),
        pytest.param(
            [
                workload(
                    "StatefulSet",
                    spec={"replicas": 3, "volumeClaimTemplates": [{"metadata": {"name": "store"}}]},
                    pod={"volumes": [{"name": "scratch", "emptyDir": {}}]},
                )
            ],
            id="a claim per pod",
        ),
        pytest.param(
            [workload(spec={"strategy": None}), claim(["ReadWriteOncePod"])], id="Kubernetes keeps them apart"
        ),
        pytest.param(
            [workload(), merge(workload(name="second"), {"metadata": {"namespace": "other"}})],
            id="same name, other namespace",
        ),
        pytest.param(
            [
                workload(),
                {**workload(name="web", containers=[{"name": "web", "image": "nginx:1"}]), "kind": "StatefulSet"},
            ],
            id="another program",
        ),
    ],
)
def test_one_server_is_good(objects):
    assert findings(RULE, objects) == []
