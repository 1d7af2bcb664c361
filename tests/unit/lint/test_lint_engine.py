"""The rules together: malformed objects, Lists, objects without Chroma."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lint_builders import claim, container, findings, hpa, meta, monitor, policy, service, workload

from chroma_qualify.findings import Severity
from chroma_qualify.lint import lint_objects
from chroma_qualify.lint.objects import Image, is_chroma, workloads

# With something for every rule to look at.
MANY = [
    workload(
        spec={"replicas": 2},
        containers=[
            container(
                env=[{"name": "CHROMA_SERVER_AUTHN_PROVIDER", "value": "x"}],
                envFrom=[{"configMapRef": {"name": "conf"}}],
                livenessProbe={"exec": {"command": ["curl", "/api/v1"]}},
                readinessProbe={"httpGet": {"path": "/api/v1", "port": "api"}},
                volumeMounts=[{"name": "store", "mountPath": "/data"}, {"name": "conf", "mountPath": "/etc/chroma"}],
            )
        ],
        pod={
            "volumes": [
                {"name": "store", "persistentVolumeClaim": {"claimName": "store"}},
                {"name": "conf", "configMap": {"name": "conf"}},
            ]
        },
        annotations={"prometheus.io/scrape": "true", "prometheus.io/port": "9000"},
    ),
    {"kind": "ConfigMap", "metadata": meta("conf"), "data": {"c.yaml": "auth: x", "CHROMA_SERVER_AUTHZ_X": "x"}},
    claim(),
    hpa(),
    service(),
    monitor(port="web"),
    policy(
        {"from": [{"namespaceSelector": {"matchLabels": {"name": "x"}}}], "ports": [{"port": 9000}]},
        egress=[{"to": [{"podSelector": {"matchLabels": {"app": "x"}}}], "ports": [{"port": 1, "endPort": 60}]}],
        policyTypes=["Egress"],
    ),
    {
        "kind": "Ingress",
        "metadata": meta("i"),
        "spec": {"rules": [{"http": {"paths": [{"backend": {"service": {"name": "db"}}}]}}]},
    },
    {
        "kind": "PodDisruptionBudget",
        "metadata": meta("b"),
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"tier": "db"}}},
    },
    {
        "kind": "CronJob",
        "metadata": meta("j"),
        "spec": {"jobTemplate": {"spec": {"template": {"metadata": {"labels": {"a": "b"}}}}}},
    },
    monitor("PodMonitor", port="api"),
    {"kind": "Namespace", "metadata": {"name": "x", "labels": {"a": "b"}}},
    {"kind": "ServiceAccount", "metadata": meta("default"), "automountServiceAccountToken": False},
    workload(
        "StatefulSet",
        "second",
        spec={
            "volumeClaimTemplates": [{"metadata": {"name": "store"}, "spec": {"accessModes": ["ReadWriteMany"]}}],
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"},
        },
        pod={"initContainers": [{"command": ["chown"]}]},
        containers=[
            container(
                command=["chroma"],
                args=["run", "/etc/chroma/c.yaml"],
                env=[{"name": "CHROMA_OPEN_TELEMETRY__ENDPOINT", "value": "http://otel:4317"}],
            )
        ],
    ),
    {"kind": "LimitRange", "metadata": meta("l"), "spec": {"limits": [{"type": "Container", "default": {"cpu": 1}}]}},
]


@pytest.mark.parametrize(
    "objects", [[], [{"kind": "Service"}], [None, "text", 3], [workload(containers=[{"image": "nginx"}])]]
)
def test_nothing_to_judge_is_unknown_not_pass(objects):
    found = lint_objects(objects)
    assert [(finding.rule, finding.severity) for finding in found] == [("no-chroma-workload", Severity.UNKNOWN)]


def test_a_list_is_opened():
    objects = {
        "kind": "List",
        "items": [{"kind": "DeploymentList", "items": [workload(spec={"replicas": 2})]}, claim()],
    }
    assert len(findings("two-servers-one-volume", [objects])) == 1


def test_the_same_finding_is_said_once():
    assert len(findings("two-servers-one-volume", [workload(), hpa(), hpa()])) == 1


@pytest.mark.parametrize(
    ("reference", "name", "tag"),
    [
        ("chroma", "chroma", ""),
        ("chromadb/chroma:1.5.9", "chroma", "1.5.9"),
        ("localhost:5000/chroma", "chroma", ""),
        ("ghcr.io/chroma-core/chroma:latest@sha256:ab", "chroma", "latest"),
        ("r.example:5000/a/b/chromadb@sha256:ab", "chromadb", ""),
    ],
)
def test_image_references(reference, name, tag):
    assert Image.parse(reference) == Image(name=name, tag=tag)


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"image": "ghcr.io/chroma-core/chroma"}, True),
        ({"image": "own/vector:1", "command": ["dumb-init", "--", "chroma"], "args": ["run", "/c.yaml"]}, True),
        ({"image": "own/vector:1", "command": ["sh", "-c", "exec /usr/local/bin/chroma run --path /d"]}, True),
        ({"image": "python:3", "args": ["uvicorn", "chromadb.app:app"]}, True),
        ({"image": "chroma-qualify/loader:dev"}, False),
        ({"image": "own/chroma-backup:1", "command": ["chroma", "vacuum"]}, False),
        ({"image": None, "command": "chroma run"}, False),
    ],
)
def test_what_counts_as_a_chroma_server(container, expected):
    assert is_chroma(container) is expected


def paths(obj, path=()):
    """Every path into nested dicts and lists."""
    children = obj.items() if isinstance(obj, dict) else enumerate(obj) if isinstance(obj, list) else ()
    for key, value in children:
        yield (*path, key)
        yield from paths(value, (*path, key))


PATHS = list(paths(MANY))
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(PATHS), JUNK), min_size=1, max_size=4))
def test_malformed_objects_never_stop_the_lint(changes):
    objects = copy.deepcopy(MANY)
    for path, junk in changes:
        place = objects
        try:
            for key in path[:-1]:
                place = place[key]
            if isinstance(place, dict | list):
                place[path[-1]] = junk
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took this path away
    for finding in lint_objects(objects):
        assert finding.message
        assert hash(finding)


OWN_IMAGE = {"name": "db", "image": "own/vectors:1"}
PROBED = {**OWN_IMAGE, "readinessProbe": {"httpGet": {"path": "/api/v2/heartbeat"}}}


@pytest.mark.parametrize(
    ("containers", "found"),
    [
        ([PROBED], [PROBED]),
        ([{"image": "own/my-chroma:1", "ports": [{"containerPort": 8000}]}], ["own/my-chroma:1"]),
        ([container(), {**PROBED, "image": "envoy:1"}], [container()]),
        ([OWN_IMAGE], []),
        ([{"image": "own/chroma-backup:1"}], []),
    ],
)
def test_a_server_under_a_strangers_image(containers, found):
    (seen,) = workloads([workload(containers=containers)])
    images = [one if isinstance(one, str) else one["image"] for one in found]
    assert [one["image"] for one in seen.chroma_containers] == images
