"""Be there: answer HTTP on the given ports (none: just wait) until SIGTERM; standard library only.

The long-lived program of every helper pod that chroma_qualify.load.inside starts: `python3 /app/listen.py 443 8080`.
It answers every connection with a complete small HTTP response, whatever is asked, and ends at once on SIGTERM so that
deleting the pod takes no grace period (a PID 1 without a handler would ignore the signal).
"""

import signal
import socketserver
import sys
import threading

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhere.\n"


class Handler(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        """Read what fits, answer, hang up."""
        self.request.settimeout(5)
        try:
            self.request.recv(4096)
            self.request.sendall(ANSWER)
        except OSError:
            pass  # a probe that only connects hangs up first


class Server(socketserver.ThreadingTCPServer):
    """A listener that can be started again on its port."""

    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    """Listen until told to end."""
    done = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    signal.signal(signal.SIGINT, lambda *_: done.set())
    for port in sys.argv[1:]:
        threading.Thread(target=Server(("", int(port)), Handler).serve_forever, daemon=True).start()
    print(f"listening on {' '.join(sys.argv[1:]) or 'nothing'}", flush=True)
    done.wait()


if __name__ == "__main__":
    main()
