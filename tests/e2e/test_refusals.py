"""Candidates that can never get ready are refused soon, by the right rule, in one sentence that names the cause.

A refusal that takes the whole time-out, or says "not ready", costs whoever reads it the search for the cause. They
wait side by side, on the session's cluster.
"""

import dataclasses
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chroma_qualify.deployment.apply import apply, create_namespace, delete_namespace, wait_ready
from chroma_qualify.deployment.render import in_namespace, load_candidate
from chroma_qualify.errors import CandidateError
from chroma_qualify.plugin.versions import modest

pytestmark = pytest.mark.own_namespaces("it deploys several candidates at a time")

GAUNTLET = Path(__file__).parents[1] / "gauntlet"
# s; without an early certainty it would be wait_ready's 300. An image takes longest: a registry out of reach is
# believed at the second try only, and the kubelet waits 10 s before it (36 s on 2 busy cores). After the time-out the
# rule would be another, too.
SOON = 270.0
# directory → rule, what the sentence must name
REFUSED = {
    "image-missing": ("image-pull", r"image chromadb/chroma:0\.0\.0-no-such-image cannot be pulled: \w+"),
    "no-storage-class": ("pvc-pending", r"PVC chromadb-pvc .* no StorageClass named no-such-storage-class"),
    "oom-loop": ("oom-killed", r"container chromadb was OOM-killed \(limit 8Mi\)"),
    "secret-missing": ("secret-missing", r"pod chromadb-\S+ cannot start: it needs Secret chromadb-token, which"),
    "unreachable": ("unreachable", r"Service chromadb-service leads nowhere.*: its selector app=chroma matches none"),
}


@dataclasses.dataclass(frozen=True)
class Refusal:
    """How a deployment ended, and after how many seconds."""

    error: CandidateError | None
    seconds: float


@pytest.fixture(scope="module")
def refusals(request, run, cluster, observer):
    """Every candidate of REFUSED, each in a namespace of its own, deployed at the same time."""
    if run.options.manifests:
        pytest.skip("it tries manifests of its own, not the candidate")

    def attempt(name):
        namespace = namespaces[name]
        # Five at once, beside the other lane's: they must find room.
        candidate = in_namespace(modest(load_candidate(GAUNTLET / name, cluster.kubectl)), namespace)
        began = time.monotonic()
        try:
            wait_ready(apply(cluster, candidate, namespace))
        except CandidateError as error:
            return Refusal(error, time.monotonic() - began)
        return Refusal(None, time.monotonic() - began)

    namespaces = {name: f"cq-{name}-{run.id[-6:]}" for name in REFUSED}
    try:
        for namespace in namespaces.values():
            create_namespace(cluster, namespace, {"app.kubernetes.io/managed-by": "chroma-qualify"})
            observer.follow(namespace)
        with ThreadPoolExecutor(len(REFUSED)) as pool:
            yield dict(zip(REFUSED, pool.map(attempt, REFUSED), strict=True))
    finally:
        for name, namespace in namespaces.items():
            if run.failed(f"{request.node.nodeid}::test_refused_soon_with_its_cause[{name}]"):
                observer.collect(namespace)
            delete_namespace(cluster, namespace)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_soon_with_its_cause(name, refusals, report):
    refusal = refusals[name]
    rule, sentence = REFUSED[name]
    assert refusal.error is not None, f"{name} got ready after {refusal.seconds:.1f} s"
    said = refusal.error.message
    assert (refusal.error.rule, bool(re.search(sentence, said))) == (rule, True), said
    assert "\n" not in said
    assert refusal.error.remedy
    assert refusal.seconds < SOON
    report.measure("seconds to the refusal", refusal.seconds, "s")
