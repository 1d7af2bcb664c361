"""Each rule on good and bad objects, named and laid out as strangers would have them."""

import base64
import re

import pytest
from lint_builders import NAMESPACE, claim, container, hpa, merge, meta, monitor, service, workload

from chroma_qualify.findings import Severity
from chroma_qualify.lint import lint_objects


def findings(rule, objects):
    """The findings of one rule; any other finding is a mistake of the test's objects."""
    found = lint_objects(objects)
    assert {finding.rule for finding in found} <= {rule}
    return found


def assert_one(rule, objects, about, *words):
    found = findings(rule, objects)
    assert [(finding.severity, finding.object) for finding in found] == [(Severity.FAIL, about)]
    for word in words:
        assert word in found[0].message + " " + found[0].evidence
    assert found[0].remedy
    assert found[0].evidence


def test_good_objects_are_clean():
    assert lint_objects([workload(), claim(), service()]) == []


# --- probe-v1-api


def http(path, port="api"):
    return {"httpGet": {"path": path, "port": port}}


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
@pytest.mark.parametrize("path", ["/api/v1/heartbeat", "/api/v1", "api/v1/heartbeat", "/api/v1?x=1"])
def test_probe_on_v1_is_named(probe, path):
    spoilt = workload(containers=[container(**{probe: http(path)})])
    assert_one("probe-v1-api", [spoilt], "Deployment/vector-db", probe, path, "410")


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(
            workload("StatefulSet", containers=[container(livenessProbe=http("/api/v1/heartbeat", 9000))]),
            id="statefulset",
        ),
        pytest.param(
            workload(
                containers=[
                    container(livenessProbe={"exec": {"command": ["curl", "-f", "http://localhost/api/v1/heartbeat"]}})
                ]
            ),
            id="exec",
        ),
        pytest.param(
            workload(containers=[container(), {"name": "side", "livenessProbe": http("/api/v1/heartbeat", 9000)}]),
            id="a sidecar's probe that ends at Chroma",
        ),
        pytest.param(
            workload(containers=[container(image="own:1", command=["chroma", "run"], livenessProbe=http("/api/v1"))]),
            id="Chroma by its command",
        ),
    ],
)
def test_probe_on_v1_is_found_elsewhere(bad):
    assert_one("probe-v1-api", [bad], f"{bad['kind']}/vector-db", "/api/v1")


@pytest.mark.parametrize(
    "good",
    [
        pytest.param(container(livenessProbe=http("/api/v2/heartbeat")), id="v2"),
        pytest.param(container(livenessProbe=http("/api/v10/heartbeat")), id="v10"),
        pytest.param(container(livenessProbe={"tcpSocket": {"port": 9000}}), id="tcp"),
        pytest.param(
            container(image="chromadb/chroma:0.5.23", livenessProbe=http("/api/v1/heartbeat")), id="0.x has v1"
        ),
    ],
)
def test_good_probes(good):
    assert findings("probe-v1-api", [workload(containers=[good])]) == []


def test_a_sidecars_own_v1_api_is_its_own():
    side = {"name": "side", "ports": [{"containerPort": 7000}], "livenessProbe": http("/api/v1/health", 7000)}
    assert findings("probe-v1-api", [workload(containers=[container(), side])]) == []


# --- scrape-not-metrics


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


# --- two-servers-one-volume

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


# --- hpa-without-request


def utilization(resource="memory", **more):
    return {"type": "Resource", "resource": {"name": resource, "target": {"averageUtilization": 80}}, **more}


CPU_ONLY = container(resources={"requests": {"cpu": "1", "memory": None}})
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


