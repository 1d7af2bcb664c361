"""Rule `probe-v1-api`."""

import pytest
from lint_builders import assert_one, container, findings, workload


def http(path, port="api"):
    return {"httpGet": {"path": path, "port": port}}


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
@pytest.mark.parametrize("path", ["/api/v1/heartbeat", "/api/v1", "api/v1/heartbeat", "/api/v1?x=1"])
def test_probe_on_v1_is_named(probe, path):
    spoilt = workload(containers=[container(**{probe: http(path)})])
    assert_one("probe-v1-api", [spoilt], "Deployment/vector-db", probe, path.partition("?")[0], "410")


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
    "probe",
    [
        http("/api/v1/heartbeat?token=s3cret"),
        {
            "exec": {
                "command": ["sh", "-c", "curl -H 'Authorization: Bearer s3cret' http://me:s3cret@db/api/v1/heartbeat"]
            }
        },
    ],
)
def test_only_the_path_of_a_probe_is_told(probe):
    (found,) = findings("probe-v1-api", [workload(containers=[container(livenessProbe=probe)])])
    assert found.evidence.endswith("/api/v1/heartbeat")
    assert "s3cret" not in repr(found)


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
