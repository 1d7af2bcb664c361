"""report.html: a run as a person reads it, in one file that needs nothing else.

Made at the end of every run, also of one that was cut, and again by `chroma-qualify report`. It only tells: the
verdict is verdict.json's, and whatever a run directory holds or lacks, there is a page.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.report.charts import timeline
from chroma_qualify.report.console import MEANING
from chroma_qualify.report.facts import Facts, mapping, number, read_facts
from chroma_qualify.report.pages import pages
from chroma_qualify.report.series import Count, Series, read_series
from chroma_qualify.report.template import fill
from chroma_qualify.report.verdict import Matrix, MatrixCell, Outcome, RunResult

_WORST_FIRST = tuple(Severity)
_REASONS = 5  # on the first screen
_MOST = 200  # findings; a broken run can have thousands, all alike
_CUT = "The run was cut before its end: nothing is proven. What was recorded until then is below."


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """A finding in the page.

    Attributes:
        anchor: of its element.
        rule: headings and paragraphs of the rule's page, as far as it has one.
        times: how many findings of this rule and severity there are.
    """

    finding: Finding
    anchor: str
    rule: Mapping[str, Sequence[str]]
    times: int


@dataclasses.dataclass(frozen=True, slots=True)
class Struck:
    """A fault in the page; seconds from when it was asked for.

    Attributes:
        lane: where its line is: "", `beside` or `expected/…`.
        tone, word: how it ended, and in what colour.
        told: name and text of what its lines say.
    """

    name: str
    lane: str
    tone: str
    word: str
    stress: str
    proven: float | None
    healed: float | None
    first_error: float | None
    unavailable: float | None
    recovered: float | None
    errors: int | None
    told: tuple[tuple[str, str], ...]


def write_page(run_dir: Path, output: Path | None = None) -> Path:
    """Write report.html of a run and return its path.

    Args:
        run_dir: of a recorded run, which may have been cut.
        output: where to; links to the run's files lead into its directory only from there.

    Raises:
        UsageError: there is no such directory.
        OSError: it cannot be written.
    """
    return put(output or run_dir / "report.html", page(read_facts(run_dir), read_series(run_dir)))


def put(path: Path, text: str) -> Path:
    """Write a page whole or not at all, and return its path. Raises OSError."""
    if path.exists() and not path.is_file():  # /dev/stdout is written to, and never replaced
        path.write_text(text, encoding="utf-8")
        return path
    target = path.resolve()
    beside = target.with_name(f"{target.name}.part-{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return path


def page(facts: Facts, series: Series) -> str:
    """report.html as text."""
    run = facts.result
    line = timeline(series)
    findings = sorted(run.findings, key=lambda finding: _WORST_FIRST.index(finding.severity))
    told = tell(findings[:_MOST])
    reasons = _reasons(told)
    faults = struck(facts)
    counts = sorted(series.counts, key=_missing_first)
    seconds = run.seconds or (line.seconds if line.seconds > 0 else None)
    parts = [("findings", f"Findings ({len(findings)})" if findings else "Findings"), ("timeline", "Timeline")]
    parts += [("policy", "Who may do what")] if run.matrices else []
    parts += [("counts", "Store and index")] if counts else []
    parts += [("faults", "Faults")] if faults else []
    parts += [("scenarios", "Scenarios"), *([("parts", "Time")] if run.parts else []), ("again", "Repeat it")]
    return fill(
        "page.html.j2",
        title=f"{run.verdict.value}: {Path(run.manifests).name or 'chroma-qualify'}, run {run.run_id}",
        data=line.spec(),
        run=run,
        cut=facts.cut,
        tone=run.verdict.value,
        word=run.verdict.value,
        meaning=_CUT if facts.cut else sentence(MEANING[run.verdict]),
        reasons=reasons[:_REASONS],
        more_reasons=max(0, len(reasons) - _REASONS),
        tally=tally(run),
        notes=facts.notes,
        baseline=facts.options.get("baseline"),
        seconds=seconds,
        parts=parts,
        findings=told,
        findings_total=len(findings),
        anchors=anchors(run),
        line=line,
        matrices=[_matrix(matrix) for matrix in run.matrices],
        counts=counts,
        faults=faults,
        not_run=[scenario for scenario in run.scenarios if scenario.outcome is Outcome.NOT_RUN],
        parts_taken=_parts(run),
        options={name: value for name, value in facts.options.items() if value not in {"", None} and name != "images"},
        files=facts.files,
    )


def tell(findings: Sequence[Finding]) -> list[Told]:
    """Findings with what the page adds to them."""
    times = Counter((finding.rule, finding.severity) for finding in findings)
    rules = {rule: rule_page(rule) for rule in {finding.rule for finding in findings}}
    return [
        Told(finding, f"finding-{place}", rules[finding.rule], times[finding.rule, finding.severity])
        for place, finding in enumerate(findings, 1)
    ]


def rule_page(rule: str) -> dict[str, list[str]]:
    """What and why of a rule's page as paragraphs, without Markdown; empty where there is no such page."""
    told = pages().get(rule)
    if told is None:
        return {}
    bodies = {title: told.section(title) for title in ("What", "Why")}
    plain = {title: re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", body).replace("`", "") for title, body in bodies.items()}
    return {
        title: [" ".join(paragraph.split()) for paragraph in body.split("\n\n") if paragraph.strip()]
        for title, body in plain.items()
        if body
    }


def struck(facts: Facts) -> list[Struck]:
    """Each fault of faults.jsonl, and those that the verdict knows of and faults.jsonl does not."""
    judged = {str(each.get("experiment")): each for each in facts.result.experiments}
    logged = [(lane, mapping(fault)) for lane, fault in facts.faults]
    names = {str(fault.get("experiment")) for _, fault in logged}
    unlogged: list[tuple[str, Mapping[str, Any]]] = [
        ("", {"experiment": name, "unavailable": each.get("reason")})
        for name, each in judged.items()
        if name not in names
    ]
    return [
        _struck(lane, fault, {} if lane.startswith("expected") else mapping(judged.get(str(fault.get("experiment")))))
        for lane, fault in [*logged, *unlogged]
    ]


def tally(run: RunResult) -> list[tuple[str, int]]:
    """How many scenarios ended how, the worst first."""
    counted = Counter(scenario.outcome for scenario in run.scenarios)
    order = (Outcome.FAIL, Outcome.INFRA, Outcome.UNKNOWN, Outcome.PASS, Outcome.NOT_RUN)
    return [(outcome.value, counted[outcome]) for outcome in order if counted[outcome]]


def anchors(run: RunResult) -> dict[str, str]:
    """The element of each scenario."""
    return {scenario.name: f"scenario-{place}" for place, scenario in enumerate(run.scenarios, 1)}


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def _reasons(told: Sequence[Told]) -> list[Told]:
    """One finding of each rule that decided the verdict; what fails nothing is no reason."""
    deciding = [each for each in told if each.finding.severity not in {Severity.ACCEPTED, Severity.NOTE}]
    return list({(each.finding.rule, each.finding.severity): each for each in reversed(deciding)}.values())[::-1]


def _missing_first(count: Count) -> tuple[bool, bool, str, str]:
    short = any(value is not None and value < count.acknowledged for value in (count.store, count.index))
    return (not short, count.lane.startswith("expected"), count.collection, count.endpoint)


def _matrix(matrix: Matrix) -> dict[str, object]:
    cells = [cell for row in matrix.cells for cell in row if isinstance(cell, MatrixCell)]
    counted = Counter(cell.judgement for cell in cells)
    right = f"{counted['right']} of {len(cells)} cells are right"
    others = [f"{counted[name]} {name}" for name in ("wrong", "undecided") if counted[name]]
    table = list(zip(matrix.rows, matrix.cells, strict=False))
    return {
        "name": matrix.name,
        "scenario": matrix.scenario,
        "columns": matrix.columns,
        "table": table,
        "told": ", ".join([right, *others]),
    }


def _struck(lane: str, fault: Mapping[str, Any], judged: Mapping[str, Any]) -> Struck:
    begin = number(fault.get("begin"))
    outage = mapping(judged.get("outage"))
    proof, undone = mapping(fault.get("proof")), mapping(fault.get("undone"))
    errors = mapping(outage.get("errors"))
    reason = str(fault.get("unavailable") or fault.get("error") or judged.get("reason") or "")
    if fault.get("unavailable") or judged.get("ran") is False:
        tone, word = "not-run", "not run"
    elif not proof:
        tone, word = "unknown", "not proven"
    else:
        tone = str(judged.get("verdict") or "not-run")
        word = tone if judged else "not judged"
    recall = ", ".join(
        f"{phase} {value:.3f}" for phase, value in mapping(judged.get("recall")).items() if number(value)
    )
    stale = ", ".join(f"{name} {value}" for name, value in mapping(judged.get("stale")).items())
    rows = (
        ("asked", fault.get("asked")),
        ("proof", _claim(proof)),
        ("undone", _claim(undone)),
        ("in the way", reason),
        ("evidence", fault.get("evidence")),
        ("errors seen", ", ".join(f"{kind} {times}" for kind, times in errors.items())),
        ("operations", outage.get("operations")),
        ("recall@10", recall),
        ("stale reads", stale),
        ("namespace", fault.get("namespace")),
    )
    return Struck(
        name=str(fault.get("experiment") or fault.get("fault")),
        lane=lane,
        tone=tone,
        word=word,
        stress=str(judged.get("stress") or ""),
        proven=_after(begin, fault.get("proven")),
        healed=_after(begin, fault.get("healed")),
        first_error=number(outage.get("first_error")),
        unavailable=number(outage.get("unavailable")),
        recovered=number(outage.get("recovered")),
        errors=sum(int(number(times) or 0) for times in errors.values()) if outage else None,
        told=tuple((name, str(text)) for name, text in rows if text not in {None, ""}),
    )


def _claim(proof: Mapping[str, Any]) -> str:
    return f"{proof.get('claim')}\n{proof.get('seen')}" if proof else ""


def _after(begin: float | None, moment: object) -> float | None:
    """Seconds from `begin` to a moment of the run's clock."""
    when = number(moment)
    return None if begin is None or when is None else (when - begin) / 1e9


def _parts(run: RunResult) -> list[tuple[str, float, float]]:
    """Parts with their seconds and their share of the longest one, in percent."""
    taken = [(part.name, part.seconds) for part in run.parts]
    if not taken:
        return []
    taken.append(("all scenarios, of both lanes", sum(scenario.seconds for scenario in run.scenarios)))
    longest = max(seconds for _, seconds in taken) or 1.0
    return [(name, seconds, round(100 * seconds / longest, 2)) for name, seconds in taken]
