"""`canary`: writes to Chroma, reads back and queries, again and again, and tells Prometheus how that went.

It has a collection of its own, of a fixed number of records that it writes over in turn, with a small `sync_threshold`:
so all of the way is taken that clients' data take, the index's file included, and nothing grows. It is in the tools'
own tenant, for a Chroma without any other data must be empty to a backup and to a restore. Other collections are
queried by turns, for an index that cannot be read fails its own collection only. The heartbeat knows of none of this.

CANARY_SECONDS          from the begin of a round to the next, 30
CANARY_TIMEOUT_SECONDS  for each answer, 10
CANARY_COLLECTIONS      other collections that are queried in a round, 3; 0: none. Chroma keeps an index that was
                        queried in memory
CANARY_TENANT           whose collections they are, default_tenant: Chroma has no list of tenants
CANARY_PORT             of /metrics, 9110
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import prometheus_client

from chroma_tools._chroma import Chroma, ChromaError, Collection, Records, SettingsError
from chroma_tools._own import TENANT, make_place

log = logging.getLogger("canary")

NAME = "chromadb-canary"
DATABASE = "canary"
RECORDS = 64  # in its collection
BATCH = 8  # written in a round
DIMENSION = 16
# Writes after which Chroma writes its index to the volume and purges its log: every fourth round.
SYNC_THRESHOLD = 4 * BATCH
STEPS = ("connect", "write", "read", "query", "collections")
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class WrongError(Exception):
    """Chroma answered, and the answer is wrong."""


@dataclass(frozen=True)
class Settings:
    """Seconds, and a number of collections."""

    seconds: float
    timeout: float
    collections: int
    tenant: str
    port: int

    @classmethod
    def from_environment(cls) -> Settings:
        """As CANARY_… say; raises SettingsError."""
        return cls(
            _number("CANARY_SECONDS", 30, float, above=0),
            _number("CANARY_TIMEOUT_SECONDS", 10, float, above=0),
            int(_number("CANARY_COLLECTIONS", 3, int, above=-1)),
            os.environ.get("CANARY_TENANT") or "default_tenant",
            int(_number("CANARY_PORT", 9110, int, above=0)),
        )


def _number(name: str, default: float, kind: type[int] | type[float], above: float) -> float:
    text = os.environ.get(name) or str(default)
    try:
        number = kind(text)
    except ValueError:
        number = above
    if not above < number < float("inf"):
        raise SettingsError(f"{name} is {text!r}: it must be a number above {above:g}")
    return number


class Metrics:
    """What Prometheus is told."""

    def __init__(self, registry: prometheus_client.CollectorRegistry) -> None:
        self.success = prometheus_client.Gauge(
            "chromadb_canary_success",
            "1 if the step went well in the latest round, else 0.",
            ["step"],
            registry=registry,
        )
        self.last = prometheus_client.Gauge(
            "chromadb_canary_last_success_timestamp_seconds",
            "When the step last went well; before it ever did, when the canary began.",
            ["step"],
            registry=registry,
        )
        self.duration = prometheus_client.Histogram(
            "chromadb_canary_duration_seconds", "How long the step took.", ["step"], registry=registry, buckets=BUCKETS
        )
        self.failures = prometheus_client.Counter(
            "chromadb_canary_failures", "Rounds in which the step did not go well.", ["step"], registry=registry
        )
        self.broken = prometheus_client.Gauge(
            "chromadb_canary_broken_collections",
            "Other collections whose latest query by the canary failed.",
            registry=registry,
        )
        for step in STEPS:
            self.last.labels(step).set_to_current_time()
            self.failures.labels(step)


class Canary:
    """Rounds of steps. A step that needs an earlier one that failed is counted as failed, too."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._round = 0
        self._turn = 0  # in the list of other collections
        self._broken: dict[str, str] = {}  # collection's label to what went wrong
        self._random = np.random.default_rng()

    def round(self) -> bool:
        """One round; True if all went well. It raises nothing: whatever happens is a failed step."""
        self._round += 1
        # Made anew each time: a token or a certificate authority that has changed is taken up.
        chroma: list[Chroma] = []
        mine: list[Collection] = []
        written: list[Records] = []
        try:
            went_well = [
                self._step("connect", lambda: self._connect(chroma, mine)),
                self._step("write", lambda: written.append(self._write(chroma[0], mine[0]))),
                self._step("read", lambda: self._read(chroma[0], mine[0], written[0])),
                self._step("query", lambda: self._query(chroma[0], mine[0], written[0])),
                self._step("collections", lambda: self._others(chroma[0])),
            ]
        finally:
            for connection in chroma:
                connection.close()
        return all(went_well)

    def _step(self, step: str, do: Callable[[], object]) -> bool:
        began = time.monotonic()
        try:
            do()
        except IndexError:  # an earlier step has left nothing to work with, and has said so
            well = False
        except (ChromaError, SettingsError, WrongError) as error:
            log.error("%s: %s", step, error)  # noqa: TRY400 (the place in this file says nothing)
            well = False
        except Exception:  # an answer of an unforeseen form must not end the canary
            log.exception("%s", step)
            well = False
        else:
            well = True
            self._metrics.duration.labels(step).observe(time.monotonic() - began)
            self._metrics.last.labels(step).set_to_current_time()
        self._metrics.success.labels(step).set(well)
        if not well:
            self._metrics.failures.labels(step).inc()
        return well

    def _connect(self, chroma: list[Chroma], mine: list[Collection]) -> None:
        connection = Chroma.from_environment(seconds=self._settings.timeout)
        chroma.append(connection)
        index = {"hnsw": {"sync_threshold": SYNC_THRESHOLD, "batch_size": BATCH}}
        make_place(connection, DATABASE)
        mine.append(
            connection.create_collection(
                NAME, tenant=TENANT, database=DATABASE, configuration=index, get_or_create=True
            )
        )

    def _write(self, chroma: Chroma, mine: Collection) -> Records:
        """The next few records, each with a new vector."""
        first = self._round * BATCH % RECORDS
        ids = [f"canary-{number}" for number in range(first, first + BATCH)]
        vectors = self._random.standard_normal((BATCH, DIMENSION)).astype(np.float32)
        metadatas = [{"round": self._round, "at": int(time.time())} for _ in ids]
        records = Records(ids, vectors, list(metadatas), [f"round {self._round}" for _ in ids], [None for _ in ids])
        chroma.upsert(mine, records)
        return records

    def _read(self, chroma: Chroma, mine: Collection, written: Records) -> None:
        """What was written is there, bit by bit."""
        found = chroma.get(mine, written.ids)
        if found.ids != written.ids:
            raise WrongError(f"wrote {len(written)} records, and {len(found)} of them are there")
        if not np.array_equal(found.vectors, written.vectors):
            raise WrongError("the vectors that were read are not those that were written")
        if (found.metadatas, found.documents) != (written.metadatas, written.documents):
            raise WrongError("the metadata or documents that were read are not those that were written")

    def _query(self, chroma: Chroma, mine: Collection, written: Records) -> None:
        """The index finds what was written: each record is the nearest to itself."""
        nearest = [found.ids[:1] for found in chroma.query(mine, written.vectors, 1)]
        missing = [id_ for id_, found in zip(written.ids, nearest, strict=True) if found != [id_]]
        if missing:
            raise WrongError(f"the index does not find {len(missing)} of {len(written)} records: {', '.join(missing)}")

    def _others(self, chroma: Chroma) -> None:
        """Query the next few of the other collections; the step fails as long as one of them is known to be broken."""
        if self._settings.collections:
            tenant = self._settings.tenant
            found = {
                one.label: one
                for database in chroma.databases(tenant)
                for one in chroma.collections(tenant, database)
                if one.dimension
            }
            self._broken = {label: why for label, why in self._broken.items() if label in found}
            for label in self._next(sorted(found)):
                if why := _why_broken(chroma, found[label]):
                    self._broken[label] = why
                else:
                    self._broken.pop(label, None)
        self._metrics.broken.set(len(self._broken))
        if self._broken:
            raise WrongError("; ".join(f"{label}: {why}" for label, why in sorted(self._broken.items())))

    def _next(self, labels: list[str]) -> list[str]:
        """Whose turn it is, after those that are broken: whether they are well again is to be seen soon."""
        count = min(self._settings.collections, len(labels))
        turn = [labels[(self._turn + number) % len(labels)] for number in range(count)]
        self._turn = (self._turn + count) % max(len(labels), 1)
        return [*self._broken, *(label for label in turn if label not in self._broken)]


def _why_broken(chroma: Chroma, collection: Collection) -> str:
    """What is wrong with a collection, or ""; one that is deleted meanwhile or has no records is well."""
    try:
        if chroma.count(collection) == 0:
            return ""
        vector = np.ones((1, collection.dimension or 1), np.float32)
        found = chroma.query(collection, vector, 1)
        return "" if found and found[0].ids else "its index finds nothing"
    except ChromaError as error:
        return "" if error.status == 404 else str(error)


def main() -> int:
    """Go on until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        settings = Settings.from_environment()
        Chroma.from_environment().close()
    except SettingsError as error:
        log.error("%s", error)  # noqa: TRY400
        return 2
    registry = prometheus_client.CollectorRegistry()
    canary = Canary(settings, Metrics(registry))
    prometheus_client.start_http_server(settings.port, registry=registry)
    well: bool | None = None
    while not ended.is_set():
        began = time.monotonic()
        if (now := canary.round()) != well:
            well = now
            log.info("all is well" if well else "something is wrong, see above")
        ended.wait(max(0.0, began + settings.seconds - time.monotonic()))
    return 0
