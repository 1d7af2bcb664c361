"""`up`, `down`, `status`, `clean`: clusters that stay, and what was left behind.

They need a Docker engine; `make up`, `make down`, `make clean` see to that.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Annotated

import typer

from chroma_qualify.cli.words import ImageMode, version
from chroma_qualify.errors import InfraError, UsageError
from chroma_qualify.report.verdict import Verdict

if TYPE_CHECKING:
    from chroma_qualify.cluster.model import Cluster


def up(
    name: Annotated[str | None, typer.Option(help="Name of the cluster; default: a unique one.")] = None,
    nodes: Annotated[int, typer.Option(min=1, help="The control plane and workers.")] = 1,
    k8s_version: Annotated[str | None, typer.Option(callback=version)] = None,
    chroma_version: Annotated[str | None, typer.Option(callback=version)] = None,
    images: ImageMode = ImageMode.AUTO,
) -> None:
    """Bring up a cluster that stays, and print how to reach it."""
    from chroma_qualify.cluster.kind import ClusterConfig, create_cluster

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


def down(name: Annotated[str | None, typer.Argument(help="Default: every cluster that was kept.")] = None) -> None:
    """Delete a cluster that was kept, or all of them."""
    from chroma_qualify.cluster.kind import delete_cluster, kept_clusters
    from chroma_qualify.cluster.lease import read_leases

    leased = [lease.name for lease in read_leases() if lease.kept]
    if name is not None and name not in leased:
        raise UsageError(f"there is no cluster {name}", remedy=f"there are: {', '.join(leased) or 'none'}")
    if leased and not _engine_answers():
        raise InfraError(
            f"{name or ', '.join(leased)} cannot be deleted: no Docker engine is usable here", remedy="use `make down`"
        )
    kept = [cluster.name for cluster in kept_clusters()]
    if name is not None and name not in kept:
        raise UsageError(f"there is no cluster {name}", remedy=f"there are: {', '.join(kept) or 'none'}")
    for each in [name] if name else kept:
        delete_cluster(each)
        typer.echo(f"deleted cluster {each}")
    if not kept:
        typer.echo("there is no cluster to delete")


def status() -> None:
    """List the clusters that were kept, and how to reach them."""
    from chroma_qualify.cluster.kind import kept_clusters
    from chroma_qualify.cluster.lease import read_leases

    leased = [lease.name for lease in read_leases() if lease.kept]
    if leased and not _engine_answers():
        said = "there is no cluster that can be reached: no Docker engine is usable here"
        typer.echo(f"{said}; kept: {', '.join(leased)}")
        typer.echo("look into the sandbox's engine:  scripts/sandbox run -- .venv/bin/chroma-qualify status")
        return
    kept = kept_clusters()
    for cluster in kept:
        _tell(cluster)
    if not kept:
        typer.echo("no cluster was kept")


def _engine_answers() -> bool:
    from chroma_qualify.cluster.model import run

    try:
        return run(["docker", "version"], timeout=10, check=False).returncode == 0
    except InfraError:
        return False


def clean(
    elsewhere: Annotated[
        bool, typer.Option("--elsewhere", help="Only what was left in clusters that are not ours; needs no engine.")
    ] = False,
) -> None:
    """Delete what no living run uses: our clusters, also kept ones, and what was left in clusters that are not ours."""
    from chroma_qualify.cluster.guests import read_guests, sweep_guests
    from chroma_qualify.cluster.kind import sweep
    from chroma_qualify.cluster.lease import read_leases

    guests = bool(read_guests())
    said: list[str] = []
    swept = sweep_guests(said.append)
    for sentence in said:
        typer.echo(sentence, err=True)
    # Without an engine there is nothing of ours in it; who has only been a guest may have none.
    if not elsewhere and (shutil.which("docker") or read_leases() or not guests):
        swept += sweep(kept_too=True)
    if swept or not said:
        typer.echo(f"deleted: {', '.join(swept)}" if swept else "nothing was left behind")
    if said:
        raise typer.Exit(Verdict.INFRA.exit_code)


def _tell(cluster: Cluster) -> None:
    from chroma_qualify.report.console import how_to_reach

    sandboxed = "chroma-qualify" in os.environ.get("DOCKER_HOST", "")
    typer.echo(f"cluster {cluster.name}: kubeconfig {cluster.kubeconfig}")
    typer.echo(f"look at it:  {how_to_reach(cluster.kubeconfig, cluster.kubectl, sandboxed=sandboxed)}")
    typer.echo("delete it:   make down")
