"""What can stop a run, by whose fault it is.

Every message is one sentence a person can act on; `remedy` says what to do. The exit
code follows from the class, see `chroma_qualify.report.verdict`.
"""

from __future__ import annotations


class QualifyError(Exception):
    """Base of every error that a user is meant to read without a stack trace."""

    def __init__(self, message: str, *, remedy: str = "", evidence: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.evidence = evidence


class UsageError(QualifyError):
    """The request itself is wrong: unknown option, missing file, broken YAML."""


class InfraError(QualifyError):
    """The cluster, the engine or the machine failed, not the candidate."""


class UndecidedError(QualifyError):
    """The question could not be answered: a control failed, a fault has no proof."""


class UnavailableError(QualifyError):
    """What a scenario needs is not to be had on this cluster; it did not run, and nothing is known of the candidate."""


class CandidateError(QualifyError):
    """The candidate failed; `rule` is the name of the rule it broke."""

    def __init__(self, rule: str, message: str, *, remedy: str = "", evidence: str = "") -> None:
        super().__init__(message, remedy=remedy, evidence=evidence)
        self.rule = rule
