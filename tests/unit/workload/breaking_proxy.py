"""A proxy in front of a real Chroma that breaks the wire in one way at a time."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import socket
import struct
import threading


class Proxy:
    """Passes everything on; `mode` says what goes wrong with writes (or with everything: `all`)."""

    def __init__(self, port: int) -> None:
        self.mode = ""
        self.passed = 0
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_request(self) -> None:  # noqa: PLR0911 (one per way to break)
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                write = self.path.rsplit("/", 1)[-1] in {"add", "upsert", "delete"} or proxy.mode.startswith("all ")
                mode = proxy.mode.removeprefix("all ") if write else ""
                if mode.startswith("answer "):
                    return self.reply(int(mode.split()[1]), b"no")
                if mode == "reset":
                    return self.reset()
                server = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
                server.request(self.command, self.path, body, headers)
                response = server.getresponse()
                data = response.read()
                server.close()
                proxy.passed += 1
                if mode.startswith("pass, answer "):
                    return self.reply(int(mode.split()[2]), b"upstream")
                if mode == "pass, reset":
                    return self.reset()
                if mode == "pass, close":
                    self.close_connection = True
                    return None
                if mode == "pass, garbage":
                    return self.reply(200, b"<html>")
                if mode == "pass, cut":
                    self.send_response(response.status)
                    self.send_header("content-length", str(len(data) + 10))
                    self.end_headers()
                    self.wfile.write(data)
                    self.close_connection = True
                    return None
                return self.reply(response.status, data)

            do_GET = do_POST = do_PUT = do_DELETE = handle_request  # noqa: N815 (the library's names)

            def reply(self, status: int, data: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def reset(self) -> None:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.rfile.close()
                self.wfile.close()
                self.connection.close()
                self.close_connection = True

            def finish(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    super().finish()

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
