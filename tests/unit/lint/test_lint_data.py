"""Rules on where Chroma's data is: `data-not-on-volume`, `replicas-apart`, `claim-deleted`, `claim-access`."""

import pytest
from lint_builders import assert_one, claim, container, findings, hpa, merge, meta, service, workload

from chroma_qualify.findings import Severity

STORE = {"name": "store", "mountPath": "/data"}
SCRATCH = {"name": "scratch", "mountPath": "/tmp"}
DB = "Deployment/vector-db"
PORT = {"name": "CHROMA_PORT", "value": "9000"}


def volumes(**store):
    return {"volumes": [{"name": "store", **store}, {"name": "scratch", "emptyDir": {}}]}


def mounts(*store, **more):
    return [container(volumeMounts=[*store, SCRATCH], **more)]


def variable(name, value):
    return [PORT, {"name": name, "value": value}]


def configured(text, *, path="/etc/chroma", **mount):
    """A server whose file says this."""
    served = container(
        command=["chroma"],
        args=["run", "/etc/chroma/server.yaml"],
        volumeMounts=[STORE, SCRATCH, {"name": "conf", "mountPath": path, **mount}],
    )
    spec = {"volumes": [*volumes(persistentVolumeClaim={"claimName": "store"})["volumes"], CONF]}
    return [workload(containers=[served], pod=spec), config(text)]


CONF = {"name": "conf", "configMap": {"name": "conf"}}


def config(text):
    return {"kind": "ConfigMap", "metadata": meta("conf"), "data": {"server.yaml": text}}


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        pytest.param([workload(pod=volumes(emptyDir={}))], "emptyDir", id="emptyDir"),
        pytest.param([workload(pod=volumes(ephemeral={}))], "ephemeral", id="ephemeral"),
        pytest.param([workload(pod=volumes(configMap={"name": "c"}))], "cannot be written", id="ConfigMap"),
        pytest.param([workload(containers=mounts())], "on no volume", id="no volume"),
        pytest.param([workload(containers=mounts({**STORE, "mountPath": "/data2"}))], "no volume", id="a name alike"),
        pytest.param([workload(containers=mounts({**STORE, "mountPath": "/data/x"}))], "no volume", id="only below"),
        pytest.param(
            [workload(containers=mounts({**STORE, "mountPath": "/chroma/chroma"}))], "/data", id="as before 1.0"
        ),
        pytest.param(
            [workload(containers=mounts(STORE, env=variable("CHROMA_PERSIST_PATH", "/srv")))],
            "CHROMA_PERSIST_PATH: /srv",
            id="by variable",
        ),
        pytest.param(
            [workload(containers=mounts(STORE, command=["chroma", "run", "--path", "/srv"]))],
            "--path: /srv",
            id="option",
        ),
        pytest.param(
            [workload(containers=mounts(STORE, command=["sh", "-c", "exec chroma run --path=/srv --port 9000"]))],
            "--path: /srv",
            id="in a shell",
        ),
        pytest.param(configured("persist_path: /srv\n"), "persist_path: /srv", id="file"),
        pytest.param(
            configured("persist_path: /srv\n", path="/etc/chroma/server.yaml", subPath="server.yaml"),
            "persist_path: /srv",
            id="file by subPath",
        ),
        pytest.param(
            [workload(containers=mounts(STORE, image="chromadb/chroma:0.6.3"))], "/chroma/chroma", id="default of 0.x"
        ),
        pytest.param(
            [workload(containers=mounts({**STORE, "subPathExpr": "$(POD_NAME)"}))],
            "each new pod",
            id="pod's own directory",
        ),
        pytest.param(
            [workload(containers=mounts(STORE, command=["chroma", "run"], workingDir="/srv"))],
            "/srv/chroma",
            id="relative to the working directory",
        ),
        pytest.param(
            [workload(containers=mounts(command=["/start.sh"]))], "mounts none", id="unknown, but nothing is mounted"
        ),
    ],
)
def test_data_that_does_not_last_is_named(objects, words):
    path = "spec.template.spec.containers[0].volumeMounts"
    assert_one("data-not-on-volume", objects, DB, words, path=path)


