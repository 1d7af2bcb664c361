"""Issue `connection refused`: servers that run, and that nobody reaches."""

import copy

import pytest
from doctor_builders import JUST_NOW, LABELS, container, event, healthy, meta, pod, pod_spec, snapshot

from chroma_qualify.doctor.diagnosis import Issue
from chroma_qualify.doctor.tell import Condition, report_on

PROXY = {"name": "proxy", "image": "caddy:2", "ports": [{"name": "http", "containerPort": 8000}]}
JUST_READY = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": JUST_NOW}]}
V1 = {"httpGet": {"path": "/api/v1/heartbeat", "port": "http"}}


def service(**spec):
    found = copy.deepcopy(healthy()["Service/chromadb-service"])
    found["spec"] |= spec
    return found


def to(target):
    return service(ports=[{"name": "http", "port": 8000, "targetPort": target}])


def policy(*rules, name="chromadb-policy", **spec):
    told = {"podSelector": {"matchLabels": LABELS}, "policyTypes": ["Ingress"], "ingress": list(rules)}
    return {"kind": "NetworkPolicy", "metadata": meta(name), "spec": told | spec}


def scaled_to_zero():
    objects = healthy()
    objects["Deployment/chromadb"]["spec"]["replicas"] = 0
    del objects["Pod/chromadb-1"]
    return snapshot(objects)


def behind_a_proxy(address, port):
    """As the component `auth` has it: the proxy on 8000, Chroma on another port of the loopback interface."""
    env = [{"name": "CHROMA_LISTEN_ADDRESS", "value": address}, {"name": "CHROMA_PORT", "value": str(port)}]
    probe = {"httpGet": {"path": "/api/v2/heartbeat", "port": 8000}}  # a name would be looked for in its own container
    spec = pod_spec(container(env=env, ports=[], readinessProbe=probe, startupProbe=probe), PROXY)
    ready = pod(spec)
    return snapshot(healthy(spec=spec), ready)


def slices(**endpoint):
    found = copy.deepcopy(healthy()["EndpointSlice/chromadb-service-x"])
    found["endpoints"] = [{"conditions": {"ready": False}}] if endpoint else []
    return found


def probed_at_v1():
    spec = pod_spec(container(readinessProbe=V1))
    unhealthy = event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 410")
    return snapshot(healthy(spec=spec), pod(spec, ready=False), unhealthy)


def loopback(**more):
    config = "listen_address: 127.0.0.1\nport: 8000\n"
    return snapshot(healthy(config=config), *more.get("and", ()))


