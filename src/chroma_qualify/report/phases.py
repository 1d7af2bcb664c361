"""Latency, throughput and errors of a run's operations by phase: before, during, after a fault, and the final reads.

Called by `compare`. Throughput is acknowledged operations in the time that the phases lasted, experiment by experiment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from chroma_qualify.checks.columns import KINDS, PHASES, Columns
from chroma_qualify.checks.operation import Kind
from chroma_qualify.report.series import history_columns, places
from chroma_qualify.report.traffic import ended, quantiles

_OK = KINDS.index(Kind.OK)


@dataclasses.dataclass(frozen=True, slots=True)
class PhaseFigures:
    """One phase of the histories of one place.

    Attributes:
        name: of the phase, with the place behind it if that is not the run's own directory.
        operations: how many were sent.
        figures: value and unit by name.
    """

    name: str
    operations: int
    figures: Mapping[str, tuple[float, str]]


def phase_figures(run_dir: Path, unknown: list[str], which: str) -> list[PhaseFigures]:
    """Of each history of a run directory but those of runs that must fail.

    Args:
        run_dir: the directory.
        unknown: gets sentences on what could not be read.
        which: `first` or `second`, for the sentences.
    """
    found: list[PhaseFigures] = []
    for place in places(run_dir):
        if "expected" in place:
            continue
        notes: list[str] = []
        columns = history_columns(run_dir / place / "history.jsonl", f"{place}/history.jsonl".lstrip("/"), notes)
        unknown += [f"{which} run: {note}" for note in notes]
        if columns is not None:
            found += _of_history(columns, f" ({place})" if place else "")
    return found


def _of_history(columns: Columns, behind: str) -> Iterator[PhaseFigures]:
    ends = ended(columns)
    names = [name.partition(".")[0] for name in columns.collections.all]  # experiment.traffic-…
    experiments = np.unique(np.array(names), return_inverse=True)[1][columns.collection]
    for code, phase in enumerate(PHASES):
        mine = columns.phase == code
        if not mine.any():
            continue
        ok = mine & (columns.kind == _OK)
        lasted = sum(
            float(ends[part].max() - columns.start[part].min()) / 1e9
            for part in (mine & (experiments == each) for each in np.unique(experiments[mine]))
        )
        figures: dict[str, tuple[float, str]] = {}
        if ok.any():
            took = quantiles((ends[ok] - columns.start[ok]) / 1e6)
            figures |= {name: (value, "ms") for name, value in took.items()}
        if lasted > 0:
            figures["acknowledged"] = round(int(ok.sum()) / lasted, 3), "1/s"
        figures["not acknowledged"] = float(int(mine.sum()) - int(ok.sum())), ""
        yield PhaseFigures(f"{phase.value}{behind}", int(mine.sum()), figures)
