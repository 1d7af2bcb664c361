"""What the timeline tells of an object: few fields, the same ones for each object of a kind.

Pure; called by `recorder` for every change, which writes a line only when these fields change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chroma_qualify.deployment.objects import KubeObject

Field = str | int | bool | None
Fields = Mapping[str, Field]


def fields(item: KubeObject) -> dict[str, Field]:
    """The fields of interest of an object, by its kind; empty for a kind that has none."""
    summary = _SUMMARIES.get(item["kind"])
    return summary(item, item.get("spec") or {}, item.get("status") or {}) if summary else {}


def _pod(item: KubeObject, spec: KubeObject, status: KubeObject) -> dict[str, Field]:
    containers = status.get("containerStatuses") or ()
    reasons = [
        f"{container['name']}: {state['reason']}"
        for container in containers
        for state in ((container.get("state") or {}).get("waiting"), (container.get("state") or {}).get("terminated"))
        if state and state.get("reason")
    ]
    last = [((container.get("lastState") or {}).get("terminated") or {}) for container in containers]
    return {
        "uid": item["metadata"]["uid"],
        "phase": status.get("phase"),
        "ready": _condition(status, "Ready"),
        "restarts": sum(container.get("restartCount", 0) for container in containers),
        "node": spec.get("nodeName"),
        "ip": status.get("podIP"),
        "reason": "; ".join(reasons) or status.get("reason"),
        "died": "; ".join(f"{died.get('reason')} ({died.get('exitCode')})" for died in last if died) or None,
        "terminating": "deletionTimestamp" in item["metadata"],
    }


def _event(item: KubeObject, _spec: KubeObject, _status: KubeObject) -> dict[str, Field]:
    about = item.get("involvedObject") or {}
    return {
        "about": f"{about.get('kind')}/{about.get('name')}",
        "reason": item.get("reason"),
        "message": item.get("message"),
        "type": item.get("type"),
        "count": (item.get("series") or {}).get("count") or item.get("count") or 1,
    }


def _hpa(_item: KubeObject, spec: KubeObject, status: KubeObject) -> dict[str, Field]:
    found: dict[str, Field] = {
        "min": spec.get("minReplicas"),
        "max": spec.get("maxReplicas"),
        "replicas": status.get("currentReplicas"),
        "wanted": status.get("desiredReplicas"),
        "active": _condition(status, "ScalingActive"),
    }
    for metric in status.get("currentMetrics") or ():
        resource = metric.get("resource") or {}
        if resource:
            found[f"{resource['name']}_percent"] = (resource.get("current") or {}).get("averageUtilization")
    return found


def _workload(item: KubeObject, spec: KubeObject, status: KubeObject) -> dict[str, Field]:
    return {
        "wanted": spec.get("replicas", 1),
        "replicas": status.get("replicas", 0),
        "updated": status.get("updatedReplicas", 0),
        "ready": status.get("readyReplicas", 0),
        "generation": item["metadata"].get("generation"),
    }


def _claim(_item: KubeObject, spec: KubeObject, status: KubeObject) -> dict[str, Field]:
    capacity = (status.get("capacity") or {}).get("storage")
    return {"phase": status.get("phase"), "volume": spec.get("volumeName"), "capacity": capacity}


def _node(_item: KubeObject, spec: KubeObject, status: KubeObject) -> dict[str, Field]:
    return {"ready": _condition(status, "Ready"), "schedulable": not spec.get("unschedulable", False)}


def _condition(status: KubeObject, kind: str) -> bool:
    return any(item["type"] == kind and item["status"] == "True" for item in status.get("conditions") or ())


_SUMMARIES: Mapping[str, Callable[[KubeObject, KubeObject, KubeObject], dict[str, Field]]] = {
    "Pod": _pod,
    "Event": _event,
    "HorizontalPodAutoscaler": _hpa,
    "Deployment": _workload,
    "StatefulSet": _workload,
    "PersistentVolumeClaim": _claim,
    "Node": _node,
}
