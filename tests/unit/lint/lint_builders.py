"""A good Chroma deployment with a stranger's names, to be spoilt one thing at a time."""

import copy

NAMESPACE = "vectors"


def merge(obj, patch):
    """A copy of `obj` with `patch` laid over it; None removes a key, lists are replaced."""
    if not isinstance(obj, dict) or not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = {key: copy.deepcopy(value) for key, value in obj.items() if patch.get(key, value) is not None}
    for key, value in patch.items():
        if value is not None:
            merged[key] = merge(obj.get(key, {} if isinstance(value, dict) else None), value)
    return merged


def meta(name, **more):
    return {"name": name, "namespace": NAMESPACE, **more}


CONTAINER = {
    "name": "db",
    "image": "mirror.example:5000/ai/chromadb:1.5.9@sha256:0000",
    "ports": [{"name": "api", "containerPort": 9000}],
    "readinessProbe": {"httpGet": {"path": "/api/v2/heartbeat", "port": "api"}},
    "resources": {"requests": {"cpu": "1", "memory": "2Gi"}},
    "securityContext": {"readOnlyRootFilesystem": True},
    "volumeMounts": [{"name": "store", "mountPath": "/data"}, {"name": "scratch", "mountPath": "/tmp"}],
}
POD_SPEC = {
    "containers": [CONTAINER],
    "volumes": [
        {"name": "store", "persistentVolumeClaim": {"claimName": "store"}},
        {"name": "scratch", "emptyDir": {}},
    ],
}


def container(**patch):
    return merge(CONTAINER, patch)


def workload(kind="Deployment", name="vector-db", *, spec=None, pod=None, containers=None, annotations=None):
    """The good workload, with patches over its spec and its pod's spec."""
    good = {"selector": {"matchLabels": {"tier": "db"}}, "template": {}}
    if kind == "Deployment":
        good["strategy"] = {"type": "Recreate"}
    template = {
        "metadata": {"labels": {"tier": "db"}, "annotations": annotations or {}},
        "spec": merge(merge(POD_SPEC, {"containers": containers} if containers else {}), pod or {}),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": meta(name),
        "spec": merge(merge(good, {"template": template}), spec or {}),
    }


def claim(modes=("ReadWriteOnce",), name="store"):
    return {"kind": "PersistentVolumeClaim", "metadata": meta(name), "spec": {"accessModes": list(modes)}}


def hpa(maximum=3, target="vector-db", kind="Deployment", metrics=None, **spec):
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}
    return {
        "kind": "HorizontalPodAutoscaler",
        "metadata": meta("scaler"),
        "spec": {
            "scaleTargetRef": {"kind": kind, "name": target},
            "maxReplicas": maximum,
            "metrics": [cpu] if metrics is None else metrics,
            **spec,
        },
    }


def service(name="db", labels=None, port=80, target="api", annotations=None):
    return {
        "kind": "Service",
        "metadata": meta(name, labels=labels or {"tier": "db"}, annotations=annotations or {}),
        "spec": {"selector": {"tier": "db"}, "ports": [{"name": "web", "port": port, "targetPort": target}]},
    }


def monitor(kind="ServiceMonitor", labels=None, namespace=NAMESPACE, scope=None, **endpoint):
    endpoints = "endpoints" if kind == "ServiceMonitor" else "podMetricsEndpoints"
    return {
        "kind": kind,
        "metadata": {"name": "watch", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels or {"tier": "db"}},
            "namespaceSelector": scope or {},
            endpoints: [endpoint],
        },
    }
