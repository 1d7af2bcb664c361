"""`doctor`: look at a Chroma in a cluster, read-only."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from chroma_qualify.cli.words import Format


def doctor(
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="The namespace that Chroma is in.")],
    context: Annotated[str | None, typer.Option(help="A context of the kubeconfig; default: its current one.")] = None,
    kubeconfig: Annotated[Path | None, typer.Option(help="Default: KUBECONFIG, else ~/.kube/config.")] = None,
    form: Annotated[Format, typer.Option("--format", help="For a person, or for a program.")] = Format.TEXT,
) -> None:
    """Look at a Chroma in a cluster, change nothing, and say what is wrong and what to do.

    Exit codes: 0 healthy, 1 something was found, 2 wrong request, 3 unknown: nothing was found, and not everything
    could be looked at (or there is no Chroma), 4 the cluster cannot be looked at.
    """
    from chroma_qualify.doctor.collect import collect, open_client
    from chroma_qualify.doctor.tell import as_json, as_text, report_on

    with contextlib.closing(open_client(kubeconfig, context)) as api:
        report = report_on(collect(api, namespace))
    typer.echo((as_json if form is Format.JSON else as_text)(report), nl=False)
    raise typer.Exit(report.condition.exit_code)
