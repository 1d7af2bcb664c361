"""`diff`: two recorded runs side by side."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from chroma_qualify.cli.words import refuse_no_place, refuse_what_is_no_run
from chroma_qualify.errors import InfraError


class DiffFormat(enum.StrEnum):
    """How a comparison is given."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


def diff(
    before: Annotated[Path, typer.Argument(metavar="RUN", help="The run to compare with: a run directory.")],
    after: Annotated[Path, typer.Argument(metavar="RUN", help="The run that is asked about.")],
    form: Annotated[DiffFormat, typer.Option("--format", help="For a person, a program or a browser.")] = (
        DiffFormat.TEXT
    ),
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; default: standard output.")] = None,
) -> None:
    """Compare two recorded runs: verdicts, findings, scenarios, measures, latency by phase, versions, manifests.

    Exit codes: 0 the second run is no worse, 1 it is worse (something fails that did not fail in the first run),
    2 wrong request, 3 it cannot be said (it was cut, or says nothing of what passed in the first run).
    Times never make a run worse: they are of one run each.

    Example: chroma-qualify diff runs/2026-11-25-6a1831 runs/latest
    """
    import dataclasses
    import io
    import json
    import sys

    from chroma_qualify.report.compare import compare
    from chroma_qualify.report.difference import print_comparison

    for directory in (before, after):
        refuse_what_is_no_run(directory)
    if output is not None:
        refuse_no_place(output)
    comparison = compare(before, after)
    try:
        if form is DiffFormat.HTML:
            from chroma_qualify.report.page_diff import write_diff_page

            typer.echo(str(write_diff_page(before, after, output or Path("diff.html"))))
        else:
            out = io.StringIO() if output else sys.stdout
            if form is DiffFormat.JSON:
                out.write(json.dumps(dataclasses.asdict(comparison), indent=2) + "\n")
            else:
                print_comparison(comparison, out)
            if output and isinstance(out, io.StringIO):
                output.write_text(out.getvalue(), encoding="utf-8")
    except OSError as error:
        text = f"the comparison cannot be written to {output or 'diff.html'}: {error.strerror or error}"
        raise InfraError(text, remedy="free some space, or name another file with --output") from error
    raise typer.Exit(comparison.answer.exit_code)
