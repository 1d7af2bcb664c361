"""Rules on NetworkPolicies."""

import pytest
from lint_builders import CLIENTS, assert_one, container, findings, merge, meta, monitor, policy, service, workload

from chroma_qualify.findings import Severity

DB = "Deployment/vector-db"
DOORS = "NetworkPolicy/doors"
PROMETHEUS = {
    "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
    "ports": [{"port": 9000}],
}
DNS = {
    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
    "ports": [{"port": 53, "protocol": "UDP"}],
}
COLLECTOR = {"to": [{"podSelector": {"matchLabels": {"app": "otel"}}}], "ports": [{"port": 4317}]}


def out(*egress, **spec):
    return policy(name="way-out", policyTypes=["Egress"], ingress=None, egress=list(egress), **spec)


def exporting(endpoint="http://otel.monitoring:4317"):
    return workload(containers=[container(env=[{"name": "CHROMA_OPEN_TELEMETRY__ENDPOINT", "value": endpoint}])])


def test_no_policy_is_noted():
    assert_one("policy-missing", [workload(), service()], DB, "tier=db", severity=Severity.NOTE)
    others = policy(labels={"tier": "web"})
    assert_one("policy-missing", [workload(), others], DB, severity=Severity.NOTE)
    assert_one("policy-missing", [workload(), out()], DB, severity=Severity.NOTE)


@pytest.mark.parametrize(
    "other",
    [
        policy(),
        policy(podSelector={}),
        policy(policyTypes=None),
        {"kind": "CiliumNetworkPolicy", "metadata": meta("c"), "spec": {}},
    ],
)
def test_a_policy_is_there(other):
    assert findings("policy-missing", [workload(), other]) == []


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({}, "no `from`"),
        ({"ports": [{"port": 9000}]}, "no `from`"),
        ({"ports": [{"port": "api"}], "from": []}, "no `from`"),
        ({"from": [{"namespaceSelector": {}}]}, "empty namespaceSelector"),
        ({"from": [{"namespaceSelector": {"matchLabels": {}}, "podSelector": {}}]}, "empty namespaceSelector"),
        ({"from": [CLIENTS["from"][0], {"ipBlock": {"cidr": "0.0.0.0/0"}}]}, "0.0.0.0/0"),
        ({"from": [{"ipBlock": {"cidr": "0.0.0.0/1"}}, {"ipBlock": {"cidr": "128.0.0.0/1"}}]}, "0.0.0.0/1, 128.0"),
        ({"ports": [{"port": 7000, "endPort": 9000}]}, "no `from`"),
        ({"ports": [{"protocol": "TCP"}]}, "no `from`"),
    ],
)
def test_a_door_that_is_open_to_all_is_named(rule, words):
    assert_one("policy-ingress-open", [workload(), policy(CLIENTS, rule)], DOORS, words, path="spec.ingress[1].from")


