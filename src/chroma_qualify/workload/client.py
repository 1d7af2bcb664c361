"""A thin layer over Chroma's own client: writes records, reads them back exactly.

It is Chroma's own `HttpClient`, because that is what users run. What is added: timeouts
(the client has none), batches within the server's limit, pages (an unpaged `get` fails
above 32,766 records), and an exact reading of the index (`read_index`).
Used by the scenarios and by `workload.audit`.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Sequence
from typing import Any

import chromadb
import chromadb.config
import chromadb.errors
import httpx
import numpy as np

from chroma_qualify.deployment.access import OPEN, Credentials
from chroma_qualify.errors import UsageError
from chroma_qualify.workload.records import DIMENSION, VALUE_KEY, Matrix, Record, batches, vectors

TENANT = "default_tenant"
DATABASE = "default_database"
PAGE = 5000  # records per `get` without vectors
VECTOR_PAGE = 250  # records per `get` or `query` with vectors: about 2 MB of JSON
_LOST = "Error finding id"  # what the server says when the store has an id and the index has not


class How(enum.StrEnum):
    """Ways to write records; the strings are the methods' names in chromadb."""

    ADD = "add"
    UPSERT = "upsert"
    UPDATE = "update"


@dataclasses.dataclass(frozen=True, slots=True)
class StoreRead:
    """What the store (SQLite) holds.

    Attributes:
        ids: every id, in the order of the answers; a repeated one is repeated here.
        values: id to the value found in the metadata; -1 where there is none.
    """

    ids: tuple[str, ...]
    values: dict[str, int]


@dataclasses.dataclass(frozen=True, slots=True)
class IndexRead:
    """What the index (HNSW) holds of the ids that were asked for.

    Attributes:
        ids: those found, as often as they were in the answers.
        vectors: their embeddings, row by row, shape (len(ids), dimension), float32.
        lost: those the server could not give although it was asked for each alone.
        errors: the server's words about the lost ones, each once.
    """

    ids: tuple[str, ...]
    vectors: Matrix
    lost: tuple[str, ...]
    errors: tuple[str, ...]


def connect(
    host: str,
    port: int,
    *,
    credentials: Credentials = OPEN,
    tenant: str = TENANT,
    database: str = DATABASE,
    timeout: float = 60,
) -> Any:  # noqa: ANN401
    """A client of a running server.

    Args:
        host: where the server listens.
        port: its port.
        credentials: of the deployment; a token goes by chromadb's own provider, an authority by its own setting.
        tenant: an existing tenant.
        database: an existing database of that tenant.
        timeout: seconds for each of connect, send, receive; chromadb's own client waits for ever.

    Raises:
        ValueError: by chromadb, when nothing answers or the tenant does not exist.
    """
    client = chromadb.HttpClient(
        host=host,
        port=port,
        ssl=credentials.ca is not None,
        settings=_settings(credentials),
        tenant=tenant,
        database=database,
    )
    client._server._session.timeout = httpx.Timeout(timeout)  # noqa: SLF001 (chromadb has no other way)
    return client


def create_database(host: str, port: int, tenant: str, database: str, *, credentials: Credentials = OPEN) -> None:
    """Create a tenant and a database in it; what exists already stays."""
    settings = _settings(credentials)
    settings.chroma_server_ssl_enabled = credentials.ca is not None
    settings.chroma_api_impl = "chromadb.api.fastapi.FastAPI"
    settings.chroma_server_host = host
    settings.chroma_server_http_port = port
    admin = chromadb.AdminClient(settings)
    try:  # chromadb raises no error of its own for what exists, so ask first
        admin.get_tenant(tenant)
    except chromadb.errors.NotFoundError:
        admin.create_tenant(tenant)
    try:
        admin.get_database(database, tenant)
    except chromadb.errors.NotFoundError:
        admin.create_database(database, tenant)


def create_collection(client: Any, name: str, *, space: str = "cosine", sync_threshold: int | None = None) -> Any:  # noqa: ANN401
    """A new collection that takes our own embeddings.

    Args:
        client: what `connect` gave.
        name: 3 to 512 of `[a-zA-Z0-9._-]`.
        space: `cosine`, `l2` or `ip`.
        sync_threshold: writes between two flushes of the index to disk; None: the server's default, 1000.
    """
    hnsw: dict[str, object] = {"space": space}
    if sync_threshold is not None:
        hnsw["sync_threshold"] = sync_threshold
    return client.create_collection(name, embedding_function=None, configuration={"hnsw": hnsw})


