"""A local port that leads to a pod that is ready now; no process, nothing to leak.

Used by the fixtures `forward` and `chroma`, and by whoever needs a pod's port from this machine. One thread per
forward runs an event loop with a listener on loopback; each accepted connection gets a tunnel of its own to a pod
chosen at that moment, so a forward outlives its pods. What a client of it can rely on:

- while no pod is ready, or nothing listens in it, a new connection waits (up to `patience` seconds) instead of
  being refused; what the client said meanwhile is sent when there is a pod that takes it, and only then;
- a connection that has reached a pod is never moved to another one: when it breaks, the client sees a reset, and
  has to judge for itself what became of its request.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import struct
import threading
import types
import weakref
from typing import Self

import kubernetes.client
import tenacity

from chroma_qualify.cluster.model import Cluster
from chroma_qualify.deployment.targets import NoPodError, Target
from chroma_qualify.deployment.tunnel import Access, BrokenError, Tunnel, UnreachedError
from chroma_qualify.errors import CandidateError, InfraError, QualifyError

_CHUNK = 64 * 1024  # bytes
_KEPT = 4 * 1024 * 1024  # bytes of a client that are kept until a pod answers, to be said to the next one if none does
_LINGER = 1.0  # s of silence after which a connection whose client has stopped sending is ended; as containerd does
_open: weakref.WeakSet[Forward] = weakref.WeakSet()


def last_errors() -> tuple[str, ...]:
    """Why connections of the forwards that are open failed: evidence for a request that got no answer."""
    return tuple(sorted({forward.last_error for forward in set(_open) if forward.last_error}))


def open_forward(
    cluster: Cluster,
    namespace: str,
    target: str,
    port: int,
    *,
    patience: float = 60.0,
    opening: float | None = None,
    local_port: int = 0,
) -> Forward:
    """Open a forward; it works when this returns.

    Args:
        cluster: where the target runs.
        namespace: of the target.
        target: `pod/NAME`, `service/NAME`, `svc/NAME` or the bare name of a Service.
        port: of the pod, or of the Service.
        patience: seconds that opening, and later each new connection, waits for a pod that is ready.
        opening: seconds that opening waits; None: as long as later connections do.
        local_port: to listen on; 0: one that is free.

    Raises:
        CandidateError: `not-ready`: no pod of the target was ready in time.
        InfraError: the API server did not answer, or did not lead to a pod that is ready.
        OSError: `local_port` is in use.
    """
    forward = Forward(cluster, Target(namespace, target, port), patience if opening is None else opening, local_port)
    try:
        forward.open()
        forward.patience = patience
    except BaseException:
        forward.close()
        raise
    _open.add(forward)
    return forward


class Forward:
    """An open forward; a context manager that closes it.

    Attributes:
        host: always 127.0.0.1.
        port: the one asked for, else one that was free.
        patience: seconds that a new connection waits for a pod that is ready.
        last_error: why the latest connection failed, or "".
    """

    def __init__(self, cluster: Cluster, target: Target, patience: float, local_port: int = 0) -> None:
        self.host = "127.0.0.1"
        self.port = local_port
        self.last_error = ""
        self._target = target
        self.patience = patience
        self._api = cluster.api_client()
        self._turn = 0
        self._closing = False
        self._opened: concurrent.futures.Future[int] = concurrent.futures.Future()
        self._connections: set[asyncio.Task[None]] = set()
        self._main: asyncio.Task[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"forward {target}", daemon=True)

    @property
    def url(self) -> str:
        """As an HTTP client wants it."""
        return f"http://{self.host}:{self.port}"

    def open(self) -> None:
        """Start; called once, by `open_forward`."""
        self._thread.start()
        self.port = self._opened.result()

    def close(self) -> None:
        """End all connections, the listener and the thread. Can be called again."""
        self._closing = True
        _open.discard(self)
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._cancel)
        if self._thread.is_alive():
            self._thread.join()
        self._api.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner, contextlib.suppress(asyncio.CancelledError):
            runner.run(self._serve())

    def _cancel(self) -> None:
        if self._main is not None:
            self._main.cancel()

    async def _serve(self) -> None:
        self._main = asyncio.current_task()
        if self._closing and self._main is not None:  # before there was a task to cancel
            self._main.cancel()
        try:
            access = Access.of(self._api)
            tunnel = await self._reach(access)
            await tunnel.close()
            server = await asyncio.start_server(
                lambda reader, writer: self._accept(access, reader, writer), self.host, self.port, limit=2 * _CHUNK
            )
        except (Exception, asyncio.CancelledError) as error:
            self._opened.set_exception(error)
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        try:
            self._opened.set_result(server.sockets[0].getsockname()[1])
            await asyncio.Event().wait()  # for ever: until `close` cancels
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, access: Access, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._connection(access, reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _connection(self, access: Access, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One accepted connection from its begin to its end."""
        talk = _Talk(reader, writer)
        listening = asyncio.create_task(talk.listen())
        abandoned = asyncio.create_task(talk.abandoned())
        talking = asyncio.create_task(self._talk(access, talk))
        try:
            await asyncio.wait({abandoned, talking}, return_when=asyncio.FIRST_COMPLETED)
            orderly = talking.done() and talking.exception() is None
        except asyncio.CancelledError:
            orderly = False
            raise
        finally:
            for task in (listening, abandoned, talking):
                task.cancel()
            await asyncio.gather(listening, abandoned, talking, return_exceptions=True)
            if orderly:
                writer.close()
            else:
                _reset(writer)

    async def _talk(self, access: Access, talk: _Talk) -> None:
        """Lead a connection to a pod that takes it; what stops that is kept in `last_error`."""
        try:
            async for attempt in self._retrying():
                with attempt:
                    await talk.through(await self._reach(access))
        except (UnreachedError, BrokenError, QualifyError) as error:
            self.last_error = str(error)
            raise

    async def _reach(self, access: Access) -> Tunnel:
        """A tunnel to a pod that is ready; the pods take turns.

        Raises:
            CandidateError: none was ready within `patience`.
            InfraError: the API server stood between.
        """
        try:
            async for attempt in self._retrying():
                with attempt:
                    pods = await asyncio.to_thread(self._target.ready, self._api)
                    self._turn += 1
                    return await Tunnel.open(access, pods[self._turn % len(pods)])
        except (NoPodError, UnreachedError) as error:
            message = f"waited {self.patience:.0f} s for a port-forward to {self._target}; last seen: {error}"
            if _is_not_ready(error):
                raise CandidateError("not-ready", message) from error
            raise InfraError(message) from error
        raise AssertionError("unreachable: tenacity returns or raises")

    def _retrying(self) -> tenacity.AsyncRetrying:
        return tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type((NoPodError, UnreachedError)),
            wait=tenacity.wait_exponential(multiplier=0.05, max=0.5),
            stop=tenacity.stop_after_delay(self.patience),
            reraise=True,
        )


