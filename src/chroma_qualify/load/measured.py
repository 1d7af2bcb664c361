"""What a load was, second by second, added up exactly over any span. Pure: no cluster, no clock.

Fed with the JSON lines that images/loader/locustfile.py prints; used by `generator` and by the scenarios. Histograms
carry their own buckets (microseconds to three significant digits), so spans and loaders are merged by adding counts,
never by averaging percentiles.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence

LATE_AT_MOST = 0.005
"""s; the loader's own lateness (p99) up to which every latency counts, however small the latency is."""

LATE_SHARE = 0.1
"""Above LATE_AT_MOST, the share of the latency's p99 that the loader's lateness may make up.

Latency counts from the due time, so lateness is inside it and only makes the server look worse. Loader, servers and
control plane share two cores here, where one scheduler slice is already 3-4 ms: an absolute 5 ms would call sound
runs undecided, and beyond a tenth the number would be about the loader. So: an error of a tenth at most.
"""

SENT_AT_LEAST = 0.95
"""Share of the due requests that must have been sent or deliberately dropped for a span to count as that load."""


@dataclasses.dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by value in microseconds."""

    counts: Mapping[int, int] = dataclasses.field(default_factory=dict)

    @property
    def total(self) -> int:
        """Number of values."""
        return sum(self.counts.values())

    def percentile(self, percent: float) -> float | None:
        """Seconds that `percent` % of the values do not exceed (nearest rank); None without values."""
        if not 0 < percent <= 100:
            raise ValueError(f"percent is {percent}, not in (0, 100]")
        wanted = percent / 100 * self.total
        seen = 0
        for value in sorted(self.counts):
            seen += self.counts[value]
            if seen >= wanted - 1e-9:
                return value / 1e6
        return None

    @classmethod
    def merged(cls, parts: Iterable[Histogram]) -> Histogram:
        """All values of all parts."""
        total: collections.Counter[int] = collections.Counter()
        for part in parts:
            total.update(part.counts)
        return cls(dict(total))


@dataclasses.dataclass(frozen=True, slots=True)
class Second:
    """One second of the timetable.

    Attributes:
        wall: when it began, seconds since the epoch, by the loader's clock; of several loaders, the first one's.
        due: requests planned; `sent`: those sent; `ok`: those answered with neighbours in time.
        errors: the rest by kind; kind `dropped` was never sent (too many were still unanswered).
        latency: from due time to answer or error, of every request sent.
        lag: from due time to the sending.
        lasts: seconds; more than 1 where several loaders' are added up, which do not begin at the very same time.
    """

    wall: float
    due: int
    sent: int
    ok: int
    errors: Mapping[str, int]
    latency: Histogram
    lag: Histogram
    lasts: float = 1.0


@dataclasses.dataclass(frozen=True, slots=True)
class Span:
    """Several seconds added up; fields as in `Second`."""

    seconds: int
    due: int
    sent: int
    ok: int
    errors: Mapping[str, int]
    latency: Histogram
    lag: Histogram

    def not_offered(self) -> str:
        """Why this span does not count as the load that was planned; "" if it does."""
        if self.seconds == 0 or self.due == 0:
            return "the loader reported no complete second"
        done = self.sent + self.errors.get("dropped", 0)
        if done < SENT_AT_LEAST * self.due:
            return f"only {done} of {self.due} due requests were sent"
        return ""

    def latency_doubt(self) -> str:
        """Why this span's latencies say more of the loader than of the server; "" if they do not."""
        late, slow = self.lag.percentile(99), self.latency.percentile(99)
        if late is None or slow is None:
            return "no request was sent"
        limit = max(LATE_AT_MOST, LATE_SHARE * slow)
        if late > limit:
            return f"the loader itself was {late * 1000:.1f} ms late (p99), more than {limit * 1000:.1f} ms"
        return ""

    @property
    def failed(self) -> int:
        """Requests that were sent or dropped and got no good answer."""
        return sum(self.errors.values())

    def summary(self) -> dict[str, object]:
        """What the run directory keeps of it; latencies in seconds."""
        return {
            "seconds": self.seconds,
            "due": self.due,
            "sent": self.sent,
            "ok": self.ok,
            "errors": dict(self.errors),
            "latency": {f"p{percent:g}": self.latency.percentile(percent) for percent in (50, 90, 95, 99, 99.9, 100)},
            "lag": {f"p{percent:g}": self.lag.percentile(percent) for percent in (50, 99, 100)},
            "latency_doubt": self.latency_doubt(),
        }


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """Everything one loader reported.

    Attributes:
        began: wall clock of second 0; None if it never began.
        rate: requests per second of the timetable; `capacity`: what the server did in a closed loop, where asked.
        seconds: the complete seconds, in order.
        ended: its last line was there (nothing was cut off).
        said: lines that are not its report (its own complaints).
    """

    began: float | None
    seconds: tuple[Second, ...]
    ended: bool
    said: tuple[str, ...] = ()
    rate: float | None = None
    capacity: float | None = None

    def span(self, start: float | None = None, end: float | None = None) -> Span:
        """The seconds that lie wholly between two wall clock times (None: no bound)."""
        inside = [
            second
            for second in self.seconds
            if (start is None or second.wall >= start) and (end is None or second.wall + second.lasts <= end)
        ]
        errors: collections.Counter[str] = collections.Counter()
        for second in inside:
            errors.update(second.errors)
        return Span(
            seconds=len(inside),
            due=sum(second.due for second in inside),
            sent=sum(second.sent for second in inside),
            ok=sum(second.ok for second in inside),
            errors=dict(errors),
            latency=Histogram.merged(second.latency for second in inside),
            lag=Histogram.merged(second.lag for second in inside),
        )