def write(
    client: Any,  # noqa: ANN401
    collection: Any,  # noqa: ANN401
    records: Sequence[Record],
    *,
    how: How = How.ADD,
    batch: int | None = None,
    documents: Sequence[str] | None = None,
) -> dict[str, int]:
    """Write records; vector and metadata follow from each value.

    Args:
        client: what `connect` gave; asked for the server's `max_batch_size`.
        collection: where to.
        records: what.
        how: as new records, as new or changed ones, or as changed ones.
        batch: records per request; None: as many as the server takes.
        documents: texts for the records, as many as there are records.

    Returns:
        Id to value of what the server acknowledged: all of it, else the server's error is raised.

    Raises:
        UsageError: `batch` is more than the server takes.
    """
    limit = client.get_max_batch_size()
    if batch is not None and batch > limit:
        raise UsageError(f"a batch of {batch} records is more than the server takes ({limit})")
    acknowledged: dict[str, int] = {}
    send = getattr(collection, how.value)
    for part in batches(records, batch or limit):
        texts = documents[len(acknowledged) : len(acknowledged) + len(part)] if documents is not None else None
        send(
            ids=[record.id for record in part],
            embeddings=vectors([record.value for record in part]),
            metadatas=[{VALUE_KEY: record.value} for record in part],
            documents=texts,
        )
        acknowledged.update((record.id, record.value) for record in part)
    return acknowledged


def read_store(collection: Any, page: int = PAGE) -> StoreRead:  # noqa: ANN401
    """Everything that `get` gives, page by page; nobody should write meanwhile."""
    ids: list[str] = []
    values: dict[str, int] = {}
    while True:
        answer = collection.get(limit=page, offset=len(ids), include=["metadatas"])
        ids.extend(answer["ids"])
        for id_, metadata in zip(answer["ids"], answer["metadatas"], strict=True):
            values[id_] = (metadata or {}).get(VALUE_KEY, -1)
        if len(answer["ids"]) < page:
            return StoreRead(tuple(ids), values)


def read_index(collection: Any, ids: Sequence[str], page: int = VECTOR_PAGE) -> IndexRead:  # noqa: ANN401
    """Ask for the embeddings of ids: the exact test of the index.

    The server fails a whole `get` when one id is lost, so a failed page is halved until each
    lost id stands alone. A server that cannot read the collection at all loses the whole page.
    Ids that the store does not have are left out by the server and are in neither result.
    """
    found: list[str] = []
    rows: list[Matrix] = []
    lost: list[str] = []
    errors: dict[str, None] = {}
    waiting = [list(ids[start : start + page]) for start in reversed(range(0, len(ids), page))]
    while waiting:
        part = waiting.pop()
        answer, error = _ask(collection, part)
        if answer is not None:
            found.extend(answer["ids"])
            rows.append(np.asarray(answer["embeddings"], dtype=np.float32).reshape(len(answer["ids"]), -1))
        elif len(part) > 1 and _LOST in error:
            middle = len(part) // 2
            waiting += [part[middle:], part[:middle]]
        else:
            lost.extend(part)
            errors[error] = None
    full = [part for part in rows if len(part)]
    matrix = np.concatenate(full) if full else np.empty((0, DIMENSION), dtype=np.float32)
    return IndexRead(tuple(found), matrix, tuple(lost), tuple(errors))


def query(
    collection: Any,  # noqa: ANN401
    targets: Matrix,
    k: int,
    *,
    page: int = VECTOR_PAGE,
    **arguments: object,
) -> Iterator[tuple[str, ...]]:
    """The ids of the `k` nearest of each target, nearest first.

    Args:
        collection: where to ask.
        targets: query vectors, shape (n, dimension).
        k: how many neighbours.
        page: queries per request.
        arguments: passed on, e.g. `where=`.

    Yields:
        One tuple per target, in order.
    """
    for start in range(0, len(targets), page):
        answer = collection.query(
            query_embeddings=targets[start : start + page], n_results=k, include=["distances"], **arguments
        )
        for ids in answer["ids"]:
            yield tuple(ids)


def _ask(collection: Any, ids: list[str]) -> tuple[dict[str, Any] | None, str]:  # noqa: ANN401
    """One `get` with embeddings: the answer, or the server's words.

    Anything but a lost id is asked once more: "Failed to apply logs to the hnsw segment
    writer" has been seen on the first read after a kill only.
    """
    error = ""
    for _ in range(2):
        try:
            return collection.get(ids=ids, include=["embeddings"]), ""
        except chromadb.errors.InternalError as failure:
            error = str(failure)
            if _LOST in error:
                break
    return None, error


def _settings(credentials: Credentials) -> chromadb.config.Settings:
    settings: dict[str, Any] = {"anonymized_telemetry": False}
    if credentials.token:
        settings["chroma_client_auth_provider"] = "chromadb.auth.token_authn.TokenAuthClientProvider"
        settings["chroma_client_auth_credentials"] = credentials.token
    if credentials.ca_file:
        settings["chroma_server_ssl_verify"] = credentials.ca_file
    return chromadb.config.Settings(**settings)
