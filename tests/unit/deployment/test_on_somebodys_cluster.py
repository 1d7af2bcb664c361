"""Nothing outside our own namespaces is applied in a cluster that is not ours."""

from pathlib import Path

import pytest

from chroma_qualify.cluster.model import Cluster, Guest
from chroma_qualify.deployment.guest import refuse_outside
from chroma_qualify.deployment.objects import Candidate
from chroma_qualify.errors import UnavailableError

CHROMA = [
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "chroma"},
        "spec": {
            "selector": {"matchLabels": {"app": "chroma"}},
            "template": {
                "metadata": {"labels": {"app": "chroma"}},
                "spec": {"containers": [{"name": "chroma", "image": "chromadb/chroma:1.5.9"}]},
            },
        },
    },
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s"},
        "spec": {"selector": {"app": "chroma"}, "ports": [{"port": 8000}]},
    },
]
PRIORITY = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "p"}, "value": 1}


def candidate(*more):
    return Candidate.from_objects([*CHROMA, *more], Path("chroma"))


def test_what_is_in_no_namespace_is_never_applied_there():
    """Also where nothing was left out, as of a topology that a scenario brings itself."""
    ours = Cluster("cq-x", Path("k"), Path("kubectl"))
    theirs = Cluster("theirs", Path("k"), Path("kubectl"), guest=Guest("r"))
    refuse_outside(ours, candidate(PRIORITY))
    refuse_outside(theirs, candidate())
    with pytest.raises(UnavailableError, match="PriorityClass p"):
        refuse_outside(theirs, candidate(PRIORITY))
