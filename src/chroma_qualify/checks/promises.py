"""What a topology promises and which risks its owner takes, and what a finding means in that light.

A topology says so in `qualification.yaml`, beside its kustomization; plan.json carries it, so that a run is judged
again by what held when it ran. Without one the strictest promises hold. Called by `checks.run`. Pure: no clock (the
date of the run comes from its plan).
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeVar

from chroma_qualify.errors import UsageError

FILE: Final = "qualification.yaml"
_MOST_SECONDS: Final = 1e9
_E = TypeVar("_E", bound=enum.StrEnum)


class Stress(enum.StrEnum):
    """What a fault asks of the data, from mild to hard; the last two are apart."""

    GRACEFUL = "graceful"  # the server ends in order, or waits, or cannot be reached
    PROCESS_KILL = "process-kill"  # it dies, the kernel lives on: the page cache stays
    POWER_LOSS = "power-loss"  # only what was fsynced is there
    SCALED_OUT = "scaled-out"  # several servers at a time are written to
    VOLUME_FULL = "volume-full"


class Setting(enum.StrEnum):
    """How the client made the collection: its `sync_threshold`."""

    DEFAULT = "default"  # the server's, 1000
    NEVER = "never"  # above the number of records: the index is never flushed, the log never purged


DURABILITIES: Final = (Stress.GRACEFUL, Stress.PROCESS_KILL, Stress.POWER_LOSS)


@dataclasses.dataclass(frozen=True, slots=True)
class Risk:
    """A risk that its owner knows and takes.

    Attributes:
        rules: of the findings that it covers; they are ways in which one defect shows.
        fault: name of the fault under which they appear.
        setting: of the collections; None: of all.
        reason: why it is taken.
        upstream: where the defect is known.
        mitigation: what keeps users from it.
        mitigated_by: the setting of collections that do not have it, so that the same run proves the mitigation.
        expires: the last day on which it holds.
        certain: does every run meet it? Then one that does not is a finding.
    """

    rules: tuple[str, ...]
    fault: str
    setting: Setting | None
    reason: str
    upstream: str
    mitigation: str
    mitigated_by: Setting | None
    expires: datetime.date
    certain: bool = False

    def covers(self, rule: str, fault: str, setting: Setting | None) -> bool:
        """Is this what the risk is about?"""
        return rule in self.rules and fault == self.fault and self.setting in {None, setting}

    def __str__(self) -> str:
        where = f", sync_threshold {self.setting.value}" if self.setting else ""
        return f"{' or '.join(self.rules)} under {self.fault}{where}"


@dataclasses.dataclass(frozen=True, slots=True)
class Promises:
    """What a topology promises.

    Attributes:
        durability: the hardest stress after which every acknowledged record is there, by the collection's setting.
        writes_while_scaled_out: may it be written to while several servers run?
        full_volume: does it keep and serve what it acknowledged on a full volume, and write again with room made?
        stale: seconds after its acknowledgement for which a write may be missing from a read.
        unavailable: seconds without an answer, by the fault's name; `default` for all others; none: no limit.
        risks: accepted ones.
        stated: is there a file that says so?
    """

    durability: Mapping[Setting, Stress]
    writes_while_scaled_out: bool
    full_volume: bool
    stale: float
    unavailable: Mapping[str, float]
    risks: tuple[Risk, ...] = ()
    stated: bool = True

    def includes(self, stress: Stress, setting: Setting) -> bool:
        """Is a collection of that setting promised to survive this?"""
        if stress is Stress.SCALED_OUT:
            return self.writes_while_scaled_out
        if stress is Stress.VOLUME_FULL:
            return self.full_volume
        return DURABILITIES.index(stress) <= DURABILITIES.index(self.durability[setting])

    def limit(self, fault: str) -> float | None:
        """Seconds that a fault may make it unavailable; None: nothing is promised."""
        return self.unavailable.get(fault, self.unavailable.get("default"))

    def as_json(self) -> dict[str, Any]:
        """The form of the file, and of plan.json; `from_json` takes it back."""
        return {
            "durability": {setting.value: stress.value for setting, stress in self.durability.items()},
            "writes_while_scaled_out": self.writes_while_scaled_out,
            "full_volume": self.full_volume,
            "stale_seconds": self.stale,
            "unavailable_seconds": dict(self.unavailable),
            "accepted_risks": [
                {
                    "rule": list(risk.rules),
                    "fault": risk.fault,
                    **({"sync_threshold": risk.setting.value} if risk.setting else {}),
                    "reason": risk.reason,
                    "upstream": risk.upstream,
                    "mitigation": risk.mitigation,
                    **({"mitigated_by": risk.mitigated_by.value} if risk.mitigated_by else {}),
                    "expires": risk.expires.isoformat(),
                    "certain": risk.certain,
                }
                for risk in self.risks
            ],
        }


STRICTEST: Final = Promises(dict.fromkeys(Setting, Stress.POWER_LOSS), True, True, 0.0, {}, stated=False)


def from_json(document: object, where: str = FILE) -> Promises:
    """Read what `qualification.yaml` holds; `where` names it in errors.

    Raises:
        UsageError: one sentence that names the field.
    """
    known = {"durability", "writes_while_scaled_out", "full_volume", "stale_seconds", "unavailable_seconds"}
    fields = _object(document, where, {*known, "accepted_risks"})
    durability = _object(fields.get("durability"), f"{where}: durability", {setting.value for setting in Setting})
    limits = fields.get("unavailable_seconds", {})
    if not isinstance(limits, dict):
        raise UsageError(f"{where}: unavailable_seconds must be an object of fault to seconds")
    risks = fields.get("accepted_risks", [])
    if not isinstance(risks, list):
        raise UsageError(f"{where}: accepted_risks must be a list")
    promises = Promises(
        durability={
            setting: _one_of(DURABILITIES, durability.get(setting.value), f"{where}: durability.{setting.value}")
            for setting in Setting
        },
        writes_while_scaled_out=_bool(fields, "writes_while_scaled_out", where),
        full_volume=_bool(fields, "full_volume", where),
        stale=_seconds(fields.get("stale_seconds", 0), f"{where}: stale_seconds"),
        unavailable={
            str(fault): _seconds(limit, f"{where}: unavailable_seconds.{fault}") for fault, limit in limits.items()
        },
        risks=tuple(_risk(item, f"{where}: accepted_risks[{number}]") for number, item in enumerate(risks)),
    )
    _refuse_contradictions(promises, where)
    return promises


def refuse_unknown_faults(promises: Promises, known: Collection[str], where: str = FILE) -> None:
    """What a misspelt name promises or accepts would silently not hold.

    Raises:
        UsageError: a fault is named that there is not.
    """
    named = [*promises.unavailable, *(risk.fault for risk in promises.risks)]
    for fault in named:
        if fault not in known and fault != "default":
            raise UsageError(f"{where} names the fault {fault!r}", remedy=f"there are {', '.join(sorted(known))}")


def stress_of(fault: str) -> Stress | None:
    """The stress that a fault of that name is, where the name alone says so."""
    return next((stress for stress in Stress if fault == stress.value or fault.startswith(f"{stress.value}-")), None)


def _refuse_contradictions(promises: Promises, where: str) -> None:
    """What is promised is no risk that can be taken."""
    for risk in promises.risks:
        stress = stress_of(risk.fault)
        settings = [risk.setting] if risk.setting else list(Setting)
        data = set(risk.rules) - {"unavailable-too-long", "stale-read"}
        if data and stress and any(promises.includes(stress, setting) for setting in settings):
            raise UsageError(
                f"{where} promises what it lists as an accepted risk: {risk}",
                remedy="promise less, or take the risk out of the list",
            )


def _risk(document: object, where: str) -> Risk:
    words = ("fault", "reason", "upstream", "mitigation", "expires")
    fields = _object(document, where, {"rule", *words, "sync_threshold", "mitigated_by", "certain"})
    rules = fields.get("rule")
    rules = [rules] if isinstance(rules, str) else rules
    if not isinstance(rules, list) or not rules or not all(isinstance(rule, str) and rule for rule in rules):
        raise UsageError(f"{where}.rule must be the name of a rule, or a list of them")
    for word in words:
        if not isinstance(fields.get(word), str) or not str(fields[word]).strip():
            raise UsageError(f"{where}.{word} is missing: a risk says its {', '.join(words)}")
    try:
        expires = datetime.date.fromisoformat(str(fields["expires"]))
    except ValueError:
        raise UsageError(f"{where}.expires is no date like 2027-06-30") from None
    setting, counter = (
        _one_of(tuple(Setting), fields[key], f"{where}.{key}") if key in fields else None
        for key in ("sync_threshold", "mitigated_by")
    )
    return Risk(
        rules=tuple(rules),
        fault=str(fields["fault"]),
        setting=setting,
        reason=str(fields["reason"]),
        upstream=str(fields["upstream"]),
        mitigation=str(fields["mitigation"]),
        mitigated_by=counter,
        expires=expires,
        certain=_bool(fields, "certain", where, default=False),
    )


def _object(document: object, where: str, known: set[str]) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise UsageError(f"{where} must be an object with {', '.join(sorted(known))}")
    unknown = sorted(str(key) for key in document if key not in known)
    if unknown:
        raise UsageError(
            f"{where} has the unknown field {unknown[0]!r}", remedy=f"known are {', '.join(sorted(known))}"
        )
    return document


def _one_of(choices: tuple[_E, ...], given: object, where: str) -> _E:
    for choice in choices:
        if given == choice.value:
            return choice
    raise UsageError(f"{where} must be one of {', '.join(choice.value for choice in choices)}")


def _bool(fields: Mapping[str, Any], name: str, where: str, *, default: bool | None = None) -> bool:
    value = fields.get(name, default)
    if not isinstance(value, bool):
        raise UsageError(f"{where}: {name} must be true or false")
    return value


def _seconds(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST_SECONDS:
        raise UsageError(f"{where} must be a number of seconds")
    return float(value)