@pytest.mark.parametrize(
    ("seen", "rule", "words", "remedy"),
    [
        (
            snapshot(None, service(selector={"app": "chroma"})),
            "unreachable",
            "its selector app=chroma matches none of Chroma's pods, which are labelled app=chromadb",
            "match the labels",
        ),
        (snapshot(None, to("web")), "unreachable", "its targetPort web is no port of Chroma's pods", "targetPort"),
        (
            snapshot(None, to(9000)),
            "wrong-target-port",
            "Service chromadb-service sends to port 9000 of the pods, and Chroma listens on 8000",
            "targetPort",
        ),
        (
            snapshot(healthy(config="port: 9000\n")),
            "wrong-target-port",
            "sends to port 8000 of the pods, and Chroma listens on 9000",
            "targetPort",
        ),
        (loopback(), "loopback-only", "listens on 127.0.0.1 only", "0.0.0.0"),
        (
            loopback(**{"and": [pod(ready=False), event("Unhealthy", "Startup probe failed: dial tcp: refused")]}),
            "loopback-only",
            "listens on 127.0.0.1 only",
            "0.0.0.0",
        ),
        (snapshot(None, policy()), "policy-lets-nobody-in", "nobody connect to port 8000", "port 8000"),
        (
            snapshot(None, policy({"ports": [{"port": 9000}]}), policy({"ports": [{"port": "no"}]}, name="b")),
            "policy-lets-nobody-in",
            "nobody connect to port 8000",
            "from:",
        ),
        (scaled_to_zero(), "scaled-to-zero", "there is no server to connect to", "--replicas=1"),
        (snapshot(None, slices(ready=False)), "no-ready-endpoints", "no ready endpoint", "endpointslices"),
        (probed_at_v1(), "probe-v1-api", "GET /api/v1/heartbeat is answered 410", "/api/v2/heartbeat"),
    ],
)
def test_named_with_its_remedy(seen, rule, words, remedy):
    report = report_on(seen)
    assert [item.rule for item in report.found] == [rule]
    (found,) = report.found
    assert found.issue is Issue.REACHING
    assert words in found.message
    assert remedy in found.remedy
    assert report.condition is Condition.FOUND


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(snapshot(None, to(8000)), id="by number"),
        pytest.param(behind_a_proxy("127.0.0.1", 8001), id="a proxy, and Chroma on the loopback interface"),
        pytest.param(behind_a_proxy("0.0.0.0", 8001), id="a proxy before an open port"),
        pytest.param(
            snapshot(None, policy(), policy({"ports": [{"port": 8000}]}, name="b")), id="one policy is enough"
        ),
        pytest.param(snapshot(None, policy({"from": [{"podSelector": {}}]})), id="all ports"),
        pytest.param(snapshot(None, policy({"ports": [{"port": "http"}]})), id="by its name"),
        pytest.param(snapshot(None, policy({"ports": [{"port": 7999, "endPort": 8001}]})), id="a range"),
        pytest.param(snapshot(None, policy(policyTypes=["Egress"])), id="of what goes out"),
        pytest.param(snapshot(None, policy(podSelector={"matchLabels": {"app": "x"}})), id="of others"),
        pytest.param(snapshot(None, slices(ready=False), pod(status=JUST_READY)), id="ready since a moment ago"),
        pytest.param(
            snapshot(
                None,
                service() | {"metadata": meta("other"), "spec": {"selector": {"app": "x"}, "ports": [{"port": 1}]}},
            ),
            id="another Service",
        ),
    ],
)
def test_left_in_peace(seen):
    report = report_on(seen)
    assert report.found == ()
    assert report.condition is Condition.HEALTHY


def test_a_file_that_is_no_yaml_is_named():
    (found,) = report_on(snapshot(healthy(config="port: ["))).found
    assert (found.rule, found.object) == ("config-invalid", "ConfigMap/chromadb-config")


@pytest.mark.parametrize(
    ("args", "env", "config", "listens"),
    [
        (["run", "/etc/chroma/config.yaml"], {}, "port: 7000\nlisten_address: '::'\n", ("::", 7000)),
        (["run", "/etc/chroma/config.yaml"], {"CHROMA_PORT": "7001"}, "port: 7000\n", ("0.0.0.0", 7001)),
        (["run", "--host", "1.2.3.4", "--port", "7002"], {"CHROMA_PORT": "7001"}, "", ("1.2.3.4", 7002)),
        (["run", "--path=/data", "--host=::1"], {}, "", ("::1", 8000)),
        (["run", "--path", "/data"], {}, "", ("localhost", 8000)),
        ([], {}, "", ("0.0.0.0", 8000)),
    ],
)
def test_where_it_listens(args, env, config, listens):
    env = [{"name": name, "value": value} for name, value in env.items()]
    spec = pod_spec(container(args=args, env=env))
    (server,) = report_on(snapshot(healthy(spec=spec, config=config))).patient.servers
    assert (server.listening.address, server.listening.port) == listens


def test_a_port_from_a_secret_is_not_guessed():
    spec = pod_spec(container(env=[{"name": "CHROMA_PORT", "valueFrom": {"secretKeyRef": {}}}]))
    (server,) = report_on(snapshot(healthy(spec=spec))).patient.servers
    assert server.listening is None
