"""The options of a run, and their check before anything is started.

The names of pytest-kind's options are kept: where it is installed they are its own, where it is not, ours.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

import pytest

from chroma_qualify.cluster.lease import cluster_dir, read_leases
from chroma_qualify.duration import seconds_of
from chroma_qualify.errors import UsageError
from chroma_qualify.faults.experiments import chosen, experiments

KIND = "kind"  # what `--cluster` says for a cluster that the run makes
IMAGE_MODES = ("auto", "registry", "packages")
_ONE_LANE = "ONE_LANE"  # in the environment, as for scripts/qualify
_KIND_PLUGIN = "pytest-kind"
_VERSION = re.compile(r"\d+\.\d+(\.\d+)?")


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """What was asked, checked.

    Attributes:
        manifests: the candidate's directory; None: every scenario uses its own topology.
        run_dir: where to write this run; None: a new directory under runs/.
        seed: reproduces the data of the run.
        nodes: nodes of the cluster, the control plane included.
        chroma_version: e.g. "1.5.9", and then it overrules what the manifests say; "" if none was asked for.
        k8s_version: e.g. "1.37.2"; "" for the default.
        cluster_name: None: a unique one.
        use_cluster: a cluster of ours that is there and is to be left alone at the end; None: one is made.
        one_lane: one scenario after the other, also those that may run beside others.
        beside_of: id of the run whose second lane this is, see `lane`; "" for a run of its own.
        power_losses: how often the volume's power is cut.
        repeat: how often the scenarios are done that can be repeated on one cluster.
        baseline: directory of the manifests in use, from which the candidate is promoted; None: see `promotions`.
        scenario: pytest's `-k`, which scenarios were asked for; "" for all.
        only: names of scenarios as verdict.json has them; empty: all.
        faults: names of experiments or their faults: only these are made; empty: all.
        time_limit: seconds from the begin of the run after which no scenario begins and a running one is ended.
        context: what `--cluster` says: a context of a kubeconfig; None: a kind cluster is made.
        kubeconfig: the file that the context is in; None: KUBECONFIG, else ~/.kube/config.
        namespace: the one that was lent to the run; None: it makes its own.
        yes: asked beforehand whether the run may use that cluster, and answered.
        loader_image: image of the pods that make load; None: the one that our images have.
        load_pods: how many of them; 0: as each scenario does it.
    """

    manifests: Path | None
    run_dir: Path | None
    seed: int
    nodes: int
    chroma_version: str
    k8s_version: str
    images: str
    cluster_name: str | None
    keep: bool
    kind: Path | None
    kubectl: Path | None
    power_losses: int = 2
    repeat: int = 1
    use_cluster: str | None = None
    one_lane: bool = False
    beside_of: str = ""
    baseline: Path | None = None
    scenario: str = ""
    only: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    time_limit: float | None = None
    context: str | None = None
    kubeconfig: Path | None = None
    namespace: str | None = None
    yes: bool = False
    loader_image: str | None = None
    load_pods: int = 0


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Register our options, and pytest-kind's where it does not do so itself."""
    group = parser.getgroup("chroma-qualify")
    group.addoption(
        "--manifests",
        metavar="DIR",
        help="The candidate: a kustomization or plain YAML (default: each scenario its own)",
    )
    group.addoption("--baseline", metavar="DIR", help="The manifests in use, from which --manifests is promoted")
    group.addoption("--run-dir", metavar="DIR", help="Where the evidence goes (default: a new one under runs/)")
    group.addoption("--seed", metavar="N", help="Reproduces a run (default: random, and in the verdict)")
    group.addoption(
        "--nodes", metavar="N", default="1", help="Of the kind cluster: the control plane and workers (default: 1)"
    )
    group.addoption("--chroma-version", metavar="V", help="As in 1.5.9; overrules what the manifests say")
    group.addoption("--k8s-version", metavar="V", help="As in 1.37.2 (default: images.toml's)")
    group.addoption(
        "--power-losses",
        metavar="N",
        default="2",
        help="How often a volume's power is cut (default: 2; nightly: 20)",
    )
    group.addoption(
        "--repeat", metavar="N", default="1", help="How often three servers on one volume are written to (default: 1)"
    )
    group.addoption(
        "--use-cluster", metavar="NAME", help="Run on a cluster that `chroma-qualify up` made, and leave it there"
    )
    group.addoption("--one-lane", action="store_true", help="One scenario after the other")
    group.addoption("--beside-of", metavar="RUN", default="", help="Used by a run to start its second lane")
    group.addoption("--only", metavar="NAME", action="append", help="This scenario, as verdict.json names it")
    group.addoption("--fault", metavar="NAME", action="append", help="Of the faults only this one; repeatable")
    group.addoption(
        "--time-limit", metavar="SPAN", help="As 600, 30m, 1h: then no scenario begins, a running one is ended"
    )
    group.addoption("--cluster", metavar="NAME", default=KIND, help="kind (default), current-context, or a context")
    group.addoption("--namespace", metavar="NAME", help="An empty namespace to stay in, on a cluster not ours")
    group.addoption("--yes", action="store_true", help="Use a cluster that is not ours without asking")
    group.addoption("--loader-image", metavar="REF", help="Image of the pods that make load, on a cluster not ours")
    group.addoption("--load-pods", metavar="N", default="0", help="How many pods make the load (default: as ever)")
    group.addoption(
        "--images",
        metavar="MODE",
        default="auto",
        help=f"One of {', '.join(IMAGE_MODES)} (default: auto, a registry if one answers)",
    )
    if not _registered_by_pytest_kind(pluginmanager):
        group.addoption("--cluster-name", default=None, help="Name of the kind cluster (default: a unique one)")
        group.addoption("--keep-cluster", action="store_true", help="Do not delete the cluster after the run")
        group.addoption("--kind-bin", default=None, help="The kind binary to use")
        group.addoption("--kind-kubectl-bin", default=None, help="The kubectl binary to use")
        group.addoption("--kubeconfig", default=None, help="With --cluster: the file that the context is in")
        group.addoption("--kind-image", default=None, help="Refused: use --k8s-version")


