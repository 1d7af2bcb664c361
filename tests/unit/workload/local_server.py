"""A real Chroma server as a child process, for what needs no cluster."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from chroma_qualify.workload import client


class LocalServer:
    """`chroma run` on a directory; can be killed and started again."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        assert self.process is None, "stop it first: two servers on one directory lose vectors"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "server.log").open("ab") as log:
            chroma = Path(sys.executable).with_name("chroma")
            where = ["--path", str(self.directory / "data"), "--host", "127.0.0.1", "--port", str(self.port)]
            self.process = subprocess.Popen([chroma, "run", *where], stdout=log, stderr=log)
        deadline = time.monotonic() + 300
        while not self._answers():
            said = (self.directory / "server.log").read_text()[-2000:]
            assert self.process.poll() is None, f"the server ended: {said}"
            assert time.monotonic() < deadline, f"the server does not answer: {said}"
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/api/v2/heartbeat", timeout=5).is_success
        except httpx.HTTPError:
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to our own child; its return code."""
        assert self.process is not None
        self.process.send_signal(how)
        code = self.process.wait(timeout=60)
        self.process = None
        return code

    def client(self, **options: Any) -> Any:
        return client.connect("127.0.0.1", self.port, **options)
