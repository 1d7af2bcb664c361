"""`check` and `plan`: before and after a run, without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from chroma_qualify.cli.words import Format
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
    manifests: Annotated[Path, typer.Option(help="The candidate's directory; its qualification.yaml is read.")] = Path(
        "manifests/overlays/single-writer"
    ),
    seed: Annotated[int | None, typer.Option(min=0, help="Reproduces a run; default: a random one.")] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes that the cluster would have.")] = 1,
    existing: Annotated[bool, typer.Option("--existing", help="As on a cluster that is not ours.")] = False,
    power_losses: Annotated[int, typer.Option(min=1, max=100, help="Crashes of the volume.")] = 2,
    fault: Annotated[list[str] | None, typer.Option(help="Only this fault; can be given again.")] = None,
    form: Annotated[Format, typer.Option("--format", help="For a person, or as plan.json has it.")] = Format.TEXT,
) -> None:
    """Print what a run would do: faults, traffic, phases, expected time; touches nothing."""
    import secrets

    from chroma_qualify.checks.promises import refuse_unknown_faults
    from chroma_qualify.deployment.qualification import load_promises
    from chroma_qualify.faults.experiments import chosen, experiments, fault_names, plan_json
    from chroma_qualify.report.plan import plan_text

    if not manifests.is_dir():
        raise UsageError(f"{manifests} is not a directory", remedy="name a directory of Kubernetes manifests")
    table = chosen(experiments(power_losses), fault or ())
    promises = load_promises(manifests)
    refuse_unknown_faults(promises, fault_names())
    document = {
        "manifests": str(manifests),
        "seed": secrets.randbits(31) if seed is None else seed,
        "nodes": nodes,
        "existing": existing,
        "promises": promises.as_json() if promises.stated else None,
        "experiments": plan_json(table),
    }
    typer.echo(json.dumps(document, indent=2) if form is Format.JSON else plan_text(document))
