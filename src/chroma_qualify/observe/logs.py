"""The log of a container from its birth on, every restart of it, also when its pod is deleted.

Used by `recorder`. One thread per container reads the API server's log stream into
`logs/NAMESPACE/POD/CONTAINER.log`, one container instance after the other, each below a line that says which.
"""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import kubernetes.client
import urllib3

from chroma_qualify.deployment.objects import KubeObject
from chroma_qualify.deployment.watcher import hang_up, lines

_TIMEOUT = (3.0, 86_400.0)  # s, to connect and to read: a silent server may be silent for long
_PAUSE = 0.3  # s between two tries
_PATIENCE = 180.0  # s without a new line, from a log that cannot be read; a node restart takes 60 s


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    """One life of a container."""

    container_id: str
    restart: int
    started: str
    over: bool  # it was gone already when first seen: its log is read as the previous one's


def instances(status: KubeObject) -> list[Instance]:
    """The instances that a container status tells of, oldest first: the one before, where named, and this one."""
    found: list[Instance] = []
    restart = status.get("restartCount", 0)
    before = (status.get("lastState") or {}).get("terminated") or {}
    if before.get("containerID") and before["containerID"] != status.get("containerID"):
        found.append(Instance(before["containerID"], restart - 1, before.get("startedAt") or "?", over=True))
    state = status.get("state") or {}
    current = state.get("running") or state.get("terminated") or {}
    name = current.get("containerID") or status.get("containerID")
    if name and (current or not found):
        found.append(Instance(name, restart, current.get("startedAt") or "?", over=False))
    return found


class ContainerLog:
    """Follows one container of one pod; `tell` it of every status, `close` it in the end."""

    def __init__(self, core: kubernetes.client.CoreV1Api, pod: KubeObject, container: str, path: Path) -> None:
        self._core = core
        self._where = {"namespace": pod["metadata"]["namespace"], "name": pod["metadata"]["name"]}
        self._uid = pod["metadata"]["uid"]
        self._container = container
        self._path = path
        self._known: set[str] = set()
        self._newest = -1  # restart count of the newest instance known
        self._over: set[str] = set()  # instances that have ended
        self._pod_gone = False
        self._work: queue.Queue[Instance | None] = queue.Queue()
        self._closing = threading.Event()
        self._response: Any = None
        self._thread = threading.Thread(target=self._run, name=f"log {pod['metadata']['name']}", daemon=True)
        self._thread.start()

    def tell(self, status: KubeObject) -> None:
        """Take note of the container's status; a new instance in it is followed when the one before is over."""
        if (ended := (status.get("state") or {}).get("terminated")) and ended.get("containerID"):
            self._over.add(ended["containerID"])
        for instance in instances(status):
            if instance.restart > self._newest:
                self._over |= self._known
            if instance.container_id not in self._known:
                self._known.add(instance.container_id)
                self._newest = max(self._newest, instance.restart)
                self._work.put(instance)

    def end(self) -> None:
        """The pod is gone: read what there still is, then stop."""
        self._pod_gone = True
        self._work.put(None)

    def close(self, timeout: float = 2.0) -> None:
        """Stop now."""
        self._closing.set()
        self._work.put(None)
        hang_up(self._response)
        self._thread.join(timeout)

    def _run(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab") as file:
            while (instance := self._work.get()) is not None and not self._closing.is_set():
                head = f"--- {self._container}, restart {instance.restart}, started {instance.started}"
                file.write(f"{head}, pod {self._uid}, {instance.container_id}\n".encode())
                file.flush()
                self._read(instance, file)

    def _read(self, instance: Instance, file: BinaryIO) -> None:
        """Copy one instance's log until its end; goes on where it was when the API server is back."""
        last = ""  # time stamp of the last line that was written
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and not self._closing.is_set():
            # A newer instance has begun: what is left of this one is the previous one's log.
            previous = instance.over or self._newest > instance.restart
            before = last
            try:
                for line in self._stream(previous=previous):
                    # The container runtime trims the zeros of a time stamp; with them, text order is time order.
                    seconds, _, fraction = line.split(b" ", maxsplit=1)[0].decode(errors="replace").partition(".")
                    stamp = f"{seconds}.{fraction.removesuffix('Z').ljust(9, '0')}"
                    if stamp > last:  # else it was written before the stream was cut
                        file.write(line + b"\n")
                        file.flush()
                        last = stamp
                ended = previous or instance.container_id in self._over or self._pod_gone
            except kubernetes.client.ApiException as error:
                # 404: the pod is gone; 400 for a previous one: its log is. Else the container is just being made.
                ended = error.status == 404 or (error.status == 400 and previous)
                if ended:
                    file.write(f"--- no log to be had: {error.status} {error.reason}\n".encode())
            except (urllib3.exceptions.HTTPError, OSError):
                ended = False
            if ended:
                return
            if last != before:
                deadline = time.monotonic() + _PATIENCE
            self._closing.wait(_PAUSE)
        file.write(b"--- not read on: " + (b"the run ends\n" if self._closing.is_set() else b"no answer\n"))

    def _stream(self, *, previous: bool) -> Iterator[bytes]:
        self._response = self._core.read_namespaced_pod_log(
            **self._where,
            container=self._container,
            previous=previous,
            follow=not previous,
            timestamps=True,
            _preload_content=False,
            _request_timeout=_TIMEOUT,
        )
        try:
            if not self._closing.is_set():
                yield from lines(self._response)
        finally:
            response, self._response = self._response, None
            with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
                response.close()
