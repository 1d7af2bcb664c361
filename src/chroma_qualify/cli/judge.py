"""`check` and `plan`: before and after a run, without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from chroma_qualify.cli.run import KIND
from chroma_qualify.cli.words import Format, settable
from chroma_qualify.errors import UsageError


def check(
    run_dir: Annotated[Path, typer.Argument(help="The directory of a recorded run.")],
    form: Annotated[Format, typer.Option("--format", help="For a person, or as verdict.json has it.")] = Format.TEXT,
) -> None:
    """Judge a recorded run again, offline; the same files give the same words."""
    from chroma_qualify.rejudge import as_json, as_text, judge_run
    from chroma_qualify.report.verdict import combine

    judgement = judge_run(run_dir)
    typer.echo((as_json if form is Format.JSON else as_text)(judgement), nl=False)
    raise typer.Exit(combine(judgement.findings).exit_code)


def plan(
    manifests: Annotated[
        Path | None,
        settable(
            variable="MANIFESTS",
            metavar="DIR",
            help="The candidate; its qualification.yaml is read. Default: manifests/overlays/single-writer.",
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        settable(variable="BASELINE", metavar="DIR", help="The manifests in use, from which --manifests is promoted."),
    ] = None,
    scenario: Annotated[
        list[str] | None, typer.Option("--scenario", "-k", metavar="EXPR", help="As for run. Can be given again.")
    ] = None,
    fault: Annotated[
        list[str] | None,
        settable(variable="FAULT", metavar="NAME", help="Only this fault; can be given again."),
    ] = None,
    seed: Annotated[
        int | None, settable(variable="SEED", min=0, help="Reproduces a run; default: a random one.")
    ] = None,
    time_limit: Annotated[
        str | None, settable(variable="TIME_LIMIT", metavar="SPAN", help="As for run: 600, 30m, 1h.")
    ] = None,
    cluster: Annotated[
        str, settable(variable="CLUSTER", metavar="NAME", help="As for run; it is not asked anything.")
    ] = KIND,
    existing: Annotated[bool, typer.Option("--existing", help="As on a cluster that is not ours.")] = False,
    nodes: Annotated[int, settable(variable="NODES", min=1, help="Nodes that the cluster would have.")] = 1,
    power_losses: Annotated[int, settable(variable="POWER_LOSSES", min=1, max=100, help="Crashes of the volume.")] = 2,
    form: Annotated[
        Format, settable("--format", variable="FORMAT", help="For a person, or as plan.json has it.")
    ] = Format.TEXT,
) -> None:
    """Print what a run would do: faults, traffic, phases, expected time, scenarios; touches nothing.

    It has the defaults of run, from chroma-qualify.toml and the environment, and refuses what a run would refuse.
    """
    import secrets

    from chroma_qualify.checks.promises import refuse_unknown_faults
    from chroma_qualify.cli.foreseen import foreseen, refuse_unfit
    from chroma_qualify.cli.run import expression, of_ours
    from chroma_qualify.deployment.qualification import load_promises
    from chroma_qualify.duration import seconds_of
    from chroma_qualify.faults.experiments import chosen, experiments, fault_names, plan_json
    from chroma_qualify.report.plan import plan_text

    if baseline and not manifests:
        raise UsageError("--baseline needs --manifests", remedy="name the candidate that is to be promoted")
    limit = None if time_limit is None else seconds_of(time_limit, "--time-limit")
    table = chosen(experiments(power_losses), fault or ())
    candidate = manifests or Path("manifests/overlays/single-writer")
    for directory in (candidate, *([baseline] if baseline else [])):
        refuse_unfit(directory)
    promises = load_promises(candidate)
    refuse_unknown_faults(promises, fault_names())
    existing = existing or (cluster != KIND and not of_ours(cluster))
    table, scenarios = foreseen(table, expression(scenario), fault or (), one_lane=existing)
    document = {
        "manifests": str(candidate),
        "baseline": str(baseline) if baseline else None,
        "seed": secrets.randbits(31) if seed is None else seed,
        "time_limit": limit,
        "nodes": nodes,
        "existing": existing,
        "promises": promises.as_json() if promises.stated else None,
        "experiments": plan_json(table),
        "scenarios": scenarios,
    }
    typer.echo(json.dumps(document, indent=2) if form is Format.JSON else plan_text(document))
