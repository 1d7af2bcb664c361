"""The shapes of what the charts of a run show: plain lists, numbers and strings, which `dataclasses.asdict` makes JSON.

Made by `series`, drawn by `page`. Times are seconds of the run's clock.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Rates:
    """Operations as they ended, one number for each bin; percentiles are of acknowledged ones, None: there was none.

    Attributes:
        ok: acknowledged in a second; `fail`: certainly did not happen; `info`: may have happened.
        p50, p95, p99: milliseconds from the request to its answer.
    """

    ok: list[float]
    fail: list[float]
    info: list[float]
    p50: list[float | None]
    p95: list[float | None]
    p99: list[float | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Traffic:
    """The operations of one history.

    Attributes:
        lane: where it is: "" for the run's own, else its directory, e.g. `beside` or `expected/scaled-out-writes`.
        total: of all operations.
        by_operation: of `add`, `upsert`, `delete`, `get`, `query`, `count`, as far as there are any.
        operations: how many by operation and end, e.g. `{"get": {"ok": 9, "fail": 0, "info": 1}}`.
        latency: of all acknowledged ones by operation: `{"get": {"p50": …, "p95": …, "p99": …, "max": …}}`, ms.
        errors: how many of each kind, e.g. `{"503 Exception": 3}`, most frequent first.
    """

    lane: str
    total: Rates
    by_operation: dict[str, Rates]
    operations: dict[str, dict[str, int]]
    latency: dict[str, dict[str, float]]
    errors: dict[str, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Replicas:
    """A workload's servers: a value holds from its time to the next one."""

    lane: str
    namespace: str
    workload: str  # `Deployment/chromadb`
    t: list[float]
    ready: list[int]
    wanted: list[int]


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """A pod's CPU (cores) and memory (bytes), at its own times."""

    lane: str
    namespace: str
    pod: str
    t: list[float]
    cpu: list[float]
    memory: list[int]


@dataclasses.dataclass(frozen=True, slots=True)
class Totals:
    """CPU (cores) and memory (bytes) of all pods together, and of the largest, at their own times."""

    t: list[float]
    cpu_sum: list[float]
    cpu_max: list[float]
    memory_sum: list[int]
    memory_max: list[int]


@dataclasses.dataclass(frozen=True, slots=True)
class Band:
    """A fault, or a scenario, from when to when.

    Attributes:
        name: of the experiment, or of the scenario.
        kind: `fault`, `scenario` or `gap` (the API server was away, and the timeline knows nothing).
        what: the fault's name, or the scenario's outcome.
        begin, end: seconds; `end` is None if it never ended.
        proven: when it was certain that the fault took effect, or None.
        told: why it has no proof, or could not be done, or "".
    """

    lane: str
    kind: str
    name: str
    what: str
    begin: float
    end: float | None
    proven: float | None = None
    told: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Count:
    """How many records a server had in the end: by the final reads, or by reads of it alone when nothing was written.

    Attributes:
        collection: of Chroma.
        endpoint: the pod that was asked; "" for the Service.
        acknowledged: records that must be there.
        store: of them, those that a `get` found or a `count` counted; None: nobody asked.
        index: of them, those that a `get` with embeddings or a `query` found; None: nobody asked.
    """

    lane: str
    collection: str
    endpoint: str
    acknowledged: int
    store: int | None
    index: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class Series:
    """All of it.

    Attributes:
        seconds: where the axis ends.
        width: seconds of a bin.
        t: where each bin begins.
        notes: sentences on what could not be read, or was left out.
    """

    seconds: float
    width: float
    t: list[float]
    traffic: list[Traffic]
    replicas: list[Replicas]
    usage: list[Usage]
    totals: Totals
    faults: list[Band]
    scenarios: list[Band]
    gaps: list[Band]
    counts: list[Count]
    notes: list[str]
