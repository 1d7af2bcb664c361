"""The part of an API server that a forward needs, over real sockets: Services, EndpointSlices, port-forward.

A boundary test's other side: it speaks v4.channel.k8s.io as kubelet and containerd do (k8s.io/cri-streaming
pkg/streaming/portforward/websocket.go), with real TCP connections to the "pod".
"""

from __future__ import annotations

import asyncio
import http
import json
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import websockets.asyncio.server
import websockets.datastructures
import websockets.http11

from chroma_qualify.cluster.model import Cluster


class ApiServer:
    """`pods`: the ready ones, by name, with the loopback port that each really is."""

    def __init__(self, tmp_path: Path) -> None:
        self.pods: dict[str, int] = {}
        self.tunnels = 0
        self.failing_upgrades = 0
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._sockets: set[websockets.asyncio.server.ServerConnection] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._thread.start()
        self._started.wait()
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                    "users": [{"name": "u", "user": {"token": "T"}}],
                    "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
                }
            )
        )
        self.cluster = Cluster("test", kubeconfig, Path("kubectl"))

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await websockets.asyncio.server.serve(
            self._forward,
            "127.0.0.1",
            0,
            process_request=self._answer,
            subprotocols=["v4.channel.k8s.io"],
            compression=None,
            max_size=None,
        )
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()

    def _answer(self, connection, request):
        assert request.headers["Authorization"] == "Bearer T"
        path = urlsplit(request.path).path
        if path.endswith("/portforward"):
            pod = path.split("/")[-2]
            if self.failing_upgrades > 0:
                self.failing_upgrades -= 1
                return connection.respond(http.HTTPStatus.INTERNAL_SERVER_ERROR, "error dialing backend")
            return None if pod in self.pods else connection.respond(http.HTTPStatus.NOT_FOUND, "no such pod")
        if path.endswith("/services/db"):
            body = {"metadata": {"name": "db"}, "spec": {"ports": [{"port": 80, "targetPort": "http"}]}}
        elif path.endswith("/endpointslices"):
            # Each "pod" has its own port here, so each gets a slice of its own.
            body = {
                "items": [
                    {
                        "ports": [{"port": port}],
                        "endpoints": [{"conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": name}}],
                    }
                    for name, port in self.pods.items()
                ]
                or [{"endpoints": None, "ports": None}]
            }
        else:
            return connection.respond(http.HTTPStatus.NOT_FOUND, "{}")
        raw = json.dumps(body).encode()
        headers = websockets.datastructures.Headers(
            {"Content-Type": "application/json", "Content-Length": str(len(raw))}
        )
        return websockets.http11.Response(200, "OK", headers, raw)

    async def _forward(self, socket: websockets.asyncio.server.ServerConnection) -> None:
        self.tunnels += 1
        self._sockets.add(socket)
        port = int(parse_qs(urlsplit(socket.request.path).query)["ports"][0])
        for channel in (b"\0", b"\1"):
            await socket.send(channel + port.to_bytes(2, "little"))
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError as error:
            await socket.send(b"\1" + f"failed to connect to localhost:{port} inside namespace: {error}".encode())
            return
        try:
            down = asyncio.create_task(self._down(reader, socket))
            up = asyncio.create_task(self._up(socket, writer))
            await asyncio.wait({down, up}, return_when=asyncio.FIRST_COMPLETED)
            for task in (down, up):
                task.cancel()
            results = await asyncio.gather(down, up, return_exceptions=True)
            if any(isinstance(result, OSError) for result in results):
                await socket.send(b"\1error forwarding port: connection reset by peer")
        finally:
            self._sockets.discard(socket)
            writer.close()

    async def _down(self, reader, socket) -> None:
        while data := await reader.read(32 * 1024):
            await socket.send(b"\0" + data)

    async def _up(self, socket, writer) -> None:
        async for message in socket:
            assert message[:1] == b"\0"
            writer.write(message[1:])
            await writer.drain()

    def cut(self) -> None:
        """Break all tunnels, as an API server that dies does."""

        def abort() -> None:
            for socket in self._sockets:
                socket.transport.abort()

        self._loop.call_soon_threadsafe(abort)

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
