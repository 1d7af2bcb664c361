"""Create, find and delete kind clusters of our own.

Called by the plugin (one cluster a session) and by the command line (`up`, `down`, `clean`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from chroma_qualify.cluster.addons import apply_addons, wait_addons
from chroma_qualify.cluster.evidence import collect_nodes
from chroma_qualify.cluster.images.ensure import ImageSet, Source, find_images
from chroma_qualify.cluster.lease import cluster_dir, drop_lease, read_leases, take_lease
from chroma_qualify.cluster.model import Cluster, Node, Role, run
from chroma_qualify.errors import InfraError

Say = Callable[[str], None]
PREFIX = "cq-"  # every cluster of ours has it, and nothing else does
LABEL = "io.x-k8s.kind.cluster"  # kind's, on every node container
_REMOVED_WITHIN = 8.0  # s; Ctrl-C is to end a run within ten
_PATCHES = "/etc/chroma-qualify/patches"  # in the node
_RESERVED = {"kube-apiserver": "150m", "kube-controller-manager": "25m", "kube-scheduler": "25m"}
CREATE_TIMEOUT = 600.0


@dataclasses.dataclass(frozen=True, slots=True)
class ClusterConfig:
    """What cluster is wanted.

    Attributes:
        name: None for a unique one.
        workers: nodes beside the control plane.
        k8s_version: without `v`; "" for the default.
        chroma_version: "" for the default.
        images: auto, registry or packages.
        keep: whether it stays when its owner ends.
        evidence: directory for the nodes' logs when it does not come up.
        kind: a kind program to use instead of ours.
        kubectl: a kubectl program to use instead of ours.
    """

    name: str | None = None
    workers: int = 0
    k8s_version: str = ""
    chroma_version: str = ""
    images: str = "auto"
    keep: bool = False
    evidence: Path | None = None
    kind: Path | None = None
    kubectl: Path | None = None


@contextlib.contextmanager
def ephemeral_cluster(config: ClusterConfig, say: Say) -> Iterator[Cluster]:
    """A cluster for as long as the block lasts, or longer with `config.keep`."""
    cluster = create_cluster(config, say)
    try:
        yield cluster
    finally:
        if not config.keep:
            delete_cluster(cluster.name)


def find_cluster(name: str) -> Cluster:
    """A cluster of ours that is there.

    Raises:
        InfraError: it does not run.
    """
    nodes = _nodes(name)
    if not nodes:
        raise InfraError(f"cluster {name} does not run", remedy=f"`chroma-qualify up --name {name}` makes it")
    return _cluster(name, nodes)


def create_cluster(config: ClusterConfig, say: Say) -> Cluster:
    """Create a cluster and wait until its add-ons are ready.

    Raises:
        InfraError: it did not come up; what there was of it is deleted again.
    """
    for gone in sweep():
        say(f"cluster {gone}: left behind by an earlier run, deleted")
    images = find_images(Source(config.images), config.k8s_version or None, config.chroma_version or None)
    name = config.name or f"{PREFIX}{secrets.token_hex(3)}"
    if _containers(name):
        raise InfraError(f"a cluster named {name} is there already", remedy="`make down`, or another --cluster-name")
    for other in kept_clusters():
        say(f"cluster {other.name} was kept and slows this run; `make down` ends it")
    take_lease(name, kept=config.keep)
    try:
        return _create(name, config, images, say)
    except BaseException as failure:  # Ctrl-C too: half a cluster is of no use to anybody
        if config.evidence and isinstance(failure, Exception):
            collect_nodes(name, config.evidence)
        try:
            delete_cluster(name)
        except InfraError as error:  # must not hide why there is only half of it
            say(f"{error.message}; the next run tries again")
        raise


def delete_cluster(name: str) -> None:
    """Delete a cluster's containers, volumes and lease; one that does not exist is no error."""
    until = time.monotonic() + _REMOVED_WITHIN
    while containers := _containers(name):
        # An interrupted `kind` may be making or removing them at the same time: then ours fails, and they are listed
        # until its own is done.
        said = run(["docker", "rm", "--force", "--volumes", *containers], timeout=120, check=False).stderr.strip()
        if time.monotonic() > until and _containers(name):
            # The lease stays, so that the next run tries again.
            raise InfraError(f"cluster {name} cannot be deleted: {said[-300:]}", remedy="`make clean`")
        if said:
            time.sleep(0.2)  # the engine tells nobody that a removal is done
    drop_lease(name)


def sweep(*, kept_too: bool = False) -> list[str]:
    """Delete clusters of ours whose owner is gone; returns their names.

    Args:
        kept_too: also those that were meant to stay (`make clean`, `make down`).
    """
    swept = []
    leases = {lease.name: lease for lease in read_leases()}
    for name in sorted(set(leases) | _clusters()):
        lease = leases.get(name)
        if lease is None:  # perhaps another user's on the same engine
            over = kept_too
        elif lease.owner_lives():
            over = False
        else:  # a kept one without containers: the machine was restarted, say
            over = kept_too or lease.is_over() or not _containers(name)
        if over:
            delete_cluster(name)
            swept.append(name)
    return swept


def kept_clusters() -> list[Cluster]:
    """Clusters that stay after their run, as far as they run."""
    kept = (lease.name for lease in read_leases() if lease.kept)
    return [_cluster(name, _nodes(name)) for name in kept if _containers(name)]


