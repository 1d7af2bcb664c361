"""`chroma-qualify`: the command line. Thin: each command calls one room.

One module a group of commands. What takes long to import is imported by the command that needs it, so that
`--help`, completion and `lint` start at once.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from chroma_qualify.cli import clusters, doctor, judge, report
from chroma_qualify.cli.lint import lint
from chroma_qualify.errors import QualifyError, UsageError
from chroma_qualify.report.verdict import EXIT_USAGE, Verdict

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="May this set of Chroma manifests be promoted?",
)

for command in (
    judge.check, judge.plan, doctor.doctor, report.report, clusters.up, clusters.down, clusters.status, clusters.clean
):  # fmt: skip
    app.command()(command)
app.command(no_args_is_help=True)(lint)


def main() -> NoReturn:
    """The console entry; exit codes as everywhere: 2 wrong request, 4 infra."""
    try:
        app(standalone_mode=True)
    except QualifyError as error:
        print(f"{error.message}{f'; {error.remedy}' if error.remedy else ''}", file=sys.stderr)
        sys.exit(EXIT_USAGE if isinstance(error, UsageError) else Verdict.INFRA.exit_code)
    sys.exit(0)
