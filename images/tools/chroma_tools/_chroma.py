"""A thin client of Chroma's HTTP API, for all tools here: where it is and how to be let in come from the environment.

CHROMA_URL         http://chromadb-service:8000 by default
CHROMA_TOKEN_FILE  file with the token that the proxy beside Chroma asks for; read for each request, so that a rotated
                   Secret is taken up. No such file: no token is sent (the Secret is mounted as optional)
CHROMA_CA_FILE     certificates to trust for an https URL, instead of the system's
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import numpy.typing as npt
import orjson
import tenacity

Vectors = npt.NDArray[np.float32]
Metadata = Mapping[str, Any]

DEFAULT_URL = "http://chromadb-service:8000"
EVERYTHING = ("embeddings", "metadatas", "documents", "uris")
# Lists are asked for in pages of this size.
PAGE = 1000
READINGS = 10


class ChromaError(Exception):
    """Chroma could not be reached, or answered with an error; `status` is 0 when there was no answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class SettingsError(Exception):
    """The environment or the arguments cannot be right."""


@dataclass(frozen=True)
class Collection:
    id: str
    name: str
    tenant: str
    database: str
    metadata: Metadata | None
    # As the server gives it, and as it takes it at creation: hnsw settings with the space, and the embedding function.
    configuration: Mapping[str, Any]
    # None until the first record.
    dimension: int | None

    @property
    def path(self) -> str:
        return f"{_database_path(self.tenant, self.database)}/collections/{self.id}"

    @property
    def label(self) -> str:
        return f"{self.tenant}/{self.database}/{self.name}"

    @property
    def space(self) -> str:
        return str((self.configuration.get("hnsw") or {}).get("space", "l2"))


@dataclass(frozen=True)
class Records:
    """Columns of equal length, as Chroma answered; row i of each is the record `ids[i]`."""

    ids: list[str]
    vectors: Vectors
    metadatas: list[dict[str, Any] | None]
    documents: list[str | None]
    uris: list[str | None]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: slice) -> Records:
        columns = (self.metadatas[rows], self.documents[rows], self.uris[rows])
        return Records(self.ids[rows], self.vectors[rows], *columns)

    @classmethod
    def none(cls) -> Records:
        return cls([], np.empty((0, 0), np.float32), [], [], [])


@dataclass(frozen=True)
class Neighbours:
    """What a query found, nearest first."""

    ids: list[str]
    distances: list[float]


class _Bearer(httpx.Auth):
    """The token of a file, read anew for each request, or one given as text."""

    def __init__(self, token: str | Path) -> None:
        self.token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        token = self.token
        if isinstance(token, Path):
            try:
                token = token.read_text().strip()
            except OSError as error:
                raise SettingsError(f"the token file {self.token} cannot be read: {error.strerror}") from error
        if not token:
            raise SettingsError(f"the token is empty ({self.token})" if self.token else "the token is empty")
        request.headers["Authorization"] = f"Bearer {token}"
        yield request


def _is_passing(error: BaseException) -> bool:
    """Whether it may be over in a moment: no answer, or one that a proxy or a full queue gives."""
    return isinstance(error, ChromaError) and error.status in {0, 429, 502, 503, 504}


def _database_path(tenant: str, database: str) -> str:
    return f"/tenants/{_quoted(tenant)}/databases/{_quoted(database)}"


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _as_base64(vectors: Vectors) -> list[str]:
    """Chroma takes float32 as base64, bit by bit, and a quarter of the bytes that numbers as text need."""
    return [base64.b64encode(row.tobytes()).decode() for row in np.ascontiguousarray(vectors, "<f4")]


def _as_numbers(vectors: Vectors) -> list[list[float]]:
    """Float32 within float64: exact as well."""
    return np.ascontiguousarray(vectors, np.float32).tolist()  # type: ignore[no-any-return]


