"""Rule `no-writable-tmp`."""

import pytest
from lint_builders import assert_one, container, findings, workload

STORE = {"name": "store", "mountPath": "/data"}


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
