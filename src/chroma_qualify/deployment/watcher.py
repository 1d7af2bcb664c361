"""One kind of object, watched on a thread until it is closed, whatever the API server goes through.

Used by `apply.wait_ready`, which needs pods, claims and events at once, and by `observe`, which records all a run.
`cluster.wait.wait_for` is the simpler choice for a wait on one list.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import kubernetes.client
import urllib3

from chroma_qualify.deployment.objects import KubeObject

Seen = Callable[[str, KubeObject], None]
"""Told `ADDED`, `MODIFIED` or `DELETED` and the object."""

_TIMEOUT = (3.0, 330.0)  # s, to connect and to read; longer than a watch lasts
_WATCH_SECONDS = 300
_PAUSE = 0.3  # s between two tries while the API server does not answer
_Gone = (kubernetes.client.ApiException, urllib3.exceptions.HTTPError, OSError, ValueError)


class Watcher:
    """Lists, then watches, then lists again when the watch breaks; tells each change once.

    Args:
        kind: `Pod`, `Event`…, put into the objects, as the API server leaves it out of lists.
        list_call: a list method of the kubernetes client.
        seen: called on the watcher's thread.
        gap: told on the same thread why the API server can no longer be watched, and None when it can again.
        arguments: passed to `list_call`, e.g. `namespace=`.
    """

    def __init__(
        self,
        kind: str,
        list_call: Callable[..., Any],
        seen: Seen,
        *,
        gap: Callable[[str | None], None] = lambda _: None,
        **arguments: Any,  # noqa: ANN401 (passed through to the generated client)
    ) -> None:
        self._kind = kind
        self._list_call = list_call
        self._seen = seen
        self._gap = gap
        self._arguments = arguments
        self._objects: dict[str, KubeObject] = {}  # by uid
        self._closing = threading.Event()
        self._listed = threading.Event()
        self._response: Any = None
        self._thread = threading.Thread(target=self._run, name=f"watch {kind}", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def wait_listed(self, timeout: float) -> bool:
        """Wait until the objects that are there have been told; False when that took longer."""
        return self._listed.wait(timeout)

    def close(self, timeout: float = 2.0) -> None:
        """Stop; also a read that is blocked returns."""
        self._closing.set()
        hang_up(self._response)
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        in_gap = False
        while not self._closing.is_set():
            try:
                version = self._list()
                if in_gap:
                    in_gap = False
                    self._gap(None)
                while not self._closing.is_set():
                    version = self._watch(version)
            except _Gone as error:
                if self._closing.is_set():
                    return
                if not _expired(error) and not in_gap:
                    in_gap = True
                    self._gap(str(error).strip() or type(error).__name__)
                self._closing.wait(_PAUSE)

    def _list(self) -> str:
        """Tell what changed since the last list; returns the version to watch from."""
        response = self._list_call(**self._arguments, _preload_content=False, _request_timeout=_TIMEOUT)
        listed = json.loads(response.data)
        now = {item["metadata"]["uid"]: {"kind": self._kind, **item} for item in listed["items"]}
        for uid in [uid for uid in self._objects if uid not in now]:
            self._seen("DELETED", self._objects.pop(uid))
        for item in now.values():
            self._tell("MODIFIED", item)
        self._listed.set()
        return str(listed["metadata"]["resourceVersion"])

    def _watch(self, version: str) -> str:
        """Tell changes until the watch ends; returns the version to go on from."""
        self._response = self._list_call(
            **self._arguments,
            watch=True,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=_WATCH_SECONDS,
            _preload_content=False,
            _request_timeout=_TIMEOUT,
        )
        try:
            if self._closing.is_set():  # `close` may have come before there was something to hang up
                return version
            for line in lines(self._response):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise kubernetes.client.ApiException(event["object"].get("code"), event["object"].get("message"))
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] == "DELETED":
                    self._objects.pop(event["object"]["metadata"]["uid"], None)
                    self._seen("DELETED", {"kind": self._kind, **event["object"]})
                elif event["type"] != "BOOKMARK":
                    self._tell(event["type"], {"kind": self._kind, **event["object"]})
        finally:
            response, self._response = self._response, None
            with contextlib.suppress(*_Gone):
                response.close()
        return version

    def _tell(self, change: str, item: KubeObject) -> None:
        uid = item["metadata"]["uid"]
        before = self._objects.get(uid)
        if before is None or before["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
            self._objects[uid] = item
            self._seen("ADDED" if before is None else change, item)


def lines(response: urllib3.HTTPResponse) -> Iterator[bytes]:
    """The lines of an answer as they come."""
    rest = b""
    for chunk in response.stream(amt=None, decode_content=False):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line for line in whole if line)
    if rest:
        yield rest


def hang_up(response: urllib3.HTTPResponse | None) -> None:
    """Make a read that another thread is blocked in return."""
    if response is not None:
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # it has ended by itself meanwhile
            response.shutdown()


def _expired(error: Exception) -> bool:
    """The version asked for is too old, an ordinary end of a watch."""
    return isinstance(error, kubernetes.client.ApiException) and error.status == 410
