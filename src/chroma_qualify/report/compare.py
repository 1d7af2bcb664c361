"""Two runs side by side: what is new, what is gone, what got slower, and what cannot be compared.

Called by `chroma-qualify diff`; `page_diff` makes a page of it. Whether the second run is worse follows from findings
and outcomes alone: times are of one run each, and a busy machine changes them more than most manifests do.
"""

from __future__ import annotations

import collections
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.report.comparison import (
    Answer,
    Change,
    Comparison,
    Difference,
    Figure,
    FindingChange,
    ScenarioChange,
    Side,
)
from chroma_qualify.report.facts import Facts, mapping, number, read_facts
from chroma_qualify.report.phases import PhaseFigures, phase_figures
from chroma_qualify.report.verdict import Outcome, ScenarioResult, Verdict
from chroma_qualify.report.write import CANDIDATE_FILE

_MOST_LINES = 400  # of the difference of the manifests
_OUTAGE = {"unavailable": "unavailable", "recovered": "recovered after", "first_error": "first error after"}
_T = TypeVar("_T")


def compare(before: Path, after: Path) -> Comparison:
    """Compare two run directories, also of runs that were cut.

    Raises:
        UsageError: one of them is no directory.
    """
    one, two = read_facts(before), read_facts(after)
    unknown = [f"{side}: {note}" for side, facts in (("first run", one), ("second run", two)) for note in facts.notes]
    figures = [phase_figures(directory, unknown, name) for directory, name in ((before, "first"), (after, "second"))]
    findings = tuple(_findings(one.result.findings, two.result.findings))
    scenarios = tuple(_scenarios(one.result.scenarios, two.result.scenarios))
    manifests = tuple(_manifests(before, after, one, two, unknown))
    answer, why = _answer(two, findings, scenarios)
    return Comparison(
        before=_side(before, one, figures[0]),
        after=_side(after, two, figures[1]),
        answer=answer,
        why=tuple(why),
        findings=findings,
        scenarios=scenarios,
        parts=tuple(_parts(one, two)),
        measures=tuple(_measures(one, two)),
        outages=tuple(_outages(one, two, unknown)),
        phases=tuple(_phases(*figures)),
        differences=tuple(_differences(one, two)),
        manifests=manifests,
        unknown=tuple(unknown),
    )


def _side(directory: Path, facts: Facts, figures: Sequence[PhaseFigures]) -> Side:
    result = facts.result
    ran = sum(each.outcome is not Outcome.NOT_RUN for each in result.scenarios)
    operations = sum(each.operations for each in figures)
    return Side(str(directory), result.run_id, result.verdict, result.started, result.seconds, facts.cut, ran,
                operations, result.command)  # fmt: skip


def _answer(
    two: Facts, findings: Sequence[FindingChange], scenarios: Sequence[ScenarioChange]
) -> tuple[Answer, list[str]]:
    failing = [each for each in findings if each.after == Severity.FAIL and each.before != Severity.FAIL]
    failed = [each for each in scenarios if each.after == Outcome.FAIL and each.before == Outcome.PASS]
    worse = [f"{each.rule} is found in the second run only{_of(each.scenario)}" for each in failing]
    worse += [f"{each.name} passed in the first run and fails in the second" for each in failed]
    if worse:
        return Answer.WORSE, worse
    undecided = []
    if two.cut or two.result.verdict in (Verdict.UNKNOWN, Verdict.INFRA):
        undecided.append(f"the second run's verdict is {two.result.verdict.value}: what it did not see may be worse")
    lost = [each.name for each in scenarios if each.before == Outcome.PASS and each.after not in _DECIDED]
    if lost:
        undecided.append(
            f"{len(lost)} scenario(s) passed in the first run and say nothing in the second: {_some(lost)}"
        )
    if undecided:
        return Answer.UNKNOWN, undecided
    return Answer.NO_WORSE, ["nothing fails in the second run that did not fail in the first"]


