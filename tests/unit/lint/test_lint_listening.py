"""Rules on ports: `loopback-only`, `wrong-target-port`, `probe-wrong-port`, `headless-service`."""

import pytest
from lint_builders import assert_one, container, findings, merge, service, workload

DB = "Deployment/vector-db"
OFFICIAL = "chromadb/chroma:1.5.9"


def served(*sides, **more):
    """The published image, which listens on 8000 by default."""
    defaults = {"image": OFFICIAL, "env": [], "ports": [{"name": "api", "containerPort": 8000}]}
    return workload(containers=[container(**{**defaults, **more}), *sides])


def told(**values):
    return [{"name": name, "value": value} for name, value in values.items()]


PROXY = {"name": "proxy", "image": "envoy:1", "ports": [{"name": "web", "containerPort": 8080}]}
ON_LOOPBACK = told(CHROMA_LISTEN_ADDRESS="127.0.0.1")


@pytest.mark.parametrize(
    "server",
    [
        pytest.param(served(env=ON_LOOPBACK), id="by variable"),
        pytest.param(served(env=told(CHROMA_LISTEN_ADDRESS="::1")), id="IPv6"),
        pytest.param(served(command=["chroma", "run", "--path", "/data"]), id="options, whose default it is"),
        pytest.param(served(command=["chroma", "run", "--path", "/data", "--host=localhost"]), id="by option"),
        pytest.param(served(args=["run", "--path", "/data"]), id="the image's command"),
    ],
)
def test_a_server_on_the_loopback_is_named(server):
    assert_one("loopback-only", [server, service()], DB, "inside its pod", path="spec.template.spec.containers[0]")


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([served(), service()], id="by default it listens everywhere"),
        pytest.param([served(PROXY, env=ON_LOOPBACK), service(target="web")], id="a proxy stands before it"),
        pytest.param([served(PROXY, env=ON_LOOPBACK), service(target=8443)], id="a proxy may stand before it"),
        pytest.param([served(command=["chroma", "run", "--host", "0.0.0.0"]), service()], id="options"),
        pytest.param([served(env=ON_LOOPBACK)], id="no Service"),
        pytest.param([served(command=["/start.sh"]), service()], id="nobody knows"),
    ],
)
def test_servers_that_can_be_reached(objects):
    assert findings("loopback-only", objects) + findings("wrong-target-port", objects) == []


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ([served(), service(target=9000)], "listens on 8000"),
        ([served(env=told(CHROMA_PORT="7000")), service()], "CHROMA_PORT: 7000"),
        ([served(command=["chroma", "run", "--host", "0.0.0.0", "--port", "7000"]), service()], "--port: 7000"),
        ([served(ports=[{"name": "api", "containerPort": 80}]), service()], "the default: 8000"),
    ],
)
def test_a_wrong_target_port_is_named(objects, words):
    assert_one("wrong-target-port", objects, "Service/db", words, path="spec.ports")


def test_an_image_of_somebody_s_own_may_listen_elsewhere():
    own = served(image="own/chroma-server:1", ports=[{"name": "api", "containerPort": 9000}])
    assert findings("wrong-target-port", [own, service()]) == []
    assert findings("wrong-target-port", [served(env=[{"name": "CHROMA_PORT", "valueFrom": {}}]), service()]) == []
    assert findings("wrong-target-port", [served(envFrom=[{"configMapRef": {"name": "x"}}]), service(target=1)]) == []


def probe(port, kind="httpGet", **more):
    return {kind: {"port": port, **({"path": "/api/v2/heartbeat"} if kind == "httpGet" else {}), **more}}


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (served(readinessProbe=probe("http")), "no port named http"),
        (served(readinessProbe=probe(9000)), "listens on 0.0.0.0:8000"),
        (served(readinessProbe=probe("9000")), "listens on 0.0.0.0:8000"),
        (served(readinessProbe=probe(9000, "tcpSocket")), "listens on 0.0.0.0:8000"),
        (served(PROXY, readinessProbe=probe(8000), livenessProbe=None, env=ON_LOOPBACK), "127.0.0.1:8000"),
    ],
)
def test_a_probe_of_a_wrong_port_is_named(server, words):
    path = "spec.template.spec.containers[0].readinessProbe." + (
        "tcpSocket"
        if "tcpSocket" in server["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]
        else "httpGet"
    )
    assert_one("probe-wrong-port", [server], DB, words, "readinessProbe", path=f"{path}.port")


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([served()], id="by name"),
        pytest.param(
            [served(readinessProbe=probe(8000), livenessProbe=None, ports=[])], id="a port that nobody declares"
        ),
        pytest.param(
            [served(PROXY, readinessProbe=probe(8080), livenessProbe=probe(8080), env=ON_LOOPBACK)], id="a proxy's"
        ),
        pytest.param([served(PROXY, readinessProbe=probe(8443))], id="perhaps a proxy's"),
        pytest.param([served(readinessProbe=probe(1, host="127.0.0.1"))], id="another host"),
        pytest.param([served(readinessProbe=probe(9000), image="own/chroma:1")], id="an image of somebody's own"),
        pytest.param([served(readinessProbe={"exec": {"command": ["true"]}})], id="a command"),
        pytest.param([served(env=told(CHROMA_PORT="7000")), service()], id="told of the Service already"),
    ],
)
def test_good_probe_ports(objects):
    assert findings("probe-wrong-port", objects) == []


def headless(**more):
    return merge(service(**more), {"spec": {"clusterIP": "None"}})


def test_a_headless_service_has_no_port_of_its_own():
    path = "spec.ports[0].port"
    assert_one("headless-service", [served(), headless()], "Service/db", "80", "8000", path=path)
    assert_one("headless-service", [served(), headless(target=8000)], "Service/db", "headless")


@pytest.mark.parametrize("objects", [[headless(port=8000)], [service()], [headless(port=8000, target="none")]])
def test_good_headless_services(objects):
    assert findings("headless-service", [served(), *objects]) == []
