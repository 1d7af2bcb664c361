"""What a plan asks of a history: the least traffic, how stale a read may be, how good the index must be.

plan.json may carry them under `limits`; without them the strictest promises hold. Used by `checks.judge`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final

from chroma_qualify.checks.history import Phase
from chroma_qualify.errors import UsageError

_PHASES: Final = frozenset(phase.value for phase in Phase)


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one run.

    Attributes:
        floors: per phase, the least number of acknowledged operations in all.
        recall: the least recall of `near` queries, 0 to 1, in every phase.
        neighbours: that the queries of a phase must ask for before their recall is judged: of few, one miss is much.
        stale: seconds after its acknowledgement for which a write may be missing from a read.
    """

    floors: Mapping[Phase, int] = dataclasses.field(default_factory=dict)
    recall: float = 0.95
    stale: float = 0.0
    neighbours: int = 1

    @classmethod
    def from_json(cls, document: object) -> Limits:
        """From the object under `limits` in plan.json.

        Raises:
            UsageError: it is no such object; the sentence names the field.
        """
        if not isinstance(document, dict):
            raise UsageError("limits in plan.json must be an object")
        unknown = sorted(set(document) - {"floors", "recall", "stale"})
        if unknown:
            raise UsageError(f"unknown limit {unknown[0]!r} in plan.json", remedy="known are floors, recall, stale")
        floors = document.get("floors", {})
        if not isinstance(floors, dict) or not set(floors) <= _PHASES:
            raise UsageError("limits.floors in plan.json must name phases: before, during, after, final")
        if not all(type(floor) is int and floor >= 0 for floor in floors.values()):
            raise UsageError("limits.floors in plan.json must hold whole numbers, at least 0")
        recall, stale = document.get("recall", 0.95), document.get("stale", 0.0)
        for name, number, most in (("recall", recall, 1.0), ("stale", stale, float("inf"))):
            if type(number) not in (int, float) or not 0 <= number <= most:
                raise UsageError(f"limits.{name} in plan.json must be a number{', 0 to 1' if most == 1 else ''}")
        return cls({Phase(name): floor for name, floor in floors.items()}, float(recall), float(stale))