_DECIDED = (Outcome.PASS, Outcome.FAIL)


def _of(scenario: str) -> str:
    return f" ({scenario})" if scenario else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _findings(before: Sequence[Finding], after: Sequence[Finding]) -> Iterator[FindingChange]:
    """Those of the second run in their order, then those that are gone; one is known again by what it is about."""
    left: dict[object, list[Finding]] = collections.defaultdict(list)
    for finding in before:
        left[_identity(finding)].append(finding)
    for finding in after:
        known = left[_identity(finding)]
        was = known.pop(0) if known else None
        change = (
            Change.NEW if was is None else Change.SAME if was.severity is finding.severity else _turned(was, finding)
        )
        yield _finding(change, finding, was.severity.value if was else "", finding.severity.value)
    for known in left.values():
        for finding in known:
            yield _finding(Change.GONE, finding, finding.severity.value, "")


def _identity(finding: Finding) -> object:
    # Not the message: it has numbers in it.
    return finding.rule, finding.scenario, finding.object, finding.collection


def _turned(before: Finding | None, after: Finding) -> Change:
    if before is None:
        return Change.NEW
    if before.severity is after.severity:
        return Change.SAME
    order = (Severity.NOTE, Severity.ACCEPTED, Severity.UNKNOWN, Severity.INFRA, Severity.FAIL)
    return Change.WORSE if order.index(after.severity) > order.index(before.severity) else Change.BETTER


def _finding(change: Change, finding: Finding, before: str, after: str) -> FindingChange:
    return FindingChange(change, finding.rule, finding.scenario, finding.object, before, after, finding.message,
                         finding.evidence, finding.remedy)  # fmt: skip


def _scenarios(before: Sequence[ScenarioResult], after: Sequence[ScenarioResult]) -> Iterator[ScenarioChange]:
    for name, (was, now) in _joined(before, after, lambda each: each.name).items():
        yield ScenarioChange(
            _outcome_change(was, now),
            name,
            was.outcome.value if was else "",
            now.outcome.value if now else "",
            was.seconds if was else None,
            now.seconds if now else None,
            (now.reason if now else "") or (was.reason if was else ""),
        )


def _outcome_change(was: ScenarioResult | None, now: ScenarioResult | None) -> Change:
    if was is None or now is None:
        return Change.NEW if was is None else Change.GONE
    if was.outcome is now.outcome:
        return Change.SAME
    if now.outcome is Outcome.FAIL or was.outcome is Outcome.PASS:
        return Change.WORSE
    return Change.BETTER if now.outcome is Outcome.PASS else Change.OTHER


def _joined(
    before: Sequence[_T], after: Sequence[_T], name: Callable[[_T], str]
) -> dict[str, tuple[_T | None, _T | None]]:
    """What both have, in the order of the first and then of the second."""
    old, new = ({name(each): each for each in side} for side in (before, after))
    return {each: (old.get(each), new.get(each)) for each in (*old, *(every for every in new if every not in old))}


def _figure(
    group: str,
    name: str,
    unit: str,
    before: float | None,
    after: float | None,
    samples: tuple[int | None, int | None] = (None, None),
) -> Figure:
    ratio = round(after / before, 4) if before and after is not None else None
    return Figure(group, name, unit, before, after, ratio, *samples)


def _parts(one: Facts, two: Facts) -> Iterator[Figure]:
    for name, (was, now) in _joined(one.result.parts, two.result.parts, lambda part: part.name).items():
        yield _figure("", name, "s", was.seconds if was else None, now.seconds if now else None)


def _measures(one: Facts, two: Facts) -> Iterator[Figure]:
    for scenario, (was, now) in _joined(one.result.scenarios, two.result.scenarios, lambda each: each.name).items():
        measured = [side.measures if side else () for side in (was, now)]
        # The same name in another unit is another measure.
        for old, new in _joined(measured[0], measured[1], lambda measure: f"{measure.name}\0{measure.unit}").values():
            known = new or old
            if known is not None:
                yield _figure(scenario, known.name, known.unit, old.value if old else None, new.value if new else None)