def parse(text: str) -> Load:
    """Read a loader's log; lines that are not its own are kept as `said`."""
    began: float | None = None
    rate: float | None = None
    capacity: float | None = None
    ended = False
    seconds: dict[int, Second] = {}
    said: list[str] = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
            kind = entry["kind"]
        except (ValueError, TypeError, KeyError):
            said.append(line)
            continue
        if kind == "start":
            began, rate, capacity = float(entry["wall"]), entry.get("rate"), entry.get("capacity")
        elif kind == "end":
            ended = True
        elif kind == "second" and began is not None:
            number = int(entry["second"])
            seconds[number] = Second(
                wall=began + number,
                due=entry["due"],
                sent=entry["sent"],
                ok=entry["ok"],
                errors=entry["errors"],
                latency=_histogram(entry["latency"]),
                lag=_histogram(entry["lag"]),
            )
    return Load(began, tuple(seconds[number] for number in sorted(seconds)), ended, tuple(said), rate, capacity)


def merged(loads: Sequence[Load]) -> Load:
    """What several loaders sent at the same time, second by second; of one, its own.

    A second that one of them does not tell of is left out of all.
    """
    if len(loads) == 1:
        return loads[0]
    began = [load.began for load in loads if load.began is not None]
    capacities = [load.capacity for load in loads if load.capacity is not None]
    apart = [{round(second.wall - (load.began or 0)): second for second in load.seconds} for load in loads]
    common = sorted(set.intersection(*(set(numbers) for numbers in apart)))
    return Load(
        began=min(began) if len(began) == len(loads) else None,
        seconds=tuple(_added([numbers[number] for numbers in apart]) for number in common),
        ended=all(load.ended for load in loads),
        said=tuple(line for load in loads for line in load.said),
        rate=sum(load.rate or 0 for load in loads),
        capacity=sum(capacities) if capacities else None,
    )


def _added(parts: Sequence[Second]) -> Second:
    errors: collections.Counter[str] = collections.Counter()
    for part in parts:
        errors.update(part.errors)
    begin = min(part.wall for part in parts)
    return Second(
        wall=begin,
        due=sum(part.due for part in parts),
        sent=sum(part.sent for part in parts),
        ok=sum(part.ok for part in parts),
        errors=dict(errors),
        latency=Histogram.merged(part.latency for part in parts),
        lag=Histogram.merged(part.lag for part in parts),
        lasts=max(part.wall + part.lasts for part in parts) - begin,
    )


def _histogram(counts: Mapping[str, int]) -> Histogram:
    return Histogram({int(micros): count for micros, count in counts.items()})