def parse_options(config: pytest.Config) -> Options:
    """Check what was asked.

    Raises:
        UsageError: a value is no version, no number, no directory, no mode.
    """
    _refuse_what_would_be_ignored(config)
    manifests = _existing(config.getoption("manifests"), "--manifests", config.invocation_params.dir, directory=True)
    baseline = _existing(config.getoption("baseline"), "--baseline", config.invocation_params.dir, directory=True)
    if baseline and not manifests:
        raise UsageError("--baseline needs --manifests", remedy="name the candidate that is to be promoted")
    run_dir = config.getoption("run_dir")
    if run_dir and (path := config.invocation_params.dir / run_dir).exists() and not _is_empty(path):
        raise UsageError(f"--run-dir {run_dir} is not empty", remedy="name a new directory; a run is never overwritten")
    images = str(config.getoption("images"))
    if images not in IMAGE_MODES:
        raise UsageError(f"--images {images} is none of {', '.join(IMAGE_MODES)}")
    if manifests and config.getoption("repeat") != "1":
        raise UsageError(
            "--repeat cannot be used with --manifests: the writes of a candidate are in the run's one history",
            remedy="run it as often as you like",
        )
    context = _context(config)
    name = config.getoption("cluster_name")
    name = None if name == _KIND_PLUGIN else name  # that one is pytest-kind's default
    return Options(
        manifests=manifests,
        run_dir=config.invocation_params.dir / run_dir if run_dir else None,
        seed=_number(config.getoption("seed"), "--seed", least=0) if config.getoption("seed") else secrets.randbits(31),
        nodes=_number(config.getoption("nodes"), "--nodes", least=1),
        chroma_version=_version(config.getoption("chroma_version"), "--chroma-version"),
        k8s_version=_version(config.getoption("k8s_version"), "--k8s-version"),
        images=images,
        cluster_name=name,
        keep=bool(config.getoption("keep_cluster")),
        kind=_existing(config.getoption("kind_bin"), "--kind-bin", config.invocation_params.dir),
        kubectl=_existing(config.getoption("kind_kubectl_bin"), "--kind-kubectl-bin", config.invocation_params.dir),
        power_losses=_number(config.getoption("power_losses"), "--power-losses", least=1, most=100),
        repeat=_number(config.getoption("repeat"), "--repeat", least=1, most=100),
        use_cluster=_usable(config.getoption("use_cluster") or _ours(config), config, name),
        # A cluster that is not ours may be small, and others use it.
        one_lane=bool(config.getoption("one_lane")) or bool(context) or os.environ.get(_ONE_LANE, "0") not in {"", "0"},
        beside_of=str(config.getoption("beside_of")),
        baseline=baseline,
        scenario=str(config.option.keyword or ""),
        only=tuple(config.getoption("only") or ()),
        faults=_faults(config.getoption("fault") or ()),
        time_limit=seconds_of(limit, "--time-limit") if (limit := config.getoption("time_limit")) is not None else None,
        context=context,
        kubeconfig=_existing(config.getoption("kubeconfig"), "--kubeconfig", config.invocation_params.dir),
        namespace=config.getoption("namespace"),
        yes=bool(config.getoption("yes")),
        loader_image=config.getoption("loader_image"),
        load_pods=_number(config.getoption("load_pods"), "--load-pods", least=0, most=1000),
    )


