"""What the page draws, from the series of a run: one spec a chart, its sentence and its table for who cannot see it.

Pure. `page` and `page_diff` put the specs into the page as JSON, where assets/charts.js hands them to uPlot.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any, Final

from chroma_qualify.report import series as series_
from chroma_qualify.report.series import Rates, Series
from chroma_qualify.report.words import amount, clock

_ROWS = 48  # of a chart's table
_LONGEST = 80  # characters of a name in a chart
_ROOM = 0.12  # of the axis: what a name takes
_FRESH = 10.0  # seconds that a measured value holds
# Lines must be told apart without colours; more of them cannot be.
_DASHES: Final[Sequence[tuple[int, ...]]] = ((), (6, 3), (2, 3), (8, 3, 2, 3), (1, 2), (12, 4))
_LANES = 12  # rows of the chart of faults and scenarios

Column = Sequence[float | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart.

    Attributes:
        label: for the legend.
        color: number of the colour in page.css, from 1.
        data: one value or None for each bin.
        dash: lengths of strokes and gaps, or (): lines must be told apart without colours.
        stepped: values hold until the next one.
        fill: draw the area below it.
    """

    label: str
    color: int
    data: Column
    dash: tuple[int, ...] = ()
    stepped: bool = False
    fill: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Chart:
    """One chart.

    Attributes:
        key: of its element in the page.
        title: what it shows.
        unit: `ms`, `/s`, `pods`, `cores` or `bytes`.
        lines: what is drawn.
        log: it can be shown on a logarithmic scale.
        told: its main points as a sentence.
        head, rows: the same as a table, in few rows.
    """

    key: str
    title: str
    unit: str
    lines: tuple[Line, ...]
    log: bool
    told: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def spec(self) -> dict[str, Any]:
        """What charts.js needs."""
        lines = [
            dataclasses.asdict(line) | {"label": line.label[:_LONGEST], "data": [_short(value) for value in line.data]}
            for line in self.lines
        ]
        return {"key": self.key, "unit": self.unit, "log": self.log, "lines": lines}


