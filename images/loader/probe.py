"""Try network targets from inside a pod; standard library only.

Run by chroma_qualify.load.probes through `kubectl exec`. Targets come as one JSON list, as the first argument or on
standard input; each is {"name": …, "kind": "tcp"|"http"|"dns", "host": …, "port": …, "path": …, "timeout": s}.
All are tried at once; one JSON line per target goes to standard output, in the order given:
{"name", "outcome", "seconds", "detail"} with outcome open | refused | timeout | unresolved | unreachable | error.
`http` counts any HTTP answer as open (its status is the detail). `dns` asks for the A record of `host` at the
pod's own name server (or at `server`) over UDP, so that no cache and no search list is in the way.
"""

import json
import random
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

Target = Mapping[str, Any]

OUTCOMES = {
    ConnectionRefusedError: "refused",
    TimeoutError: "timeout",
    socket.gaierror: "unresolved",
}


def try_target(target: Target) -> dict[str, Any]:
    """One target's result; never raises."""
    begin = time.monotonic()
    timeout = float(target.get("timeout", 2.0))
    try:
        detail = KINDS[target["kind"]](target, timeout)
        outcome = "open"
    except Exception as problem:  # noqa: BLE001 (whatever it was is the result)
        detail = f"{type(problem).__name__}: {problem}"
        outcome = name_of(problem)
    return {"name": target["name"], "outcome": outcome, "seconds": round(time.monotonic() - begin, 3), "detail": detail}


def name_of(problem: Exception) -> str:
    """The outcome that an exception stands for."""
    for kind, outcome in OUTCOMES.items():
        if isinstance(problem, kind):
            return outcome
    # ENETUNREACH, EHOSTUNREACH: nobody even tried to deliver it.
    return "unreachable" if getattr(problem, "errno", None) in (101, 113) else "error"


def try_tcp(target: Target, timeout: float) -> str:
    """Connect and hang up."""
    with socket.create_connection((target["host"], int(target["port"])), timeout=timeout):
        return "connected"


def try_http(target: Target, timeout: float) -> str:
    """GET; the first line of the answer."""
    with socket.create_connection((target["host"], int(target["port"])), timeout=timeout) as connection:
        path = target.get("path", "/")
        request = f"GET {path} HTTP/1.1\r\nHost: {target['host']}\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())
        line = connection.makefile("rb").readline().decode(errors="replace").strip()
    if not line.startswith("HTTP/"):
        raise OSError(f"no HTTP answer but {line[:60]!r}")
    return line


def try_dns(target: Target, timeout: float) -> str:
    """Ask a name server for an A record; how many answers it gave."""
    server = target.get("server") or own_name_server()
    number = random.randrange(1 << 16)  # noqa: S311 (an id, no secret)
    labels = b"".join(bytes([len(part)]) + part.encode() for part in target["host"].rstrip(".").split("."))
    question = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        asker.settimeout(timeout)
        asker.sendto(question, (server, int(target.get("port", 53))))
        answer = asker.recv(4096)
    got, flags, _, answers = struct.unpack(">HHHH", answer[:8])
    if got != number or flags & 0xF or not answers:
        raise socket.gaierror(f"{server} answered code {flags & 0xF} with {answers} records")
    return f"{answers} records from {server}"


def own_name_server() -> str:
    """The first name server of this pod."""
    for line in Path("/etc/resolv.conf").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            return words[1]
    raise OSError("no name server in /etc/resolv.conf")


KINDS: dict[str, Callable[[Target, float], str]] = {"tcp": try_tcp, "http": try_http, "dns": try_dns}


def main() -> None:
    """Read, try, print."""
    targets = json.loads(sys.argv[1] if len(sys.argv) > 1 else sys.stdin.read())
    with ThreadPoolExecutor(max_workers=max(1, len(targets))) as pool:
        for result in pool.map(try_target, targets):
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
