"""Rules on autoscalers."""

import pytest
from lint_builders import assert_one, container, findings, hpa, merge, meta, workload


def utilization(resource="memory", **more):
    return {"type": "Resource", "resource": {"name": resource, "target": {"averageUtilization": 80}}, **more}


CPU_ONLY = container(resources={"requests": {"cpu": "1", "memory": None}, "limits": None})
SIDE = {"name": "proxy", "image": "envoy:1"}
OF_ONE = {
    "type": "ContainerResource",
    "containerResource": {"name": "cpu", "container": "db", "target": {"averageUtilization": 70}},
}


@pytest.mark.parametrize(
    ("containers", "scaler", "words"),
    [
        ([CPU_ONLY], hpa(1, metrics=[utilization()]), "memory"),
        ([container(resources=None)], hpa(1), "cpu"),
        ([container(), SIDE], hpa(1), "proxy"),
        ([container(resources=None)], hpa(1, metrics=[], targetCPUUtilizationPercentage=70), "cpu"),
        (
            [container(), SIDE],
            hpa(1, metrics=[merge(OF_ONE, {"containerResource": {"container": "proxy"}})]),
            "proxy",
        ),
    ],
)
def test_missing_request_is_named(containers, scaler, words):
    assert_one(
        "hpa-without-request", [workload(containers=containers), scaler], "HorizontalPodAutoscaler/scaler", words
    )


LIMIT_RANGE = {
    "kind": "LimitRange",
    "metadata": meta("defaults"),
    "spec": {"limits": [{"type": "Container", "defaultRequest": {"memory": "1Gi"}}]},
}


@pytest.mark.parametrize(
    ("containers", "others"),
    [
        pytest.param([container()], [hpa(1, metrics=[utilization(), utilization("cpu")])], id="both requested"),
        pytest.param(
            [container(resources={"requests": None, "limits": {"memory": "2Gi"}})],
            [hpa(1, metrics=[utilization()])],
            id="the limit becomes the request",
        ),
        pytest.param([CPU_ONLY], [hpa(1, metrics=[utilization()]), LIMIT_RANGE], id="a LimitRange fills it in"),
        pytest.param(
            [CPU_ONLY],
            [hpa(1, metrics=[{"type": "Resource", "resource": {"name": "memory", "target": {"averageValue": "1Gi"}}}])],
            id="an absolute value needs none",
        ),
        pytest.param([container(), SIDE], [hpa(1, metrics=[OF_ONE])], id="asks for one container only"),
        pytest.param([CPU_ONLY], [hpa(1, target="web", metrics=[utilization()])], id="another workload's"),
    ],
)
def test_good_requests(containers, others):
    assert findings("hpa-without-request", [workload(containers=containers), *others]) == []


# --- hpa-target-missing, hpa-bounds

SCALER = "HorizontalPodAutoscaler/scaler"


def test_an_autoscaler_of_nothing_is_named():
    path = "spec.scaleTargetRef"
    assert_one("hpa-target-missing", [workload(), hpa(target="chroma")], SCALER, "Deployment/chroma", path=path)
    assert_one("hpa-target-missing", [workload(), hpa(target="vector-db", kind="StatefulSet")], SCALER, "StatefulSet")
    away = merge(hpa(), {"metadata": {"namespace": "other"}})
    assert_one("hpa-target-missing", [workload(), away], SCALER, "another namespace")


@pytest.mark.parametrize("scaler", [hpa(), hpa(target="web"), hpa(target="my-vector-db-web"), hpa(kind="Rollout")])
def test_autoscalers_of_something_or_for_others(scaler):
    assert findings("hpa-target-missing", [workload(), scaler]) == []


KEDA = {"kind": "ScaledObject", "metadata": meta("keda")}
WANTS = {"scaleTargetRef": {"name": "vector-db"}, "minReplicaCount": 2, "maxReplicaCount": 1}


def test_bounds_the_wrong_way_round_are_named():
    assert_one("hpa-bounds", [workload(), hpa(1, minReplicas=3)], SCALER, "minReplicas: 3", path="spec.minReplicas")
    assert_one("hpa-bounds", [workload(), hpa(0)], SCALER, "at most 0")
    assert_one("hpa-bounds", [workload(), {**KEDA, "spec": WANTS}], "ScaledObject/keda", "maxReplicaCount: 1")


@pytest.mark.parametrize("scaler", [hpa(1), hpa(3, minReplicas=3), hpa(None, minReplicas=3), {**KEDA, "spec": {}}])
def test_good_bounds(scaler):
    assert findings("hpa-bounds", [workload(), scaler]) == []
