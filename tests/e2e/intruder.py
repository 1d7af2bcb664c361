"""Tries every door of a protected Chroma: which requests get in that must not, and which do not that must.

Pure but for the connection that it is given, so that the same tries are made on the real proxy and on broken variants
of it, which they must find. Used by test_authentication.
"""

import contextlib
import dataclasses
import http.client
from collections.abc import Callable, Iterator, Sequence

from chroma_qualify.report.verdict import MatrixCell

HEARTBEAT = "/api/v2/heartbeat"
DATABASE = "/api/v2/tenants/default_tenant/databases/default_database"
ROUTES = (
    ("GET", "/"),
    ("GET", "/docs"),
    ("GET", "/docs/"),
    ("GET", "/openapi.json"),
    ("GET", HEARTBEAT),
    ("GET", "/api/v2/version"),
    ("GET", "/api/v2/pre-flight-checks"),
    ("GET", "/api/v2/auth/identity"),
    ("POST", "/api/v2/reset"),
    ("POST", "/api/v2/tenants"),
    ("GET", "/api/v2/tenants/default_tenant"),
    ("GET", DATABASE),
    ("GET", f"{DATABASE}/collections"),
    ("POST", f"{DATABASE}/collections"),
    ("DELETE", f"{DATABASE}/collections/nothing"),
    ("GET", "/api/v1/heartbeat"),
    ("GET", "/metrics"),
    ("GET", "/nothing-here"),
    # The same in other writings: a check that looks at paths can be passed by.
    ("GET", "//api/v2/version"),
    ("GET", "/api//v2/version"),
    ("GET", "/api/v2/%76ersion"),
    ("GET", "/api%2fv2%2fversion"),
    ("GET", "/API/V2/VERSION"),
    ("GET", f"{HEARTBEAT}/../version"),
    ("GET", f"{HEARTBEAT}/%2e%2e/version"),
    ("GET", f"{HEARTBEAT};x"),
    ("GET", f"{HEARTBEAT}?x=1"),
    ("GET", "/api/v2/version/"),
    ("GET", "/%c3%a4"),
    ("GET", "http://chroma/api/v2/version"),
    ("HEAD", "/api/v2/version"),
    ("OPTIONS", "/api/v2/version"),
    ("PUT", "/api/v2/version"),
    ("BREW", "/api/v2/version"),
)
EVERYWHERE = ("nothing", "another token")  # strangers who are tried at every route
FEW = (("GET", "/api/v2/version"), ("GET", f"{DATABASE}/collections"), ("POST", "/api/v2/tenants"))

Connect = Callable[[], http.client.HTTPConnection]


@dataclasses.dataclass(frozen=True)
class Try:
    """A request and its answer."""

    method: str
    path: str
    who: str
    status: int

    def __str__(self) -> str:
        return f"{self.method} {self.path} with {self.who}: {self.status}"


def strangers(token: str) -> dict[str, list[tuple[str, str]]]:
    """Headers of those who have no token, or not quite."""
    wrong = token[::-1] if token[::-1] != token else f"0{token[1:]}"
    bearer = {
        "an empty token": "Bearer",
        "a blank token": "Bearer ",
        "another token": f"Bearer {wrong}",
        "all but its end": f"Bearer {token[:-1]}",
        "its beginning": f"Bearer {token[:16]}",
        "all but its beginning": f"Bearer {token[1:]}",
        "more than the token": f"Bearer {token}x",
        "the token in other letters": f"Bearer {token.swapcase()}",
        "a wildcard": "Bearer *",
        "the name of the file": "Bearer {file./run/secrets/chromadb-token/token}",
        "two blanks": f"Bearer  {token}",
        "no scheme": token,
        "the scheme Basic": f"Basic {token}",
        "the scheme Token": f"Token {token}",
        "the token twice": f"Bearer {token},Bearer {token}",
    }
    single = {who: [("Authorization", value)] for who, value in bearer.items()}
    return {
        "nothing": [],
        **single,
        "a wrong header behind the right one": [("Authorization", f"Bearer {token}"), ("Authorization", "Bearer x")],
        "the right header behind a wrong one": [("Authorization", "Bearer x"), ("Authorization", f"Bearer {token}")],
        "X-Chroma-Token": [("X-Chroma-Token", token)],
        "Proxy-Authorization": [("Proxy-Authorization", f"Bearer {token}")],
        "a cookie": [("Cookie", f"token={token}; Authorization=Bearer {token}")],
        "an underscore": [("Author_ization", f"Bearer {token}")],
    }


