"""A healthy Chroma in a namespace, as the API server shows it, to be made ill one thing at a time."""

import copy
from datetime import UTC, datetime

from chroma_qualify.doctor.snapshot import Log, Snapshot

NAMESPACE = "vectors"
NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)
LONG_AGO, JUST_NOW = "2026-11-25T11:00:00Z", "2026-11-25T11:59:58Z"
CONFIG = "persist_path: /data\nlisten_address: 0.0.0.0\nport: 8000\n"
PROBE = {"httpGet": {"path": "/api/v2/heartbeat", "port": "http"}}
LABELS = {"app": "chromadb"}


def meta(name, owner=None, **more):
    owners = {"ownerReferences": [dict(zip(("kind", "name"), owner.split("/"), strict=True))]} if owner else {}
    return {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "creationTimestamp": LONG_AGO, **owners, **more}


def container(**more):
    return {
        "name": "chromadb",
        "image": "chromadb/chroma:1.5.9",
        "args": ["run", "/etc/chroma/config.yaml"],
        "ports": [{"name": "http", "containerPort": 8000}],
        "readinessProbe": PROBE,
        "startupProbe": PROBE | {"periodSeconds": 1, "failureThreshold": 120},
        "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": {"readOnlyRootFilesystem": True},
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "config", "mountPath": "/etc/chroma"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
        **more,
    }


def pod_spec(*containers, **more):
    return {
        "enableServiceLinks": False,
        "nodeName": "node-1",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000},
        "containers": list(containers) or [container()],
        "volumes": [
            {"name": "data", "persistentVolumeClaim": {"claimName": "chromadb-pvc"}},
            {"name": "config", "configMap": {"name": "chromadb-config"}},
            {"name": "tmp", "emptyDir": {}},
        ],
        **more,
    }


def pod(spec=None, *, ready=True, name="chromadb-1", status=None, created=LONG_AGO, **containers):
    """`containers`: what the kubelet says of the container chromadb, over a running one."""
    told = {"name": "chromadb", "image": "chromadb/chroma:1.5.9", "restartCount": 0, "state": {"running": {}}}
    return {
        "kind": "Pod",
        "metadata": meta(name, "ReplicaSet/chromadb-rs", labels=LABELS, creationTimestamp=created),
        "spec": spec or pod_spec(),
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [told | containers],
            **(status or {}),
        },
    }


def waiting(reason, message=""):
    return {"waiting": {"reason": reason, "message": message}}


def died(code, reason="Error", **more):
    return {"terminated": {"exitCode": code, "reason": reason, "finishedAt": "2026-11-25T11:58:00Z", **more}}


def event(reason, message, about="chromadb-1", kind="Pod", **more):
    involved = {"kind": kind, "uid": f"uid-{about}", "name": about, "fieldPath": "spec.containers{chromadb}"}
    return {"kind": "Event", "metadata": meta(f"e-{reason}"), "reason": reason, "message": message, "count": 9} | {
        "involvedObject": involved,
        **more,
    }


def healthy(*, spec=None, config=CONFIG):
    """The objects by `Kind/name`."""
    spec = spec or pod_spec()
    found = [
        {
            "kind": "Deployment",
            "metadata": meta("chromadb"),
            "spec": {
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": LABELS},
                "template": {"metadata": {"labels": LABELS}, "spec": spec},
            },
            "status": {"replicas": 1, "availableReplicas": 1},
        },
        {"kind": "ReplicaSet", "metadata": meta("chromadb-rs", "Deployment/chromadb"), "spec": {}},
        pod(spec),
        {
            "kind": "PersistentVolumeClaim",
            "metadata": meta("chromadb-pvc"),
            "spec": {"accessModes": ["ReadWriteOncePod"], "storageClassName": "standard"},
            "status": {"phase": "Bound"},
        },
        {"kind": "ConfigMap", "metadata": meta("chromadb-config"), "data": {"config.yaml": config}},
        {
            "kind": "Service",
            "metadata": meta("chromadb-service"),
            "spec": {"selector": LABELS, "ports": [{"name": "http", "port": 8000, "targetPort": "http"}]},
        },
        {
            "kind": "EndpointSlice",
            "metadata": meta("chromadb-service-x", labels={"kubernetes.io/service-name": "chromadb-service"}),
            "endpoints": [{"conditions": {"ready": True}}],
            "ports": [{"port": 8000}],
        },
        {
            "kind": "NetworkPolicy",
            "metadata": meta("chromadb-policy"),
            "spec": {
                "podSelector": {"matchLabels": LABELS},
                "policyTypes": ["Ingress", "Egress"],
                "ingress": [{"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": 8000}]}],
            },
        },
    ]
    return {f"{item['kind']}/{item['metadata']['name']}": copy.deepcopy(item) for item in found}


def snapshot(objects=None, *more, logs=(), **rest):
    """`objects` (default: the healthy ones) with `more` over them; `logs`: (previous, text) of the pod chromadb-1."""
    held = dict(objects if objects is not None else healthy())
    for number, item in enumerate(more):
        name = f"{item['kind']}/{item['metadata']['name']}"
        held[name if item["kind"] != "Event" else f"Event/{number}"] = item
    written = tuple(Log("chromadb-1", "chromadb", previous, text) for previous, text in logs)
    return Snapshot(NAMESPACE, NOW, tuple(held.values()), written, **rest)
