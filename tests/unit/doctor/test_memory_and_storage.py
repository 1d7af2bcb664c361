"""Issues `out of memory` and `storage full`, and what is set up wrongly."""

import pytest
from doctor_builders import container, died, healthy, meta, pod, pod_spec, snapshot, waiting

from chroma_qualify.doctor.diagnosis import Issue
from chroma_qualify.doctor.snapshot import MemoryUse, VolumeUse
from chroma_qualify.doctor.tell import Condition, report_on

GIBIBYTE = 2**30
LINE = "2026-11-25T11:30:00.1Z ERROR error returned from database: (code: 13) database or disk is full"


def use(share, *, inodes_free=900, time="2026-11-25T11:59:00Z"):
    free = round(GIBIBYTE * (1 - share))
    return VolumeUse("chromadb-pvc", GIBIBYTE - free, free, GIBIBYTE, inodes_free, 1000, time)


def taking(mebibytes):
    return (MemoryUse("chromadb-1", "chromadb", mebibytes * 2**20),)


@pytest.mark.parametrize(
    ("seen", "rule", "words", "remedy"),
    [
        (
            snapshot(None, pod(lastState=died(137, "OOMKilled"), restartCount=1)),
            "oom-killed",
            "container chromadb was OOM-killed (limit 1Gi)",
            "130 MiB + vectors x dimensions x 8 bytes",
        ),
        (
            snapshot(
                None,
                pod(
                    ready=False,
                    state=waiting("CrashLoopBackOff"),
                    lastState=died(128, "StartError", message="container init was OOM-killed (limit too low?)"),
                    restartCount=4,
                ),
            ),
            "oom-killed",
            "OOM-killed",
            "raise the memory limit",
        ),
        (
            snapshot(None, memory=taking(930)),
            "memory-near-limit",
            "takes 930 MiB of its limit of 1024 MiB",
            "raise the memory limit",
        ),
    ],
)
def test_memory(seen, rule, words, remedy):
    (found,) = report_on(seen).found
    assert (found.issue, found.rule) == (Issue.MEMORY, rule)
    assert words in found.message
    assert remedy in found.remedy


def test_an_evicted_pod_is_named_while_none_is_ready():
    evicted = {"phase": "Failed", "reason": "Evicted", "message": "low on memory", "containerStatuses": []}
    gone = pod(ready=False, name="chromadb-0", status=evicted)
    objects = healthy()
    del objects["Pod/chromadb-1"]
    assert [item.rule for item in report_on(snapshot(objects, gone)).found] == ["evicted"]
    assert report_on(snapshot(None, gone)).condition is Condition.HEALTHY


@pytest.mark.parametrize(
    ("seen", "rule", "words", "remedy"),
    [
        (snapshot(volumes=(use(1.0),)), "volume-full", "the volume of claim chromadb-pvc is full", "enlarge the claim"),
        (snapshot(volumes=(use(0.2, inodes_free=0),)), "volume-full", "is full", "enlarge the claim"),
        (snapshot(volumes=(use(0.9),)), "volume-near-full", "is 90% full", "before it is"),
        # Without figures, or with older ones, the log is all there is.
        (snapshot(logs=[(False, LINE)]), "volume-full", "found the volume of chromadb-pvc full", "df -h /data"),
        (
            snapshot(logs=[(False, LINE)], volumes=(use(0.3, time="2026-11-25T11:29:00Z"),)),
            "volume-full",
            "found the volume",
            "enlarge the claim",
        ),
        (
            snapshot(logs=[(False, LINE)], volumes=(use(0.3),)),
            "volume-was-full",
            "has not been restarted since",
            "restart the server before anything else is written: kubectl rollout restart deployment/chromadb",
        ),
        (
            snapshot(
                None,
                pod(ready=False, state=waiting("CrashLoopBackOff"), lastState=died(101), restartCount=3),
                logs=[(True, LINE)],
            ),
            "volume-full",
            "found the volume of chromadb-pvc full",
            "enlarge the claim",
        ),
    ],
)
def test_storage(seen, rule, words, remedy):
    (found,) = report_on(seen).found
    assert (found.issue, found.rule) == (Issue.STORAGE, rule)
    assert words in found.message
    assert remedy in found.remedy


def test_a_full_volume_is_shown_with_both_its_proofs():
    (found,) = report_on(snapshot(logs=[(False, f"{LINE}\nafter it")], volumes=(use(1.0),))).found
    assert found.evidence.splitlines() == ["0 of 1073741824 bytes are free, 900 of 1000 inodes", LINE]


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(snapshot(volumes=(use(0.5),), memory=taking(300)), id="room for both"),
        pytest.param(snapshot(logs=[(True, LINE)]), id="it was full before the last restart"),
        pytest.param(snapshot(None, pod(lastState=died(0, "Completed"), restartCount=1)), id="it was restarted"),
    ],
)
def test_left_in_peace(seen):
    assert report_on(seen).condition is Condition.HEALTHY


def with_hpa():
    scaler = {
        "kind": "HorizontalPodAutoscaler",
        "metadata": meta("scaler"),
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "chromadb"}, "maxReplicas": 3},
    }
    objects = healthy()
    objects["PersistentVolumeClaim/chromadb-pvc"]["spec"]["accessModes"] = ["ReadWriteOnce"]
    return snapshot(objects, scaler)


def with_chroma_service():
    spec = pod_spec(enableServiceLinks=True)
    chroma = healthy()["Service/chromadb-service"] | {"metadata": meta("chroma")}
    return snapshot(healthy(spec=spec), pod(spec), chroma)


def of_image(image):
    spec = pod_spec(container(image=image, env=[{"name": "PERSIST_DIRECTORY", "value": "/data"}]))
    return snapshot(healthy(spec=spec), pod(spec))


def scraped():
    monitor = {
        "kind": "ServiceMonitor",
        "metadata": meta("chromadb"),
        "spec": {"selector": {}, "endpoints": [{"port": "http", "path": "/api/v2/heartbeat"}]},
    }
    return snapshot(None, monitor)


@pytest.mark.parametrize(
    ("seen", "rule"),
    [
        (with_hpa(), "two-servers-one-volume"),
        (snapshot(None, pod(name="chromadb-2")), "two-servers-one-volume"),
        (with_chroma_service(), "service-links"),
        (of_image("chromadb/chroma:0.6.3"), "old-chroma"),
        (scraped(), "scrape-not-metrics"),
        (snapshot(healthy(config="chroma_server_authn_provider: x\n")), "ignored-setting"),
    ],
)
def test_set_up_wrongly(seen, rule):
    (found,) = report_on(seen).found
    assert found.rule == rule
    assert found.message
    assert found.remedy