# --- no-writable-tmp


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(container(volumeMounts=[STORE]), id="nothing mounted"),
        pytest.param(
            container(volumeMounts=[STORE, {"name": "scratch", "mountPath": "/tmp", "readOnly": True}]),
            id="read-only mount",
        ),
        pytest.param(
            container(volumeMounts=[STORE, {"name": "scratch", "mountPath": "/tmp/deep"}]), id="only below it"
        ),
        pytest.param(container(volumeMounts=[STORE, {"name": "scratch", "mountPath": "/tmpfs"}]), id="a name alike"),
        pytest.param(container(volumeMounts=[STORE, {"name": "conf", "mountPath": "/tmp"}]), id="a ConfigMap"),
        pytest.param(
            container(
                volumeMounts=[{"name": "scratch", "mountPath": "/var"}, {"name": "conf", "mountPath": "/var/tmp"}]
            ),
            id="a ConfigMap inside a writable mount",
        ),
        pytest.param(
            container(volumeMounts=[STORE], env=[{"name": "TMPDIR", "value": "/scratch"}]), id="TMPDIR not mounted"
        ),
        pytest.param(container(volumeMounts=[STORE], env=[{"name": "TMPDIR", "value": ""}]), id="TMPDIR empty"),
    ],
)
def test_no_tmp_is_named(bad):
    spec = {
        "volumes": [
            {"name": "store", "persistentVolumeClaim": {"claimName": "store"}},
            {"name": "scratch", "emptyDir": {}},
            {"name": "conf", "configMap": {"name": "c"}},
        ]
    }
    assert_one("no-writable-tmp", [workload(containers=[bad], pod=spec)], "Deployment/vector-db", "/tmp")


@pytest.mark.parametrize(
    "good",
    [
        pytest.param(container(volumeMounts=[STORE, {"name": "scratch", "mountPath": "/tmp/"}]), id="trailing slash"),
        pytest.param(container(volumeMounts=[STORE, {"name": "scratch", "mountPath": "/var/tmp"}]), id="/var/tmp"),
        pytest.param(
            container(volumeMounts=[STORE], env=[{"name": "SQLITE_TMPDIR", "value": "/data"}]), id="SQLITE_TMPDIR"
        ),
        pytest.param(container(volumeMounts=[STORE], env=[{"name": "TMPDIR", "value": "/data/tmp"}]), id="TMPDIR"),
        pytest.param(container(volumeMounts=[STORE], workingDir="/data"), id="the working directory"),
        pytest.param(
            container(volumeMounts=[STORE], securityContext={"readOnlyRootFilesystem": False}), id="writable root"
        ),
        pytest.param(container(volumeMounts=[STORE], securityContext=None), id="writable root by default"),
        pytest.param(
            container(volumeMounts=[STORE], env=[{"name": "TMPDIR", "valueFrom": {"configMapKeyRef": {"name": "c"}}}]),
            id="not to be known",
        ),
    ],
)
def test_good_tmp(good):
    assert findings("no-writable-tmp", [workload(containers=[good])]) == []


# --- ignored-setting

PROVIDER = "CHROMA_SERVER_AUTHN_PROVIDER"
TOKEN = "s3cret-token"
CONFIG_VOLUME = {
    "volumes": [
        {"name": "store", "persistentVolumeClaim": {"claimName": "store"}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "conf", "configMap": {"name": "conf"}},
        {"name": "hidden", "secret": {"secretName": "conf"}},
    ]
}


def config(data, kind="ConfigMap"):
    return {"kind": kind, "metadata": meta("conf"), "data": data}


def mounted(volume):
    mounts = [STORE, {"name": "scratch", "mountPath": "/tmp"}, {"name": volume, "mountPath": "/etc/chroma"}]
    return workload(containers=[container(volumeMounts=mounts)], pod=CONFIG_VOLUME)


YAML_AUTH = f"persist_path: /data\nchroma_server_authn_credentials: {TOKEN}\n"


