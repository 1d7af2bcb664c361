"""pytest-kind's `kind_cluster` contract, on a cluster of ours.

pytest-kind is GPL-3.0+ and is neither imported nor copied here; only the names that its users' tests rely on are
kept. tests/e2e/conftest.py overrides its fixture with this.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chroma_qualify.cluster.images.ensure import Source, find_images
from chroma_qualify.cluster.kind import ClusterConfig, create_cluster, delete_cluster, load_images
from chroma_qualify.cluster.model import Cluster, run
from chroma_qualify.deployment.forward import open_forward
from chroma_qualify.errors import InfraError, UsageError

_POD = {"pod", "pods", "po"}
_SERVICE = {"service", "services", "svc"}


class KindContract:
    """What a test written for pytest-kind may use.

    Attributes:
        name: kind's cluster name.
        kubeconfig_path: a kubeconfig file that only this cluster uses.
        kubectl_path: the kubectl program.
    """

    def __init__(self, cluster: Cluster, config: ClusterConfig | None = None) -> None:
        """Wrap a cluster that is there.

        Args:
            cluster: the session's.
            config: how it was made, for `create` after `delete`; None: the defaults, with as many nodes.
        """
        self._cluster = cluster
        self._config = config or ClusterConfig(name=cluster.name, workers=max(len(cluster.nodes) - 1, 0))
        self.name = cluster.name
        self.kubeconfig_path: Path = cluster.kubeconfig
        self.kubectl_path: Path = cluster.kubectl.resolve()  # the link goes with the cluster

    @functools.cached_property
    def api(self) -> Any:  # noqa: ANN401 (pykube has no types)
        """A pykube client (pykube-ng comes with pytest-kind)."""
        import pykube

        return pykube.HTTPClient(pykube.KubeConfig.from_file(str(self.kubeconfig_path)))

    @functools.cached_property
    def kind_path(self) -> Path:
        """The kind program."""
        if self._config.kind:
            return self._config.kind
        config = self._config
        return find_images(Source(config.images), config.k8s_version or None, config.chroma_version or None).kind

    def ensure_kind(self) -> None:
        """Kind is there: it was built or fetched before the run; nothing is downloaded here.

        Raises:
            InfraError: it is gone.
        """
        _require(self.kind_path)

    def ensure_kubectl(self) -> None:
        """The same of kubectl."""
        _require(self.kubectl_path)

    def create(self, config_file: str | Path | None = None) -> None:
        """Create the cluster again after `delete`; one that is there is used as it is.

        Raises:
            UsageError: for a `config_file`: it would be ignored.
        """
        if config_file is not None:
            raise UsageError(
                f"kind_cluster.create() cannot use {config_file}: the run makes the cluster itself",
                remedy="say what it should be with --nodes and --k8s-version",
            )
        self.ensure_kind()
        if self.name not in run([str(self.kind_path), "get", "clusters"]).stdout.split():
            self.__dict__.pop("api", None)  # it has the old cluster's credentials
            create_cluster(dataclasses.replace(self._config, name=self.name), print)

    def delete(self) -> None:
        """Delete the cluster now, for every scenario of the session; the run deletes it at its end by itself."""
        delete_cluster(self.name)

    def kubectl(self, *args: str, **kwargs: Any) -> str:  # noqa: ANN401 (subprocess' own)
        """Run kubectl and return what it printed.

        Args:
            args: kubectl's.
            kwargs: of `subprocess.check_output`, e.g. `input`, `timeout`, `stderr`, `cwd`.

        Raises:
            subprocess.CalledProcessError: it ended with another code than 0.
        """
        self.ensure_kubectl()
        environment = {**(kwargs.pop("env", None) or os.environ), "KUBECONFIG": str(self.kubeconfig_path)}
        command = [str(self.kubectl_path), *args]
        return str(subprocess.check_output(command, env=environment, encoding="utf-8", **kwargs))

    def load_docker_image(self, docker_image: str) -> None:
        """Make an image of the local Docker known to the cluster."""
        load_images(self._cluster, (docker_image,))

    @contextlib.contextmanager
    def port_forward(
        self,
        service_or_pod_name: str,
        remote_port: int,
        *args: str,
        local_port: int | None = None,
        retries: int = 10,
    ) -> Iterator[int]:
        """A local port that leads to a Service or pod.

        Args:
            service_or_pod_name: what kubectl takes: `service/NAME`, `svc/NAME`, `pod/NAME` or a pod's bare name.
            remote_port: of the Service or pod.
            args: `-n NAMESPACE` or `--namespace=NAMESPACE`, as with kubectl.
            local_port: the port to use here; None for one that is free.
            retries: how often pytest-kind would try, a second each: seconds to wait for a pod that is ready.

        Raises:
            UsageError: another kind of object, or another option of kubectl.
            CandidateError: no pod was ready in time.
            InfraError: the API server did not lead to it.
        """
        namespace, target = _namespace(args), _target(service_or_pod_name)
        patience = float(max(retries, 1))
        forward = open_forward(
            self._cluster, namespace, target, remote_port, patience=patience, local_port=local_port or 0
        )
        with forward:
            yield forward.port


def _require(program: Path) -> None:
    if not os.access(program, os.X_OK):
        raise InfraError(f"{program} is not there, or cannot be run", remedy="run `make images`")


def _target(name: str) -> str:
    """As `open_forward` takes it; a bare name is a pod's for kubectl, and a Service's there."""
    kind, slash, bare = name.rpartition("/")
    if not slash or kind in _POD:
        return f"pod/{bare}"
    if kind in _SERVICE:
        return f"service/{bare}"
    raise UsageError(f"port_forward() leads to a Service or a pod, not to {name}", remedy="name its Service or a pod")


def _namespace(args: Sequence[str]) -> str:
    """What `-n` says in any of the forms that kubectl takes.

    Raises:
        UsageError: for anything else; it would be ignored.
    """
    namespace, words = "default", iter(args)
    for word in words:
        if word in {"-n", "--namespace"}:
            namespace = next(words, "")
        elif word.startswith("--namespace="):
            namespace = word.partition("=")[2]
        elif word.startswith("-n"):
            namespace = word.removeprefix("-n").removeprefix("=")
        else:
            raise UsageError(f"port_forward() knows kubectl's --namespace only, not {word}")
    if not namespace:
        raise UsageError("port_forward() was given no name of a namespace")
    return namespace
