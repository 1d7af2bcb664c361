"""Judge a NetworkPolicy truth table: what was promised, what was seen, what the live controls prove. Pure.

Used by the policy scenario. A denied probe proves nothing unless the same target answered somebody else at the same
time, and an allowed one proves nothing on a network that enforces no policy: such cells are undecided, not right.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence

from chroma_qualify.report.verdict import MatrixCell

CLOSED = frozenset({"timeout", "refused", "unreachable"})
"""Outcomes of a blocked connection: most networks drop silently, some refuse."""


class Judgement(enum.StrEnum):
    """What a cell is."""

    RIGHT = "right"
    WRONG = "wrong"
    UNDECIDED = "undecided"


@dataclasses.dataclass(frozen=True, slots=True)
class Control:
    """A probe whose outcome is known beforehand; if it comes out otherwise, cells that rest on it are undecided.

    Attributes:
        name: in words that fit behind "control failed:".
        expected: whether it must get through.
        outcomes: what its probes saw.
    """

    name: str
    expected: bool
    outcomes: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether all its probes came out as they must."""
        return bool(self.outcomes) and all(_fits(outcome, expected=self.expected) for outcome in self.outcomes)


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """One source and one target.

    Attributes:
        source, target: in words.
        expected: whether the policy promises to let it through.
        outcomes: what the probes saw, e.g. by the Service and by the pod's address.
        controls: what must hold for this cell to mean anything.
    """

    source: str
    target: str
    expected: bool
    outcomes: tuple[str, ...]
    controls: tuple[Control, ...]

    def judge(self) -> Judgement:
        """Right, wrong or undecided."""
        if not self.outcomes or not all(control.holds for control in self.controls):
            return Judgement.UNDECIDED
        if all(_fits(outcome, expected=self.expected) for outcome in self.outcomes):
            return Judgement.RIGHT
        if all(_known(outcome) for outcome in self.outcomes):
            return Judgement.WRONG
        return Judgement.UNDECIDED

    def explain(self) -> str:
        """One sentence for a person."""
        seen = "/".join(self.outcomes) or "not probed"
        promised = "is to reach" if self.expected else "must not reach"
        failed = [control.name for control in self.controls if not control.holds]
        why = f"; control failed: {', '.join(failed)}" if failed else ""
        return f"{self.source} {promised} {self.target}: {seen}{why}"

    def row(self) -> dict[str, object]:
        """The cell as policy.json holds it."""
        return {
            "source": self.source,
            "target": self.target,
            "expected": "open" if self.expected else "closed",
            "seen": list(self.outcomes),
            "judgement": str(self.judge()),
            "controls": {control.name: control.holds for control in self.controls},
        }


def settled(cells: Sequence[Cell]) -> bool:
    """Whether every cell is right, so that nothing more need be waited for."""
    return all(cell.judge() is Judgement.RIGHT for cell in cells)


def picture(cells: Sequence[Cell]) -> str:
    """The table as text, one line a cell."""
    marks = {Judgement.RIGHT: "ok   ", Judgement.WRONG: "WRONG", Judgement.UNDECIDED: "?    "}
    return "\n".join(f"{marks[cell.judge()]} {cell.explain()}" for cell in cells)


def as_matrix(cells: Sequence[Cell]) -> tuple[list[str], list[str], list[list[MatrixCell | None]]]:
    """The table as `Report.matrix` takes it: sources, targets, and a cell or None for each of both."""
    sources = list(dict.fromkeys(cell.source for cell in cells))
    targets = list(dict.fromkeys(cell.target for cell in cells))
    known = {(cell.source, cell.target): cell for cell in cells}
    table = [[_told(known.get((source, target))) for target in targets] for source in sources]
    return sources, targets, table


def _told(cell: Cell | None) -> MatrixCell | None:
    if cell is None:
        return None
    seen = "/".join(dict.fromkeys(cell.outcomes)) or "not probed"
    return MatrixCell("open" if cell.expected else "closed", seen, cell.judge().value)


def _fits(outcome: str, *, expected: bool) -> bool:
    return outcome == "open" if expected else outcome in CLOSED


def _known(outcome: str) -> bool:
    return outcome == "open" or outcome in CLOSED