def kind_config(config: ClusterConfig, *, cgroup: int, patches: Path | None = None) -> str:
    """Kind's configuration file.

    Args:
        config: what is wanted.
        cgroup: 1 or 2.
        patches: directory of kubeadm's patches for the control plane, see `write_patches`; None: without.
    """
    # How full volumes are is measured once a minute by default, which is how late an alert on it would be.
    kubelet: dict[str, object] = {"kind": "KubeletConfiguration", "volumeStatsAggPeriod": "10s"}
    if cgroup == 1:
        kubelet["failCgroupV1"] = False
    alone = [{"name": "leader-elect", "value": "false"}]
    control = {
        "kind": "ClusterConfiguration",
        # One control plane has nobody to elect, and after a restart would wait for its own old lease.
        "controllerManager": {"extraArgs": [{"name": "enable-hostpath-provisioner", "value": "true"}, *alone]},
        "scheduler": {"extraArgs": alone},
    }
    first: dict[str, object] = {"role": "control-plane"}
    more = []
    if patches is not None:
        first["extraMounts"] = [{"hostPath": str(patches), "containerPath": _PATCHES, "readOnly": True}]
        more.append(yaml.safe_dump({"kind": "InitConfiguration", "patches": {"directory": _PATCHES}}))
    return yaml.safe_dump(
        {
            "kind": "Cluster",
            "apiVersion": "kind.x-k8s.io/v1alpha4",
            "networking": {"disableDefaultCNI": True},
            "kubeadmConfigPatches": [yaml.safe_dump(kubelet), yaml.safe_dump(control), *more],
            "nodes": [first, *({"role": "worker"} for _ in range(config.workers))],
        }
    )


def write_patches(directory: Path) -> Path:
    """Kubeadm's patches that let the control plane reserve less CPU; returns the directory.

    Its 650m are a third of 2 cores that scenarios' pods then find no room in. It hardly ever uses them.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name, cpu in _RESERVED.items():
        container = {"name": name, "resources": {"requests": {"cpu": cpu}}}
        (directory / f"{name}+strategic.yaml").write_text(yaml.safe_dump({"spec": {"containers": [container]}}))
    return directory


def cgroup_version() -> int:
    """1 or 2: what this machine has; the nodes share it."""
    return 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1


def _create(name: str, config: ClusterConfig, images: ImageSet, say: Say) -> Cluster:
    kubeconfig = cluster_dir(name) / "kubeconfig"
    kubectl = cluster_dir(name) / "kubectl"
    kubectl.unlink(missing_ok=True)  # of a namesake whose containers are gone
    kubectl.symlink_to(config.kubectl or images.kubectl)
    kind = config.kind or images.kind
    say(f"cluster {name}: {1 + config.workers} node(s) from {images.node}")
    command = [str(kind), "create", "cluster", "--name", name, "--image", images.node, "--config", "-",
               "--kubeconfig", str(kubeconfig), "--quiet"]  # fmt: skip
    patches = write_patches(cluster_dir(name) / "patches")
    run(command, stdin=kind_config(config, cgroup=cgroup_version(), patches=patches), timeout=CREATE_TIMEOUT)
    cluster = Cluster(name, kubeconfig, kubectl, _nodes(name))
    load_images(cluster, images.load)
    apply_addons(cluster, images.addons)
    say(f"cluster {name}: waiting for the network, DNS, storage and metrics")
    wait_addons(cluster)
    return cluster


def load_images(cluster: Cluster, references: tuple[str, ...]) -> None:
    """Give every node images that the engine has."""
    for node in cluster.nodes if references else ():
        save = subprocess.Popen(["docker", "save", *references], stdout=subprocess.PIPE)
        command = ["docker", "exec", "--interactive", node.name, "ctr", "--namespace=k8s.io", "images", "import", "-"]
        load = subprocess.run(command, stdin=save.stdout, capture_output=True, text=True, check=False)
        if save.wait() != 0 or load.returncode != 0:
            raise InfraError(f"images cannot be loaded into {node.name}: {load.stderr.strip()[-300:]}")


def load_missing_images(cluster: Cluster, references: tuple[str, ...]) -> None:
    """The same for images that never change under one reference: only what no node lacks is not loaded again."""
    missing = [
        reference
        for reference in references
        if not all(
            cluster.on_node(node, "ctr", "--namespace=k8s.io", "images", "ls", "--quiet", f"name=={reference}").stdout
            for node in cluster.nodes
        )
    ]
    load_images(cluster, tuple(missing))


def _nodes(name: str) -> tuple[Node, ...]:
    command = ["docker", "ps", "--all", "--filter", f"label={LABEL}={name}",
               "--format", '{{.Names}} {{.Label "io.x-k8s.kind.role"}}']  # fmt: skip
    rows = [line.split() for line in run(command).stdout.splitlines()]
    nodes = [Node(container, Role(role)) for container, role in rows if role in set(Role)]
    return tuple(sorted(nodes, key=lambda node: (node.role is not Role.CONTROL_PLANE, node.name)))


def _cluster(name: str, nodes: tuple[Node, ...]) -> Cluster:
    place = cluster_dir(name)
    return Cluster(name, place / "kubeconfig", place / "kubectl", nodes)


def _containers(name: str) -> list[str]:
    return run(["docker", "ps", "--all", "--quiet", "--filter", f"label={LABEL}={name}"]).stdout.split()


def _clusters() -> set[str]:
    """Names of all clusters of ours that have containers."""
    command = ["docker", "ps", "--all", "--filter", f"label={LABEL}", "--format", f'{{{{.Label "{LABEL}"}}}}']
    return {name for name in run(command).stdout.split() if name.startswith(PREFIX)}
