"""Which exception is whose fault: the one place that turns what a scenario raised into a finding.

Used by `hooks`. Whatever is not understood is never a pass.
"""

from __future__ import annotations

import errno

from chroma_qualify.cluster.wait import WaitTimeoutError
from chroma_qualify.errors import CandidateError, InfraError, QualifyError, UndecidedError
from chroma_qualify.findings import Finding, Severity

# The scenario itself is broken: nobody can tell anything of the candidate.
_OUR_BUGS = (NameError, AttributeError, TypeError, ImportError)
_API_PACKAGES = ("kubernetes.", "urllib3.", "docker.")


def finding_of(error: BaseException, *, in_setup: bool, scenario: str) -> Finding:
    """The finding that an exception stands for.

    Args:
        error: what was raised.
        in_setup: raised by a fixture, before or after the scenario's own code.
        scenario: name of the scenario.
    """
    if isinstance(error, QualifyError):
        rule, severity = _of_qualify_error(error)
        return Finding(rule, severity, error.message, evidence=error.evidence, remedy=error.remedy, scenario=scenario)
    told = one_line(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        remedy = "free some space, e.g. with `make clean`"
        return Finding("disk-full", Severity.INFRA, f"the disk is full: {told}", remedy=remedy, scenario=scenario)
    rule, severity, message = _of_other_error(error, told, in_setup=in_setup)
    return Finding(rule, severity, message, scenario=scenario)


def has_own_sentence(error: BaseException) -> bool:
    """Is the message written for a reader, so that a stack trace adds nothing?"""
    return isinstance(error, QualifyError)


def one_line(error: BaseException) -> str:
    """An exception in one line of at most 400 characters; pytest's comparison of values stays in the trace."""
    text = " ".join(" ".join(str(error).splitlines()[:2]).split())
    name = "" if isinstance(error, AssertionError | QualifyError) else f"{type(error).__name__}: "
    return f"{name}{text}"[:400].removesuffix(": ")


def _of_qualify_error(error: QualifyError) -> tuple[str, Severity]:
    match error:
        case CandidateError():
            return error.rule, Severity.FAIL
        case WaitTimeoutError():
            return "timeout", Severity.FAIL
        case UndecidedError():
            return "undecided", Severity.UNKNOWN
        case InfraError():
            return "infra", Severity.INFRA
        case _:  # a UsageError that shows up this late is a mistake in what the run was told
            return "usage", Severity.INFRA


def _of_other_error(error: BaseException, told: str, *, in_setup: bool) -> tuple[str, Severity, str]:
    if isinstance(error, AssertionError):
        return "scenario-failed", Severity.FAIL, told or "an assertion failed"
    if in_setup:
        return "setup-failed", Severity.INFRA, f"preparing or clearing away the scenario failed: {told}"
    if type(error).__module__.startswith(_API_PACKAGES):
        return "cluster-api", Severity.INFRA, f"the cluster's API failed: {told}"
    if isinstance(error, _OUR_BUGS):
        return "harness-error", Severity.UNKNOWN, f"the scenario itself is broken: {told}"
    return "scenario-failed", Severity.FAIL, told
