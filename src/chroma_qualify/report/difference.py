"""A comparison of two runs for a terminal. Called by `chroma-qualify diff`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from chroma_qualify.report.comparison import Answer, Change, Comparison, Figure, Side

_STYLE = {
    Change.NEW: "bold",
    Change.GONE: "dim",
    Change.SAME: "",
    Change.WORSE: "bold red",
    Change.BETTER: "green",
    Change.OTHER: "yellow",
}
_ANSWER = {Answer.NO_WORSE: ("no worse", "bold green"), Answer.WORSE: ("worse", "bold red"),
           Answer.UNKNOWN: ("unknown", "bold yellow")}  # fmt: skip
_NOTABLE = 1.25  # what differs by less is told as JSON only: two runs of the same thing do
_LEAST = {"s": 1.0, "ms": 5.0}  # and by less than that, by unit


def print_comparison(comparison: Comparison, file: TextIO, *, width: int | None = None) -> None:
    """Print what differs, the worst first, and what cannot be compared."""
    console = Console(file=file, highlight=False, width=width or (None if file.isatty() else 160))
    words, style = _ANSWER[comparison.answer]
    console.print(Text.assemble(("the second run is ", ""), (words, style)))
    for line in comparison.why:
        console.print(Text(f"  {line}"))
    console.print()
    console.print(_sides(comparison.before, comparison.after))
    _findings(console, comparison)
    _scenarios(console, comparison)
    notable = [each for each in comparison.parts if _is_notable(each)]
    _figures(console, "parts of the run, seconds", notable, "part")
    _figures(console, "measures", [each for each in comparison.measures if _is_notable(each)], "scenario")
    _figures(console, "what faults did to the clients", filter(_is_notable, comparison.outages), "experiment")
    _figures(console, "operations by phase", comparison.phases, "phase")
    if comparison.differences:
        table = _table("differs", "first run", "second run")
        for each in comparison.differences:
            table.add_row(Text(each.what), Text(each.before or "-"), Text(each.after or "-"))
        _titled(console, "what was asked, and what ran", table)
    if comparison.manifests:
        console.print(Text("\nmanifests", "bold"))
        for line in comparison.manifests:
            console.print(Text(f"  {line}", _line_style(line)), soft_wrap=True)
    if comparison.unknown:
        console.print(Text("\nwhat cannot be compared", "bold"))
        for line in comparison.unknown:
            console.print(Text(f"  {line}"))
    console.print(
        Text("\nTimes are of one run each: look at more than two before you believe a small difference.", "dim")
    )


def _sides(before: Side, after: Side) -> Table:
    table = _table("", "first run", "second run")
    table.add_row("verdict", Text(before.verdict.value), Text(after.verdict.value))
    table.add_row("run", Text(before.run_id), Text(after.run_id))
    table.add_row("started", Text(before.started or "-"), Text(after.started or "-"))
    table.add_row("seconds", f"{before.seconds:.0f}", f"{after.seconds:.0f}")
    table.add_row("scenarios that ran", str(before.scenarios), str(after.scenarios))
    table.add_row("operations recorded", str(before.operations), str(after.operations))
    return table


def _findings(console: Console, comparison: Comparison) -> None:
    if not comparison.findings:
        return
    order = (Change.WORSE, Change.NEW, Change.OTHER, Change.BETTER, Change.GONE, Change.SAME)
    table = _table("finding", "severity", "rule", "scenario", "what")
    for each in sorted(comparison.findings, key=lambda found: order.index(found.change)):
        severity = each.after if each.before in ("", each.after) else f"{each.before} -> {each.after or 'gone'}"
        severity = each.before if each.change is Change.GONE else severity
        change = Text(each.change.value, _STYLE[each.change])
        table.add_row(change, severity, Text(each.rule), Text(each.scenario), Text(each.message))
    _titled(console, "findings", table)


def _scenarios(console: Console, comparison: Comparison) -> None:
    table = _table("scenario", "change", "first run", "second run", "s", "s", "ratio")
    shown = 0
    for each in comparison.scenarios:
        before, after = each.seconds_before, each.seconds_after
        timed = _figure_of(before, after)
        if each.change is Change.SAME and not _is_notable(timed):
            continue
        shown += 1
        table.add_row(
            Text(each.name),
            Text(each.change.value, _STYLE[each.change]),
            each.before or "-",
            each.after or "-",
            _number(before),
            _number(after),
            _ratio(timed),
        )
    left = len(comparison.scenarios) - shown
    if shown:
        _titled(console, "scenarios", table)
    if left:
        console.print(Text(f"{left} scenario(s) ended as before, in about the same time"))


def _figures(console: Console, title: str, figures: Iterable[Figure], of: str) -> None:
    some = list(figures)
    if not some:
        return
    table = _table(of, "figure", "first run", "second run", "ratio", "operations")
    for each in some:
        unit = f" {each.unit}" if each.unit else ""
        samples = (each.samples_before, each.samples_after)
        made_of = "" if samples == (None, None) else " / ".join("-" if n is None else str(n) for n in samples)
        table.add_row(
            Text(each.group),
            Text(f"{each.name}{unit}"),
            _number(each.before),
            _number(each.after),
            _ratio(each),
            made_of,
        )
    _titled(console, title, table)


def _figure_of(before: float | None, after: float | None) -> Figure:
    return Figure("", "", "s", before, after, round(after / before, 4) if before and after is not None else None)


def _is_notable(figure: Figure) -> bool:
    """Does a number differ by more than those of two runs of the same thing?"""
    if figure.before is None or figure.after is None:
        return True
    if abs(figure.after - figure.before) < _LEAST.get(figure.unit, 0.0) or figure.before == figure.after:
        return False
    return figure.ratio is None or not 1 / _NOTABLE < figure.ratio < _NOTABLE


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(figure: Figure) -> str:
    return "" if figure.ratio is None else f"{figure.ratio:.2f}"


def _line_style(line: str) -> str:
    return "green" if line.startswith("+") else "red" if line.startswith("-") else "dim"


def _table(*columns: str) -> Table:
    table = Table(title=None, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in {"s", "ratio"} else "left")
    return table


def _titled(console: Console, title: str, table: Table) -> None:
    console.print(Text(f"\n{title}", "bold"))
    console.print(table)
