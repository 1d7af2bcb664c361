"""The end of a run as a person reads it in a terminal or a CI log.

Called by the plugin at the end of a session. Plain text survives: without a TTY there are no colours, and nothing
is cut off.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.report.verdict import Measure, Outcome, RunResult, Verdict

_STYLE = {"pass": "bold green", "fail": "bold red", "unknown": "bold yellow", "infra": "bold magenta", "not-run": "dim",
          "accepted": "bold cyan", "note": "bold cyan"}  # fmt: skip
MEANING = {
    Verdict.PASS: "nothing that was tried speaks against promoting these manifests",
    Verdict.FAIL: "do not promote these manifests",
    Verdict.UNKNOWN: "the question could not be answered; nothing is proven",
    Verdict.INFRA: "the cluster or the machine failed, not the candidate",
}
_ORDER = (Severity.FAIL, Severity.INFRA, Severity.UNKNOWN, Severity.ACCEPTED, Severity.NOTE)


def print_summary(result: RunResult, run_dir: Path, file: TextIO, *, width: int | None = None) -> None:
    """Print verdict, findings, scenarios, times and where the evidence is."""
    console = Console(file=file, highlight=False, width=width or _width(file))
    console.print(
        Text(f"verdict: {result.verdict.value}", _STYLE[result.verdict.value]), f"- {MEANING[result.verdict]}"
    )
    for finding in sorted(result.findings, key=lambda finding: _ORDER.index(finding.severity)):
        _print_finding(console, finding)
    console.print()
    if result.scenarios:
        console.print(_scenario_table(result))
    if result.parts:
        console.print(_part_table(result))
    if tested := _tested(result):
        console.print(Text(f"durability tested: {tested}"))
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    console.print(Text(f"{versions}; images: {result.images}; seed {result.seed}"))
    console.print(Text(f"evidence: {run_dir}", overflow="ignore", no_wrap=True), soft_wrap=True)


def sentence(finding: Finding) -> str:
    """A finding as plain text: the rule and its sentence, then evidence and remedy where there are any."""
    lines = [f"{finding.severity.value}: {finding.rule}: {_where(finding)}{finding.message}"]
    if finding.evidence:
        lines.append(f"  seen: {finding.evidence}")
    if finding.remedy:
        lines.append(f"  remedy: {finding.remedy}")
    return "\n".join(lines)


def _where(finding: Finding) -> str:
    return f"{finding.object}: " if finding.object and finding.object not in finding.message else ""


def _print_finding(console: Console, finding: Finding) -> None:
    head = Text()
    head.append(f"\n{finding.severity.value}  ", _STYLE[finding.severity.value])
    head.append(finding.rule, "bold")
    if finding.scenario:
        head.append(f"  ({finding.scenario})", "dim")
    console.print(head)
    console.print(Text(f"  {_where(finding)}{finding.message}"))
    if finding.evidence:
        console.print(Text(f"  seen: {finding.evidence}"))
    if finding.remedy:
        console.print(Text(f"  remedy: {finding.remedy}"))


def _scenario_table(result: RunResult) -> Table:
    table = Table(title=None, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("scenario", overflow="fold")
    table.add_column("outcome")
    table.add_column("s", justify="right")
    table.add_column("measured, or why it did not run", overflow="fold")
    for scenario in result.scenarios:
        told = scenario.reason if scenario.outcome is Outcome.NOT_RUN else ", ".join(map(_measure, scenario.measures))
        outcome = Text(scenario.outcome.value, _STYLE[scenario.outcome.value])
        table.add_row(Text(scenario.name), outcome, f"{scenario.seconds:.1f}", Text(told))
    return table


def _part_table(result: RunResult) -> Table:
    table = Table(title=None, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("part")
    table.add_column("s", justify="right")
    for part in result.parts:
        table.add_row(part.name, f"{part.seconds:.1f}")
    return table


def _tested(result: RunResult) -> str:
    """Which ends of the server its data was held against, and how often."""
    counted = Counter(str(each["stress"]) for each in result.experiments if each["ran"])
    return ", ".join(f"{stress} ({number})" for stress, number in counted.items())


def _measure(measure: Measure) -> str:
    # Three digits tell a person enough; verdict.json has them all.
    value = f"{measure.value:.0f}" if abs(measure.value) >= 100 else f"{measure.value:.3g}"
    return f"{measure.name} {value}{' ' + measure.unit if measure.unit else ''}"


def _width(file: TextIO) -> int | None:
    """The terminal's own width, or wide lines for a log file (rich would assume 80)."""
    return None if file.isatty() else 160


def how_to_reach(kubeconfig: Path, kubectl: Path, *, sandboxed: bool) -> str:
    """The command with which a person looks at a cluster that was kept.

    Args:
        kubeconfig: of the cluster.
        kubectl: the binary.
        sandboxed: the engine is scripts/sandbox's own, so only its network namespace reaches the cluster.
    """
    inside = "scripts/sandbox run --keep -- " if sandboxed else ""
    return f"{inside}{kubectl} --kubeconfig {kubeconfig} get pods --all-namespaces"
