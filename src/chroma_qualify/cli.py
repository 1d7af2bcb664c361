"""`chroma-qualify`: the commands around a run. Thin: each calls one room.

Clusters are made and looked at where a Docker engine is; `make up`, `make down`, `make clean` see to that.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import re
import secrets
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from chroma_qualify.checks.promises import refuse_unknown_faults
from chroma_qualify.cluster.kind import ClusterConfig, create_cluster, delete_cluster, kept_clusters, sweep
from chroma_qualify.cluster.model import Cluster
from chroma_qualify.deployment.qualification import load_promises
from chroma_qualify.doctor.collect import collect, open_client
from chroma_qualify.doctor.tell import as_json as as_report_json
from chroma_qualify.doctor.tell import as_text as as_report_text
from chroma_qualify.doctor.tell import report_on
from chroma_qualify.errors import QualifyError, UsageError
from chroma_qualify.faults.experiments import POWER_LOSSES, experiments, fault_names, plan_json
from chroma_qualify.rejudge import as_json, as_text, judge_run
from chroma_qualify.report.console import how_to_reach
from chroma_qualify.report.plan import plan_text
from chroma_qualify.report.verdict import EXIT_USAGE, Verdict, combine

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


class ImageMode(enum.StrEnum):
    """Where the images of a cluster come from."""

    AUTO = "auto"
    REGISTRY = "registry"
    PACKAGES = "packages"


def _version(given: str | None) -> str | None:
    if given is not None and not re.fullmatch(r"v?\d+\.\d+(\.\d+)?", given):
        raise typer.BadParameter(f"{given} is not a version like 1.5.9")
    return given.removeprefix("v") if given else None


@app.command()
def up(
    name: Annotated[str | None, typer.Option(help="Name of the cluster; default: a unique one.")] = None,
    nodes: Annotated[int, typer.Option(min=1, help="The control plane and workers.")] = 1,
    k8s_version: Annotated[str | None, typer.Option(callback=_version)] = None,
    chroma_version: Annotated[str | None, typer.Option(callback=_version)] = None,
    images: ImageMode = ImageMode.AUTO,
) -> None:
    """Bring up a cluster that stays, and print how to reach it."""
    config = ClusterConfig(
        name=name,
        workers=nodes - 1,
        k8s_version=k8s_version or "",
        chroma_version=chroma_version or "",
        images=images.value,
        keep=True,
    )
    cluster = create_cluster(config, typer.echo)
    _tell(cluster)


@app.command()
def down(name: Annotated[str | None, typer.Argument(help="Default: every cluster that was kept.")] = None) -> None:
    """Delete a cluster that was kept, or all of them."""
    kept = [cluster.name for cluster in kept_clusters()]
    if name is not None and name not in kept:
        raise UsageError(f"there is no cluster {name}", remedy=f"there are: {', '.join(kept) or 'none'}")
    for each in [name] if name else kept:
        delete_cluster(each)
        typer.echo(f"deleted cluster {each}")
    if not kept:
        typer.echo("there is no cluster to delete")


@app.command()
def status() -> None:
    """List the clusters that were kept, and how to reach them."""
    kept = kept_clusters()
    for cluster in kept:
        _tell(cluster)
    if not kept:
        typer.echo("no cluster was kept")


@app.command()
def clean() -> None:
    """Delete every cluster of ours that no living run uses, also those that were kept."""
    swept = sweep(kept_too=True)
    typer.echo(f"deleted: {', '.join(swept)}" if swept else "nothing was left behind")


class Format(enum.StrEnum):
    """How a verdict is printed."""

    TEXT = "text"
    JSON = "json"


@app.command()
def check(
    run_dir: Annotated[Path, typer.Argument(help="The directory of a recorded run.")],
    form: Annotated[Format, typer.Option("--format", help="For a person, or as verdict.json has it.")] = Format.TEXT,
) -> None:
    """Judge a recorded run again, offline; the same files give the same words."""
    judgement = judge_run(run_dir)
    typer.echo((as_json if form is Format.JSON else as_text)(judgement), nl=False)
    raise typer.Exit(combine(judgement.findings).exit_code)


@app.command()
def plan(
    manifests: Annotated[Path, typer.Option(help="The candidate's directory; its qualification.yaml is read.")] = Path(
        "manifests/overlays/single-writer"
    ),
    seed: Annotated[int | None, typer.Option(min=0, help="Reproduces a run; default: a random one.")] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes that the cluster would have.")] = 1,
    existing: Annotated[bool, typer.Option("--existing", help="As on a cluster that is not ours.")] = False,
    power_losses: Annotated[int, typer.Option(min=1, max=100, help="Crashes of the volume.")] = POWER_LOSSES,
    fault: Annotated[list[str] | None, typer.Option(help="Only this fault; can be given again.")] = None,
    form: Annotated[Format, typer.Option("--format", help="For a person, or as plan.json has it.")] = Format.TEXT,
) -> None:
    """Print what a run would do: faults, traffic, phases, expected time; touches nothing."""
    if not manifests.is_dir():
        raise UsageError(f"{manifests} is not a directory", remedy="name a directory of Kubernetes manifests")
    table = experiments(power_losses)
    known = {each.fault.name for each in table}
    if fault and (unknown := sorted(set(fault) - known)):
        raise UsageError(f"there is no fault {unknown[0]}", remedy=f"there are {', '.join(sorted(known))}")
    promises = load_promises(manifests)
    refuse_unknown_faults(promises, fault_names())
    document = {
        "manifests": str(manifests),
        "seed": secrets.randbits(31) if seed is None else seed,
        "nodes": nodes,
        "existing": existing,
        "promises": promises.as_json() if promises.stated else None,
        "experiments": plan_json(each for each in table if not fault or each.fault.name in fault),
    }
    typer.echo(json.dumps(document, indent=2) if form is Format.JSON else plan_text(document))


@app.command()
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
    with contextlib.closing(open_client(kubeconfig, context)) as api:
        report = report_on(collect(api, namespace))
    typer.echo((as_report_json if form is Format.JSON else as_report_text)(report), nl=False)
    raise typer.Exit(report.condition.exit_code)


def _tell(cluster: Cluster) -> None:
    sandboxed = "chroma-qualify" in os.environ.get("DOCKER_HOST", "")
    typer.echo(f"cluster {cluster.name}: kubeconfig {cluster.kubeconfig}")
    typer.echo(f"look at it:  {how_to_reach(cluster.kubeconfig, cluster.kubectl, sandboxed=sandboxed)}")
    typer.echo("delete it:   make down")


def main() -> NoReturn:
    """The console entry; exit codes as everywhere: 2 wrong request, 4 infra."""
    try:
        app(standalone_mode=True)
    except QualifyError as error:
        print(f"{error.message}{f'; {error.remedy}' if error.remedy else ''}", file=sys.stderr)
        sys.exit(EXIT_USAGE if isinstance(error, UsageError) else Verdict.INFRA.exit_code)
    sys.exit(0)
