"""The scenarios' conftest: our plugin, and pytest-kind's fixture replaced by one with our own lifecycle."""

import pytest

from chroma_qualify.cluster.kind import ClusterConfig
from chroma_qualify.cluster.model import Cluster
from chroma_qualify.plugin.contract import KindContract

pytest_plugins = ["chroma_qualify.plugin"]


@pytest.fixture(scope="session")
def kind_cluster(cluster: Cluster, cluster_config: ClusterConfig) -> KindContract:
    """pytest-kind's contract: name, kubeconfig_path, kubectl(), load_docker_image(), port_forward(), api."""
    return KindContract(cluster, cluster_config)
