"""Rules on what Chroma is told: `config-invalid`, `allow-reset`, `circuit-breaker`, `cors-any`, secrets, links."""

import base64

import pytest
from lint_builders import assert_one, container, findings, merge, meta, service, workload

from chroma_qualify.findings import Severity
from chroma_qualify.lint import lint_objects

DB = "Deployment/vector-db"
MOUNTS = [
    {"name": "store", "mountPath": "/data"},
    {"name": "scratch", "mountPath": "/tmp"},
    {"name": "conf", "mountPath": "/etc/chroma"},
]
TOKEN = "s3cret-t0ken"
PROBE = {
    "httpGet": {"path": "/", "port": "api", "httpHeaders": [{"name": "Authorization", "value": f"Bearer {TOKEN}"}]}
}


def from_file(text, kind="ConfigMap"):
    """A server with this file."""
    volume = {"configMap": {"name": "conf"}} if kind == "ConfigMap" else {"secret": {"secretName": "conf"}}
    data = text if kind == "ConfigMap" else base64.b64encode(text.encode()).decode()
    served = container(
        command=["dumb-init", "--", "chroma"], args=["run", "/etc/chroma/c.yaml"], volumeMounts=MOUNTS, env=[]
    )
    pod = {
        "volumes": [
            {"name": "store", "persistentVolumeClaim": {"claimName": "store"}},
            {"name": "scratch", "emptyDir": {}},
            {"name": "conf", **volume},
        ]
    }
    return [
        workload(containers=[served], pod=pod),
        {"kind": kind, "metadata": meta("conf"), "data": {"c.yaml": data}},
    ]


def from_variables(more=None, **values):
    variables = [{"name": name, "value": value} for name, value in values.items()]
    return [workload(containers=[container(env=variables, **(more or {}))])]


def in_map(**values):
    served = container(envFrom=[{"configMapRef": {"name": "conf"}}])
    return [workload(containers=[served]), {"kind": "ConfigMap", "metadata": meta("conf"), "data": values}]


# file, what is said of it; test_lint_real_server.py tries each
STOPPING_FILES = [
    ('cors_allow_origins: "*"', "cors_allow_origins is no list"),
    ('port: "8000"', "port is no whole number"),
    ("port: 70000", "port is no whole number"),
    ('allow_reset: "false"', "allow_reset is no boolean"),
    ("stdout_tracing: 'yes'", "stdout_tracing is no boolean"),
    ("max_payload_size_bytes: 40MB", "max_payload_size_bytes is no whole number"),
    ("persist_path: 5", "persist_path is no string"),
    ("circuit_breaker: {}", "circuit_breaker lacks requests"),
    ("circuit_breaker: {requests: '5'}", "requests is no whole number"),
    ("open_telemetry: {service_name: x}", "open_telemetry lacks endpoint"),
    ("port: [8000", "/etc/chroma/c.yaml is no YAML"),
    ("port: 8000\n\tpersist_path: /data", "/etc/chroma/c.yaml is no YAML"),
]


@pytest.mark.parametrize(("text", "words"), STOPPING_FILES)
def test_a_file_that_stops_the_server_is_named(text, words):
    assert_one("config-invalid", from_file(text), "ConfigMap/conf", words, path="data['c.yaml']")


STOPPING_VARIABLES = [
    ("CHROMA_CORS_ALLOW_ORIGINS", "*"),
    ("CHROMA_PORT", "tcp://10.0.0.1:8000"),
    ("CHROMA_ALLOW_RESET", "1"),
    ("CHROMA_ALLOW_RESET", "TRUE"),
    ("CHROMA_PERSIST_PATH", "123"),
    ("CHROMA_OPEN_TELEMETRY__SERVICE_NAME", "x"),
]


@pytest.mark.parametrize(("name", "value"), STOPPING_VARIABLES)
def test_a_variable_that_stops_the_server_is_named(name, value):
    path = "spec.template.spec.containers[0].env[0]"
    assert_one("config-invalid", from_variables(**{name: value}), DB, name, path=path)


