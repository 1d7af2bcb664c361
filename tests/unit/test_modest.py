"""`modest` lowers what containers ask the scheduler for, and changes nothing else."""

import copy
from pathlib import Path

import pytest

from chroma_qualify.deployment.objects import Candidate
from chroma_qualify.plugin.versions import modest

LARGE = {"requests": {"cpu": "500m", "memory": "4Gi"}, "limits": {"cpu": "2", "memory": "4Gi"}}


def deployment(resources, name="db"):
    pod = {"containers": [{"name": "db", "image": "chromadb/chroma:1", "resources": resources}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"template": {"metadata": {"labels": {"app": name}}, "spec": pod}},
    }


OTHERS = [
    {"kind": "Service", "metadata": {"name": "s"}, "spec": {"selector": {"app": "db"}, "ports": [{"port": 8000}]}},
    {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "c"},
        "spec": {"resources": {"requests": {"storage": "50Gi"}}},
    },
]


def candidate(*objects):
    return Candidate.from_objects([*objects, *OTHERS], Path("there"))


def requests(item, *path):
    for key in path or ("spec", "template", "spec", "containers", 0, "resources"):
        item = item[key]
    return item


@pytest.mark.parametrize(
    ("given", "lowered"),
    [
        (LARGE, {**LARGE, "requests": {"cpu": "100m", "memory": "256Mi"}}),
        ({"requests": {"cpu": "50m", "memory": "64Mi"}}, {"requests": {"cpu": "50m", "memory": "64Mi"}}),
        ({"requests": {"cpu": 0.05, "memory": 268435457}}, {"requests": {"cpu": 0.05, "memory": "256Mi"}}),
        (
            {"limits": {"cpu": 2, "memory": "1Gi"}},  # the API server would ask for that
            {"limits": {"cpu": 2, "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "256Mi"}},
        ),
        (
            {"requests": {"ephemeral-storage": "2Gi"}, "limits": {"example.org/gpu": 1}},
            {
                "requests": {"ephemeral-storage": "2Gi", "example.org/gpu": 1},
                "limits": {"example.org/gpu": 1},
            },
        ),
        ({}, {}),
    ],
)
def test_requests_are_lowered_and_limits_stay(given, lowered):
    assert requests(modest(candidate(deployment(given))).objects[0]) == lowered


def test_nothing_else_changes():
    asked = candidate(deployment(LARGE))
    before = copy.deepcopy(asked)
    changed = modest(asked)
    assert asked == before
    assert changed.objects[1:] == asked.objects[1:]
    assert changed.digest == asked.digest
    back = copy.deepcopy(changed.objects[0])
    requests(back)["requests"] = LARGE["requests"]
    assert back == asked.objects[0]
    assert changed.deployment == changed.objects[0]


def test_init_containers_jobs_and_whole_pods_too():
    pod = {"resources": LARGE, "initContainers": [{"resources": LARGE}], "containers": [{"resources": LARGE}]}
    cron = {
        "kind": "CronJob",
        "metadata": {"name": "b"},
        "spec": {"jobTemplate": {"spec": {"template": {"spec": pod}}}},
    }
    changed = modest(candidate(deployment({}), cron)).objects[1]
    seen = changed["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    for resources in (seen["resources"], seen["initContainers"][0]["resources"], seen["containers"][0]["resources"]):
        assert resources == {**LARGE, "requests": {"cpu": "100m", "memory": "256Mi"}}


def test_what_scales_by_shares_of_its_request_keeps_it():
    scaler = {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "db"}},
    }
    changed = modest(candidate(deployment(LARGE), deployment(LARGE, "other"), scaler))
    assert requests(changed.objects[0]) == LARGE
    assert requests(changed.objects[1])["requests"] == {"cpu": "100m", "memory": "256Mi"}


def test_nobody_else_is_put_out_of_the_node():
    pod = {"priorityClassName": "chromadb", "containers": []}
    cron = {"kind": "CronJob", "metadata": {"name": "b"}, "spec": {"template": {"spec": pod}}}
    assert modest(candidate(deployment({}), cron)).objects[1]["spec"]["template"]["spec"] == {"containers": []}
