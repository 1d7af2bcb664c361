"""What a person sees of a running run: one picture of its `progress`. Pure: the same state gives the same picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from chroma_qualify.cli.progress import FIRST, Lane, Progress
from chroma_qualify.duration import told

_STYLE = {"pass": "green", "fail": "bold red", "unknown": "yellow", "infra": "magenta", "not-run": "dim",
          "accepted": "cyan", "note": "cyan"}  # fmt: skip
_MOST_FINDINGS = 5
_MOST_REPLICAS = 6


def draw(progress: Progress, planned: Sequence[str], now: float, *, height: int = 24) -> RenderableType:
    """The picture.

    Args:
        progress: what is known.
        planned: names of all scenarios, as plan.json has them.
        now: seconds since the run began.
        height: lines that the terminal has; what is said last goes first.
    """
    rows = Table.grid(padding=(0, 2), expand=True)
    rows.add_column(style="dim", no_wrap=True, width=9)
    rows.add_column(ratio=1, overflow="ellipsis", no_wrap=True)
    rows.add_row("elapsed", _time(progress, planned, now))
    rows.add_row("scenarios", _scenarios(progress))
    for name in sorted(progress.lanes):
        rows.add_row("lane 1" if name == FIRST else "lane 2", _lane(progress, progress.lanes[name], now))
    rows.add_row("traffic", _traffic(progress, now))
    rows.add_row("replicas", _replicas(progress))
    rows.add_row("last", _last(progress))
    room = max(min(_MOST_FINDINGS, height - len(progress.lanes) - 8), 1)
    for each in progress.findings[-room:]:
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"{each.severity} {each.rule}", _STYLE[each.severity])
        line.append(f"  {each.scenario}: {each.message}")
        rows.add_row("finding", line)
    if progress.findings[:-room]:
        rows.add_row("", Text(f"and {len(progress.findings[:-room])} before", "dim"))
    return Group(_head(progress), rows)


def _head(progress: Progress) -> Text:
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append("chroma-qualify ", "bold")
    head.append(f"run {progress.id}, seed {progress.seed}" if progress.id else "getting ready", "bold")
    return head


def _time(progress: Progress, planned: Sequence[str], now: float) -> RenderableType:
    outlook = progress.outlook(planned, now)
    text = Text(told(now), no_wrap=True)
    if outlook:
        text.append(f" of about {told(outlook)}", "dim")
    if not progress.scenarios:
        return text
    grid = Table.grid(padding=(0, 2))
    done = len(progress.outcomes.keys() - {"lint"})
    grid.add_row(ProgressBar(total=progress.scenarios, completed=done, width=30), text)
    return grid


def _scenarios(progress: Progress) -> Text:
    counted = Counter(outcome for name, outcome in progress.outcomes.items() if name != "lint")
    running = sum(bool(lane.scenario) for lane in progress.lanes.values())
    text = Text(f"{counted.total()} of {progress.scenarios or '?'} done", no_wrap=True, overflow="ellipsis")
    for outcome, number in sorted(counted.items(), key=lambda pair: list(_STYLE).index(pair[0])):
        text.append(", ")
        text.append(f"{number} {outcome}", _STYLE[outcome])
    text.append(f"; {running} running; ")
    bad = sum(each.severity in {"fail", "unknown", "infra"} for each in progress.findings)
    text.append(f"{bad} finding{'' if bad == 1 else 's'} so far", "bold red" if bad else "green")
    return text


def _lane(progress: Progress, lane: Lane, now: float) -> Text:
    if not lane.scenario:
        return Text("no scenario at the moment", "dim")
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(lane.scenario, "bold")
    text.append(f"  {told(now - lane.since)}")
    if usually := progress.expected.get(lane.scenario):
        text.append(f" of about {told(usually)}", "dim")
    if lane.fault:
        struck = {"before": "before the fault", "during": "fault in effect", "after": "healed", "final": "last reads"}
        text.append(
            f"  {struck.get(lane.phase, 'getting ready')}", "bold yellow" if lane.phase == "during" else "yellow"
        )
    text.append(f"  ({lane.position})", "dim")
    return text


def _last(progress: Progress) -> Text:
    if progress.ending:
        return Text("interrupted: what was made is cleared away, then there is a verdict", "bold yellow")
    return Text(progress.step or "…", "dim", overflow="ellipsis", no_wrap=True)


def _traffic(progress: Progress, now: float) -> Text:
    ok, errors = progress.rate("ok", now), progress.rate("errors", now)
    text = Text(f"{ok:.1f} operations/s, ", no_wrap=True)
    text.append(f"{errors:.1f} errors/s", "bold red" if errors else "")
    return text


def _replicas(progress: Progress) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    shown = list(progress.replicas.items())[-_MOST_REPLICAS:]
    for number, ((namespace, name), (ready, wanted)) in enumerate(shown):
        text.append(", " if number else "")
        text.append(f"{ready}/{wanted} ", "green" if ready == wanted else "yellow")
        text.append(f"{namespace}/{name}" if len(shown) > 1 else name)
    return text or Text("none yet", "dim")
