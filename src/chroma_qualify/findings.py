"""A finding: one thing that keeps a run from `pass`, or that its reader must know, with its evidence.

Made by `checks`, `lint` and the scenarios; read by `report`.
"""

from __future__ import annotations

import dataclasses
import enum


class Severity(enum.StrEnum):
    """Whose problem a finding is; the strings are those of verdict.json."""

    FAIL = "fail"  # the candidate's
    INFRA = "infra"  # the cluster's or the machine's
    UNKNOWN = "unknown"  # nobody can tell
    ACCEPTED = "accepted"  # the candidate's, but a risk that its owner knows and takes: shown, and does not fail it
    NOTE = "note"  # nobody's: what must be known before promoting; shown, and does not fail it


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    Attributes:
        rule: name of the rule, kebab-case; the interface of verdict.json.
        severity: whose problem it is.
        message: one sentence for a person.
        evidence: what was seen (an answer, an event, ids), not what is believed.
        remedy: what to change.
        object: `Kind/name` that it is about, or "".
        scenario: the scenario that found it, or "".
        collection: the Chroma collection, where there is one.
        path: where in the object, e.g. `spec.template.spec.containers[0].readinessProbe`; what is not there is named
            by where it should be; "" for the object as a whole.
    """

    rule: str
    severity: Severity
    message: str
    evidence: str = ""
    remedy: str = ""
    object: str = ""
    scenario: str = ""
    collection: str | None = None
    path: str = ""