def test_a_directory_of_the_node_is_noted():
    objects = [workload(pod=volumes(hostPath={"path": "/srv"}))]
    assert_one("data-not-on-volume", objects, DB, "hostPath", severity=Severity.NOTE)


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([workload()], id="/data by default"),
        pytest.param([workload(containers=mounts({**STORE, "mountPath": "/"}))], id="the root"),
        pytest.param([workload(containers=mounts({**STORE, "mountPath": "/data/"}))], id="trailing slash"),
        pytest.param([workload(containers=mounts({**STORE, "subPath": "chroma"}))], id="a directory of the volume"),
        pytest.param([workload(pod=volumes(nfs={"path": "/x"}))], id="nfs"),
        pytest.param(
            [workload(containers=mounts(STORE, env=variable("CHROMA_PERSIST_PATH", "/data/db")))], id="below it"
        ),
        pytest.param(
            [
                workload(
                    containers=mounts({**STORE, "mountPath": "/chroma/chroma"}, image="chromadb/chroma:0.5.23"),
                )
            ],
            id="0.x, as its default is",
        ),
        pytest.param(
            [
                workload(
                    containers=mounts(
                        STORE, image="chromadb/chroma:0.5.23", env=variable("PERSIST_DIRECTORY", "/data")
                    ),
                )
            ],
            id="0.x, told",
        ),
        pytest.param(configured("persist_path: /data/deep\n"), id="file"),
        pytest.param([configured("persist_path: /srv\n")[0]], id="a file that is not among the objects"),
        pytest.param(
            [workload(containers=mounts(STORE, command=["/start.sh"]))], id="nobody knows, but a volume is there"
        ),
        pytest.param([workload(containers=mounts(STORE, command=["chroma", "run"]))], id="relative to what?"),
        pytest.param(
            [
                workload(
                    "StatefulSet",
                    spec={"volumeClaimTemplates": [{"metadata": {"name": "store"}}]},
                    pod={"volumes": [{"name": "scratch", "emptyDir": {}}]},
                    containers=mounts({**STORE, "subPathExpr": "$(POD_NAME)"}),
                )
            ],
            id="a StatefulSet's pods keep their names",
        ),
        pytest.param(
            [
                workload(
                    containers=mounts(
                        STORE, env=[{"name": "CHROMA_PERSIST_PATH", "valueFrom": {"configMapKeyRef": {"name": "c"}}}]
                    )
                )
            ],
            id="not to be seen",
        ),
    ],
)
def test_good_volumes(objects):
    assert findings("data-not-on-volume", objects) == []


OWN = {"volumeClaimTemplates": [{"metadata": {"name": "store"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]}
WITHOUT = {"volumes": [{"name": "scratch", "emptyDir": {}}]}


def each_its_own(**spec):
    return workload("StatefulSet", spec={**OWN, **spec}, pod=WITHOUT)


def test_servers_with_databases_of_their_own_are_named():
    objects = [each_its_own(replicas=3), service()]
    assert_one("replicas-apart", objects, "StatefulSet/vector-db", "3 servers", "store", path="spec.replicas")
    objects = [each_its_own(), service(), hpa(kind="StatefulSet")]
    assert_one("replicas-apart", objects, "HorizontalPodAutoscaler/scaler", "3 servers")


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([each_its_own(replicas=1), service()], id="one"),
        pytest.param([each_its_own(replicas=3)], id="no Service"),
        pytest.param(
            [each_its_own(replicas=3), merge(service(), {"spec": {"clusterIP": "None"}})], id="each by its own name"
        ),
        pytest.param([workload(spec={"replicas": 3}), service()], id="a shared volume has another rule"),
    ],
)
def test_servers_that_are_not_apart(objects):
    assert findings("replicas-apart", objects) == []


@pytest.mark.parametrize(("field", "severity"), [("whenScaled", Severity.FAIL), ("whenDeleted", Severity.NOTE)])
def test_a_claim_that_goes_with_its_set_is_named(field, severity):
    spoilt = each_its_own(persistentVolumeClaimRetentionPolicy={field: "Delete"})
    path = f"spec.persistentVolumeClaimRetentionPolicy.{field}"
    assert_one("claim-deleted", [spoilt], "StatefulSet/vector-db", field, severity=severity, path=path)


def test_claims_that_stay():
    kept = each_its_own(persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Retain"})
    assert findings("claim-deleted", [each_its_own(), kept, workload()]) == []


def test_access_modes():
    shared = [workload(), claim(["ReadWriteMany"])]
    assert_one("claim-access", shared, "PersistentVolumeClaim/store", "ReadWriteMany", severity=Severity.NOTE)
    assert_one("claim-access", [workload(), claim(["ReadOnlyMany"])], "PersistentVolumeClaim/store", "only be read")
    template = {"metadata": {"name": "store"}, "spec": {"accessModes": ["ReadOnlyMany"]}}
    path = "spec.volumeClaimTemplates[0].spec.accessModes"
    objects = [each_its_own(volumeClaimTemplates=[template])]
    assert_one("claim-access", objects, "StatefulSet/vector-db", "only be read", path=path)


@pytest.mark.parametrize(
    "objects",
    [
        [workload(), claim()],
        [workload(), claim(["ReadWriteOncePod"])],
        [workload(), claim(["ReadWriteMany"], name="backups")],
        [workload(pod=volumes(emptyDir={})), claim(["ReadWriteMany"])],
    ],
)
def test_good_access_modes(objects):
    assert findings("claim-access", objects) == []