def _is_not_ready(error: Exception) -> bool:
    """Did the API server say that there is no ready pod, as opposed to: did not say, or did not lead to it?"""
    if not isinstance(error, NoPodError):
        return False
    cause = error.__cause__
    return cause is None or (isinstance(cause, kubernetes.client.ApiException) and cause.status == 404)


class _Talk:
    """What goes through one accepted connection; what the client said is kept until a pod has taken it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._said = bytearray()
        self._more = asyncio.Event()  # to say
        self._room = asyncio.Event()  # in `_said`
        self._committed = False  # to the tunnel at hand: a pod has answered, or there is too much to say it again
        self._heard = 0  # bytes
        self._ended = asyncio.Event()  # the client says no more
        self._gone = False  # the client has reset the connection
        self._in_tunnel = False

    async def listen(self) -> None:
        """Read what the client says, from the begin to the end of the connection."""
        with contextlib.suppress(ConnectionError):
            while data := await self._reader.read(_CHUNK):
                self._said += data
                self._more.set()
                self._room.clear()
                if len(self._said) >= _KEPT:
                    await self._room.wait()
        self._gone = self._reader.exception() is not None
        self._ended.set()
        self._more.set()

    async def abandoned(self) -> None:
        """Return when the client has gone while there is no tunnel: what it said must not arrive late."""
        await self._ended.wait()
        if not self._gone:
            await asyncio.sleep(_LINGER)  # it may only have said all that it had to say
        while self._in_tunnel:
            await asyncio.sleep(_LINGER)

    async def through(self, tunnel: Tunnel) -> None:
        """Move bytes both ways until one side ends.

        Raises:
            UnreachedError: no pod took what was said, it can be tried again.
            BrokenError: the pod's end broke.
        """
        self._in_tunnel = True
        upward = asyncio.create_task(self._upward(tunnel))
        try:
            while data := await tunnel.receive():
                self._committed = True
                self._heard += len(data)
                self._writer.write(data)
                await self._writer.drain()
        except UnreachedError as error:
            if self._committed:
                raise BrokenError(str(error)) from error
            raise
        except ConnectionError:
            pass  # the client has gone
        finally:
            self._in_tunnel = False
            upward.cancel()
            await asyncio.gather(upward, return_exceptions=True)
            await tunnel.close()

    async def _upward(self, tunnel: Tunnel) -> None:
        """Client to pod. An end of the tunnel is seen, and told, by the other direction."""
        sent = 0
        with contextlib.suppress(BrokenError):
            while sent < len(self._said) or not self._ended.is_set():
                if sent < len(self._said):
                    chunk = bytes(self._said[sent : sent + _CHUNK])
                    sent += len(chunk)
                    await tunnel.send(chunk)
                    continue
                self._committed = self._committed or sent >= _KEPT
                if self._committed:
                    self._said.clear()
                    self._room.set()
                    sent = 0
                self._more.clear()
                await self._more.wait()
            await self._hear_out()
            await tunnel.close()

    async def _hear_out(self) -> None:
        """The protocol knows no half-closed connection: what the pod still says is awaited for a while."""
        heard = -1
        while heard != self._heard and not self._gone:
            heard = self._heard
            await asyncio.sleep(_LINGER)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the client sees a reset, not an orderly end."""
    with contextlib.suppress(OSError):
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
