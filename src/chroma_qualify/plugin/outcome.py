"""Which exception is whose fault: the one place that turns what a scenario raised into a finding.

Used by `hooks`. Whatever is not understood is never a pass.
"""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator

from chroma_qualify.cluster.wait import WaitTimeoutError
from chroma_qualify.deployment.forward import last_errors
from chroma_qualify.errors import CandidateError, InfraError, QualifyError, UndecidedError
from chroma_qualify.findings import Finding, Severity
from chroma_qualify.plugin.limit import REMEDY, RULE, TimeLimitError

# The scenario itself is broken: nobody can tell anything of the candidate.
_OUR_BUGS = (NameError, AttributeError, TypeError, ImportError)
_API_PACKAGES = ("kubernetes.", "urllib3.", "docker.")
# A request got no answer: by name, so that neither package has to be imported for it.
_NO_ANSWER = {
    "httpx.TransportError",
    "requests.exceptions.ConnectionError",
    "requests.exceptions.Timeout",
    "requests.exceptions.ChunkedEncodingError",
}
_UNREACHABLE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}


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
    if isinstance(error, TimeLimitError):
        return Finding(RULE, Severity.UNKNOWN, str(error), remedy=REMEDY, scenario=scenario)
    told = one_line(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        remedy = "free some space, e.g. with `make clean`"
        return Finding("disk-full", Severity.INFRA, f"the disk is full: {told}", remedy=remedy, scenario=scenario)
    rule, severity, message = _of_other_error(error, told, in_setup=in_setup)
    evidence = ""
    if rule == "no-answer" and (reasons := last_errors()):
        evidence = f"the forward's last error: {'; '.join(reasons)}"
    return Finding(rule, severity, message, evidence=evidence, scenario=scenario)


def has_own_sentence(error: BaseException) -> bool:
    """Is the message written for a reader, so that a stack trace adds nothing?"""
    return isinstance(error, QualifyError | TimeLimitError)


def one_line(error: BaseException) -> str:
    """An exception in one line of at most 400 characters; pytest's comparison of values stays in the trace."""
    text = " ".join(" ".join(str(error).splitlines()[:2]).split())
    name = "" if isinstance(error, AssertionError | QualifyError) else f"{type(error).__name__}: "
    return f"{name}{text}"[:400].removesuffix(": ")


def _of_qualify_error(error: QualifyError) -> tuple[str, Severity]:
    match error:
        case CandidateError():
            return error.rule, Severity.FAIL
        case WaitTimeoutError():  # nobody who knows whose fault it is has said so
            return "timeout", Severity.UNKNOWN
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
    return _of_unjudged_error(error, told)


def _of_unjudged_error(error: BaseException, told: str) -> tuple[str, Severity, str]:
    """What the scenario did not expect: no answer at all tells nothing of the candidate, a wrong answer does."""
    if isinstance(error, subprocess.TimeoutExpired):
        return "timeout", Severity.UNKNOWN, f"a program of the scenario did not end: {told}"
    if isinstance(error, subprocess.CalledProcessError):
        return "undecided", Severity.UNKNOWN, f"a program failed, and the scenario does not say why: {told}"
    if any(_no_answer(part) for part in _chain(error)):
        return "no-answer", Severity.UNKNOWN, f"a request got no answer, and the scenario does not say why: {told}"
    return "scenario-failed", Severity.FAIL, told


def _no_answer(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return True
    return any(f"{kind.__module__}.{kind.__qualname__}" in _NO_ANSWER for kind in type(error).__mro__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from: chromadb says "Could not connect" with a ValueError."""
    current: BaseException | None = error
    seen: set[int] = set()
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