class Chroma:
    """One connection pool to one server; not for several threads at once.

    Each method raises ChromaError.

    Args:
        url: where Chroma, or the proxy before it, listens.
        token: the token itself, or the file that holds it.
        ca: certificates to trust, instead of the system's.
        seconds: limit for one request's answer.
        patience: seconds to try again for while nobody answers, or a proxy says so; all that is sent here may be
            sent twice.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        token: str | Path | None = None,
        ca: Path | None = None,
        *,
        seconds: float = 300,
        patience: float = 0,
    ) -> None:
        self.url = url.rstrip("/")
        if not self.url.startswith(("http://", "https://")):
            raise SettingsError(f"CHROMA_URL is {url!r}: it must begin with http:// or https://")
        try:
            trust: ssl.SSLContext | bool = ssl.create_default_context(cafile=str(ca)) if ca else True
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"no certificates can be read from {ca}: {error}") from error
        # trust_env off: a proxy of the environment must not stand between a pod and its own namespace.
        self._http = httpx.Client(
            base_url=f"{self.url}/api/v2",
            auth=None if token is None else _Bearer(token),
            verify=trust,
            trust_env=False,
            timeout=httpx.Timeout(seconds, connect=10),
        )
        self._again = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_passing),
            stop=tenacity.stop_after_delay(patience),
            wait=tenacity.wait_exponential(0.2, max=5),
            reraise=True,
        )

    @classmethod
    def from_environment(cls, *, seconds: float = 300, patience: float = 0) -> Chroma:
        """As CHROMA_URL, CHROMA_TOKEN_FILE and CHROMA_CA_FILE say.

        Raises:
            SettingsError: they cannot be right.
        """
        token, ca = os.environ.get("CHROMA_TOKEN_FILE"), os.environ.get("CHROMA_CA_FILE")
        return cls(
            os.environ.get("CHROMA_URL") or DEFAULT_URL,
            Path(token) if token and Path(token).exists() else None,
            Path(ca) if ca else None,
            seconds=seconds,
            patience=patience,
        )

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Chroma:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Any request below /api/v2; the answer's JSON, None where the answer has no body."""
        return self._again(self._call, method, path, body, query)

    def _call(self, method: str, path: str, body: Any, query: Mapping[str, Any]) -> Any:
        content = None if body is None else orjson.dumps(body)
        headers = {} if content is None else {"Content-Type": "application/json"}
        try:
            answer = self._http.request(method, path, content=content, headers=headers, params=query or None)
        except httpx.HTTPError as error:
            raise ChromaError(0, f"{self.url} does not answer: {str(error) or type(error).__name__}") from error
        if not answer.is_success:
            hint = {401: " (token missing or wrong)", 413: " (request too large)"}.get(answer.status_code, "")
            raise ChromaError(answer.status_code, f"{method} {path}: {answer.status_code}{hint} {answer.text[:300]}")
        try:
            return orjson.loads(answer.content) if answer.content else None
        except orjson.JSONDecodeError as error:
            raise ChromaError(answer.status_code, f"{method} {path}: the answer is no JSON") from error

    def heartbeat(self) -> int:
        """The server's clock, ns since 1970. It says that a process answers, and nothing about the data."""
        return int(self.call("GET", "/heartbeat")["nanosecond heartbeat"])

    def largest_batch(self) -> int:
        """The most records that one write may have."""
        return int(self._limits["max_batch_size"])

    @cached_property
    def _limits(self) -> dict[str, Any]:
        """Fixed for the life of a server; older ones do not take base64."""
        return dict(self.call("GET", "/pre-flight-checks"))

    def has_tenant(self, tenant: str) -> bool:
        """There is no list of tenants to be had from Chroma: one can only ask for one by its name."""
        return self._found(f"/tenants/{_quoted(tenant)}")

    def create_tenant(self, tenant: str) -> None:
        """Unless it is there; the same for `create_database`."""
        self._unless_there("/tenants", {"name": tenant})

    def databases(self, tenant: str) -> list[str]:
        return [str(one["name"]) for one in self._listed(f"/tenants/{_quoted(tenant)}/databases")]

    def create_database(self, tenant: str, database: str) -> None:
        self._unless_there(f"/tenants/{_quoted(tenant)}/databases", {"name": database})

    def collections(self, tenant: str = "default_tenant", database: str = "default_database") -> list[Collection]:
        return [_collection(one) for one in self._listed(f"{_database_path(tenant, database)}/collections")]

    def create_collection(
        self,
        name: str,
        *,
        tenant: str = "default_tenant",
        database: str = "default_database",
        metadata: Metadata | None = None,
        configuration: Mapping[str, Any] | None = None,
        get_or_create: bool = False,
    ) -> Collection:
        body = {"name": name, "metadata": metadata, "configuration": configuration, "get_or_create": get_or_create}
        return _collection(self.call("POST", f"{_database_path(tenant, database)}/collections", body))

    def delete_collection(self, collection: Collection) -> None:
        path = _database_path(collection.tenant, collection.database)
        self.call("DELETE", f"{path}/collections/{_quoted(collection.name)}")

    def count(self, collection: Collection) -> int:
        return int(self.call("GET", f"{collection.path}/count"))

    def ids(self, collection: Collection, *, limit: int, offset: int = 0) -> list[str]:
        """A page of the ids, oldest first; pages shift when records before them are deleted meanwhile."""
        answer = self.call("POST", f"{collection.path}/get", {"include": [], "limit": limit, "offset": offset})
        return list(answer["ids"])

    def get(self, collection: Collection, ids: Sequence[str]) -> Records:
        """These records, in this order; those that are not there are left out."""
        answer = self.call("POST", f"{collection.path}/get", {"ids": list(ids), "include": EVERYTHING})
        at = {id_: row for row, id_ in enumerate(answer["ids"])}
        rows = [at[id_] for id_ in ids if id_ in at]
        if not rows:
            return Records.none()
        vectors = np.array([answer["embeddings"][row] for row in rows], np.float32)
        columns = [_picked(answer.get(name), rows) for name in ("metadatas", "documents", "uris")]
        return Records([answer["ids"][row] for row in rows], vectors, *columns)

    def upsert(self, collection: Collection, records: Records) -> None:
        """Write them, over what is there under these ids; harmless when done twice. At most `largest_batch`."""
        encoded = _as_base64 if self._limits.get("supports_base64_encoding") else _as_numbers
        body = {
            "ids": records.ids,
            "embeddings": encoded(records.vectors),
            "metadatas": records.metadatas,
            "documents": records.documents,
            "uris": records.uris,
        }
        self.call("POST", f"{collection.path}/upsert", body)

    def delete(self, collection: Collection, ids: Iterable[str]) -> None:
        self.call("POST", f"{collection.path}/delete", {"ids": list(ids)})

    def query(self, collection: Collection, vectors: Vectors, count: int) -> list[Neighbours]:
        """The `count` nearest to each vector, by the index: what `get` finds may be missing here."""
        body = {"query_embeddings": _as_numbers(vectors), "n_results": count, "include": ["distances"]}
        answer = self.call("POST", f"{collection.path}/query", body)
        return [Neighbours(list(ids), list(far)) for ids, far in zip(answer["ids"], answer["distances"], strict=True)]

    def _unless_there(self, path: str, body: Mapping[str, Any]) -> None:
        try:
            self.call("POST", path, body)
        except ChromaError as error:
            if error.status != 409:
                raise

    def _found(self, path: str) -> bool:
        try:
            self.call("GET", path)
        except ChromaError as error:
            if error.status == 404:
                return False
            raise
        return True

    def _listed(self, path: str) -> list[dict[str, Any]]:
        """All of a list that comes in pages; read anew until two readings agree, for what is deleted moves the rest."""
        before: list[dict[str, Any]] | None = None
        for _ in range(READINGS):
            now = self._pages(path)
            if len(now) < PAGE or (before is not None and {one["id"] for one in before} == {one["id"] for one in now}):
                return now
            before = now
        raise ChromaError(0, f"the list {path} changed while it was read, {READINGS} times")

    def _pages(self, path: str) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        offset = 0
        while True:
            page = self.call("GET", path, limit=PAGE, offset=offset)
            found.update({one["id"]: one for one in page})
            if len(page) < PAGE:
                return list(found.values())
            offset += PAGE


def _collection(answer: Mapping[str, Any]) -> Collection:
    return Collection(
        id=answer["id"],
        name=answer["name"],
        tenant=answer["tenant"],
        database=answer["database"],
        metadata=answer["metadata"],
        configuration=_configuration(answer),
        dimension=answer["dimension"],
    )


def _configuration(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Two settings of the index are told in the schema only, but are taken with the others at creation."""
    configuration = dict(answer["configuration_json"])
    keys = (answer.get("schema") or {}).get("keys") or {}
    lists = (keys.get("#embedding") or {}).get("float_list") or {}
    told = ((lists.get("vector_index") or {}).get("config") or {}).get("hnsw") or {}
    if configuration.get("hnsw"):
        extra = {key: told[key] for key in ("batch_size", "num_threads") if key in told}
        configuration["hnsw"] = {**configuration["hnsw"], **extra}
    return configuration


def _picked(column: list[Any] | None, rows: list[int]) -> list[Any]:
    return [None if column is None else column[row] for row in rows]