def holders(token: str) -> dict[str, list[tuple[str, str]]]:
    """Headers of who has it."""
    value = f"Bearer {token}"
    return {"the token": [("Authorization", value)], "the token, in small letters": [("authorization", value)]}


def try_all(connect: Connect, token: str) -> Iterator[Try]:
    """Every stranger at a few routes, and some of them at every route."""
    with contextlib.closing(Asker(connect)) as asker:
        for who, headers in strangers(token).items():
            routes = ROUTES if who in EVERYWHERE else FEW
            for method, path in routes:
                yield Try(method, path, who, asker.ask(method, path, headers))


def try_as_holder(connect: Connect, token: str) -> Iterator[Try]:
    """The holder at every route that changes nothing."""
    with contextlib.closing(Asker(connect)) as asker:
        for who, headers in holders(token).items():
            for method, path in ROUTES:
                if method != "DELETE":
                    yield Try(method, path, who, asker.ask(method, path, headers))


def holes(connect: Connect, token: str) -> Iterator[Try]:
    """What gets in that must not: anything but 401. Who asks for the first one only makes no more tries."""
    return (each for each in try_all(connect, token) if each.status != 401)


def shut_out(connect: Connect, token: str) -> list[Try]:
    """What its holder cannot ask: Chroma itself says other things than 401."""
    return [each for each in try_as_holder(connect, token) if each.status == 401]


def matrices(refused: Sequence[Try], admitted: Sequence[Try]) -> tuple[tuple, tuple]:
    """What was tried as two tables for `Report.matrix`: each credential at a few routes, few at every route."""
    cells = {}
    for expected, tries in (("401", refused), ("not 401", admitted)):
        for each in tries:
            right = (each.status == 401) == (expected == "401")
            cell = MatrixCell(expected, str(each.status), "right" if right else "wrong")
            cells[each.who, f"{each.method} {each.path}"] = cell
    everybody = list(dict.fromkeys(who for who, _ in cells))
    few, routes = ([f"{method} {path}" for method, path in some] for some in (FEW, ROUTES))
    some = [who for who in everybody if who in EVERYWHERE or any(each.who == who for each in admitted)]
    return (
        (everybody, few, [[cells.get((who, route)) for route in few] for who in everybody]),
        (routes, some, [[cells.get((who, route)) for who in some] for route in routes]),
    )


def heartbeat_holes(connect: Connect) -> list[Try]:
    """What the port for the kubelet's probes gives away: anything but the one heartbeat."""
    with contextlib.closing(Asker(connect)) as asker:
        tried = [Try(method, path, "nothing", asker.ask(method, path, [])) for method, path in ROUTES]
        tried += [Try(m, HEARTBEAT, "nothing", asker.ask(m, HEARTBEAT, [])) for m in ("POST", "DELETE", "PUT")]
    return [each for each in tried if (each.status == 200) != ((each.method, each.path) == ("GET", HEARTBEAT))]


class Asker:
    """Sends requests as they are given, on one connection as long as the server keeps it."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._open: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes = b"") -> int:
        """The status; 0 if the connection ends without one."""
        for fresh in (False, True):  # a connection that was kept may be at its end
            try:
                return self._ask(method, path, headers, body)
            except (http.client.HTTPException, OSError):
                self.close()
                if fresh:
                    return 0
        return 0

    def close(self) -> None:
        """Hang up."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _ask(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> int:
        if self._open is None:
            self._open = self._connect()
        connection = self._open
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", "chroma")
        if method in {"POST", "PUT"}:
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(len(body)))
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders(body or None)
        answer = connection.getresponse()
        answer.read()
        if answer.will_close:
            self.close()
        return answer.status