@pytest.mark.parametrize(
    "objects",
    [
        from_file(
            'port: 8000\ncors_allow_origins: ["*"]\nallow_reset: false\npersist_path: /data\n'
            "circuit_breaker: {requests: 0}\nopen_telemetry: {endpoint: 'http://otel:4317'}\nopen: [1]\n"
        ),
        from_file("port:\nopen_telemetry:\n"),
        from_variables(CHROMA_CORS_ALLOW_ORIGINS='["*"]', CHROMA_PORT="8000", CHROMA_ALLOW_RESET="true"),
        from_variables({"image": "chromadb/chroma:0.6.3"}, CHROMA_PORT="x"),
        from_variables({"command": ["chroma", "run", "--port", "9000"]}, CHROMA_PORT="x"),  # not read
        from_variables(CHROMA_PORT="$(PORT)", CHROMA_ALLOW_RESET="$(RESET)"),  # Kubernetes puts it in
        from_variables({"command": ["sh", "-c", "chroma run --path /data --port ${PORT}"]}),
        from_variables({"command": ["/start"]}, CHROMA_PORT="x"),  # read by nobody knows whom
    ],
)
def test_good_configuration(objects):
    assert findings("config-invalid", objects) == []


@pytest.mark.parametrize(
    ("objects", "about"),
    [
        (from_file("allow_reset: true"), "ConfigMap/conf"),
        (from_variables(CHROMA_ALLOW_RESET="true"), DB),
        (in_map(CHROMA_ALLOW_RESET="true"), "ConfigMap/conf"),
        (from_variables({"image": "chromadb/chroma:0.6.3"}, ALLOW_RESET="TRUE"), DB),
    ],
)
def test_reset_for_all_is_named(objects, about):
    assert_one("allow-reset", objects, about, "/api/v2/reset")


