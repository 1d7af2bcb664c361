"""Rule `scrape-not-metrics`."""

import pytest
import yaml
from lint_builders import NAMESPACE, assert_one, container, findings, monitor, service, workload


@pytest.mark.parametrize(
    ("objects", "about", "words"),
    [
        ([service(), monitor(port="web", path="/api/v1/heartbeat")], "ServiceMonitor/watch", "410"),
        ([service(), monitor(port="web", path="/api/v2/heartbeat")], "ServiceMonitor/watch", "JSON"),
        ([service(), monitor(port="web")], "ServiceMonitor/watch", "404"),
        ([service(), monitor(targetPort="api")], "ServiceMonitor/watch", "404"),
        ([service(), monitor(targetPort=9000)], "ServiceMonitor/watch", "404"),
        ([service(target=9000), monitor(port="web")], "ServiceMonitor/watch", "404"),
        ([service(), monitor(namespace="m", scope={"any": True}, port="web")], "ServiceMonitor/watch", "404"),
        (
            [service(), monitor(namespace="m", scope={"matchNames": [NAMESPACE]}, port="web")],
            "ServiceMonitor/watch",
            "404",
        ),
        ([monitor("PodMonitor", port="api", path="/api/v2/version")], "PodMonitor/watch", "JSON"),
        ([monitor("PodMonitor", portNumber=9000)], "PodMonitor/watch", "404"),
        (
            [service(annotations={"prometheus.io/scrape": "true", "prometheus.io/path": "/api/v1/heartbeat"})],
            "Service/db",
            "410",
        ),
    ],
)
def test_scraping_chroma_is_named(objects, about, words):
    assert_one("scrape-not-metrics", [workload(), *objects], about, words)


@pytest.mark.parametrize(
    "annotations",
    [
        {"prometheus.io/scrape": "true", "prometheus.io/port": "9000", "prometheus.io/path": "/api/v1/heartbeat"},
        {"prometheus.io/scrape": "true"},
        {"prometheus.io/scrape": True},
    ],
)
def test_scraping_by_annotation_is_named(annotations):
    assert_one("scrape-not-metrics", [workload(annotations=annotations)], "Deployment/vector-db")


def prometheus(target, namespace=NAMESPACE, **job):
    """A ConfigMap with the file of a Prometheus without operator."""
    jobs = [{"job_name": "db", **job, "static_configs": [{"targets": ["other:1", target]}]}]
    text = yaml.safe_dump({"scrape_configs": jobs})
    return {"kind": "ConfigMap", "metadata": {"name": "p", "namespace": namespace}, "data": {"prometheus.yml": text}}


@pytest.mark.parametrize(
    "file",
    [
        prometheus("db:80"),
        prometheus(f"db.{NAMESPACE}:80", "monitoring"),
        prometheus(f"db.{NAMESPACE}.svc.cluster.local:80", "monitoring"),
    ],
)
def test_scraping_by_a_file_is_named(file):
    objects = [workload(), service(), file]
    assert_one("scrape-not-metrics", objects, "ConfigMap/p", "404", "job db", path="data['prometheus.yml']")


@pytest.mark.parametrize(
    "file",
    [
        prometheus("db:80", "monitoring"),  # a Service of its own namespace
        prometheus("db:81"),
        prometheus("db-exporter:80"),
        prometheus("db:80", metrics_path="/probe"),
        {"kind": "ConfigMap", "metadata": {"name": "p"}, "data": {"a": "scrape_configs: [", "b": 1}},
    ],
)
def test_scraping_others_by_a_file(file):
    assert findings("scrape-not-metrics", [workload(), service(), file]) == []


def test_a_token_in_the_query_is_not_told():
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/path": "/metrics?token=s3cret"}
    (found,) = findings("scrape-not-metrics", [workload(), service(annotations=annotations)])
    assert "s3cret" not in repr(found)


EXPORTER = {"name": "collector", "image": "otel/collector:1", "ports": [{"name": "metrics", "containerPort": 8889}]}


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([service(), monitor(labels={"app": "collector"}, port="web")], id="selects another Service"),
        pytest.param([service(), monitor(namespace="m", port="web")], id="looks into another namespace"),
        pytest.param([service(), monitor(scope={"matchNames": ["m"]}, port="web")], id="told another namespace"),
        pytest.param([service(), monitor(port="none")], id="a port that the Service lacks"),
        pytest.param([service(target="metrics"), monitor(port="web")], id="an exporter beside Chroma"),
        pytest.param([service(target=8889), monitor(port="web")], id="an exporter's port by number"),
        pytest.param([monitor("PodMonitor", port="metrics")], id="PodMonitor on the exporter"),
        pytest.param([monitor("PodMonitor", labels={"tier": "web"}, port="api")], id="PodMonitor on other pods"),
        pytest.param([service(annotations={"prometheus.io/scrape": "false"})], id="switched off"),
        pytest.param(
            [service(annotations={"prometheus.io/scrape": "true", "prometheus.io/port": "8889"})],
            id="annotated exporter",
        ),
    ],
)
def test_good_scraping(objects):
    assert findings("scrape-not-metrics", [workload(containers=[container(), EXPORTER]), *objects]) == []


@pytest.mark.parametrize(
    ("key", "operator", "values", "taken"),
    [
        ("tier", "In", ["web", "db"], True),
        ("tier", "In", ["web"], False),
        ("none", "In", ["db"], False),
        ("tier", "NotIn", ["db"], False),
        ("none", "NotIn", ["db"], True),
        ("tier", "NotIn", ["web"], True),
        ("tier", "Exists", None, True),
        ("none", "Exists", None, False),
        ("tier", "DoesNotExist", None, False),
        ("none", "DoesNotExist", None, True),
        ("tier", "Gt", ["1"], False),
    ],
)
def test_match_expressions_are_understood(key, operator, values, taken):
    watch = monitor(port="web")
    watch["spec"]["selector"] = {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}
    assert len(findings("scrape-not-metrics", [workload(), service(), watch])) == taken
