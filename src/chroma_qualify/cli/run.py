"""`run`: one qualification run, from the request to the verdict. pytest is the runner underneath, see `launch`."""

from __future__ import annotations

import enum
import os
from pathlib import Path
from typing import Annotated

import typer

from chroma_qualify.cli.words import Format, ImageMode, settable, version
from chroma_qualify.errors import UsageError

KIND = "kind"
CURRENT = "current-context"


class Suite(enum.StrEnum):
    """Which scenarios: a directory below tests/."""

    E2E = "e2e"
    LOAD = "load"


def run(
    context: typer.Context,
    manifests: Annotated[
        Path | None,
        settable(
            variable="MANIFESTS",
            metavar="DIR",
            help="The candidate: a kustomization or plain YAML. Default: each scenario its own topology.",
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        settable(
            variable="BASELINE",
            metavar="DIR",
            help="The manifests in use, from which --manifests is promoted under writes.",
        ),
    ] = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            "--scenario",
            "-k",
            metavar="EXPR",
            help="Those that match: a part of a name, a name of verdict.json, or an expression with and, or, not. "
            "Can be given again.",
        ),
    ] = None,
    fault: Annotated[
        list[str] | None,
        settable(
            variable="FAULT",
            metavar="NAME",
            help="Of the faults only this one; without --scenario nothing else runs. Can be given again.",
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", hidden=True, help="Exactly this scenario; used by again.")
    ] = None,
    seed: Annotated[
        int | None,
        settable(
            variable="SEED",
            min=0,
            help="Reproduces a run. Default: random, and in the verdict.",
        ),
    ] = None,
    time_limit: Annotated[
        str | None,
        settable(
            variable="TIME_LIMIT",
            metavar="SPAN",
            help="As 600, 30m, 1h: then no scenario begins, a running one is ended, and the verdict is not pass. "
            "Set-up and images do not count.",
        ),
    ] = None,
    cluster: Annotated[
        str,
        settable(
            variable="CLUSTER",
            metavar="NAME",
            help="kind makes a cluster and deletes it; else current-context, a context's name, or a cluster of up.",
        ),
    ] = KIND,
    kubeconfig: Annotated[
        Path | None,
        settable(
            variable="KUBECONFIG",
            metavar="FILE",
            help="Where --cluster's context is. Default: KUBECONFIG, else ~/.kube/config.",
        ),
    ] = None,
    namespace: Annotated[
        str | None,
        settable(
            variable="NAMESPACE",
            metavar="NAME",
            help="On a cluster that is not ours: an empty namespace to stay in. Default: namespaces of the run's own.",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Use a cluster that is not ours without asking.")] = False,
    loader_image: Annotated[
        str | None,
        settable(
            variable="LOADER_IMAGE",
            metavar="REF",
            help="Image of the load's pods on such a cluster.",
        ),
    ] = None,
    load_pods: Annotated[
        int | None,
        settable(variable="LOAD_PODS", min=1, max=1000, help="How many pods make the load."),
    ] = None,
    nodes: Annotated[
        int,
        settable(
            variable="NODES",
            min=1,
            help="Of the kind cluster: the control plane and workers.",
        ),
    ] = 1,
    images: Annotated[
        ImageMode,
        settable(variable="IMAGES", help="auto: a registry if one answers, else packages."),
    ] = ImageMode.AUTO,
    k8s_version: Annotated[
        str | None,
        settable(variable="K8S_VERSION", metavar="V", callback=version, help="As in 1.37.2."),
    ] = None,
    chroma_version: Annotated[
        str | None,
        settable(
            variable="CHROMA_VERSION",
            metavar="V",
            callback=version,
            help="As in 1.5.9. Overrules what the manifests say.",
        ),
    ] = None,
    keep: Annotated[
        bool,
        settable("--keep", variable="KEEP", help="Keep the cluster, and say how to reach it."),
    ] = False,
    power_losses: Annotated[
        int,
        settable(
            variable="POWER_LOSSES",
            min=1,
            max=100,
            help="How often a volume's power is cut.",
        ),
    ] = 2,
    repeat: Annotated[
        int,
        settable(
            variable="REPEAT",
            min=1,
            max=100,
            help="How often three servers on one volume are written to.",
        ),
    ] = 1,
    one_lane: Annotated[
        bool,
        settable("--one-lane", variable="ONE_LANE", help="One scenario after the other."),
    ] = False,
    use_cluster: Annotated[
        str | None, typer.Option(hidden=True, metavar="NAME", help="A cluster of `up`, as --cluster NAME.")
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the evidence goes. Default: a new one under runs/.")
    ] = None,
    suite: Annotated[Suite, typer.Option(hidden=True, help="A directory below tests/.")] = Suite.E2E,
    plain: Annotated[
        bool,
        settable("--plain", variable="PLAIN", help="Lines of progress, also in a terminal."),
    ] = False,
    form: Annotated[
        Format,
        settable(
            "--format",
            variable="FORMAT",
            help="json prints verdict.json on standard output, and progress on standard error.",
        ),
    ] = Format.TEXT,
) -> None:
    """Qualify manifests: bring up a cluster, use Chroma, break it on purpose, and give one verdict.

    Exit codes: 0 pass, 1 fail, 2 wrong request, 3 unknown, 4 infra. An option can also be set by a variable, as
    CHROMA_QUALIFY_TIME_LIMIT=30m, or by a file: time-limit = "30m" in chroma-qualify.toml, or in table
    tool.chroma-qualify of pyproject.toml. The command line beats the environment, which beats the file.
    """
    from chroma_qualify.cli.checkout import find_checkout
    from chroma_qualify.cli.launch import Request, launch
    from chroma_qualify.duration import seconds_of

    checkout = find_checkout()
    if baseline and not manifests:
        raise UsageError("--baseline needs --manifests", remedy="name the candidate that is to be promoted")
    for option, directory in (("--manifests", manifests), ("--baseline", baseline)):
        if directory is not None and not directory.is_dir():
            raise UsageError(f"{option} {directory}: there is no such directory")
    if kubeconfig is not None and not kubeconfig.is_file():
        raise UsageError(f"--kubeconfig {kubeconfig}: there is no such file")
    if time_limit is not None:
        seconds_of(time_limit, "--time-limit")
    if fault:
        _refuse_unknown(fault, power_losses)
    ours = use_cluster or of_ours(cluster)
    foreign = not ours and cluster != KIND
    if foreign and not yes:
        yes = _ask(cluster, kubeconfig, namespace or "")
    given: dict[str, object] = {
        "--manifests": manifests,
        "--baseline": baseline,
        "-k": expression(scenario),
        "--fault": fault,
        "--only": only,
        "--seed": seed,
        "--time-limit": time_limit,
        "--use-cluster": ours,
        "--cluster": cluster if foreign else None,
        "--kubeconfig": kubeconfig if foreign else None,
        "--namespace": namespace,
        "--loader-image": loader_image,
        "--load-pods": load_pods,
        "--nodes": nodes if nodes != 1 else None,
        "--images": images.value,
        "--k8s-version": k8s_version,
        "--chroma-version": chroma_version,
        "--power-losses": power_losses if power_losses != 2 else None,
        "--repeat": repeat if repeat != 1 else None,
        "--run-dir": run_dir,
    }
    flags = {"--yes": yes, "--keep-cluster": keep, "--one-lane": one_lane}
    file = context.obj.file if context.obj is not None else None
    code = launch(
        Request(
            arguments=(*_words(given), *(flag for flag, asked in flags.items() if asked)),
            suite=suite.value,
            manifests=tuple(directory.absolute() for directory in (manifests, baseline) if directory is not None),
            images=images.value,
            versions=(k8s_version or "", chroma_version or ""),
            engine=not foreign,
            makes_cluster=not foreign and not ours,
            keep_engine=keep or bool(ours),
            file=file,
            plain=plain,
            json=form is Format.JSON,
        ),
        checkout,
    )
    raise typer.Exit(code)


def expression(scenario: list[str] | None) -> str:
    """What `--scenario` says, as pytest's -k takes it; "" for all."""
    if scenario and len(scenario) > 1:
        return " or ".join(f"({each})" for each in scenario)
    return (scenario or [""])[0]


def _words(given: dict[str, object]) -> list[str]:
    """Options as one word each: pytest would take a directory behind a space for a root of tests."""
    words = []
    for option, value in given.items():
        for each in value if isinstance(value, list) else [value]:
            if each is None or each == "":
                continue
            path = each.absolute() if isinstance(each, Path) else each
            words.append(f"{option}{'' if option == '-k' else '='}{path}")
    return words


def _refuse_unknown(faults: list[str], power_losses: int) -> None:
    from chroma_qualify.faults.experiments import chosen, experiments

    chosen(experiments(power_losses), faults)


def of_ours(name: str) -> str | None:
    """The name, if it is that of a cluster that `up` made."""
    from chroma_qualify.cluster.lease import cluster_dir, read_leases

    if name in {KIND, CURRENT}:
        return None
    known = {lease.name for lease in read_leases()}
    return name if name in known and (cluster_dir(name) / "kubeconfig").is_file() else None


def _ask(cluster: str, kubeconfig: Path | None, lent: str) -> bool:
    """May the run use this cluster? It is asked here, for the run itself has no terminal.

    Raises:
        UsageError: no such context, nobody can be asked, or the answer is no.
    """
    from chroma_qualify.cluster.existing import find_context

    found = find_context(kubeconfig, cluster)
    if not (os.isatty(0) and os.isatty(2)):
        raise UsageError(
            f"{found.question(lent)} There is no terminal to confirm it at",
            remedy="say --yes if a run may use it",
        )
    typer.echo(found.question(lent), err=True)
    if not typer.confirm("Go on?", err=True):
        raise UsageError("nothing was done")
    return True
