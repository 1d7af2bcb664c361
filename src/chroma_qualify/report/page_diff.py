"""The comparison of two runs as a page: what `compare` says, and the charts of both laid over each other.

Made by `chroma-qualify diff --format html`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from chroma_qualify.report.charts import Band, Chart, Column, Line, Timeline, chart, lanes, timeline
from chroma_qualify.report.compare import compare
from chroma_qualify.report.comparison import Answer, Change, Comparison, Figure
from chroma_qualify.report.page import put
from chroma_qualify.report.series import read_series
from chroma_qualify.report.template import fill

_TONE = {Answer.NO_WORSE: "pass", Answer.WORSE: "fail", Answer.UNKNOWN: "unknown"}
_WORD = {Answer.NO_WORSE: "no worse", Answer.WORSE: "worse", Answer.UNKNOWN: "unknown"}
_MEANING = {
    Answer.NO_WORSE: "Nothing fails in the second run that did not fail in the first.",
    Answer.WORSE: "Something fails in the second run that did not fail in the first.",
    Answer.UNKNOWN: "It cannot be said whether the second run is worse than the first.",
}
_CHANGE = {
    Change.NEW: "unknown",
    Change.GONE: "not-run",
    Change.SAME: "note",
    Change.WORSE: "fail",
    Change.BETTER: "pass",
    Change.OTHER: "unknown",
}
_ORDER = (Change.WORSE, Change.NEW, Change.OTHER, Change.BETTER, Change.GONE, Change.SAME)
_REASONS = 8  # on the first screen
_MAIN = {"latency": "p95", "throughput": "all", "cpu": "all pods", "memory": "all pods"}


def write_diff_page(before: Path, after: Path, output: Path) -> Path:
    """Compare two runs and write the page; returns its path.

    Raises:
        UsageError: one of them is no directory.
        OSError: the page cannot be written.
    """
    comparison = compare(before, after)
    return put(output, diff_page(comparison, overlaid(before, after)))


def diff_page(comparison: Comparison, line: Timeline) -> str:
    """The page as text."""
    findings = sorted(comparison.findings, key=lambda each: _ORDER.index(each.change))
    scenarios = sorted(comparison.scenarios, key=lambda each: _ORDER.index(each.change))
    figures = [
        ("phases", "Operations by phase", "phase", comparison.phases),
        ("outages", "What faults did to the clients", "fault", comparison.outages),
        ("measures", "Measures", "scenario", comparison.measures),
        ("parts", "Parts of the run", "part", comparison.parts),
    ]
    parts = [("findings", "Findings"), ("scenarios", "Scenarios"), ("timeline", "Timeline")]
    parts += [(anchor, title) for anchor, title, _, rows in figures if rows]
    parts += [("differences", "Settings")] if comparison.differences else []
    parts += [("manifests", "Manifests")] if comparison.manifests else []
    return fill(
        "diff.html.j2",
        title=f"{_WORD[comparison.answer]}: {comparison.after.run_id} against {comparison.before.run_id}",
        data=line.spec(),
        diff=comparison,
        tone=_TONE[comparison.answer],
        word=_WORD[comparison.answer],
        meaning=_MEANING[comparison.answer],
        why=[f"{each.rstrip('.')}." for each in comparison.why[:_REASONS]],
        more=max(0, len(comparison.why) - _REASONS),
        parts=parts,
        change=_CHANGE,
        findings=findings,
        scenarios=[each for each in scenarios if each.change is not Change.SAME],
        alike=[each for each in scenarios if each.change is Change.SAME],
        line=line,
        figures=[(anchor, title, of, _changed_first(rows)) for anchor, title, of, rows in figures if rows],
    )


def overlaid(before: Path, after: Path) -> Timeline:
    """The charts of both runs, each from its own start, on one axis: of each chart the line that says most."""
    runs = [read_series(before), read_series(after)]
    lines = [timeline(series) for series in runs]
    times = tuple(sorted({time for each in lines for time in each.times}))
    charts = []
    for key in dict.fromkeys(each.key for line in lines for each in line.charts):
        found = [next((each for each in line.charts if each.key == key), None) for line in lines]
        drawn = [
            Line(
                f"{name} run", color, _laid(_main(each), line.times, times), dash, stepped=key in {"replicas", "errors"}
            )
            for name, color, dash, each, line in zip(
                ("first", "second"), (1, 2), ((6, 3), ()), found, lines, strict=True
            )
            if each is not None
        ]
        first = next(each for each in found if each is not None)
        title = f"{first.title}{', p95' if key == 'latency' else ''}"
        charts.append(chart(key, title, first.unit, drawn, times, log=first.log))
    bands = _bands(lanes(runs[0]), lanes(runs[1]))
    notes = [
        f"{name} run: {note}" for name, line in zip(("first", "second"), lines, strict=True) for note in line.notes
    ]
    return Timeline(max(line.seconds for line in lines), times, tuple(charts), bands, tuple(notes))


def _main(chart: Chart) -> Column:
    """The line of a chart that stands for it: by its name, else all of them together."""
    for line in chart.lines:
        if line.label == _MAIN.get(chart.key):
            return line.data
    columns = [line.data for line in chart.lines]
    return [None if all(v is None for v in row) else sum(v or 0 for v in row) for row in zip(*columns, strict=True)]


def _laid(column: Column, own: Sequence[float], times: Sequence[float]) -> Column:
    """Values of a run's own bins for the bins of both; after its end there are none."""
    laid: list[float | None] = []
    width = own[1] - own[0] if len(own) > 1 else 1.0
    place = 0
    for time in times:
        while place + 1 < len(own) and own[place + 1] <= time:
            place += 1
        laid.append(column[place] if own and own[place] <= time < own[-1] + width else None)
    return laid


def _bands(before: Sequence[Band], after: Sequence[Band]) -> tuple[Band, ...]:
    """The faults of both: of the second run as bands behind the charts, of the first only as boxes above them."""
    old = [
        dataclasses.replace(band, name=f"first: {band.name}", kind="first") for band in before if band.kind == "fault"
    ]
    shift = 1 + max((band.lane for band in old), default=-1)
    new = [dataclasses.replace(band, lane=band.lane + shift) for band in after if band.kind == "fault"]
    return (*old, *new)


def _changed_first(figures: Sequence[Figure]) -> list[Figure]:
    """Those that differ most come first, one of which only one run knows after them."""
    return sorted(figures, key=lambda each: (each.ratio is None, -max(each.ratio or 1, 1 / (each.ratio or 1))))