def test_a_variable_beats_the_file():
    objects = from_file("allow_reset: true")
    objects[0]["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "CHROMA_ALLOW_RESET", "value": "false"}]
    assert findings("allow-reset", objects) == []


@pytest.mark.parametrize(
    "objects",
    [
        [workload()],
        from_file("allow_reset: false"),
        from_variables(ALLOW_RESET="TRUE"),  # of 0.x
        from_variables({"command": ["chroma", "run", "--path", "/data"]}, CHROMA_ALLOW_RESET="true"),  # not read
    ],
)
def test_no_reset(objects):
    assert findings("allow-reset", objects) == []


def test_the_circuit_breaker():
    assert_one("circuit-breaker", from_file("circuit_breaker: {requests: 100}"), "ConfigMap/conf", "429", "100")
    assert_one("circuit-breaker", from_variables(CHROMA_CIRCUIT_BREAKER__REQUESTS="5"), DB, "429")
    for off in (from_file("circuit_breaker: {requests: 0}"), from_file("circuit_breaker: 5"), [workload()]):
        assert findings("circuit-breaker", off) == []


def test_any_origin():
    assert_one("cors-any", from_file('cors_allow_origins: ["*"]'), "ConfigMap/conf", severity=Severity.NOTE)
    assert_one("cors-any", from_variables(CHROMA_CORS_ALLOW_ORIGINS='["*"]'), DB, severity=Severity.NOTE)
    assert findings("cors-any", from_file('cors_allow_origins: ["https://a.example"]')) == []
    assert findings("cors-any", from_file('cors_allow_origins: "*"')) == []


@pytest.mark.parametrize(
    ("objects", "about"),
    [
        (in_map(CHROMA_SERVER_AUTHN_CREDENTIALS=TOKEN), "ConfigMap/conf"),
        (in_map(DB_PASSWORD=TOKEN), "ConfigMap/conf"),
        (from_variables(OPENAI_API_KEY=TOKEN), DB),
        (from_variables(OTEL_EXPORTER_OTLP_HEADERS=f"authorization=Bearer {TOKEN}"), DB),
        (from_variables(CHROMA_OPEN_TELEMETRY__ENDPOINT=f"http://me:{TOKEN}@otel:4317"), DB),
        (from_file(f"auth:\n  token: {TOKEN}\n"), "ConfigMap/conf"),
        (from_variables({"args": [f"--token={TOKEN}"]}), DB),
        (from_variables({"args": ["--token", TOKEN]}), DB),
        (from_variables({"command": ["sh", "-c", f"API_KEY={TOKEN} chroma run"]}), DB),
        (from_variables({"livenessProbe": PROBE}), DB),
        (from_variables({"livenessProbe": {"exec": {"command": ["curl", "-H", f"X-Token: {TOKEN}", "db"]}}}), DB),
        (from_file(f"chroma_server_authn_credentials: {TOKEN}\n", "Secret"), "Secret/conf"),
        (from_file(f"key: |\n  -----BEGIN RSA PRIVATE KEY-----\n  {TOKEN}\n"), "ConfigMap/conf"),
    ],
)
def test_a_secret_in_plain_text_is_named_and_not_told(objects, about):
    found = findings("secret-in-config", objects)
    assert {(finding.severity, finding.object) for finding in found} == {(Severity.FAIL, about)}
    assert TOKEN not in repr(lint_objects(objects))


@pytest.mark.parametrize(
    "objects",
    [
        from_variables(TOKEN="", PASSWORD="$(OTHER)", API_KEY="/run/secrets/key", SECRET="true"),
        from_variables(CHROMA_TOKEN_FILE="/run/token", CHROMA_AUTH_TOKEN_TRANSPORT_HEADER="X-Chroma-Token"),
        from_variables(OTEL_EXPORTER_OTLP_HEADERS="x-scope=team"),
        from_variables({"args": ["--token=$(TOKEN)", "--token-file", "/run/token", "--secret", "--port=1"]}),
        from_variables({"command": ["sh", "-c", 'curl -H "Authorization: Bearer $TOKEN" db; token=$(cat /t)']}),
        from_variables(MAX_TOKENS=TOKEN, CHROMA_OPEN_TELEMETRY__ENDPOINT="http://otel:4317"),
        [workload(containers=[container(env=[{"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "k"}}}])])],
        [
            workload(containers=[container(envFrom=[{"secretRef": {"name": "conf"}}])]),
            {"kind": "Secret", "metadata": meta("conf"), "stringData": {"API_KEY": TOKEN}},
        ],
        [workload(), {"kind": "ConfigMap", "metadata": meta("others"), "data": {"API_KEY": TOKEN}}],
    ],
)
def test_no_secret(objects):
    assert findings("secret-in-config", objects) == []


def test_of_a_wrong_value_only_the_type_is_told():
    (found,) = findings("config-invalid", from_file(f"port: {TOKEN}"))
    assert found.evidence == "port: a string"
    assert findings("config-invalid", from_file("port: 70000"))[0].evidence == "port: 70000"
    for kind in ("ConfigMap", "Secret"):
        for text in (f"allow_reset: {TOKEN}", f"port: [{TOKEN}]", "port: 7788665544"):
            objects = from_file(text, kind)
            assert findings("config-invalid", objects)
            assert TOKEN not in repr(findings("config-invalid", objects))
            assert kind == "ConfigMap" or TOKEN not in repr(lint_objects(objects))
            assert kind == "ConfigMap" or "7788665544" not in repr(lint_objects(objects))


LINKED = workload(pod={"enableServiceLinks": None}, containers=[container(env=[])])
NAMED = merge(service("chroma"), {})


def test_a_service_named_chroma_is_named():
    path = "spec.template.spec.enableServiceLinks"
    assert_one("service-links", [LINKED, NAMED], DB, "CHROMA_PORT", path=path)


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([workload(containers=[container(env=[])]), NAMED], id="links are off"),
        pytest.param([LINKED, service("chroma-service")], id="another name"),
        pytest.param([LINKED, merge(NAMED, {"spec": {"clusterIP": "None"}})], id="headless ones make no links"),
        pytest.param([LINKED, merge(NAMED, {"metadata": {"namespace": "other"}})], id="another namespace"),
        pytest.param([workload(pod={"enableServiceLinks": None}), NAMED], id="its own variable comes first"),
        pytest.param(
            [
                workload(
                    pod={"enableServiceLinks": None},
                    containers=[container(env=[], command=["chroma", "run", "--path", "/data"])],
                ),
                NAMED,
            ],
            id="with options it reads none",
        ),
    ],
)
def test_no_links(objects):
    assert findings("service-links", objects) == []
