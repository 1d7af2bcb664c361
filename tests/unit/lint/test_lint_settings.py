"""Rule `ignored-setting`: what Chroma does not read."""

import base64

import pytest
from lint_builders import (
    assert_one,
    container,
    findings,
    meta,
    workload,
)

from chroma_qualify.findings import Severity
from chroma_qualify.lint import lint_objects

STORE = {"name": "store", "mountPath": "/data"}
SIDE = {"name": "proxy", "image": "envoy:1"}

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


# --- what else it does not read


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("PERSIST_DIRECTORY", "persist_path"),
        ("IS_PERSISTENT", "always"),
        ("ALLOW_RESET", "leave it off"),
        ("CHROMA_SERVER_HTTP_PORT", "port"),
        ("CHROMA_SERVER_NOFILE", "Remove"),
        ("CHROMA_MEMORY_LIMIT_BYTES", "memory limit"),
        ("CHROMA_SEGMENT_CACHE_POLICY", "segment_manager"),
        ("CHROMA_PERSIST_PAHT", "persist_path"),
        ("CHROMA_SQLITE_DB__HASH_TYPE", "sqlitedb"),
    ],
)
def test_a_variable_that_is_not_read_is_noted(name, hint):
    objects = [workload(containers=[container(env=[{"name": name, "value": "1"}])])]
    assert_one("ignored-setting", objects, "Deployment/vector-db", name, severity=Severity.NOTE)
    assert hint in findings("ignored-setting", objects)[0].remedy


def served(text):
    mounts = [STORE, {"name": "scratch", "mountPath": "/tmp"}, {"name": "conf", "mountPath": "/etc/chroma"}]
    told = container(command=["chroma", "run", "/etc/chroma/c.yaml"], volumeMounts=mounts)
    return [workload(containers=[told], pod=CONFIG_VOLUME), config({"c.yaml": text})]


@pytest.mark.parametrize("key", ["presist_path", "chroma_memory_limit_bytes", "is_persistent", "cors"])
def test_a_key_that_is_not_read_is_noted(key):
    assert_one("ignored-setting", served(f"{key}: x\n"), "ConfigMap/conf", key, severity=Severity.NOTE)


def test_variables_beside_options_are_noted():
    told = container(command=["chroma", "run", "--path", "/data"], env=[{"name": "CHROMA_PORT", "value": "9000"}])
    objects = [workload(containers=[told])]
    assert_one("ignored-setting", objects, "Deployment/vector-db", "CHROMA_PORT", severity=Severity.NOTE)


@pytest.mark.parametrize(
    "objects",
    [
        served("persist_path: /data\nsqlitedb:\n  hash_type: md5\nopen_telemetry: {endpoint: 'http://x:1', foo: 1}\n"),
        [workload(containers=[container(env=[{"name": "CHROMA_SQLITEDB__HASH_TYPE", "value": "md5"}])])],
        [workload(containers=[container(env=[{"name": "RUST_LOG", "value": "info"}])])],
        [
            workload(
                containers=[
                    container(image="chromadb/chroma:0.6.3", env=[{"name": "PERSIST_DIRECTORY", "value": "/data"}])
                ]
            )
        ],
    ],
)
def test_what_is_read(objects):
    assert findings("ignored-setting", objects) == []