def _registered_by_pytest_kind(pluginmanager: pytest.PytestPluginManager) -> bool:
    """Has pytest-kind registered its options, or will it?

    With `-p` we come before it, from a conftest after it.
    """
    if pluginmanager.hasplugin(_KIND_PLUGIN):
        return True
    if pluginmanager.is_blocked(_KIND_PLUGIN) or os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        return False
    return any(point.name == _KIND_PLUGIN for point in importlib.metadata.entry_points(group="pytest11"))


def _refuse_what_would_be_ignored(config: pytest.Config) -> None:
    """Options of pytest-kind's that have no meaning here."""
    if config.getoption("kubeconfig") and config.getoption("cluster") == KIND:
        raise UsageError(
            "--kubeconfig cannot be used: a run makes a cluster, and its kubeconfig, of its own",
            remedy="name a context of it with --cluster, or use --keep-cluster and reach the run's own cluster",
        )
    if config.getoption("kind_image"):
        raise UsageError(
            "--kind-image cannot be used: the node image follows from the version of Kubernetes",
            remedy="use --k8s-version and --images",
        )


def _ours(config: pytest.Config) -> str | None:
    """The cluster of ours that `--cluster` names, where no kubeconfig is named as well; it is used as it is."""
    given = str(config.getoption("cluster"))
    if config.getoption("kubeconfig") or given == KIND:
        return None
    return next((lease.name for lease in read_leases() if lease.name == given), None)


def _context(config: pytest.Config) -> str | None:
    """The context that `--cluster` asks for; None for a cluster of ours. Whether it is there is seen by `visit`."""
    given = str(config.getoption("cluster"))
    if given == KIND or _ours(config):
        if config.getoption("namespace"):
            raise UsageError("--namespace is for a cluster that is not ours", remedy="name its context with --cluster")
        return None
    nodes, name = config.getoption("nodes") != "1", config.getoption("cluster_name")
    useless = {
        "--use-cluster": config.getoption("use_cluster"),
        "--nodes": nodes,
        "--cluster-name": name and name != _KIND_PLUGIN,
        "--k8s-version": config.getoption("k8s_version"),
        "--keep-cluster": config.getoption("keep_cluster"),
    }
    if found := next((option for option, value in useless.items() if value), None):
        raise UsageError(
            f"{found} cannot be used with --cluster {given}: that cluster is there, and is left as it was",
            remedy="leave one of the two out",
        )
    return given


def _faults(names: Sequence[str]) -> tuple[str, ...]:
    chosen(experiments(), names)  # refuses what is unknown
    return tuple(names)


def _existing(given: str | None, option: str, base: Path, *, directory: bool = False) -> Path | None:
    if not given:
        return None
    path = (base / given).absolute()
    if not (path.is_dir() if directory else path.is_file()):
        raise UsageError(f"{option} {given}: there is no such {'directory' if directory else 'file'}")
    return path


def _usable(given: str | None, config: pytest.Config, new_name: str | None) -> str | None:
    """The name of a cluster that is there; whether it runs is seen when it is used."""
    if given is None:
        return None
    if (new_name or config.getoption("nodes") != "1") and not config.getoption("beside_of"):
        raise UsageError("--use-cluster cannot be used with --cluster-name or --nodes: that cluster is there already")
    known = sorted(lease.name for lease in read_leases() if (cluster_dir(lease.name) / "kubeconfig").is_file())
    if given not in known:
        raise UsageError(
            f"--use-cluster {given}: there is no such cluster of ours",
            remedy=f"there are: {', '.join(known) or 'none'}; `chroma-qualify up --name {given}` makes it",
        )
    return given


def _number(given: str | None, option: str, *, least: int, most: int | None = None) -> int:
    try:
        number = int(str(given))
    except ValueError:
        raise UsageError(f"{option} {given} is not a whole number") from None
    if number < least:
        raise UsageError(f"{option} {given} is less than {least}")
    if most is not None and number > most:
        raise UsageError(f"{option} {given} is more than {most}")
    return number


def _version(given: str | None, option: str) -> str:
    if not given:
        return ""
    if not _VERSION.fullmatch(given.removeprefix("v")):
        raise UsageError(f"{option} {given} is not a version like 1.5.9")
    return given.removeprefix("v")


def _is_empty(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
