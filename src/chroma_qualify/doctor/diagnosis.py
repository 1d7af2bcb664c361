"""A diagnosis: one thing that is wrong, in words for who has to mend it."""

from __future__ import annotations

import dataclasses
import enum


class Issue(enum.StrEnum):
    """What people come with; each is a section of docs/how-to/troubleshooting.md."""

    STARTING = "pod not starting"
    REACHING = "connection refused"
    MEMORY = "out of memory"
    STORAGE = "storage full"
    SETUP = "set up wrongly"


@dataclasses.dataclass(frozen=True, slots=True)
class Diagnosis:
    """One diagnosis.

    Attributes:
        issue: what it shows as.
        rule: name of the rule, kebab-case; the interface of the JSON form.
        message: one sentence.
        evidence: what was seen.
        remedy: what to do.
        object: `Kind/name` that it is about, or "".
    """

    issue: Issue
    rule: str
    message: str
    evidence: str = ""
    remedy: str = ""
    object: str = ""
