"""A proxy in front of a real Chroma that breaks the wire in one way at a time."""

from __future__ import annotations

import socket
import struct

from passing_proxy import Handler, PassingProxy


class Proxy(PassingProxy):
    """Passes everything on; `mode` says what goes wrong with writes (or with everything: `all`)."""

    def __init__(self, port: int) -> None:
        self.mode = ""
        super().__init__(port)

    def handle(self, handler: Handler, body: bytes) -> None:  # noqa: PLR0911 (one per way to break)
        write = handler.path.rsplit("/", 1)[-1] in {"add", "upsert", "delete"} or self.mode.startswith("all ")
        mode = self.mode.removeprefix("all ") if write else ""
        if mode.startswith("answer "):
            return handler.reply(int(mode.split()[1]), b"no")
        if mode == "reset":
            return _reset(handler)
        status, data = self.forward(handler, body)
        if mode.startswith("pass, answer "):
            return handler.reply(int(mode.split()[2]), b"upstream")
        if mode == "pass, reset":
            return _reset(handler)
        if mode == "pass, close":
            handler.close_connection = True
            return None
        if mode == "pass, garbage":
            return handler.reply(200, b"<html>")
        if mode == "pass, cut":
            handler.send_response(status)
            handler.send_header("content-length", str(len(data) + 10))
            handler.end_headers()
            handler.wfile.write(data)
            handler.close_connection = True
            return None
        return handler.reply(status, data)


def _reset(handler: Handler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.rfile.close()
    handler.wfile.close()
    handler.connection.close()
    handler.close_connection = True
