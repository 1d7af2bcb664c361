"""The seed, line by line: every fault that it has, with the rule that names it, and nothing else.

The list is the seed document's (`chromadb-kubernetes-deployment.md`, in its order) and the facts about Chroma 1.x that
contradict it. What the linter cannot know from the objects is said at the end.
"""

import re

from test_lint_manifests import REPOSITORY, render

from chroma_qualify.findings import Severity
from chroma_qualify.lint import lint_objects

SEED = REPOSITORY / "tests/gauntlet/seed"
SERVER, CONFIG, SCALER = "Deployment/chromadb", "ConfigMap/chromadb-config", "HorizontalPodAutoscaler/chromadb-hpa"
FAIL, NOTE = Severity.FAIL, Severity.NOTE
FAULTS = [
    # "ChromaDB deployment with persistent storage": a Deployment on a ReadWriteOnce claim with the default strategy.
    ("two-servers-one-volume", FAIL, SERVER, "rolling update"),
    # "Configuration settings for ChromaDB": variables of 0.x.
    ("ignored-setting", NOTE, CONFIG, "PERSIST_DIRECTORY"),
    # "Min replicas: 1, max replicas: 3": up to three servers on one volume.
    ("two-servers-one-volume", FAIL, SCALER, "up to 3"),
    # "Memory: 512Mi request, 1Gi limit": less than the documented 2 GB.
    ("memory-below-floor", NOTE, SERVER, "2 GB"),
    # "CPU: 250m request, 500m limit": what probes and the end of a server then take.
    ("probe-timeout", NOTE, SERVER, "readinessProbe"),
    ("probe-timeout", NOTE, SERVER, "livenessProbe"),
    ("grace-too-short", NOTE, SERVER, "51 s"),
    # "Liveness probe: /api/v1/heartbeat", "Readiness probe: /api/v1/heartbeat": 410 since 1.0.
    ("probe-v1-api", FAIL, SERVER, "readinessProbe"),
    ("probe-v1-api", FAIL, SERVER, "livenessProbe"),
    # "Metrics endpoint: /api/v1/heartbeat", by a ServiceMonitor, and "Custom annotations for scraping".
    ("scrape-not-metrics", FAIL, "ServiceMonitor/chromadb", "410"),
    ("scrape-not-metrics", FAIL, SERVER, "410"),
    # "Ingress: only from backend pods and monitoring": the namespace is selected by a label that it does not have.
    ("policy-namespace-label", FAIL, "NetworkPolicy/chromadb-network-policy", "monitoring"),
    # "Read-only root filesystem where possible": without a writable /tmp it is not.
    ("no-writable-tmp", FAIL, SERVER, "/tmp"),
    # Not said, so Kubernetes' default: a token for its API.
    ("service-account-token", NOTE, SERVER, "never calls it"),
    # "Enable authentication in ConfigMap": it has no effect, and the secret lies open.
    ("ignored-setting", FAIL, CONFIG, "authentication"),
    ("secret-in-config", FAIL, CONFIG, "CHROMA_SERVER_AUTHN_CREDENTIALS"),
]


def test_every_fault_of_the_seed_is_named_and_nothing_else():
    found = lint_objects(render(SEED))
    left = list(found)
    for rule, severity, about, words in FAULTS:
        said = [f for f in left if (f.rule, f.severity, f.object) == (rule, severity, about) and words in f.message]
        assert said, (rule, about, words)
        left.remove(said[0])
        assert said[0].evidence
        assert said[0].remedy
        assert said[0].path
    assert left == []


def test_its_readme_lists_the_same():
    """The README is where a person looks; what is not for the linter has no rule there."""
    rows = re.findall(r"^\| (`.+?`) \| .+ \| (.+?) \|$", (SEED / "README.md").read_text(), re.MULTILINE)
    listed = {rule.strip("`") for _, rule in rows if rule.startswith("`")}
    assert listed == {rule for rule, *_ in FAULTS}
    assert [where for where, rule in rows if not rule.startswith("`")] == ["`kustomization.yaml`"]
