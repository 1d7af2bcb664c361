"""CPU and memory of the pods of a run, measured while it goes on: resources.jsonl.

Started and stopped by `recorder.Observer`. The best source that may be asked is taken: each kubelet's own numbers
(`/metrics/resource`, measured about every 10 s, 20 kB), by way of the API server; where the nodes may not be reached,
the metrics API of each namespace (about every 15 s). Where there is neither, one line says so, and the run goes on.

A line: `{"time": ns of the run's clock, "namespace", "pod", "container", "cpu": cores, "memory": bytes}`; all lines
with one time are one look. Memory is the working set, which is what counts against the limit.
"""

from __future__ import annotations

import json
import re
import threading
import types
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, Self

import kubernetes.client
import urllib3.exceptions
from kubernetes.utils.quantity import parse_quantity

from chroma_qualify.cluster.model import Cluster

_EVERY = 5.0  # s; a look at what was not measured anew says the same again, so that sums are of all pods
_PATIENCE = 3.0  # s for an answer: one that comes later tells of another time
_NODES_EVERY = 12  # looks, then the nodes are listed again
_REFUSED = frozenset({401, 403, 404, 405})  # it will not be otherwise later
_SAMPLE = re.compile(
    r"^container_(cpu_usage_seconds_total|memory_working_set_bytes)\{([^}]*)\} (\S+)(?: (\d+))?$", re.MULTILINE
)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
# Also an answer that is none: `items: null`.
_NO_ANSWER = (urllib3.exceptions.HTTPError, OSError, ValueError, KeyError, TypeError, AttributeError)

Place = tuple[str, str, str]  # namespace, pod, container


class Resources:
    """Writes `resources.jsonl` until it is closed; nothing it meets ends a run."""

    def __init__(
        self, cluster: Cluster, run_dir: Path, clock: Callable[[], int], followed: Callable[[], Collection[str]]
    ) -> None:
        """Begin nothing yet.

        Args:
            cluster: whose pods.
            run_dir: exists.
            clock: ns since the start of the run.
            followed: the namespaces that belong to the run, by now.
        """
        self._as_guest = cluster.guest is not None  # a guest looks at nothing but its own namespaces
        self._clock = clock
        self._followed = followed
        self._file = (run_dir / "resources.jsonl").open("a", encoding="utf-8")
        self._api = cluster.api_client()
        self._api.configuration.safe_chars_for_path_param = "/"  # the client would write the kubelet's path with %2F
        self._core = kubernetes.client.CoreV1Api(self._api)
        self._metrics = kubernetes.client.CustomObjectsApi(self._api)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="resources", daemon=True)
        self._nodes: list[str] = []
        self._looks = 0
        self._counters: dict[Place, Counter] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.close()

    def close(self, timeout: float = 2.0) -> None:
        """Measure no more; returns within `timeout` s also if somebody does not answer."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout)
        if not self._thread.is_alive():  # else the thread ends with its request, and writes nothing any more
            self._file.close()
            self._api.close()

    def _run(self) -> None:
        looks = [self._ask_kubelets, self._ask_metrics_api][self._as_guest :]
        while looks and not self._stop.is_set():
            try:
                self._write(dict(looks[0]()))
            except kubernetes.client.ApiException as error:
                if error.status in _REFUSED:
                    del looks[0]
                    if not looks:
                        self._note(f"neither the kubelets nor the metrics API may be asked ({error.status})")
                    continue
            except _NO_ANSWER:
                pass  # the API server or a node is away; the gap is seen in the file
            self._stop.wait(_EVERY)

    def _ask_kubelets(self) -> Iterator[tuple[Place, tuple[float, float]]]:
        """What each node's kubelet has measured; raises ApiException if no node may be asked."""
        if not self._nodes or self._looks % _NODES_EVERY == 0:
            listed = self._core.list_node(_request_timeout=_PATIENCE)
            self._nodes = [node.metadata.name for node in listed.items]
        self._looks += 1
        followed = self._followed()
        for node in self._nodes:
            try:
                text = self._core.connect_get_node_proxy_with_path(node, "metrics/resource", _request_timeout=_PATIENCE)
            except kubernetes.client.ApiException as error:
                if error.status in _REFUSED - {404}:  # a node that is gone is no refusal
                    raise
                continue
            except _NO_ANSWER:
                continue  # one node is away, the others are there
            yield from self._rates(text, followed)

    def _rates(self, text: str, followed: Collection[str]) -> Iterator[tuple[Place, tuple[float, float]]]:
        memory: dict[Place, float] = {}
        for place, name, value, at in samples(text):
            if place[0] not in followed:
                continue
            if name.startswith("memory"):
                memory[place] = value
            elif at is not None:
                self._counters.setdefault(place, Counter()).tell(value, at)
        for place, bytes_ in memory.items():
            counter = self._counters.get(place)
            if counter is not None and counter.cores is not None:
                yield place, (counter.cores, bytes_)

    def _ask_metrics_api(self) -> Iterator[tuple[Place, tuple[float, float]]]:
        for namespace in sorted(self._followed()):
            listed = self._metrics.list_namespaced_custom_object(
                "metrics.k8s.io", "v1beta1", namespace, "pods", _request_timeout=_PATIENCE
            )
            for item in listed["items"]:
                for container in item["containers"]:
                    place = namespace, item["metadata"]["name"], container["name"]
                    used = container["usage"]
                    yield place, (float(parse_quantity(used["cpu"])), float(parse_quantity(used["memory"])))

    def _write(self, found: dict[Place, tuple[float, float]]) -> None:
        time = self._clock()
        for (namespace, pod, container), (cpu, memory) in sorted(found.items()):
            line = {"time": time, "namespace": namespace, "pod": pod, "container": container}
            self._line({**line, "cpu": round(cpu, 6), "memory": int(memory)})
        self._flush()

    def _note(self, why: str) -> None:
        self._line({"time": self._clock(), "note": f"CPU and memory were not measured: {why}"})
        self._flush()

    def _line(self, line: dict[str, Any]) -> None:
        if not self._stop.is_set():
            self._file.write(json.dumps(line) + "\n")

    def _flush(self) -> None:
        if not self._file.closed:
            self._file.flush()


class Counter:
    """A counter of CPU seconds that is read from time to time.

    Attributes:
        cores: used between the last two different readings; None: there were none yet.
    """

    def __init__(self) -> None:
        self.cores: float | None = None
        self._last: tuple[float, float] | None = None

    def tell(self, seconds: float, at: float) -> None:
        """It said `seconds` at the time `at` (s): an older reading again changes nothing, a lower one is a restart."""
        if self._last is not None and at <= self._last[1]:
            return
        if self._last is not None and seconds >= self._last[0]:
            self.cores = (seconds - self._last[0]) / (at - self._last[1])
        self._last = seconds, at


def samples(text: str) -> Iterator[tuple[Place, str, float, float | None]]:
    """What a kubelet's `/metrics/resource` says of containers: place, name, value, time (s) if it has one."""
    for name, labels, value, milliseconds in _SAMPLE.findall(text):
        found = dict(_LABEL.findall(labels))
        place = found.get("namespace", ""), found.get("pod", ""), found.get("container", "")
        yield place, name, float(value), int(milliseconds) / 1000 if milliseconds else None