def _outages(one: Facts, two: Facts, unknown: list[str]) -> Iterator[Figure]:
    both = _joined(one.result.experiments, two.result.experiments, lambda each: str(each.get("experiment")))
    for experiment, (was, now) in both.items():
        seen = [mapping(side.get("outage")) if side else {} for side in (was, now)]
        if not all(seen):
            which = "neither run" if not any(seen) else "the second run only" if not seen[0] else "the first run only"
            unknown.append(f"experiment {experiment}: what the fault did to the clients is known of {which}")
        if not any(seen):
            continue
        counts = tuple(_whole(side.get("operations")) for side in seen)
        for key, name in _OUTAGE.items():
            values = [number(side.get(key)) for side in seen]
            if values != [None, None]:
                yield _figure(experiment, name, "s", values[0], values[1], (counts[0], counts[1]))
        errors = [sum(mapping(side.get("errors")).values()) if side else None for side in seen]
        yield _figure(experiment, "errors", "", errors[0], errors[1], (counts[0], counts[1]))


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _phases(before: Sequence[PhaseFigures], after: Sequence[PhaseFigures]) -> Iterator[Figure]:
    for name, (was, now) in _joined(before, after, lambda each: each.name).items():
        samples = (was.operations if was else None, now.operations if now else None)
        sides = [side.figures if side else {} for side in (was, now)]
        for each, unit in {key: unit for side in sides for key, (_, unit) in side.items()}.items():
            values = [side[each][0] if each in side else None for side in sides]
            yield _figure(name, each, unit, values[0], values[1], samples)


def _differences(one: Facts, two: Facts) -> Iterator[Difference]:
    for what, (was, now) in {
        "manifests": (one.result.manifests, two.result.manifests),
        "digest of the manifests": (one.result.digest, two.result.digest),
        "seed": (str(one.result.seed), str(two.result.seed)),
        "images": (one.result.images, two.result.images),
    }.items():
        if was != now:
            yield Difference(what, was, now)
    tables: dict[str, tuple[Mapping[str, object], Mapping[str, object]]] = {
        "version of": (one.result.versions, two.result.versions),
        "image": (one.result.digests, two.result.digests),
        "option": (one.options, two.options),
    }
    for what, (old, new) in tables.items():
        for name in (*old, *(each for each in new if each not in old)):
            if old.get(name) != new.get(name):
                yield Difference(f"{what} {name}", *(str(side.get(name, "")) for side in (old, new)))


def _manifests(before: Path, after: Path, one: Facts, two: Facts, unknown: list[str]) -> Iterator[str]:
    if one.result.digest and one.result.digest == two.result.digest:
        return  # the same objects, in whatever words one version or another of ours wrote them down
    texts = []
    for directory in (before, after):
        try:
            texts.append((directory / CANDIDATE_FILE).read_text(encoding="utf-8", errors="replace").splitlines())
        except OSError:
            texts.append([])
    if not all(texts):
        if one.result.digest != two.result.digest:
            unknown.append("the manifests differ, and not both runs have recorded theirs: what differs is not known")
        return
    if _objects(texts[0]) == _objects(texts[1]) is not None:
        return
    difference = difflib.unified_diff(texts[0], texts[1], one.result.run_id, two.result.run_id, lineterm="", n=2)
    for place, line in enumerate(difference):
        if place == _MOST_LINES:
            yield f"… the first {_MOST_LINES} lines; all is in {CANDIDATE_FILE} of both runs"
            return
        yield line


def _objects(lines: Sequence[str]) -> list[Any] | None:
    """What a recorded candidate says; None if it cannot be read."""
    try:
        return list(yaml.safe_load_all("\n".join(lines)))
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
