"""What the charts of a run show: everything it recorded, laid on one time axis and made small.

The JSON of it is less than 1 MB, whatever the run's length. A file that is missing, cut off or broken takes nothing
from the others: what could be read is there, and `notes` says what could not. Called by `page` and `compare`.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from chroma_qualify.checks.columns import Columns
from chroma_qualify.checks.history import parse
from chroma_qualify.errors import UsageError
from chroma_qualify.report import traffic, watched
from chroma_qualify.report.shapes import Band, Count, Rates, Replicas, Series, Totals, Traffic, Usage

__all__ = ["Band", "Count", "Rates", "Replicas", "Series", "Totals", "Traffic", "Usage", "read_series"]

_MOST_BINS: Final = 1800  # of all histories together, as each has its own rates
_WIDTHS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)  # seconds
_MOST_COUNTS: Final = 500
_BESIDE: Final = "beside"
_NO_OPERATION: Final = "it holds no operation"


@dataclasses.dataclass(frozen=True, slots=True)
class _Lane:
    """What one directory of a run holds.

    Attributes:
        name: as `Traffic.lane` has it.
        shift: seconds from its clock to the run's.
        columns: of its history; None: it has none.
        until: when the last thing happened, on the run's clock.
    """

    name: str
    shift: float
    columns: Columns | None
    timeline: list[watched.Line]
    resources: list[watched.Line]
    faults: list[watched.Line]
    until: float


def read_series(run_dir: Path) -> Series:
    """Everything that can be read from a run directory; never raises for what a file holds.

    Raises:
        UsageError: there is no such directory.
    """
    if not run_dir.is_dir():
        raise UsageError(f"{run_dir} is no directory", remedy="name the directory of a run: runs/<run id>")
    notes: list[str] = []
    lanes = [_read_lane(run_dir, place, notes) for place in places(run_dir)]
    verdict = _object(run_dir / "verdict.json", notes, "verdict.json")
    seconds = max([0.0, *(lane.until for lane in lanes), _until(verdict)])
    width = _width(seconds, max(2, len(lanes)))
    bins = int(seconds / width) + 1
    samples = [(lane.name, lane.shift, line) for lane in lanes for line in lane.resources]
    used, totals = watched.usage(samples, width, notes)
    notes += dict.fromkeys(str(line["note"]) for _, _, line in samples if "note" in line)
    if not samples:
        notes.append("CPU and memory: nothing was measured (no resources.jsonl)")
    counts = [count for lane in lanes if lane.columns is not None for count in traffic.counts(lane.columns, lane.name)]
    if len(counts) > _MOST_COUNTS:
        notes.append(f"counts: {_MOST_COUNTS} of {len(counts)} are shown")
    beside = _object(run_dir / "beside" / "plan.json", notes, "beside/plan.json", missing_is_fine=True)
    return Series(
        seconds=round(seconds, 3),
        width=width,
        t=[round(number * width, 3) for number in range(bins)],
        traffic=[
            traffic.traffic(lane.columns, lane.name, width, bins, lane.shift)
            for lane in lanes
            if lane.columns is not None
        ],
        replicas=[each for lane in lanes for each in watched.replicas(lane.timeline, lane.name, lane.shift)],
        usage=used,
        totals=totals,
        faults=[each for lane in lanes for each in watched.faults(lane.faults, lane.name, lane.shift)],
        scenarios=watched.scenarios(verdict, beside.get("scenarios") or ()),
        gaps=[each for lane in lanes for each in watched.gaps(lane.timeline, lane.name, lane.shift)],
        counts=counts[:_MOST_COUNTS],
        notes=notes,
    )


def places(run_dir: Path) -> list[str]:
    """The directories of a run that may hold files of it: its own, the second lane's, those of runs that must fail."""
    own = ["", _BESIDE] if (run_dir / _BESIDE).is_dir() else [""]
    expected = [path for place in own for path in sorted((run_dir / place / "expected").glob("*")) if path.is_dir()]
    return [*own, *(path.relative_to(run_dir).as_posix() for path in expected)]


def _read_lane(run_dir: Path, name: str, notes: list[str]) -> _Lane:
    place = run_dir / name
    shift = _shift(run_dir, notes) if name.startswith(_BESIDE) else 0.0
    columns = history_columns(place / "history.jsonl", f"{name}/history.jsonl".lstrip("/"), notes)
    files = {
        kind: watched.lines_of(place / f"{kind}.jsonl", notes, f"{name}/{kind}.jsonl".lstrip("/"))
        for kind in ("timeline", "resources", "faults")
    }
    ends = [traffic.ended(columns).max() / 1e9] if columns is not None else []
    for lines in files.values():
        ends += [line[key] / 1e9 for line in lines[-1:] for key in ("time", "healed") if isinstance(line.get(key), int)]
    return _Lane(name, shift, columns, **files, until=max([0.0, *(float(end) + shift for end in ends)]))


def history_columns(path: Path, name: str, notes: list[str]) -> Columns | None:
    """The operations of a history, as many as can be read; None: there is none.

    Args:
        path: of the file.
        name: of it, for the sentences that `notes` gets on what is wrong with it.
        notes: see `name`.
    """
    try:
        with path.open("rb") as lines:
            history = parse(lines, lenient=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        notes.append(f"{name} cannot be read: {error.strerror}")
        return None
    notes += [f"{name}: {flaw}" for flaw in history.flaws if flaw != _NO_OPERATION]
    return history.operations.columns if len(history.operations) else None


def _shift(run_dir: Path, notes: list[str]) -> float:
    """Seconds from the second lane's clock to the run's: none, unless an older version wrote it."""
    run, lane = (_object(run_dir / place / "plan.json", [], "") for place in ("", _BESIDE))
    ours, theirs = run.get("origin"), lane.get("origin")
    if isinstance(ours, int) and isinstance(theirs, int):
        return (theirs - ours) / 1e9
    began, lane_began = (_zero(run_dir / place / "timeline.jsonl") for place in ("", _BESIDE))
    if began is not None and lane_began is not None:
        return lane_began - began
    told = "beside/: nobody knows when its clock began, so it is drawn as if it were the run's"
    if told not in notes:
        notes.append(told)
    return 0.0


def _zero(timeline: Path) -> float | None:
    """The wall clock (s since the epoch) at zero of the clock of a timeline, from its first line."""
    try:
        with timeline.open("rb") as lines:
            first = orjson.loads(next(lines))
        return datetime.datetime.fromisoformat(first["wall"]).timestamp() - float(first["time"]) / 1e9
    except (OSError, StopIteration, ValueError, KeyError, TypeError):
        return None


def _object(path: Path, notes: list[str], name: str, *, missing_is_fine: bool = False) -> Mapping[str, Any]:
    """A JSON object of a file; an empty one, and a note, if there is none."""
    try:
        document = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        if not missing_is_fine:
            notes.append(f"there is no {name}: the run was cut short")
        return {}
    except (OSError, ValueError) as error:
        notes.append(f"{name} cannot be read: {error}")
        return {}
    if not isinstance(document, dict):
        notes.append(f"{name} is no JSON object")
        return {}
    return document


def _until(verdict: Mapping[str, Any]) -> float:
    seconds = verdict.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) and math.isfinite(seconds) else 0.0


def _width(seconds: float, histories: int) -> float:
    """Seconds of a bin: the least of the usual ones that gives few enough of them."""
    most = _MOST_BINS // histories
    return float(next((width for width in _WIDTHS if seconds / width <= most), math.ceil(seconds / most)))
