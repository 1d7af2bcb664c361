"""Give a candidate's claim a volume of our making, before the candidate is applied.

A PersistentVolume that names the claim is bound to it before any provisioner is asked. Called by the fixtures for
experiments that fill the volume or cut its power.
"""

from __future__ import annotations

import json
from typing import Any

from chroma_qualify.cluster.model import Cluster, Role
from chroma_qualify.cluster.volumes import LoopVolume, create_volume, volume_of
from chroma_qualify.deployment.apply import Deployed
from chroma_qualify.deployment.objects import Candidate, KubeObject, of_kind
from chroma_qualify.errors import InfraError, UndecidedError

MEBIBYTES = 1024  # really there, whatever the claim asks for; sparse: it takes what is written


def provide_volume(
    cluster: Cluster, candidate: Candidate, namespace: str, mebibytes: int = MEBIBYTES, *, measured: bool = False
) -> LoopVolume:
    """Make a volume on a node and bind the candidate's claim in a namespace to it.

    Args:
        cluster: where.
        candidate: whose claim it is for.
        namespace: where the candidate goes; also the volume's name.
        mebibytes: its size.
        measured: make it a `local` volume: the kubelet measures those, and not a `hostPath`.

    Raises:
        UndecidedError: the candidate has no claim, or the cluster no node of ours.
        InfraError: the node cannot make it.
    """
    if candidate.claim is None:
        raise UndecidedError("the candidate's Chroma has no PersistentVolumeClaim to give a volume to")
    if not cluster.nodes:
        raise UndecidedError("the nodes of an existing cluster cannot be entered to make a volume")
    node = next((node for node in cluster.nodes if node.role is Role.WORKER), cluster.nodes[0])
    volume = create_volume(cluster, node, namespace, mebibytes)
    spec = _claim_spec(candidate)
    hostpath = {"path": volume.directory, "type": "Directory"}
    manifest = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": namespace, "labels": {"app.kubernetes.io/managed-by": "chroma-qualify"}},
        "spec": {
            "capacity": {"storage": spec.get("resources", {}).get("requests", {}).get("storage", "1Gi")},
            "accessModes": spec.get("accessModes") or ["ReadWriteOnce"],
            "storageClassName": spec.get("storageClassName", "standard"),
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": namespace, "name": candidate.claim},
            **({"local": {"path": volume.directory}} if measured else {"hostPath": hostpath}),
            "nodeAffinity": {
                "required": {
                    "nodeSelectorTerms": [
                        {
                            "matchExpressions": [
                                {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name]}
                            ]
                        }
                    ]
                }
            },
        },
    }
    cluster.run_kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest))
    return volume


def drop_volume(volume: LoopVolume) -> None:
    """Delete the PersistentVolume and what it stands for; its namespace is on its way out."""
    volume.cluster.run_kubectl("delete", "persistentvolume", volume.name, "--ignore-not-found", "--wait=false")
    volume.drop()


def loop_volume(deployed: Deployed) -> LoopVolume | None:
    """The volume of ours that a deployment's data is on, as the API server knows it; None: it is another one."""
    path = directory_on_node(deployed)
    for node in deployed.cluster.nodes if path else ():
        found = volume_of(deployed.cluster, node, path)
        if found and deployed.cluster.on_node(node, "mountpoint", "-q", path, check=False).returncode == 0:
            return found
    return None


def directory_on_node(deployed: Deployed) -> str:
    """Where a deployment's data is on its node of ours; "" where it is on none, or no volume is bound yet."""
    claim = deployed.candidate.claim
    if claim is None or not deployed.cluster.nodes:
        return ""
    bound = deployed.cluster.get_json("persistentvolumeclaim", claim, f"--namespace={deployed.namespace}")
    name = bound["spec"].get("volumeName")
    if not name:
        return ""
    source = deployed.cluster.get_json("persistentvolume", name)["spec"]
    return str((source.get("hostPath") or source.get("local") or {}).get("path", ""))


def _claim_spec(candidate: Candidate) -> KubeObject:
    """The claim's spec: an object's own, or a StatefulSet's template's."""
    for claim in of_kind(candidate.objects, "PersistentVolumeClaim"):
        if claim["metadata"]["name"] == candidate.claim:
            spec: Any = claim["spec"]
            return dict(spec)
    for template in candidate.deployment["spec"].get("volumeClaimTemplates") or ():
        if str(candidate.claim).startswith(f"{template['metadata']['name']}-"):
            spec = template["spec"]
            return dict(spec)
    raise InfraError(f"the claim {candidate.claim} is not among the candidate's objects")
