"""`lint`: what can be read off manifests, without a cluster."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from chroma_qualify.cli.words import version
from chroma_qualify.errors import UsageError

if TYPE_CHECKING:
    from chroma_qualify.report.lint.told import Lint


class LintFormat(enum.StrEnum):
    """For whom the findings are printed."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


def lint(
    manifests: Annotated[
        str | None, typer.Argument(help="A directory (kustomization or plain YAML), a file, or - for what is piped in.")
    ] = None,
    form: Annotated[
        LintFormat, typer.Option("--format", help="For a person, a program, code scanning, or a GitHub workflow's log.")
    ] = LintFormat.TEXT,
    output: Annotated[Path | None, typer.Option(help="Write the findings there, and only their count here.")] = None,
    kubernetes: Annotated[
        str | None, typer.Option(callback=version, help="The version whose schemas hold; default: the newest known.")
    ] = None,
    waivers: Annotated[
        Path | None, typer.Option(help="Findings that are taken; default: lint-waivers.yaml beside the manifests.")
    ] = None,
    vectors: Annotated[int, typer.Option(min=0, help="How many one server is to hold; 0: not said.")] = 0,
    dimensions: Annotated[int, typer.Option(min=1, help="Of one vector.")] = 384,
    list_rules: Annotated[bool, typer.Option("--list", help="List the rules, one line each.")] = False,
    explain: Annotated[str | None, typer.Option(metavar="RULE", help="Print the page of a rule.")] = None,
) -> None:
    """Hold manifests against the schemas of Kubernetes and the rules for Chroma; no cluster is needed.

    Exit codes: 0 nothing that fails, 1 a finding of severity fail, 2 wrong request, 3 nothing could be judged,
    4 a kustomization, and nothing to render it with.

    Examples:
        chroma-qualify lint manifests/overlays/production

        helm template my-chroma CHART | chroma-qualify lint - --format sarif --output lint.sarif

        chroma-qualify lint deploy/chroma --vectors 1000000 --dimensions 768

        chroma-qualify lint --explain two-servers-one-volume
    """
    if list_rules or explain is not None:
        _describe(explain)
        return
    if manifests is None:
        raise UsageError("lint what?", remedy="name a directory or a file of Kubernetes manifests, or - for a pipe")
    from chroma_qualify.deployment.linting import lint_directory
    from chroma_qualify.deployment.places import places_of
    from chroma_qualify.lint.settings import Settings
    from chroma_qualify.report.lint.told import Lint, Told

    linted = lint_directory(manifests, sys.stdin.buffer, Settings(kubernetes or "", vectors, dimensions), waivers)
    places = places_of(manifests, linted.findings)
    told = (
        Told(each, *((at.file, at.line) if (at := places.get(each)) else ("", 0)), linted.waived.get(each))
        for each in linted.findings
    )
    result = Lint(manifests, tuple(told), linted.objects, linted.without_schema, linted.kubernetes)
    _write(result, form, output)
    raise typer.Exit(result.verdict.exit_code)


def _write(result: Lint, form: LintFormat, output: Path | None) -> None:
    if output is None:
        _print(result, form, sys.stdout)
        return
    try:
        with output.open("w", encoding="utf-8") as file:
            _print(result, form, file)
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from None
    typer.echo(result.count)


def _describe(rule: str | None) -> None:
    from chroma_qualify.lint.engine import all_rules
    from chroma_qualify.report.pages import page_of, pages

    if rule is not None:
        typer.echo(page_of(rule).text, nl=False)
        return
    for name in all_rules():
        page = pages().get(name)
        typer.echo(f"{name}: {page.summary if page else ''}")


def _print(result: Lint, form: LintFormat, file: TextIO) -> None:
    if form is LintFormat.TEXT:
        from chroma_qualify.report.lint.text import write_lint

        write_lint(result, file)
    elif form is LintFormat.JSON:
        from chroma_qualify.report.lint.document import as_json

        file.write(as_json(result))
    elif form is LintFormat.SARIF:
        from chroma_qualify.report.lint.sarif import as_sarif

        file.write(as_sarif(result))
    else:
        from chroma_qualify.report.lint.annotations import as_annotations

        file.write(as_annotations(result))
