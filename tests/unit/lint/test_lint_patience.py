"""Rules on probes, time-outs and the end of a server."""

import pytest
from lint_builders import assert_one, container, findings, workload

from chroma_qualify.findings import Severity

DB = "Deployment/vector-db"
FIRST = "spec.template.spec.containers[0]"


def asked(timeout=None, cpu="500m", probe="livenessProbe", **more):
    heartbeat = {"httpGet": {"path": "/api/v2/heartbeat", "port": "api"}, **more}
    limits = {"memory": "2Gi", **({"cpu": cpu} if cpu else {})}
    others = {"livenessProbe": None, "readinessProbe": None, probe: {**heartbeat, "timeoutSeconds": timeout}}
    return [workload(containers=[container(resources={"limits": limits}, **others)])]


@pytest.mark.parametrize(
    ("objects", "severity"),
    [
        (asked(), Severity.FAIL),
        (asked(1), Severity.FAIL),
        (asked(2), Severity.NOTE),
        (asked(5), Severity.NOTE),
        (asked(cpu="250m", timeout=3), Severity.FAIL),
        (asked(cpu="1"), Severity.NOTE),
        (asked(cpu=2), Severity.NOTE),
        (asked(1, httpGet=None, exec={"command": ["curl", "-f", "http://[::1]:9000/api/v2/heartbeat"]}), Severity.FAIL),
    ],
)
def test_a_liveness_probe_without_patience_is_named(objects, severity):
    path = f"{FIRST}.livenessProbe.timeoutSeconds"
    assert_one("probe-timeout", objects, DB, "the heartbeat takes", severity=severity, path=path)


def test_out_of_the_service_is_less_than_restarted():
    assert_one("probe-timeout", asked(1, probe="readinessProbe"), DB, "taken out", severity=Severity.NOTE)


@pytest.mark.parametrize(
    "objects",
    [
        asked(6),
        asked(15, cpu="250m"),
        asked(3, cpu="1"),
        asked(1, cpu="4"),
        asked(1, cpu=None),
        asked(1, httpGet=None, tcpSocket={"port": 9000}),
        asked(1, probe="startupProbe"),
        asked(1, httpGet=None, exec={"command": ["pgrep", "chroma"]}),
        asked(1, httpGet={"path": "/healthz", "port": 9000}),
    ],
)
def test_patience(objects):
    assert findings("probe-timeout", objects) == []


def test_an_eager_restart_is_noted():
    eager = asked(6, periodSeconds=5)
    assert_one("liveness-eager", eager, DB, "15 s", severity=Severity.NOTE, path=f"{FIRST}.livenessProbe")
    assert_one("liveness-eager", asked(6, failureThreshold=1), DB, "10 s", severity=Severity.NOTE)
    for good in (asked(6), asked(6, periodSeconds=5, failureThreshold=6), asked(6, probe="readinessProbe")):
        assert findings("liveness-eager", good) == []


@pytest.mark.parametrize(
    "path", ["/api/v2/tenants/default_tenant/databases/default_database/collections", "/api/v1/collections"]
)
def test_liveness_of_data_is_noted(path):
    objects = asked(15, httpGet={"path": path, "port": "api"})
    assert_one("liveness-on-data", objects, DB, path, severity=Severity.NOTE)


@pytest.mark.parametrize("path", ["/api/v2/heartbeat", "/api/v2/healthcheck", "/api/v2", None])
def test_liveness_of_the_process(path):
    assert findings("liveness-on-data", asked(15, httpGet={"path": path, "port": "api"})) == []
    assert findings("liveness-on-data", asked(15, probe="readinessProbe")) == []


def test_missing_probes_are_noted():
    path = f"{FIRST}.readinessProbe"
    assert_one("no-readiness-probe", asked(15), DB, "not set", severity=Severity.NOTE, path=path)
    path = f"{FIRST}.livenessProbe"
    assert_one("no-liveness-probe", asked(15, probe="readinessProbe"), DB, "not set", severity=Severity.NOTE, path=path)
    assert findings("no-readiness-probe", [workload()]) + findings("no-liveness-probe", [workload()]) == []


def test_a_proxy_s_readiness_is_the_pod_s():
    side = {"name": "proxy", "image": "envoy:1", "readinessProbe": {"httpGet": {"port": 8080}}}
    assert findings("no-readiness-probe", [workload(containers=[container(readinessProbe=None), side])]) == []


def ending(grace, cpu=None):
    limits = {"memory": "2Gi", **({"cpu": cpu} if cpu else {})}
    return [
        workload(pod={"terminationGracePeriodSeconds": grace}, containers=[container(resources={"limits": limits})])
    ]


@pytest.mark.parametrize(
    ("objects", "severity"),
    [
        (ending(5), Severity.FAIL),
        (ending(0), Severity.FAIL),
        (ending(12, "4"), Severity.FAIL),
        (ending(None, "500m"), Severity.NOTE),
        (ending(30, "500m"), Severity.NOTE),
    ],
)
def test_too_little_grace_is_named(objects, severity):
    path = "spec.template.spec.terminationGracePeriodSeconds"
    assert_one("grace-too-short", objects, DB, "gives Chroma", severity=severity, path=path)


@pytest.mark.parametrize("objects", [ending(None), ending(30), ending(90, "500m"), ending(13, 2), ending(30, "1")])
def test_enough_grace(objects):
    assert findings("grace-too-short", objects) == []
