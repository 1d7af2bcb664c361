"""Wait by watching: the API server tells when something changes, nothing sleeps.

Used by every room that waits for Kubernetes objects.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import kubernetes.client
import kubernetes.watch
import urllib3

from chroma_qualify.errors import QualifyError

T = TypeVar("T")
Objects = Mapping[str, T]
_ANSWER = (3.0, 10.0)  # s, to connect and to read


class WaitTimeoutError(QualifyError):
    """A condition did not come true in time; the message says which one and what was seen last."""


def wait_for(
    what: str,
    list_call: Callable[..., Any],
    condition: Callable[[Objects[Any]], bool],
    *,
    timeout: float,
    describe: Callable[[Objects[Any]], str] = lambda objects: ", ".join(objects) or "nothing",
    **arguments: Any,  # noqa: ANN401 (passed through to the generated client)
) -> Objects[Any]:
    """Watch a list of objects until a condition on all of them holds.

    Args:
        what: what is waited for, as words that fit behind "waited for".
        list_call: a list method of the kubernetes client, e.g. `CoreV1Api(api).list_namespaced_pod`.
        condition: told the objects by name (`namespace/name` where several namespaces are listed).
        timeout: seconds.
        describe: turns the objects last seen into words, for the time-out's message.
        arguments: passed to `list_call`, e.g. `namespace=`, `label_selector=`.

    Returns:
        The objects with which the condition became true.

    Raises:
        WaitTimeoutError: with the last state.
    """
    deadline = time.monotonic() + timeout
    objects: dict[str, Any] = {}
    while True:
        try:
            listed = list_call(**arguments, _request_timeout=_ANSWER)
            objects = {_key(item, arguments): item for item in listed.items}
            if condition(objects):
                return objects
            version = listed.metadata.resource_version
            while (left := deadline - time.monotonic()) > 0:
                stream = kubernetes.watch.Watch().stream(
                    list_call,
                    resource_version=version,
                    timeout_seconds=max(1, int(left)),
                    # The server ends the watch; a server that is gone must not hold us beyond it.
                    _request_timeout=(_ANSWER[0], left + _ANSWER[1]),
                    **arguments,
                )
                for event in stream:
                    item = event["object"]
                    version = item.metadata.resource_version
                    if event["type"] == "DELETED":
                        objects.pop(_key(item, arguments), None)
                    else:
                        objects[_key(item, arguments)] = item
                    if condition(objects):
                        return objects
                    if time.monotonic() > deadline:
                        break
        except (kubernetes.client.ApiException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            # 410 Gone: the version is too old, list anew. A refused connection or half an answer:
            # the API server restarts (a node fault); it is back or the deadline says so.
            if time.monotonic() > deadline:
                raise _timed_out(what, timeout, f"{describe(objects)}; the API server said: {error}") from error
            time.sleep(0.2)  # there is nobody to watch
            continue
        raise _timed_out(what, timeout, describe(objects))


def poll_for(
    what: str, look: Callable[[], T], condition: Callable[[T], bool], timeout: float, interval: float = 0.2
) -> T:
    """Look again and again at what nobody can watch (a file of the kernel, an API server that is gone).

    Args:
        what: what is waited for, as words that fit behind "waited for".
        look: gives the present state.
        condition: told that state.
        timeout: seconds.
        interval: seconds between two looks.

    Returns:
        The state that met the condition.

    Raises:
        WaitTimeoutError: with the last state.
    """
    deadline = time.monotonic() + timeout
    while not condition(state := look()):
        if time.monotonic() > deadline:
            raise _timed_out(what, timeout, str(state))
        time.sleep(interval)
    return state


def _timed_out(what: str, timeout: float, last: str) -> WaitTimeoutError:
    return WaitTimeoutError(f"waited {timeout:.0f} s for {what}; last seen: {last}")


def _key(item: Any, arguments: Mapping[str, Any]) -> str:  # noqa: ANN401
    name: str = item.metadata.name
    return name if "namespace" in arguments or not item.metadata.namespace else f"{item.metadata.namespace}/{name}"
