"""Records what happens in a cluster during a run: a timeline, CPU and memory, every container's log from its birth.

One `Observer` per run, made by the fixture `observer`; the fixture `namespace` has it follow each scenario's
namespace, and collect from it on failure before the namespace is deleted.
"""

from __future__ import annotations

import functools
import json
import threading
import time
import types
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import kubernetes.client

from chroma_qualify.cluster.model import Cluster
from chroma_qualify.deployment.objects import KubeObject
from chroma_qualify.deployment.watcher import Watcher
from chroma_qualify.observe.collect import collect
from chroma_qualify.observe.logs import ContainerLog
from chroma_qualify.observe.resources import Resources
from chroma_qualify.observe.summary import Field, Fields, fields


class Observer:
    """Writes `timeline.jsonl`, `resources.jsonl` and `logs/` of a run directory until it is closed.

    Whole-cluster watchers see every object; of those in a namespace only the followed ones' are written. A line:
    `{"time": ns since start, "kind", "event": "ADDED|MODIFIED|DELETED", "namespace", "name", …}` with the fields of
    `summary.fields`. The first line has the wall clock's time; between `Gap` lines with the events BEGIN and END
    the API server was away, and what happened is known only from what it left.
    """

    def __init__(self, cluster: Cluster, run_dir: Path, clock: Callable[[], int]) -> None:
        """Begin to observe nothing yet.

        Args:
            cluster: to watch.
            run_dir: exists; gets `timeline.jsonl`, `resources.jsonl`, `logs/` and `objects/`.
            clock: ns since the start of the run; the one of its history, so that both can be laid side by side.
        """
        self._cluster = cluster
        self._run_dir = run_dir
        self._clock = clock
        self._lock = threading.Lock()
        self._followed: set[str] = set()
        self._objects: dict[str, KubeObject] = {}  # by uid: what is there, followed or not
        self._away: set[str] = set()  # kinds whose watch is broken
        self._written: dict[str, Fields] = {}  # by uid
        self._digests: dict[str, str] = {}  # by image
        self._logs: dict[tuple[str, str], ContainerLog] = {}  # by pod uid and container
        self._api = cluster.api_client()
        # Logs have a client of their own: each stream holds a connection of its pool.
        self._log_api = cluster.api_client()
        self._timeline = (run_dir / "timeline.jsonl").open("a", encoding="utf-8")
        # In a cluster that is not ours we may watch our own namespaces only, each by itself.
        self._apart = cluster.guest is not None
        self._by_namespace: dict[str, list[Watcher]] = {}
        self._watchers = [] if self._apart else self._make_watchers()
        self._resources = Resources(cluster, run_dir, clock, self._now_followed)

    def __enter__(self) -> Self:
        self._write({"kind": "Start", "wall": datetime.now(UTC).isoformat()})
        for watcher in self._watchers:
            watcher.start()
        self._resources.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.close()

    def follow(self, namespace: str) -> None:
        """Write what happens in a namespace, beginning with what is there."""
        with self._lock:
            if self._apart and namespace not in self._by_namespace:
                self._by_namespace[namespace] = self._make_watchers(namespace)
                for watcher in self._by_namespace[namespace]:
                    watcher.start()
            self._followed.add(namespace)
            for item in list(self._objects.values()):
                if item["metadata"].get("namespace") == namespace:
                    self._record("ADDED", item)

    def leave(self, namespace: str) -> None:
        """Follow a namespace no longer that is about to go, and with it perhaps our right to watch it."""
        with self._lock:
            watchers = self._by_namespace.pop(namespace, [])
        for watcher in watchers:
            watcher.close()

    def note(self, event: str, **details: Field) -> None:
        """Write a line of the run's own: a scenario that begins, a fault."""
        self._write({"kind": "Run", "event": event, **details})

    def collect(self, namespace: str) -> None:
        """Dump the objects, descriptions and events of a namespace to `objects/NAMESPACE/`; never raises."""
        collect(self._cluster, namespace, self._run_dir / "objects" / namespace)

    def digests(self) -> dict[str, str]:
        """Of each image that a container of a followed namespace ran: what the node knows it by."""
        with self._lock:
            return dict(sorted(self._digests.items()))

    def close(self) -> None:
        """Stop all watchers and logs; at most 2 s for all together, as all are told before any is waited for."""
        deadline = time.monotonic() + 2.0
        closing: list[threading.Thread] = []
        with self._lock:
            apart = [watcher for watchers in self._by_namespace.values() for watcher in watchers]
            everything: list[Watcher | ContainerLog | Resources] = [*self._watchers, *apart, *self._logs.values()]
        everything.append(self._resources)
        for one in everything:
            thread = threading.Thread(target=one.close, args=(max(0.1, deadline - time.monotonic()),), daemon=True)
            thread.start()
            closing.append(thread)
        for thread in closing:
            thread.join(max(0.1, deadline - time.monotonic()))
        with self._lock:
            self._timeline.close()
        self._api.close()
        self._log_api.close()

    def _now_followed(self) -> frozenset[str]:
        with self._lock:
            return frozenset(self._followed)

    def _make_watchers(self, namespace: str = "") -> list[Watcher]:
        """Of the whole cluster, or of one namespace; nodes are in none."""
        core, apps = kubernetes.client.CoreV1Api(self._api), kubernetes.client.AppsV1Api(self._api)
        autoscaling = kubernetes.client.AutoscalingV2Api(self._api)
        own: dict[str, Callable[..., Any]] = {
            "Pod": core.list_namespaced_pod,
            "Event": core.list_namespaced_event,
            "PersistentVolumeClaim": core.list_namespaced_persistent_volume_claim,
            "Deployment": apps.list_namespaced_deployment,
            "StatefulSet": apps.list_namespaced_stateful_set,
            "HorizontalPodAutoscaler": autoscaling.list_namespaced_horizontal_pod_autoscaler,
        }
        calls: dict[str, Callable[..., Any]] = {
            "Pod": core.list_pod_for_all_namespaces,
            "Event": core.list_event_for_all_namespaces,
            "PersistentVolumeClaim": core.list_persistent_volume_claim_for_all_namespaces,
            "Node": core.list_node,
            "Deployment": apps.list_deployment_for_all_namespaces,
            "StatefulSet": apps.list_stateful_set_for_all_namespaces,
            "HorizontalPodAutoscaler": autoscaling.list_horizontal_pod_autoscaler_for_all_namespaces,
        }
        place = {"namespace": namespace} if namespace else {}
        return [
            Watcher(kind, call, self._seen, gap=functools.partial(self._gap, f"{namespace}/{kind}"), **place)
            for kind, call in (own if namespace else calls).items()
        ]

    def _gap(self, kind: str, why: str | None) -> None:
        """The API server went away or came back; the first watcher to see the one, the last to see the other, tell."""
        with self._lock:
            before = len(self._away)
            if why is None:
                self._away.discard(kind)
            else:
                self._away.add(kind)
            if (before == 0) != (not self._away):
                event = "BEGIN" if self._away else "END"
                self._write_locked({"kind": "Gap", "event": event, "reason": " ".join((why or "").split())[:200]})

    def _seen(self, change: str, item: KubeObject) -> None:
        with self._lock:
            if change == "DELETED":
                self._objects.pop(item["metadata"]["uid"], None)
            else:
                self._objects[item["metadata"]["uid"]] = item
            if item["metadata"].get("namespace", "") in self._followed or item["kind"] == "Node":
                self._record(change, item)

    def _record(self, change: str, item: KubeObject) -> None:
        """Write a line if one is due, and look after the logs of a pod; under the lock."""
        meta = item["metadata"]
        found = fields(item)
        if change == "DELETED":
            self._written.pop(meta["uid"], None)
        elif self._written.get(meta["uid"]) == found:
            return
        else:
            self._written[meta["uid"]] = found
        # An event that runs out is no event.
        if item["kind"] != "Event" or change != "DELETED":
            line = {"kind": item["kind"], "event": change, "namespace": meta.get("namespace"), "name": meta["name"]}
            self._write_locked({**line, **found})
        if item["kind"] == "Pod":
            self._follow_logs(change, item)

    def _follow_logs(self, change: str, pod: KubeObject) -> None:
        meta, status = pod["metadata"], pod.get("status") or {}
        for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
            key = (meta["uid"], container["name"])
            if key not in self._logs:
                path = self._run_dir / "logs" / meta["namespace"] / meta["name"] / f"{container['name']}.log"
                core = kubernetes.client.CoreV1Api(self._log_api)
                self._logs[key] = ContainerLog(core, pod, container["name"], path)
            self._logs[key].tell(container)
            if container.get("imageID"):
                self._digests[container["image"]] = container["imageID"]
            if change == "DELETED":
                self._logs[key].end()

    def _write(self, line: dict[str, Field]) -> None:
        with self._lock:
            self._write_locked(line)

    def _write_locked(self, line: dict[str, Field]) -> None:
        if not self._timeline.closed:
            self._timeline.write(json.dumps({"time": self._clock(), **line}) + "\n")
            self._timeline.flush()
