"""A proxy in front of a real Chroma that passes everything on; others break or falsify what passes."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading


class PassingProxy:
    """Every request goes to the server and its answer back; `handle` is what others replace."""

    def __init__(self, port: int) -> None:
        self.passed = 0
        self._target = port
        self._count = threading.Lock()
        proxy = self

        class Bound(Handler):
            def handle_request(self) -> None:
                proxy.handle(self, self.rfile.read(int(self.headers.get("content-length", 0))))

            do_GET = do_POST = do_PUT = do_DELETE = handle_request  # noqa: N815 (the library's names)

        self._server = _Server(("127.0.0.1", 0), Bound)
        self.port = self._server.server_address[1]
        # The default poll of half a second would be the time that each `close` takes.
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def handle(self, handler: Handler, body: bytes) -> None:
        """Answer one request."""
        handler.reply(*self.forward(handler, body))

    def forward(self, handler: Handler, body: bytes) -> tuple[int, bytes]:
        """Send a request, perhaps with another body, to the server; status and data of its answer."""
        skip = {"host", "content-length"}
        headers = {key: value for key, value in handler.headers.items() if key.lower() not in skip}
        server = http.client.HTTPConnection("127.0.0.1", self._target, timeout=30)
        with contextlib.closing(server):
            server.request(handler.command, handler.path, body, headers)
            response = server.getresponse()
            data = response.read()
        with self._count:
            self.passed += 1
        return response.status, data

    def close(self) -> None:
        """Take no more requests."""
        self._server.shutdown()
        self._server.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and data are two packets: a delayed ACK would cost 40 ms an answer

    def reply(self, status: int, data: bytes) -> None:
        """Answer, and keep the connection."""
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass
