"""A local port that leads to a pod by way of its node, past the API server; for when that is what is broken.

Each connection is a process in the node's container that enters the pod's network namespace, as containerd does for a
port-forward. Only on nodes of our own. Slower to connect than `forward` (50 ms) and bound to one life of a container,
so it is used by the one experiment that needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from types import TracebackType
from typing import Self

from chroma_qualify.cluster.model import Node

_CHUNK = 64 * 1024  # bytes


class NodeWay:
    """An open way; a context manager that closes it, and every connection through it.

    Attributes:
        host: always 127.0.0.1.
        port: where it listens.
    """

    def __init__(self, node: Node, pid: int, port: int) -> None:
        """Open nothing yet.

        Args:
            node: where the pod runs.
            pid: a process of the pod, as the node counts.
            port: of the pod.
        """
        self.host = "127.0.0.1"
        self.port = 0
        words = ["docker", "exec", "--interactive", node.name, "nsenter", "--net", f"--target={pid}", "--"]
        self._command = [*words, "socat", "STDIO", f"TCP4:127.0.0.1:{port}"]
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"way to {node.name}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(30)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._accept, self.host, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _close(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
        )
        if process.stdin is None or process.stdout is None:  # they were asked for
            return
        upward = asyncio.create_task(_pass_on(reader, process.stdin))
        downward = asyncio.create_task(_pass_on(process.stdout, writer))
        try:
            await asyncio.wait({upward, downward}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in (upward, downward):
                one.cancel()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            writer.close()
            await asyncio.gather(upward, downward, process.wait(), return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
