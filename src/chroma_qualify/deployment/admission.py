"""The strictest Pod Security level that takes a candidate's pods: the API server is asked, nothing is made.

A run's namespaces enforce `restricted`. Somebody's pods that it refuses would never exist, and nothing else of them
could be judged; so they are tried under the strictest level that takes them, and that it is not the strictest is one
finding. Called once a run.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

from chroma_qualify.cluster.model import Cluster
from chroma_qualify.deployment.apply import create_namespace, delete_namespace
from chroma_qualify.deployment.objects import Candidate, KubeObject, of_kind
from chroma_qualify.errors import InfraError
from chroma_qualify.findings import Finding, Severity

LEVELS = ("restricted", "baseline", "privileged")
ENFORCE = "pod-security.kubernetes.io/enforce"
NOT_ADMITTED = "not-admitted"  # as of pods that are refused when they are made


def strictest(cluster: Cluster, candidate: Candidate) -> tuple[str, Finding | None]:
    """The level, and what is to be said of it: nothing where it is `restricted`.

    Raises:
        InfraError: the API server does not answer, or refuses the pods at every level: `apply` will say why.
    """
    if cluster.guest is not None and cluster.guest.namespace:
        return LEVELS[0], None  # what that namespace enforces is its owner's affair
    said = ""
    for level in LEVELS:  # a namespace for each: to label one again is a right that nothing else needs
        space = f"cq-admission-{secrets.token_hex(3)}"
        create_namespace(cluster, space, {ENFORCE: level, "app.kubernetes.io/managed-by": "chroma-qualify"})
        try:
            refused = _refusals(cluster, candidate, space)
        finally:
            delete_namespace(cluster, space)
        said = said or refused
        if not refused:
            return level, (_finding(candidate, level, said) if said else None)
    return LEVELS[0], None


def pods_of(objects: Sequence[KubeObject], namespace: str) -> Iterator[dict[str, Any]]:
    """The pods that controllers would make: Pod Security refuses pods, of templates it only warns.

    Without their account and priority, which need not be there yet; neither has to do with Pod Security.
    """
    for item in of_kind(objects, "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"):
        spec = item["spec"]["jobTemplate"]["spec"] if item["kind"] == "CronJob" else item["spec"]
        left_out = {"serviceAccountName", "serviceAccount", "priorityClassName"}
        pod = {key: value for key, value in spec["template"]["spec"].items() if key not in left_out}
        # A StatefulSet puts its claims among the volumes.
        claims = [
            {"name": each["metadata"]["name"], "persistentVolumeClaim": {"claimName": each["metadata"]["name"]}}
            for each in spec.get("volumeClaimTemplates") or ()
        ]
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                **(spec["template"].get("metadata") or {}),
                "name": f"{item['kind']}-{item['metadata']['name']}".lower(),
                "namespace": namespace,
            },
            "spec": {**pod, **({"volumes": [*(pod.get("volumes") or ()), *claims]} if claims else {})},
        }


def _refusals(cluster: Cluster, candidate: Candidate, namespace: str) -> str:
    """What Pod Security says against the pods; "" for nothing."""
    pods = {"apiVersion": "v1", "kind": "List", "items": list(pods_of(candidate.objects, namespace))}
    done = cluster.run_kubectl(
        "create", "--dry-run=server", "--validate=false", "-f", "-", stdin=json.dumps(pods), check=False, again=True
    )
    said = [line for line in done.stderr.splitlines() if "violates PodSecurity" in line]
    judged = not done.returncode or said or "Error from server" in done.stderr or "is invalid" in done.stderr
    if not judged:
        raise InfraError("the API server was asked for Pod Security and did not answer", evidence=done.stderr[-600:])
    return "\n".join(said)


def _finding(candidate: Candidate, level: str, said: str) -> Finding:
    first = re.sub(r"^.*?violates PodSecurity \"[^\"]*\": ", "", said.splitlines()[0])
    workload = f"{candidate.deployment['kind']}/{candidate.deployment['metadata']['name']}"
    causes = re.sub(r" \([^()]*\)", "", first)  # which container, and what it must set, is in the evidence
    return Finding(
        NOT_ADMITTED,
        Severity.FAIL,
        f"Pod Security `{LEVELS[0]}` refuses the pods of {workload}: {causes}; "
        f"all else was tried in namespaces that enforce `{level}`",
        evidence=said[:4000],
        remedy="change the pod template until `restricted` takes it, or promise less of the namespace it goes to",
        object=workload,
    )