@pytest.mark.parametrize(
    ("objects", "about", "name"),
    [
        ([workload(containers=[container(env=[{"name": PROVIDER, "value": "x"}])])], "Deployment/vector-db", PROVIDER),
        (
            [workload(containers=[container(env=[{"name": "CHROMA_SERVER_AUTH_CREDENTIALS", "valueFrom": {}}])])],
            "Deployment/vector-db",
            "CHROMA_SERVER_AUTH_CREDENTIALS",
        ),
        (
            [workload(containers=[container(envFrom=[{"configMapRef": {"name": "conf"}}])]), config({PROVIDER: TOKEN})],
            "ConfigMap/conf",
            PROVIDER,
        ),
        (
            [
                workload(containers=[container(envFrom=[{"prefix": "CHROMA_SERVER_", "secretRef": {"name": "conf"}}])]),
                config({"AUTHZ_CONFIG": TOKEN}, "Secret"),
            ],
            "Secret/conf",
            "CHROMA_SERVER_AUTHZ_CONFIG",
        ),
        ([mounted("conf"), config({"c.yaml": YAML_AUTH})], "ConfigMap/conf", "chroma_server_authn_credentials"),
        ([mounted("conf"), config({"c.json": '{"auth": {"token": "x"}}'})], "ConfigMap/conf", "auth"),
        (
            [mounted("hidden"), config({"c.yaml": base64.b64encode(YAML_AUTH.encode()).decode()}, "Secret")],
            "Secret/conf",
            "chroma_server_authn_credentials",
        ),
    ],
)
def test_ignored_authentication_is_named(objects, about, name):
    assert_one("ignored-setting", objects, about, name)
    assert TOKEN not in repr(lint_objects(objects))


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([workload(containers=[container(env=[{"name": PROVIDER, "value": ""}])])], id="set to nothing"),
        pytest.param(
            [workload(containers=[container(image="chromadb/chroma:0.6.3", env=[{"name": PROVIDER, "value": "x"}])])],
            id="0.x reads it",
        ),
        pytest.param([workload(), config({PROVIDER: "x"})], id="a ConfigMap that nobody reads"),
        pytest.param([mounted("conf"), config({"c.yaml": "persist_path: /data\nauthor: me\n"})], id="nothing of it"),
        pytest.param([mounted("conf"), config({"c.yaml": "{ not: [yaml"})], id="not YAML"),
        pytest.param([mounted("hidden"), config({"c.yaml": "%%%"}, "Secret")], id="not base64"),
        pytest.param(
            [workload(containers=[container(), {**SIDE, "env": [{"name": PROVIDER, "value": "x"}]}])],
            id="a sidecar's own",
        ),
        pytest.param(
            [workload(containers=[container(env=[{"name": "CHROMA_CLIENT_AUTH_PROVIDER", "value": "x"}])])],
            id="a client's",
        ),
    ],
)
def test_good_settings(objects):
    assert findings("ignored-setting", objects) == []


def test_every_rule_speaks_its_own_name():
    """`RULES` says the names; what the functions yield must be the same."""
    from chroma_qualify.lint import RULES

    spoilt = [
        workload(
            spec={"strategy": None},
            pod={
                "initContainers": [
                    {"name": "guard-image", "image": "chromadb/chroma:1.0.20"},
                    {"name": "guard", "image": "tools:dev", "args": ["guard"]},
                ]
            },
            containers=[
                container(
                    env=[{"name": PROVIDER, "value": "x"}],
                    livenessProbe=http("/api/v1"),
                    resources=None,
                    volumeMounts=[STORE],
                )
            ],
        ),
        hpa(),
        service(),
        monitor(port="web"),
        {
            "kind": "PodDisruptionBudget",
            "metadata": meta("b"),
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"tier": "db"}}},
        },
    ]
    astray = merge(
        service(), {"spec": {"selector": {"tier": "web"}}}
    )  # a Service cannot be scraped and be astray at once
    for name, rule in RULES.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)
        objects = [workload(), astray] if name == "unreachable" else spoilt
        assert {finding.rule for finding in rule(objects)} == {name}
