"""Waivers: findings of the lint that the owner of the manifests knows and takes, each with a reason and a last day.

They are in `lint-waivers.yaml`, beside the manifests. What a waiver covers is shown as accepted; one that is over, or
that covers nothing, is itself a finding, for it would hide the next thing of that name. Pure: no clock, no file.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Collection, Sequence

from chroma_qualify.errors import UsageError
from chroma_qualify.findings import Finding, Severity

EXPIRED = "waiver-expired"
UNUSED = "waiver-unused"
_WAIVABLE = (Severity.FAIL, Severity.NOTE)
_NEEDED = ("rule", "object", "reason", "expires")


@dataclasses.dataclass(frozen=True, slots=True)
class Waiver:
    """One waiver.

    Attributes:
        rule: of the findings that it covers.
        object: `Kind/name` that they are about.
        path: where in the object they must be, or in what is below it; "": anywhere.
        reason: why it is taken, one sentence.
        expires: the last day on which it holds.
        where: it stands, for messages.
    """

    rule: str
    object: str
    path: str
    reason: str
    expires: datetime.date
    where: str

    def covers(self, finding: Finding) -> bool:
        """Is this what the waiver is about?"""
        below = finding.path.startswith((f"{self.path}.", f"{self.path}["))
        in_place = not self.path or finding.path == self.path or below
        return finding.rule == self.rule and finding.object == self.object and in_place

    def __str__(self) -> str:
        return f"of {self.rule} for {self.object}{f' at {self.path}' if self.path else ''}"


def parse_waivers(document: object, where: str, known: Collection[str]) -> tuple[Waiver, ...]:
    """Read what a file of waivers holds.

    Args:
        document: parsed; None: an empty file.
        where: its name, for messages.
        known: the names of all rules that can be waived.

    Raises:
        UsageError: one sentence that names the entry and the field.
    """
    if document is None:
        return ()
    if not isinstance(document, list):
        raise UsageError(f"{where} must be a list of waivers, each with {', '.join(_NEEDED)}")
    return tuple(_waiver(entry, f"{where}: waiver {number}", known) for number, entry in enumerate(document, start=1))


def apply_waivers(
    findings: Sequence[Finding],
    waivers: Sequence[Waiver],
    today: datetime.date,
    undecided: Collection[str] = (),
) -> list[Finding]:
    """The findings in the light of the waivers.

    Args:
        findings: of the rules.
        waivers: of these manifests.
        today: waivers are held against it.
        undecided: rules that were not asked, so that their waivers cannot be told to be unused.

    Returns:
        The findings, those that a waiver covers as accepted, then what is wrong with the waivers.
    """
    weighed = [_weigh(finding, waivers, today) for finding in findings]
    met = {id(waiver) for waiver in waivers for finding in findings if _waivable(finding) and waiver.covers(finding)}
    for waiver in waivers:
        if _over(waiver, today):
            text = f"The waiver {waiver} expired on {waiver.expires.isoformat()}."
            remedy = "Look whether the reason still holds, and renew the waiver or take it out."
            weighed.append(_finding(EXPIRED, waiver, text, remedy))
        elif id(waiver) not in met and waiver.rule not in undecided:
            text = f"The waiver {waiver} covers no finding any more."
            remedy = "Take it out: it would hide the next finding of that name."
            weighed.append(_finding(UNUSED, waiver, text, remedy))
    return weighed


def _weigh(finding: Finding, waivers: Sequence[Waiver], today: datetime.date) -> Finding:
    covering = [waiver for waiver in waivers if waiver.covers(finding)] if _waivable(finding) else []
    if not covering:
        return finding
    holds = next((waiver for waiver in covering if not _over(waiver, today)), None)
    if holds is None:
        over = covering[0].expires.isoformat()
        return dataclasses.replace(finding, message=f"{finding.message} It was waived until {over}.")
    text = f"{finding.message} Waived until {holds.expires.isoformat()}: {holds.reason}"
    return dataclasses.replace(finding, severity=Severity.ACCEPTED, message=text)


def _waivable(finding: Finding) -> bool:
    return finding.severity in _WAIVABLE


def _over(waiver: Waiver, today: datetime.date) -> bool:
    return today > waiver.expires


def _finding(rule: str, waiver: Waiver, text: str, remedy: str) -> Finding:
    evidence = f"{waiver.where}: {waiver.reason}"
    return Finding(rule, Severity.FAIL, text, evidence, remedy, object=waiver.object, path=waiver.path)


def _waiver(entry: object, where: str, known: Collection[str]) -> Waiver:
    if not isinstance(entry, dict):
        raise UsageError(f"{where} must be an object with {', '.join(_NEEDED)}")
    if stray := sorted(str(key) for key in entry if key not in {*_NEEDED, "path"}):
        raise UsageError(f"{where} has the unknown field {stray[0]}", remedy=f"there are {', '.join(_NEEDED)}, path")
    for word in _NEEDED:
        if not isinstance(entry.get(word), str) or not entry[word].strip():
            raise UsageError(f"{where}: {word} is missing: a waiver says its {', '.join(_NEEDED)}")
    path = entry.get("path", "")
    if not isinstance(path, str):
        raise UsageError(f"{where}: path must be words, like spec.template.spec.containers[0]")
    if entry["rule"] not in known:
        said = f"{where}: there is no rule {entry['rule']} of the lint"
        raise UsageError(said, remedy="`chroma-qualify lint --list` names them")
    if not all(entry["object"].partition("/")[::2]):
        raise UsageError(f"{where}: object must be Kind/name, like Deployment/chroma")
    try:
        expires = datetime.date.fromisoformat(entry["expires"])
    except ValueError:
        raise UsageError(f"{where}: expires is no date like 2027-06-30") from None
    return Waiver(entry["rule"], entry["object"], path, entry["reason"].strip(), expires, where)
