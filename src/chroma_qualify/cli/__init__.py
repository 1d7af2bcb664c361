"""`chroma-qualify`: the command line. Thin: each command calls one room.

One module a group of commands. What takes long to import is imported by the command that needs it, so that
`--help`, completion and `lint` start at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import typer
from typer.core import TyperGroup, TyperOption

from chroma_qualify.cli import again, clusters, diff, doctor, judge, report
from chroma_qualify.cli import run as run_command
from chroma_qualify.cli.config import options_of, read_settings
from chroma_qualify.cli.lint import lint
from chroma_qualify.errors import QualifyError, UsageError
from chroma_qualify.report.verdict import EXIT_USAGE, Verdict

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="May this set of Chroma manifests be promoted? A real cluster, real faults, one verdict with evidence.",
    epilog="Every command has its own --help with examples. Exit codes: 0 pass, 1 fail, 2 wrong request, "
    "3 unknown, 4 infra.",
)

# Commands in the order of --help, each with its examples.
_COMMANDS = (
    (
        run_command.run,
        "chroma-qualify run",
        "chroma-qualify run --manifests deploy/chroma --time-limit 30m",
        "chroma-qualify run --manifests new --baseline in-use",
        "chroma-qualify run --scenario data::recall --seed 7 --keep",
        "chroma-qualify run --fault pod-kill --fault power-loss",
        "chroma-qualify run --cluster current-context --manifests deploy/chroma --yes --format json",
    ),
    (again.again, "chroma-qualify again runs/latest", "chroma-qualify again runs/latest --times 5"),
    (lint,),  # it and report have theirs in their own words
    (
        judge.plan,
        "chroma-qualify plan --manifests deploy/chroma",
        "chroma-qualify plan --fault pod-kill --format json",
    ),
    (judge.check, "chroma-qualify check runs/latest", "chroma-qualify check runs/latest --format json"),
    (report.report,),
    (diff.diff, "chroma-qualify diff runs/before runs/latest"),
    (
        doctor.doctor,
        "chroma-qualify doctor --namespace chroma",
        "chroma-qualify doctor -n chroma --context staging --format json",
    ),
    (clusters.up, "chroma-qualify up", "chroma-qualify up --name cq-mine --nodes 2"),
    (clusters.status, "chroma-qualify status"),
    (clusters.down, "chroma-qualify down", "chroma-qualify down cq-mine"),
    (clusters.clean, "chroma-qualify clean"),
)

for command, *examples in _COMMANDS:
    told = "[bold]Examples[/bold]\n\n" + "\n\n".join(examples) if examples else None
    app.command(epilog=told, no_args_is_help=command is lint)(command)


@app.callback()
def settings(context: typer.Context) -> None:
    """Take defaults from the working directory's file, for the commands that have such."""
    if context.invoked_subcommand not in {"run", "plan", "lint"} or "--help" in sys.argv:
        return
    found = read_settings(Path.cwd(), options_of(run_command.run), options_of(lint))
    context.obj = found
    # A variable of its own for what may be given again would be cut at each space of an expression.
    spoken = {"scenario": [expression]} if (expression := os.environ.get("CHROMA_QUALIFY_SCENARIO")) else {}
    of_run = {**found.run, **spoken}
    planned = {option.name for option in options_of(judge.plan)}
    of_plan = {name: value for name, value in of_run.items() if name in planned}
    context.default_map = {"run": of_run, "plan": of_plan, "lint": dict(found.lint)}
    _name_variables(context)


def _name_variables(context: typer.Context) -> None:
    """Let a refusal of what a variable says name the variable."""
    group, words = context.command, {word.partition("=")[0] for word in sys.argv}
    if not isinstance(group, TyperGroup) or context.invoked_subcommand is None:
        return
    command = group.get_command(context, context.invoked_subcommand)
    for option in command.params if command is not None else ():
        if isinstance(option, TyperOption) and not words & {*option.opts} and str(option.envvar) in os.environ:
            option.show_envvar = True


def main() -> NoReturn:
    """The console entry; exit codes as everywhere: 2 wrong request, 4 infra."""
    try:
        app(prog_name="chroma-qualify", standalone_mode=True)  # also where Python started it as a module
    except QualifyError as error:
        print(f"{error.message}{f'; {error.remedy}' if error.remedy else ''}", file=sys.stderr)
        sys.exit(EXIT_USAGE if isinstance(error, UsageError) else Verdict.INFRA.exit_code)
    sys.exit(0)
