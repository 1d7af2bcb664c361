"""Hold manifests against a policy scanner, kube-score, and its findings against exceptions, each with a reason.

Run by scenarios, over every overlay that is shipped. An exception that nothing needs any more is a finding as well: it
would hide the next thing of that name.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from chroma_qualify.cluster.model import run
from chroma_qualify.deployment.objects import KubeObject, dump
from chroma_qualify.errors import InfraError, UsageError
from chroma_qualify.findings import Finding, Severity

EXCEPTIONS = "scan-exceptions.yaml"  # beside the overlays' directory
TIMEOUT = 300.0  # s; it takes less than one
_FINE = 10  # kube-score's grade of a check that found nothing
_KUBERNETES = "v1.37"  # by default it would judge for 1.18


@dataclasses.dataclass(frozen=True, slots=True)
class Issue:
    """Something that the scanner found.

    Attributes:
        check: its name for the check, e.g. `container-image-tag`.
        object: `Kind/name`.
        words: what it says, with the place within the object.
    """

    check: str
    object: str
    words: str


@dataclasses.dataclass(frozen=True, slots=True)
class Exemption:
    """A finding of the scanner that stays, and why.

    Attributes:
        check: the scanner's name for it.
        object: `Kind/name`.
        reason: one sentence.
    """

    check: str
    object: str
    reason: str


def scan(objects: Sequence[KubeObject], scanner: Path) -> list[Issue]:
    """Scan the objects of one overlay.

    Args:
        objects: rendered.
        scanner: the program kube-score.

    Raises:
        InfraError: it does not run, or prints what we cannot read.
    """
    done = run(
        [str(scanner), "score", "--output-format=json", f"--kubernetes-version={_KUBERNETES}",
         "--disable-ignore-checks-annotations", "-"],
        stdin=dump(objects), timeout=TIMEOUT, check=False,
    )  # fmt: skip
    return issues_of(done.stdout, done.stderr)


def issues_of(printed: str, errors: str = "") -> list[Issue]:
    """What kube-score printed as JSON; it exits 1 for findings and for failures alike.

    Raises:
        InfraError: it is not of the known format.
    """
    try:
        scored = json.loads(printed)
        return sorted(_issues(scored), key=lambda issue: (issue.object, issue.check, issue.words))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        said = " ".join((errors or printed).split())[:300]
        raise InfraError(f"kube-score did not print what was expected: {said or type(error).__name__}") from error


def load_exceptions(path: Path) -> list[Exemption]:
    """Read a file of exceptions.

    Raises:
        UsageError: it is not of the format, or one has no reason.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    entries = document.get("exceptions") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise UsageError(f"{path} must hold a list `exceptions`")
    return [one for number, entry in enumerate(entries) for one in _exemptions(entry, f"{path}: exceptions[{number}]")]


def judge(issues: Mapping[str, Sequence[Issue]], exceptions: Sequence[Exemption]) -> list[Finding]:
    """What is left of the issues of each overlay, and which exceptions none of them needs.

    Args:
        issues: by the overlay's name. With overlays left out, the exceptions that only they need count as unneeded.
        exceptions: for all overlays.
    """
    excused = {(one.check, one.object) for one in exceptions}
    met = {(issue.check, issue.object) for found in issues.values() for issue in found}
    left = [
        Finding(
            rule="scan-finding",
            severity=Severity.FAIL,
            message=f"{issue.object} of {overlay} fails the check {issue.check}: {issue.words}",
            evidence="kube-score",
            remedy=f"correct it, or give the reason why it stays in manifests/{EXCEPTIONS}",
            object=issue.object,
        )
        for overlay, found in issues.items()
        for issue in found
        if (issue.check, issue.object) not in excused
    ]
    unneeded = [
        Finding(
            rule="scan-exception-unneeded",
            severity=Severity.FAIL,
            message=f"the exception for {one.object} from {one.check} matches nothing any more",
            evidence=one.reason,
            remedy=f"take it out of manifests/{EXCEPTIONS}",
            object=one.object,
        )
        for one in exceptions
        if (one.check, one.object) not in met
    ]
    return [*left, *unneeded]


def _issues(scored: Any) -> Iterator[Issue]:  # noqa: ANN401 (somebody's JSON)
    for item in scored:
        name = f"{item['type_meta']['kind']}/{item['object_meta']['name']}"
        for checked in item["checks"]:
            if checked["skipped"] or checked["grade"] >= _FINE:
                continue
            words = [": ".join(filter(None, (said["path"], said["summary"]))) for said in checked["comments"] or ()]
            yield Issue(checked["check"]["id"], name, "; ".join(words) or checked["check"]["name"])


def _exemptions(entry: object, where: str) -> Iterator[Exemption]:
    """One entry names a check, the objects, and one reason for all of them."""
    if not isinstance(entry, dict) or set(entry) != {"check", "objects", "reason"}:
        raise UsageError(f"{where} must have check, objects and reason, and nothing else")
    objects = entry["objects"]
    if not isinstance(objects, list) or not objects or not all(isinstance(one, str) and "/" in one for one in objects):
        raise UsageError(f"{where}.objects must be a list of Kind/name")
    for word in ("check", "reason"):
        if not isinstance(entry[word], str) or not entry[word].strip():
            raise UsageError(f"{where}.{word} must be words")
    yield from (Exemption(entry["check"], one, entry["reason"]) for one in objects)
