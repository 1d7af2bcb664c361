"""Rule `exposed`: ways in from outside."""

import pytest
from lint_builders import NAMESPACE, assert_one, container, findings, merge, meta, service, workload

from chroma_qualify.findings import Severity


def of_type(kind, **more):
    return merge(service(), {"spec": {"type": kind, **more}})


def noted(name, value):
    return {"metadata": {"annotations": {name: value}}}


def ingress(kind="Ingress", annotations=None, **spec):
    return {"kind": kind, "metadata": meta("door", annotations=annotations or {}), "spec": spec}


BACKEND = {"rules": [{"http": {"paths": [{"backend": {"service": {"name": "db", "port": {"number": 80}}}}]}}]}
OLD_BACKEND = {"rules": [{"http": {"paths": [{"backend": {"serviceName": "db", "servicePort": 80}}]}}]}
GATEWAY = {"rules": [{"backendRefs": [{"name": "db", "port": 80}]}]}
TRAEFIK = {"routes": [{"services": [{"name": "db"}]}]}
ISTIO = {"http": [{"route": [{"destination": {"host": f"db.{NAMESPACE}.svc.cluster.local"}}]}]}


@pytest.mark.parametrize(
    ("objects", "about"),
    [
        ([of_type("LoadBalancer")], "Service/db"),
        ([of_type("NodePort")], "Service/db"),
        ([service(), ingress(**BACKEND)], "Ingress/door"),
        ([service(), ingress(**OLD_BACKEND)], "Ingress/door"),
        ([service(), ingress(defaultBackend={"service": {"name": "db"}})], "Ingress/door"),
        ([service(), ingress("HTTPRoute", **GATEWAY)], "HTTPRoute/door"),
        ([service(), ingress("IngressRoute", **TRAEFIK)], "IngressRoute/door"),
        ([service(), ingress("VirtualService", **ISTIO)], "VirtualService/door"),
        ([service(), ingress("Route", to={"kind": "Service", "name": "db"})], "Route/door"),
    ],
)
def test_a_way_from_outside_is_named(objects, about):
    assert_one("exposed", [workload(), *objects], about, "credential")


@pytest.mark.parametrize(
    "objects",
    [
        [of_type("LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8"])],
        [merge(of_type("LoadBalancer"), noted("networking.gke.io/load-balancer-type", "Internal"))],
        [merge(of_type("LoadBalancer"), noted("service.beta.kubernetes.io/aws-load-balancer-internal", "true"))],
    ],
)
def test_a_way_for_some_is_noted(objects):
    assert_one("exposed", [workload(), *objects], "Service/db", severity=Severity.NOTE)


PROXY = {"name": "proxy", "image": "envoy:1", "ports": [{"name": "web", "containerPort": 8080}]}


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([workload(), service()], id="inside"),
        pytest.param(
            [
                workload(containers=[container(), PROXY]),
                of_type("LoadBalancer", ports=[{"port": 80, "targetPort": "web"}]),
            ],
            id="a proxy",
        ),
        pytest.param(
            [workload(), service(), ingress(defaultBackend={"service": {"name": "web"}})], id="another Service"
        ),
        pytest.param(
            [workload(), service(), ingress(annotations={"nginx.ingress.kubernetes.io/auth-url": "x"}, **BACKEND)],
            id="asks somebody",
        ),
        pytest.param(
            [
                workload(),
                service(),
                ingress("IngressRoute", routes=[{"middlewares": [{"name": "a"}], **TRAEFIK["routes"][0]}]),
            ],
            id="middleware",
        ),
        pytest.param(
            [workload(), service(), ingress("HTTPRoute", **GATEWAY), {"kind": "SecurityPolicy", "metadata": meta("s")}],
            id="a policy",
        ),
        pytest.param(
            [workload(containers=[container(image="chromadb/chroma:0.6.3")]), of_type("NodePort")], id="0.x may ask"
        ),
        pytest.param(
            [workload(), service(), merge(ingress(**BACKEND), {"metadata": {"namespace": "other"}})],
            id="another namespace",
        ),
    ],
)
def test_no_way_from_outside(objects):
    assert findings("exposed", objects) == []