@dataclasses.dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time: a fault or a scenario.

    Attributes:
        lane: row in which it is drawn; bands of one row do not overlap.
        kind: `fault`, `scenario`, or `gap`: nobody could watch the cluster.
        state: `proven` or `unproven` of a fault; the outcome of a scenario.
    """

    name: str
    begin: float
    end: float
    kind: str
    state: str
    lane: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Timeline:
    """All charts of a run on one axis; seconds."""

    seconds: float
    times: tuple[float, ...]
    charts: tuple[Chart, ...]
    bands: tuple[Band, ...]
    notes: tuple[str, ...]

    def spec(self) -> dict[str, Any]:
        """What charts.js needs."""
        return {
            "seconds": round(self.seconds, 3),
            "times": [round(each, 3) for each in self.times],
            "charts": [chart.spec() for chart in self.charts],
            "bands": [dataclasses.asdict(band) | {"name": band.name[:_LONGEST]} for band in self.bands],
        }


def timeline(series: Series) -> Timeline:
    """The charts of a run."""
    times = tuple(series.t)
    bands = lanes(series)
    seconds = max([series.seconds, *(band.end for band in bands), *times[-1:]])
    charts = tuple(
        chart(key, title, unit, lines, times, log=log)
        for key, title, unit, lines, log in (
            ("latency", "Latency", "ms", _latency(series), True),
            ("throughput", "Acknowledged operations", "/s", _throughput(series), False),
            ("errors", "Errors", "/s", _errors(series), False),
            ("replicas", "Ready replicas of one namespace", "pods", _replicas(series), False),
            ("cpu", "CPU", "cores", _usage(series, series.totals.cpu_sum, series.totals.cpu_max), False),
            ("memory", "Memory", "bytes", _usage(series, series.totals.memory_sum, series.totals.memory_max), False),
        )
        if any(value is not None for line in lines for value in line.data)
    )
    return Timeline(seconds, times, charts, bands, tuple(series.notes))


def chart(
    key: str, title: str, unit: str, lines: Sequence[Line], times: Sequence[float], *, log: bool = False
) -> Chart:
    """A chart with its sentence and its table."""
    size = max(1, -(-len(times) // _ROWS))
    rows = tuple(
        (clock(times[start]), *(amount(_peak(line.data[start : start + size]), unit) for line in lines))
        for start in range(0, len(times), size)
        if any(value is not None for line in lines for value in line.data[start : start + size])
    )
    told = "; ".join(filter(None, (_sentence(line, times, unit) for line in lines)))
    highest = "" if size == 1 else ", highest of each row"
    head = ("from", *(f"{line.label}{highest}" for line in lines))
    return Chart(key, title, unit, tuple(lines), log, f"{title}: {told}." if told else "", head, rows)


def lanes(series: Series) -> tuple[Band, ...]:
    """Faults and scenarios, packed into rows in which none overlaps another: faults in the first ones."""
    faults = [
        Band(each.name, each.begin, _end(each, series), "fault", "proven" if each.proven is not None else "unproven")
        for each in series.faults
    ]
    gaps = [
        Band("not watched", each.begin, _end(each, series), "gap", "the API server was away") for each in series.gaps
    ]
    scenarios = [
        Band(each.name, each.begin, _end(each, series), "scenario", each.what or "unknown") for each in series.scenarios
    ]
    packed_faults, used = _packed([*faults, *gaps], 0, room=_ROOM * series.seconds)
    packed_scenarios, _ = _packed(scenarios, used)
    return (*packed_faults, *packed_scenarios)


def _end(band: series_.Band, series: Series) -> float:
    """What never ended lasts as long as the axis."""
    return max(band.begin, series.seconds if band.end is None else band.end)


def _packed(bands: Sequence[Band], first: int, room: float = 0.0) -> tuple[list[Band], int]:
    """Each band into the first row that is free then, and has been for `room` seconds, so that a name fits behind it.

    Returns:
        The bands, and the number of the next row.
    """
    free: list[float] = []
    packed = []
    for band in sorted(bands, key=lambda band: band.begin):
        row = next((row for row, end in enumerate(free) if end + room <= band.begin), None)
        if row is None and len(free) < _LANES // 2:
            free.append(0.0)
            row = len(free) - 1
        if row is None:  # no row is left for names; and if bands overlap as often, so do the last ones
            row = next((row for row, end in enumerate(free) if end <= band.begin), len(free) - 1)
        free[row] = max(free[row], band.end)
        packed.append(dataclasses.replace(band, lane=first + row))
    return packed, first + len(free)


def _clients(series: Series) -> Rates | None:
    """All clients' operations: of both lanes, and of a run that must fail; percentiles are those of the slowest."""
    total = [traffic.total for traffic in series.traffic]
    if len(total) < 2:
        return total[0] if total else None
    counted = {name: _added([getattr(rates, name) for rates in total]) for name in ("ok", "fail", "info")}
    slowest = {name: _highest([getattr(rates, name) for rates in total]) for name in ("p50", "p95", "p99")}
    return Rates(
        ok=[value or 0.0 for value in counted["ok"]],
        fail=[value or 0.0 for value in counted["fail"]],
        info=[value or 0.0 for value in counted["info"]],
        **slowest,
    )


def _latency(series: Series) -> list[Line]:
    rates = _clients(series)
    if rates is None:
        return []
    return [
        Line("p50", 1, rates.p50),
        Line("p95", 2, rates.p95, (6, 3)),
        Line("p99", 3, rates.p99, (2, 3)),
    ]


