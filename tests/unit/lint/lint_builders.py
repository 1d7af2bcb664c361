"""A good Chroma deployment with a stranger's names, to be spoilt one thing at a time."""

import copy

from chroma_qualify.findings import Severity
from chroma_qualify.lint import lint_objects

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
    "env": [{"name": "CHROMA_PORT", "value": "9000"}],
    "readinessProbe": {"httpGet": {"path": "/api/v2/heartbeat", "port": "api"}},
    "livenessProbe": {"httpGet": {"path": "/api/v2/heartbeat", "port": "api"}, "timeoutSeconds": 15},
    "resources": {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "2Gi"}},
    "securityContext": {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    },
    "volumeMounts": [{"name": "store", "mountPath": "/data"}, {"name": "scratch", "mountPath": "/tmp"}],
}
POD_SPEC = {
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
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


CLIENTS = {"from": [{"podSelector": {"matchLabels": {"role": "client"}}}]}


def policy(*ingress, name="doors", labels=None, **spec):
    """A NetworkPolicy on Chroma's pods; by default it lets in their clients."""
    return {
        "kind": "NetworkPolicy",
        "metadata": meta(name),
        "spec": {
            "podSelector": {"matchLabels": labels or {"tier": "db"}},
            "policyTypes": ["Ingress"],
            "ingress": list(ingress) or [CLIENTS],
            **spec,
        },
    }


# --- what a rule says


def findings(rule, objects, **settings):
    """The findings of one rule; what others say of the test's objects is for their own tests."""
    return [finding for finding in lint_objects(objects, **settings) if finding.rule == rule]


def assert_one(rule, objects, about, *words, severity=Severity.FAIL, path=None, **settings):
    """One finding of the rule, about this object, with these words."""
    found = findings(rule, objects, **settings)
    assert [(finding.severity, finding.object) for finding in found] == [(severity, about)]
    for word in words:
        assert word in found[0].message + " " + found[0].evidence
    assert found[0].remedy
    assert found[0].evidence
    if path is not None:
        assert found[0].path == path
