"""One connection to a port of a pod, through the API server's port-forward subresource.

Called by `forward`. The protocol is Kubernetes' v4.channel.k8s.io over a websocket: each binary message begins
with a channel byte, 0 for data and 1 for the text of an error; the first message of each channel holds the port
number. API server, kubelet and containerd serve it up to Kubernetes 1.37 at least, where newer clients tunnel SPDY.

The client of `kubernetes.stream` is not used: its shim copies the whole unsent rest for every send, runs both
directions on one blocking thread (so two full buffers lock each other), tells no error from an ordinary end, and
does not let go of its thread when its owner wants to close.
"""

from __future__ import annotations

import asyncio
import dataclasses
import socket
import ssl
from typing import Any, Self

import kubernetes.client
import websockets.asyncio.client
import websockets.exceptions
from websockets.typing import Subprotocol

from chroma_qualify.deployment.targets import PodPort

_PROTOCOL = Subprotocol("v4.channel.k8s.io")
_DATA, _ERROR = 0, 1
_OPEN_TIMEOUT = 5.0  # s
# What the container runtime says when it never had a connection to the container's port.
_NOT_CONNECTED = ("failed to connect to", "failed to find sandbox", "network namespace")


class UnreachedError(Exception):
    """The pod was not reached: nothing that was sent has arrived anywhere, so it may be sent again."""


class BrokenError(Exception):
    """The connection was made and then broke, as opposed to: was ended by the pod."""


@dataclasses.dataclass(frozen=True, slots=True)
class Access:
    """How to reach the API server: what the kubeconfig says, in the form that a websocket needs."""

    url: str
    tls: ssl.SSLContext | None
    server_name: str | None
    headers: dict[str, str]

    @classmethod
    def of(cls, api: kubernetes.client.ApiClient) -> Access:
        """The same access as this client has."""
        config = api.configuration
        settings = config.auth_settings().values()  # this renews a token that has expired
        headers = {item["key"]: item["value"] for item in settings if item["in"] == "header" and item["value"]}
        tls = None
        if config.host.startswith("https"):
            tls = ssl.create_default_context(cafile=config.ssl_ca_cert)
            if not config.verify_ssl:
                tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
            if config.cert_file:
                tls.load_cert_chain(config.cert_file, config.key_file)
        return cls(config.host.replace("http", "ws", 1), tls, config.tls_server_name or None, headers)


class Tunnel:
    """An open tunnel; `open` makes one, `receive` and `send` move bytes, `close` ends it."""

    def __init__(self, connection: websockets.asyncio.client.ClientConnection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, access: Access, to: PodPort) -> Self:
        """Connect to a port of a pod.

        That the API server accepts says that pod and node are there. Whether something listens on the port is
        known only when data or an error comes back: see `receive`.

        Raises:
            UnreachedError: with the reason.
        """
        path = f"/api/v1/namespaces/{to.namespace}/pods/{to.pod}/portforward?ports={to.port}"
        server_name: dict[str, Any] = {"server_hostname": access.server_name} if access.server_name else {}
        try:
            connection = await websockets.asyncio.client.connect(
                access.url + path,
                ssl=access.tls,
                additional_headers=access.headers,
                subprotocols=[_PROTOCOL],
                compression=None,
                proxy=None,
                open_timeout=_OPEN_TIMEOUT,
                ping_interval=None,  # the other end answers no ping while the pod reads slowly
                close_timeout=0.5,
                max_size=None,
                **server_name,
            )
        except (OSError, TimeoutError, websockets.exceptions.WebSocketException) as error:
            raise UnreachedError(_reason(error)) from error
        try:
            connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            async with asyncio.timeout(_OPEN_TIMEOUT):
                for channel in (_DATA, _ERROR):
                    await _expect(connection, bytes([channel]) + to.port.to_bytes(2, "little"))
        except (OSError, TimeoutError, websockets.exceptions.ConnectionClosed) as error:
            connection.transport.abort()
            raise UnreachedError(f"the port-forward of {to.pod} ended at once: {_reason(error)}") from error
        except BaseException:
            connection.transport.abort()
            raise
        return cls(connection)

    async def receive(self) -> bytes:
        """The next bytes from the pod; none when it has ended the connection.

        Raises:
            UnreachedError: nothing listens on the pod's port.
            BrokenError: the connection broke, on the way or at the pod.
        """
        while True:
            try:
                message = await self._connection.recv()
            except websockets.exceptions.ConnectionClosedOK:
                return b""
            except (OSError, websockets.exceptions.ConnectionClosed) as error:
                raise BrokenError(_reason(error)) from error
            if isinstance(message, bytes) and message[:1] == bytes([_ERROR]):
                text = message[1:].decode(errors="replace")
                raise UnreachedError(text) if any(word in text for word in _NOT_CONNECTED) else BrokenError(text)
            if isinstance(message, bytes) and len(message) > 1:
                return message[1:]

    async def send(self, data: bytes) -> None:
        """Send bytes to the pod; waits while the pod does not take them.

        Raises:
            BrokenError: the connection is closed.
        """
        try:
            await self._connection.send(bytes([_DATA]) + data)
        except (OSError, websockets.exceptions.ConnectionClosed) as error:
            raise BrokenError(_reason(error)) from error

    async def close(self) -> None:
        """End the connection; takes half a second at most."""
        try:
            await self._connection.close()
        finally:
            self._connection.transport.abort()


async def _expect(connection: websockets.asyncio.client.ClientConnection, message: bytes) -> None:
    got = await connection.recv()
    if got != message:
        raise UnreachedError(f"the server does not speak {_PROTOCOL}: it began with {got[:40]!r}")


def _reason(error: Exception) -> str:
    if isinstance(error, websockets.exceptions.InvalidStatus):
        body = (error.response.body or b"").decode(errors="replace")[:300]
        return f"the API server answered {error.response.status_code}: {body}"
    return str(error) or type(error).__name__
