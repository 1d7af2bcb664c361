"""pytest-kind's `kind_cluster` contract, on a cluster of ours.

pytest-kind is GPL-3.0+ and is neither imported nor copied here; only the names that its users' tests rely on are
kept. tests/e2e/conftest.py overrides its fixture with this.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chroma_qualify.cluster.kind import load_images
from chroma_qualify.cluster.model import Cluster
from chroma_qualify.deployment.forward import open_forward


class KindContract:
    """What a test written for pytest-kind may use."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.name = cluster.name
        self.kubeconfig_path: Path = cluster.kubeconfig
        self.kubectl_path: Path = cluster.kubectl

    @functools.cached_property
    def api(self) -> Any:  # noqa: ANN401 (pykube has no types)
        """A pykube client (pykube-ng comes with pytest-kind)."""
        import pykube

        return pykube.HTTPClient(pykube.KubeConfig.from_file(str(self.kubeconfig_path)))

    def kubectl(self, *args: str) -> str:
        """Run kubectl and return what it printed."""
        return self._cluster.run_kubectl(*args).stdout

    def load_docker_image(self, docker_image: str) -> None:
        """Make an image of the local Docker known to the cluster."""
        load_images(self._cluster, (docker_image,))

    @contextlib.contextmanager
    def port_forward(self, service_or_pod_name: str, remote_port: int, *args: str) -> Iterator[int]:
        """A local port that leads to a Service or pod; `-n NAMESPACE` in `args` as with kubectl.

        `service_or_pod_name` is what kubectl takes: `service/NAME`, `svc/NAME`, `pod/NAME` or a pod's name.
        """
        namespace = "default"
        for flag, value in itertools.pairwise(args):
            if flag in ("-n", "--namespace"):
                namespace = value
        for word in args:
            if word.startswith("--namespace="):
                namespace = word.partition("=")[2]
        with open_forward(self._cluster, namespace, service_or_pod_name.rpartition("/")[2], remote_port) as way:
            yield way.port
