"""What is different for a deployment in a cluster that is not ours. Called by `apply`."""

from __future__ import annotations

from collections.abc import Iterator

from chroma_qualify.cluster.model import Cluster
from chroma_qualify.deployment.objects import Candidate, KubeObject
from chroma_qualify.errors import UnavailableError

# Kinds that are in no namespace, of those that manifests hold.
_CLUSTER_SCOPED = {
    "APIService", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "IngressClass",
    "MutatingWebhookConfiguration", "PersistentVolume", "PriorityClass", "RuntimeClass", "StorageClass",
    "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ValidatingWebhookConfiguration",
    "VolumeSnapshotClass",
}  # fmt: skip


def cluster_scoped(candidate: Candidate) -> Iterator[KubeObject]:
    """The candidate's objects that are in no namespace; Namespaces are left out, for they are never applied."""
    return (item for item in candidate.objects if item["kind"] in _CLUSTER_SCOPED or item["kind"] == "Namespace")


def refuse_outside(cluster: Cluster, candidate: Candidate) -> None:
    """Nothing outside our own namespaces is touched in a cluster that is not ours.

    Raises:
        UnavailableError: the candidate has an object that is in no namespace.
    """
    if cluster.guest is None:
        return
    found = [item for item in cluster_scoped(candidate) if item["kind"] != "Namespace"]
    if found:
        names = ", ".join(f"{item['kind']} {item['metadata']['name']}" for item in found)
        raise UnavailableError(
            f"{candidate.directory} has objects that are in no namespace, and nothing outside its own is touched "
            f"in a cluster that is not ours: {names}",
            remedy="leave them out, or use a kind cluster of our own",
        )
