"""The part of plan.json and faults.jsonl that judgement needs, as types. Pure: it takes parsed JSON, not paths.

`faults.experiments` writes the one, `faults.strike` the other; this reads, with a parser of its own, so that a mistake
there cannot hide behind the same mistake here. Called by `rejudge` and the scenarios; the result goes to `checks.run`.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from chroma_qualify.checks.history import Phase
from chroma_qualify.checks.limits import Limits
from chroma_qualify.checks.promises import STRICTEST, Promises, Setting, Stress, from_json
from chroma_qualify.errors import UsageError


@dataclasses.dataclass(frozen=True, slots=True)
class PlannedCollection:
    """One collection of an experiment.

    Attributes:
        setting: how it was made.
        floors: per phase, the least number of operations: acknowledged ones before and after a fault, sent ones
            while it lasts.
    """

    name: str
    setting: Setting
    floors: Mapping[Phase, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Experiment:
    """One fault under traffic."""

    name: str
    fault: str
    stress: Stress
    collections: tuple[PlannedCollection, ...]

    def setting_of(self, collection: str | None) -> Setting | None:
        """The setting of one of its collections."""
        return next((each.setting for each in self.collections if each.name == collection), None)


@dataclasses.dataclass(frozen=True, slots=True)
class RunPlan:
    """What was asked.

    Attributes:
        limits: of everything that is in no experiment, and for the recall of all.
        experiments: in the order in which they ran.
        date: the day of the run; None: an old plan, whose promises hold.
    """

    limits: Limits = dataclasses.field(default_factory=Limits)
    experiments: tuple[Experiment, ...] = ()
    promises: Promises = STRICTEST
    date: datetime.date | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class FaultRecord:
    """What happened to one fault; times are nanoseconds on the history's clock.

    Attributes:
        begin: when it was asked for; None: it never was.
        proven: when it was certain that it took effect.
        healed: when it was certain that it is over.
        unavailable: why it could not be done here, or "".
        rule: of the candidate's failure that it ended with, or "".
        error: why it has no proof, or did not heal, or "".
        infra: was that the cluster's or the machine's fault?
    """

    experiment: str
    fault: str
    begin: int | None
    proven: int | None
    healed: int | None
    unavailable: str = ""
    rule: str = ""
    error: str = ""
    infra: bool = False


def read_plan(document: object) -> RunPlan:
    """From plan.json.

    Raises:
        UsageError: it is no plan; the sentence names the field.
    """
    if not isinstance(document, dict):
        raise UsageError("plan.json is no JSON object")
    limits = Limits.from_json(document["limits"]) if "limits" in document else Limits()
    experiments = document.get("experiments", [])
    if not isinstance(experiments, list):
        raise UsageError("experiments in plan.json must be a list")
    promises = document.get("promises")
    date = document.get("date")
    try:
        day = None if date is None else datetime.date.fromisoformat(str(date))
    except ValueError:
        raise UsageError("date in plan.json is no date like 2027-06-30") from None
    return RunPlan(
        limits,
        tuple(_experiment(item, f"experiments[{number}] in plan.json") for number, item in enumerate(experiments)),
        STRICTEST if promises is None else from_json(promises, "promises in plan.json"),
        day,
    )


def read_faults(documents: Iterable[object]) -> dict[str, FaultRecord]:
    """From the lines of faults.jsonl, by experiment; lines of no experiment are left out.

    Raises:
        UsageError: a line is none of the format.
    """
    records: dict[str, FaultRecord] = {}
    for number, line in enumerate(documents, start=1):
        where = f"line {number} of faults.jsonl"
        if not isinstance(line, dict):
            raise UsageError(f"{where} is no JSON object")
        if "experiment" not in line:
            continue
        record = FaultRecord(
            experiment=_text(line, "experiment", where),
            fault=_text(line, "fault", where),
            begin=_time(line, "begin", where),
            proven=_time(line, "proven", where),
            healed=_time(line, "healed", where),
            unavailable=_text(line, "unavailable", where, default=""),
            rule=_text(line, "rule", where, default=""),
            error=_text(line, "error", where, default=""),
            infra=line.get("infra") is True,
        )
        records[record.experiment] = record
    return records


def _experiment(document: object, where: str) -> Experiment:
    if not isinstance(document, dict) or not isinstance(document.get("collections"), list):
        raise UsageError(f"{where} must be an object with name, fault, stress and collections")
    return Experiment(
        name=_text(document, "name", where),
        fault=_text(document, "fault", where),
        stress=_choice(Stress, document.get("stress"), f"{where}: stress"),
        collections=tuple(_collection(item, where) for item in document["collections"]),
    )


def _collection(document: object, where: str) -> PlannedCollection:
    if not isinstance(document, dict) or not isinstance(document.get("floors"), dict):
        raise UsageError(f"{where}: a collection must be an object with name, setting and floors")
    floors: dict[Phase, int] = {}
    for phase, floor in document["floors"].items():
        if type(floor) is not int or floor < 0:
            raise UsageError(f"{where}: floors must be whole numbers, at least 0")
        floors[_choice(Phase, phase, f"{where}: floors")] = floor
    return PlannedCollection(
        _text(document, "name", where), _choice(Setting, document.get("setting"), f"{where}: setting"), floors
    )


def _choice(kind: Any, given: object, where: str) -> Any:  # noqa: ANN401 (an enum, and one of its members)
    try:
        return kind(given)
    except ValueError:
        raise UsageError(f"{where} must be one of {', '.join(kind)}") from None


def _text(line: Mapping[str, Any], name: str, where: str, default: str | None = None) -> str:
    value = line.get(name, default)
    if not isinstance(value, str):
        raise UsageError(f"{where}: {name} must be a string")
    return value


def _time(line: Mapping[str, Any], name: str, where: str) -> int | None:
    value = line.get(name)
    if value is not None and type(value) is not int:
        raise UsageError(f"{where}: {name} must be a whole number of nanoseconds")
    return value
