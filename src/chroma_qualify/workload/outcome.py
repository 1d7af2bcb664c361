"""Did it happen? Says of every error of a request whether the server can have acted on it.

A wrong `fail` makes a surfacing write look like a phantom, and a wrong `info` hides a loss, so
this is decided from what was on the wire (was the request sent, which status came back), not
from chromadb's exceptions: it turns a 503 of a proxy into a bare `Exception`. Chromadb and httpx
send nothing twice on their own (httpx has `retries=0`), which the unit tests hold.
Used by `workload.session`.
"""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import httpx

from chroma_qualify.workload.history import Answer, Outcome

_SHOWN = 300  # characters of an error that are kept
_MARK = "chroma_qualify_wire"
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_UNDECIDED = frozenset({408, 499})  # a proxy gave up waiting: the server may go on


@dataclasses.dataclass(slots=True)
class _Exchange:
    requests: int = 0
    status: int | None = None


class Wire(threading.local):
    """What this thread's last operation did on the wire."""

    def __init__(self) -> None:
        self.exchange = _Exchange()

    def begin(self) -> None:
        """Forget the last operation."""
        self.exchange = _Exchange()


def watch(client: Any) -> Wire:  # noqa: ANN401
    """Watch the requests of a chromadb client; clients of one server share a session and so one `Wire`."""
    session: httpx.Client = client._server._session  # noqa: SLF001 (chromadb has no other way)
    wire: Wire | None = getattr(session, _MARK, None)
    if wire is not None:
        return wire
    wire = Wire()

    def sent(_: httpx.Request) -> None:
        wire.exchange.requests += 1
        wire.exchange.status = None

    def answered(response: httpx.Response) -> None:
        wire.exchange.status = response.status_code

    session.event_hooks = {"request": [sent], "response": [answered]}
    setattr(session, _MARK, wire)
    return wire


def classify(error: Exception, wire: Wire, *, writes: bool) -> Answer:
    """What an operation that raised came to.

    Args:
        error: what chromadb or httpx raised.
        wire: what this thread sent and got.
        writes: may the operation change anything; a read that failed has no effect and is always `fail`.
    """
    status = wire.exchange.status
    text = " ".join(str(error).split())[:_SHOWN]
    words = f"{type(error).__name__}: {text}" if status is None else f"{status} {type(error).__name__}: {text}"
    return Answer(_outcome(error, wire.exchange) if writes else Outcome.FAIL, error=words)


def _outcome(error: Exception, exchange: _Exchange) -> Outcome:
    """Of a write."""
    if exchange.requests == 0:
        return Outcome.FAIL  # chromadb refused the arguments itself
    if exchange.status is None:
        return Outcome.FAIL if isinstance(error, _NEVER_SENT) else Outcome.INFO
    refused = 400 <= exchange.status < 500 and exchange.status not in _UNDECIDED
    return Outcome.FAIL if refused else Outcome.INFO
