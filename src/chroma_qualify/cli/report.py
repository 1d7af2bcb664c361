"""`report`: make a run's page again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chroma_qualify.cli.words import refuse_no_place, refuse_what_is_no_run
from chroma_qualify.errors import InfraError


def report(
    run_dir: Annotated[Path, typer.Argument(help="The directory of a recorded run, e.g. runs/latest.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Default: report.html in RUN_DIR.")] = None,
) -> None:
    """Make report.html of a run again: one file that needs no network. Also of a run that was cut.

    Example: chroma-qualify report runs/latest --output verdict.html
    """
    from chroma_qualify.report.page import write_page

    refuse_what_is_no_run(run_dir)
    if output is not None:
        refuse_no_place(output)
    try:
        path = write_page(run_dir, output)
    except OSError as error:
        raise InfraError(
            f"the page cannot be written to {output or run_dir / 'report.html'}: {error.strerror or error}",
            remedy="free some space, or name another place with --output",
        ) from error
    typer.echo(str(path))
