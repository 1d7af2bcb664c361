"""In a hurry means sooner and oftener, and nothing else: what is tried are the expressions that ship."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from chroma_qualify.deployment.manifests import load_objects
from chroma_qualify.observe.hurry import hurried

ROOT = Path(__file__).parents[3]
FOUND = shutil.which("kubectl")  # `make test` provides one
# Where a time may differ: the objects are otherwise the same.
MAY_DIFFER = {
    ("ServiceMonitor", "interval"),
    ("ServiceMonitor", "scrapeTimeout"),
    ("Prometheus", "scrapeInterval"),
    ("Prometheus", "evaluationInterval"),
    ("PrometheusRule", "for"),
    ("PrometheusRule", "expr"),
    ("Deployment", "value"),
    ("ConfigMap", "config.yaml"),
}


@pytest.fixture(scope="module", params=["manifests/platform/prometheus", "tests/overlays/monitoring"])
def objects(request):
    if FOUND is None:
        pytest.skip("kubectl is not installed")
    return load_objects(ROOT / request.param, Path(FOUND))


def differences(one, other, where=()):
    """Paths at which two trees differ, with both values."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [found for key in one for found in differences(one[key], other[key], (*where, key))]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            found
            for number, pair in enumerate(zip(one, other, strict=True))
            for found in differences(*pair, (*where, number))
        ]
    return [] if one == other else [(where, one, other)]


def without_times(text):
    return re.sub(r"\b\d+(ms|s|m|h)\b", "TIME", text)


def test_only_times_differ(objects):
    before = json.dumps(objects)
    quick = hurried(objects)
    assert json.dumps(objects) == before, "the originals are left alone"
    changed = 0
    for item, other in zip(objects, quick, strict=True):
        for where, one, two in differences(item, other):
            assert (item["kind"], where[-1]) in MAY_DIFFER, (item["metadata"]["name"], where)
            changed += 1
            if item["kind"] == "Deployment":
                variable = item
                for key in where[:-1]:
                    variable = variable[key]
                assert variable["name"] in {"OTEL_METRIC_EXPORT_INTERVAL", "CANARY_SECONDS"}
                assert 0 < int(two) < int(one)
            else:
                assert without_times(one) == without_times(two)
    assert changed >= 5


def test_thresholds_stay():
    rule = {"alert": "Slow", "expr": "rate(a[5m]) > 1 and time() - b > 300", "for": "5m"}
    (quick,) = hurried([{"kind": "PrometheusRule", "spec": {"groups": [{"rules": [rule]}]}}])
    assert quick["spec"]["groups"][0]["rules"][0] == {
        "alert": "Slow",
        "expr": "rate(a[30s]) > 1 and time() - b > 300",
        "for": "2s",
    }
