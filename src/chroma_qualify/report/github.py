"""What a run says to GitHub: annotations, and the job's summary in Markdown.

Called by the plugin at the end of a run, and by `lint` for its format `github`; both use the escaping here. What a run
saw (a server's log, an answer) is not ours: nothing of it may become a workflow command or markup.
"""

from __future__ import annotations

import html
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from chroma_qualify.findings import Finding, Severity
from chroma_qualify.report.verdict import Measure, Outcome, RunResult

_LEVEL = {
    Severity.FAIL: "error",
    Severity.INFRA: "error",
    Severity.UNKNOWN: "warning",
    Severity.ACCEPTED: "notice",
    Severity.NOTE: "notice",
}
_ORDER = list(_LEVEL)
_MOST_EVIDENCE = 2000  # characters of one finding's; verdict.json has all of it
_MOST_SUMMARY = 900_000  # bytes; GitHub takes 1 MiB of a step
_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|~@])")


def escape_data(text: str) -> str:
    """A message of a workflow command: one line, whatever it holds."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """A value of a property of a workflow command, e.g. of `title`."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


def annotation(level: str, message: str, *, title: str = "", file: str = "", line: int | None = None) -> str:
    """One workflow command that annotates: `error`, `warning` or `notice`."""
    given = {"file": file, "line": "" if line is None else str(line), "title": title}
    properties = ",".join(f"{name}={escape_property(value)}" for name, value in given.items() if value)
    return f"::{level}{f' {properties}' if properties else ''}::{escape_data(message)}"


def annotated(findings: Iterable[Finding]) -> list[str]:
    """One for each finding, the worst first: GitHub shows the first ten of each level."""
    ordered = sorted(findings, key=lambda finding: _ORDER.index(finding.severity))
    return [annotation(_LEVEL[each.severity], _message(each), title=each.rule) for each in ordered]


def step_summary(result: RunResult) -> str:
    """The run as Markdown: verdict, findings, scenarios, what did not run and why."""
    found = sorted(result.findings, key=lambda finding: _ORDER.index(finding.severity))
    lines = [f"## chroma-qualify: {result.verdict.value}", "", *_facts(result)]
    if found:
        lines += ["", "### Findings", "", "| severity | rule | where | what |", "|---|---|---|---|"]
        lines += [_row(each.severity.value, each.rule, each.scenario or each.object, each.message) for each in found]
        lines += ["", *_details(found)]
    ran = [each for each in result.scenarios if each.outcome is not Outcome.NOT_RUN]
    idle = [each for each in result.scenarios if each.outcome is Outcome.NOT_RUN]
    lines += ["", "### Scenarios", "", "| scenario | outcome | s | measured |", "|---|---|--:|---|"]
    lines += [
        _row(each.name, each.outcome.value, f"{each.seconds:.1f}", ", ".join(map(_measure, each.measures)))
        for each in ran
    ]
    if idle:
        lines += ["", "### Not run", "", "| scenario | why |", "|---|---|"]
        lines += [_row(each.name, each.reason) for each in idle]
    return _cut("\n".join(lines) + "\n")


def tell_github(result: RunResult, environment: Mapping[str, str], out: TextIO) -> None:
    """In a job of GitHub Actions: annotations to its log, and the summary to the file that it names; else nothing.

    A summary that cannot be written is said, and fails nothing.
    """
    if environment.get("GITHUB_ACTIONS") != "true":
        return
    out.writelines(f"{line}\n" for line in annotated(result.findings))
    if path := environment.get("GITHUB_STEP_SUMMARY"):
        try:
            with Path(path).open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(step_summary(result))
        except OSError as error:
            out.write(f"{annotation('warning', f'the step summary cannot be written: {error.strerror}')}\n")
    out.flush()


def no_commands(environment: Mapping[str, str], out: TextIO) -> str:
    """From now on GitHub obeys no workflow command in what is printed; returns what `commands_again` needs.

    A server's log, printed as evidence, could hold one.
    """
    if environment.get("GITHUB_ACTIONS") != "true":
        return ""
    token = secrets.token_hex(16)
    out.write(f"::stop-commands::{token}\n")
    out.flush()
    return token


def commands_again(token: str, out: TextIO) -> None:
    """The end of what `no_commands` began."""
    if token:
        out.write(f"::{token}::\n")
        out.flush()


def _message(finding: Finding) -> str:
    told = f"{finding.object}: " if finding.object and finding.object not in finding.message else ""
    remedy = f"\nremedy: {finding.remedy}" if finding.remedy else ""
    return f"{told}{finding.message}{remedy}"


def _facts(result: RunResult) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    yield f"{_text(versions)}; images: {_text(result.images)}; seed {result.seed}; {result.seconds:.0f} s"
    if result.manifests:
        yield f"<br>candidate {_text(result.manifests)} ({_text(result.digest[:12])})"
    if result.command:
        yield f"<br>again: <code>{_code(result.command)}</code>"


def _details(findings: Iterable[Finding]) -> Iterator[str]:
    for each in findings:
        if not (each.evidence or each.remedy):
            continue
        yield f"<details><summary>{_code(each.rule)}: evidence and remedy</summary>"
        yield ""
        if each.remedy:
            yield f"remedy: {_text(each.remedy)}"
            yield ""
        if each.evidence:
            cut = "" if len(each.evidence) <= _MOST_EVIDENCE else " … (all of it is in verdict.json)"
            yield f"<pre>{_code(each.evidence[:_MOST_EVIDENCE])}{cut}</pre>"
            yield ""
        yield "</details>"
        yield ""


def _row(*cells: str) -> str:
    return f"| {' | '.join(map(_text, cells))} |"


def _measure(measure: Measure) -> str:
    return f"{measure.name} {measure.value:.4g}{f' {measure.unit}' if measure.unit else ''}"


def _text(text: str) -> str:
    """Plain words in a line of Markdown: no markup, no HTML, no mention, no new cell."""
    return _MARKUP.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _code(text: str) -> str:
    """Words inside an HTML element, where Markdown ends at an empty line and HTML begins at a bracket."""
    return html.escape(text, quote=False).replace("|", "&#124;").replace("\r", "").replace("\n", "&#10;")


def _cut(text: str) -> str:
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) <= _MOST_SUMMARY:
        return text
    kept = raw[:_MOST_SUMMARY].decode("utf-8", "ignore").rpartition("\n")[0]
    return f"{kept}\n\nThe rest is too long for a summary: see verdict.json among the artifacts.\n"