def _throughput(series: Series) -> list[Line]:
    rates = _clients(series)
    if rates is None:
        return []
    names = list(dict.fromkeys(name for traffic in series.traffic for name in traffic.by_operation))
    columns = {
        name: _added([traffic.by_operation[name].ok for traffic in series.traffic if name in traffic.by_operation])
        for name in names
    }
    lines = [
        Line(name, 2 + place, columns[name], dash)
        for place, (name, dash) in enumerate(zip((name for name in names if any(columns[name])), _DASHES, strict=False))
    ]
    return [Line("all", 1, rates.ok, fill=True), *lines]


def _errors(series: Series) -> list[Line]:
    rates = _clients(series)
    if rates is None or not (any(rates.fail) or any(rates.info)):
        return []
    return [
        Line("fail: certainly not done", 3, rates.fail, stepped=True, fill=True),
        Line("info: done or not, nobody knows", 2, rates.info, (6, 3), stepped=True, fill=True),
    ]


def _replicas(series: Series) -> list[Line]:
    """Ready pods of each workload, in the namespace where it has most: servers of two namespaces share no volume."""
    by_name: dict[str, list[Column]] = {}
    for each in series.replicas:
        held = _held(list(zip(each.t, each.ready, strict=False)), series.t)
        by_name.setdefault(each.workload.rpartition("/")[2], []).append(held)
    together = {name: _highest(columns) for name, columns in by_name.items()}
    most = sorted(together, key=lambda name: (-sum(value or 0 for value in together[name]), name))
    return [
        Line(name, place, together[name], dash, stepped=True)
        for place, (name, dash) in enumerate(zip(most, _DASHES, strict=False), 1)
    ]


def _usage(series: Series, together: Sequence[float], largest: Sequence[float]) -> list[Line]:
    return [
        Line("all pods", 1, _binned(series.totals.t, together, series.t), fill=True),
        Line("the largest pod", 2, _binned(series.totals.t, largest, series.t), (6, 3)),
    ]


def _held(pairs: Sequence[tuple[float, float]], times: Sequence[float]) -> Column:
    """Steps as one value for each bin: the last one that began before the bin's end; None before the first."""
    column: list[float | None] = []
    place: int = 0
    current: float | None = None
    for index in range(len(times)):
        until = times[index + 1] if index + 1 < len(times) else float("inf")
        while place < len(pairs) and pairs[place][0] < until:
            current = pairs[place][1]
            place += 1
        column.append(current)
    return column


def _binned(at: Sequence[float], values: Sequence[float], times: Sequence[float]) -> Column:
    """The highest value of each bin; a bin without one has that of the bin before, if that is less than 10 s old."""
    column: list[float | None] = [None] * len(times)
    seen = float("-inf")
    place = 0
    for index in range(len(times)):
        until = times[index + 1] if index + 1 < len(times) else float("inf")
        inside = []
        while place < len(at) and at[place] < until:
            inside.append(values[place])
            seen = at[place]
            place += 1
        if inside:
            column[index] = max(inside)
        elif index and times[index] - seen < _FRESH:
            column[index] = column[index - 1]
    return column


def _added(columns: Sequence[Column]) -> list[float | None]:
    return [
        None if all(value is None for value in values) else sum(value or 0 for value in values)
        for values in zip(*columns, strict=False)
    ]


def _highest(columns: Sequence[Column]) -> list[float | None]:
    return [_peak(values) for values in zip(*columns, strict=False)]


def _sentence(line: Line, times: Sequence[float], unit: str) -> str:
    known = [(value, time) for value, time in zip(line.data, times, strict=True) if value is not None]
    if not known:
        return ""
    highest, when = max(known)
    middle = statistics.median(value for value, _ in known)
    return f"{line.label} median {amount(middle, unit)}, highest {amount(highest, unit)} at {clock(when)}"


def _peak(values: Column) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _short(value: float | None) -> float | None:
    """Four digits are more than a chart shows."""
    if value is None:
        return None
    short = float(f"{value:.4g}")
    return int(short) if short.is_integer() else short
