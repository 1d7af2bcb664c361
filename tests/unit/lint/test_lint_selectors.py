"""Rules on selectors."""

import pytest
from lint_builders import NAMESPACE, assert_one, findings, merge, meta, monitor, service, workload

from chroma_qualify.findings import Severity

DB = "Deployment/vector-db"


def labelled(name, **labels):
    other = workload(name=name, containers=[{"name": "web", "image": "web:1"}])
    return merge(other, {"spec": {"template": {"metadata": {"labels": labels}}}})


def test_a_workload_that_does_not_select_its_pods_is_named():
    spoilt = workload(spec={"selector": {"matchLabels": {"tier": "database"}}})
    assert_one("selector-mismatch", [spoilt], DB, "tier=database", "tier=db", path="spec.selector")
    expression = {"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}
    assert_one("selector-mismatch", [workload(spec={"selector": {"matchLabels": None, **expression}})], DB)


@pytest.mark.parametrize("selector", [{"matchLabels": {"tier": "db"}}, {}, None])
def test_selectors_of_its_pods(selector):
    assert findings("selector-mismatch", [workload(spec={"selector": selector})]) == []


def test_a_service_that_takes_others_is_named():
    web = labelled("web", tier="db")
    numbered = service(target=9000)
    assert_one("selector-too-wide", [workload(), web, numbered], "Service/db", "Deployment/web", path="spec.selector")


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([service(target=9000)], id="nobody else"),
        pytest.param([service(target=9000), labelled("web", tier="web")], id="other labels"),
        pytest.param([service(), labelled("web", tier="db")], id="a port by a name that they lack"),
        pytest.param(
            [service(target=9000), merge(labelled("web", tier="db"), {"metadata": {"namespace": "other"}})],
            id="another namespace",
        ),
        pytest.param([service(target=9000), workload(name="second")], id="another Chroma has another rule"),
    ],
)
def test_services_of_chroma_only(objects):
    assert findings("selector-too-wide", [workload(), *objects]) == []


def test_a_second_service_that_takes_nothing_is_noted():
    astray = merge(service("chroma-internal"), {"spec": {"selector": {"tier": "dbs"}}})
    objects = [workload(), service(), astray]
    about = "Service/chroma-internal"
    assert_one("selector-matches-nothing", objects, about, "tier=dbs", severity=Severity.NOTE, path="spec.selector")
    assert findings("unreachable", objects) == []


CANARY = {"kind": "CronJob", "metadata": meta("c"), "spec": {"jobTemplate": {"spec": {"template": {"metadata": {
    "labels": {"tier": "dbs"}}}}}}}  # fmt: skip


@pytest.mark.parametrize(
    "objects",
    [
        [service()],
        [service(), merge(service("web"), {"spec": {"selector": {"tier": "web"}}})],
        [
            service(),
            merge(service("chroma-canary"), {"spec": {"selector": {"tier": "dbs"}}}),
            labelled("c", tier="dbs"),
        ],
        [service(), merge(service("chroma-canary"), {"spec": {"selector": {"tier": "dbs"}}}), CANARY],
        [service(), merge(service("chroma-external"), {"spec": {"selector": None}})],
        [merge(service("chroma"), {"spec": {"selector": {"tier": "dbs"}}})],  # unreachable says it
    ],
)
def test_services_that_take_something(objects):
    assert findings("selector-matches-nothing", [workload(), *objects]) == []


def test_a_monitor_without_target_is_named():
    pods = merge(service(), {"metadata": {"labels": {"app": "x", "tier": None}}})
    objects = [workload(), pods, monitor(port="web")]
    assert_one("monitor-matches-nothing", objects, "ServiceMonitor/watch", "labels of Services", path="spec.selector")
    objects = [workload(), service(), monitor(port="http")]
    path = "spec.endpoints[0].port"
    assert_one("monitor-matches-nothing", objects, "ServiceMonitor/watch", "no port of that name", path=path)


@pytest.mark.parametrize(
    "watch",
    [
        monitor(port="web"),
        monitor(targetPort=9000),
        monitor(port="metrics", labels={"app": "collector"}),
        monitor("PodMonitor", port="api"),
        monitor(port="web", namespace="m", scope={"matchNames": [NAMESPACE]}),
        monitor(port="http", namespace="m"),
    ],
)
def test_monitors_with_a_target_or_for_others(watch):
    assert findings("monitor-matches-nothing", [workload(), service(), watch]) == []