SIDE = {"name": "proxy", "image": "envoy:1", "ports": [{"name": "web", "containerPort": 8443}]}


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([workload(), policy()], id="clients"),
        pytest.param([workload(), policy(ingress=[])], id="nobody"),
        pytest.param([workload(), policy({"from": [{"podSelector": {}}]})], id="all of its own namespace"),
        pytest.param([workload(), policy(PROMETHEUS)], id="a namespace"),
        pytest.param(
            [workload(), policy({"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}}]})],
            id="certain pods of all",
        ),
        pytest.param([workload(), policy({"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]})], id="addresses"),
        pytest.param([workload(), policy({"from": [{"ipBlock": {"cidr": "0.0.0.0/1"}}]})], id="half of them"),
        pytest.param([workload(), policy({"ports": [{"port": 1, "endPort": 8999}]})], id="other ports"),
        pytest.param([workload(), policy({"ports": [{"protocol": "UDP"}]})], id="another protocol"),
        pytest.param([workload(), policy({}, labels={"tier": "web"})], id="others' pods"),
        pytest.param([workload(), policy({}, policyTypes=["Egress"])], id="not read: policy-types says so"),
        pytest.param(
            [workload(containers=[container(), SIDE]), policy({"ports": [{"port": 8443}]})], id="the proxy's port"
        ),
        pytest.param([workload(containers=[container(ports=[]), SIDE]), policy({})], id="all ports are the proxy's"),
    ],
)
def test_doors_for_some(objects):
    assert findings("policy-ingress-open", objects) == []


def test_telemetry_without_dns_or_way_is_named():
    assert_one("policy-egress-blocked", [exporting(), out(COLLECTOR)], "NetworkPolicy/way-out", "otel.monitoring")
    assert_one("policy-egress-blocked", [exporting(), out(DNS)], "NetworkPolicy/way-out", "port 4317")
    both = findings("policy-egress-blocked", [exporting(), out()])
    assert [finding.severity for finding in both] == [Severity.FAIL, Severity.FAIL]


def test_names_that_cannot_be_resolved_are_named():
    backup = workload(name="backup", containers=[{"env": [{"name": "URL", "value": "http://db:80/"}]}])
    backup["spec"]["template"]["metadata"]["labels"] = {"app": "backup"}
    way = out({"ports": [{"port": 9000}]}, labels={"app": "backup"})
    assert_one("policy-egress-blocked", [workload(), service(), backup, way], "NetworkPolicy/way-out", "name db")
    assert findings("policy-egress-blocked", [workload(), backup, way]) == []  # no such Service is known
    https = out({"ports": [{"port": 443}]})
    assert_one("policy-egress-blocked", [workload(), https], "NetworkPolicy/way-out", severity=Severity.NOTE)


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([exporting(), policy()], id="nothing is said of the way out"),
        pytest.param([exporting(), out(DNS, COLLECTOR)], id="both"),
        pytest.param([exporting(), out(DNS), out(COLLECTOR)], id="policies add up"),
        pytest.param([exporting(), out({})], id="everything"),
        pytest.param([exporting(), out({"ports": [{"port": 1, "endPort": 65535}]})], id="a range"),
        pytest.param([exporting("http://10.0.0.7:4317"), out(COLLECTOR)], id="an address needs no DNS"),
        pytest.param([workload(), out()], id="a server that asks nobody"),
        pytest.param([workload(), out(labels={"tier": "web"})], id="others' pods"),
        pytest.param([exporting(), policy(egress=[], policyTypes=None)], id="empty, and not read"),
    ],
)
def test_ways_out(objects):
    assert findings("policy-egress-blocked", objects) == []


def test_dns_is_not_in_the_own_namespace():
    near = {"to": [{"podSelector": {}}], "ports": [{"port": 53}]}
    assert_one("policy-egress-blocked", [exporting(), out(near, COLLECTOR)], "NetworkPolicy/way-out", "no DNS")


def test_a_policy_that_may_be_for_others_is_noted():
    astray = policy(labels={"tier": "dbs"})
    assert_one("policy-matches-nothing", [workload(), astray], DOORS, "tier=dbs", "tier=db")  # only Chroma is here
    web = workload(name="web", containers=[{"name": "web", "image": "nginx:1"}])
    web["spec"]["template"]["metadata"]["labels"] = {"tier": "web"}
    assert_one("policy-matches-nothing", [workload(), web, astray], DOORS, "others", severity=Severity.NOTE)
    protected = policy(name="own")
    assert_one("policy-matches-nothing", [workload(), protected, astray], DOORS, "others", severity=Severity.NOTE)


def test_a_policy_without_pods_is_named():
    astray = policy(labels={"app": "chroma"})
    assert_one("policy-matches-nothing", [workload(), astray], DOORS, "app=chroma", "tier=db", path="spec.podSelector")
    assert_one("policy-matches-nothing", [workload(), policy(name="chromadb", labels={"app": "x"})],
               "NetworkPolicy/chromadb")  # fmt: skip


JOB = {"kind": "Job", "metadata": meta("j"), "spec": {"template": {"metadata": {"labels": {"app": "chroma-job"}}}}}
CRON = {"kind": "CronJob", "metadata": meta("j"), "spec": {"jobTemplate": {"spec": JOB["spec"]}}}


@pytest.mark.parametrize(
    "objects",
    [
        [policy()],
        [policy(podSelector={}, name="chroma")],
        [policy(labels={"app": "chroma-job"}), JOB],
        [policy(labels={"app": "chroma-job"}), CRON],
        [merge(policy(labels={"app": "chroma"}), {"metadata": {"namespace": "other"}})],
    ],
)
def test_policies_with_pods(objects):
    assert findings("policy-matches-nothing", [workload(), *objects]) == []


def test_rules_that_are_not_read_are_named():
    assert_one("policy-types", [workload(), policy(policyTypes=["Egress"])], DOORS, "ingress", path="spec.policyTypes")
    unread = policy(egress=[DNS])
    assert_one("policy-types", [workload(), unread], DOORS, "egress", severity=Severity.NOTE)
    closed = policy(egress=[], policyTypes=None)
    assert_one("policy-types", [workload(), closed], DOORS, "egress: 0 rules", severity=Severity.NOTE)


@pytest.mark.parametrize(
    "other",
    [
        policy(),
        policy(policyTypes=None),
        policy(policyTypes=None, egress=[DNS]),
        policy(policyTypes=["Ingress", "Egress"], egress=[]),
        out(),
        policy(policyTypes=["Egress"], labels={"tier": "web"}),
    ],
)
def test_rules_that_are_read(other):
    assert findings("policy-types", [workload(), other]) == []


NAMED = {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}


def test_a_label_that_no_namespace_has_is_named():
    path = "spec.ingress[0].from[1].namespaceSelector"
    shut = policy({"from": [CLIENTS["from"][0], NAMED]})
    assert_one("policy-namespace-label", [workload(), shut], DOORS, "name=monitoring", path=path)
    away = out({"to": [NAMED], "ports": [{"port": 4317}]})
    assert_one("policy-namespace-label", [workload(), away], "NetworkPolicy/way-out", "nothing gets there")


def test_labels_that_namespaces_have():
    space = {"kind": "Namespace", "metadata": {"name": "monitoring", "labels": {"name": "monitoring"}}}
    assert findings("policy-namespace-label", [workload(), policy({"from": [NAMED]}), space]) == []
    assert findings("policy-namespace-label", [workload(), policy(PROMETHEUS), policy()]) == []
    other = {"namespaceSelector": {"matchLabels": {"team": "x"}}}
    assert findings("policy-namespace-label", [workload(), policy({"from": [other]})]) == []


EXPORTER = {"name": "collector", "image": "otel/collector:1", "ports": [{"name": "metrics", "containerPort": 8889}]}
WATCHED = workload(containers=[container(), EXPORTER])
METRICS = service(target="metrics")
SCRAPE = merge(PROMETHEUS, {"ports": [{"port": 8889}]})


@pytest.mark.parametrize(
    "objects",
    [
        [METRICS, monitor(port="web"), policy()],
        [monitor("PodMonitor", port="metrics"), policy()],
        [METRICS, monitor(port="web"), policy(ingress=[])],
        [METRICS, monitor(port="web"), policy(PROMETHEUS)],
    ],
)
def test_monitoring_that_is_shut_out_is_named(objects):
    assert_one("policy-no-monitoring", [WATCHED, *objects], DOORS, "port 8889", path="spec.ingress")


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([METRICS, monitor(port="web"), policy(CLIENTS, SCRAPE)], id="let in"),
        pytest.param([METRICS, monitor(port="web"), policy(), policy(SCRAPE, name="b")], id="policies add up"),
        pytest.param([METRICS, monitor(port="web")], id="no policy"),
        pytest.param([METRICS, policy()], id="no monitor"),
        pytest.param([METRICS, monitor(port="web", labels={"app": "x"}), policy()], id="of others"),
        pytest.param(
            [
                METRICS,
                monitor(port="web"),
                policy({"from": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]}),
            ],
            id="in the same namespace",
        ),
        pytest.param([METRICS, monitor(port="web"), policy({"from": [{"podSelector": {}}]})], id="its namespace"),
        pytest.param([METRICS, monitor(port="web"), policy({"ports": [{"port": "metrics"}]})], id="everybody, by name"),
    ],
)
def test_monitoring_gets_in(objects):
    assert findings("policy-no-monitoring", [WATCHED, *objects]) == []


def test_where_there_are_no_metrics_no_door_is_asked_for():
    objects = [workload(), service(), monitor(port="web"), monitor("PodMonitor", port="api"), policy()]
    assert len(findings("scrape-not-metrics", objects)) == 2
    assert findings("policy-no-monitoring", objects) == []
