"""Rule `pdb-blocks-drain`: which budgets never let a single server go."""

import pytest
from lint_builders import hpa, meta, workload

from chroma_qualify.findings import Severity
from chroma_qualify.lint.rules.disruption import pdb_blocks_drain


def budget(labels=None, namespace=None, **spec):
    selector = {"matchLabels": {"tier": "db"} if labels is None else labels}
    metadata = meta("keep") if namespace is None else {"name": "keep", "namespace": namespace}
    return {"kind": "PodDisruptionBudget", "metadata": metadata, "spec": {"selector": selector, **spec}}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"minAvailable": 1}, "minAvailable: 1"),
        ({"minAvailable": 2}, "minAvailable: 2"),
        ({"minAvailable": "100%"}, "minAvailable: 100%"),
        ({"minAvailable": "1%"}, "minAvailable: 1%"),  # rounded up
        ({"maxUnavailable": 0}, "maxUnavailable: 0"),
        ({"maxUnavailable": "0%"}, "maxUnavailable: 0%"),
    ],
)
def test_a_budget_that_never_lets_it_go(spec, field):
    (found,) = pdb_blocks_drain([workload(), budget(**spec)])
    assert (found.rule, found.severity) == ("pdb-blocks-drain", Severity.FAIL)
    assert found.object == "PodDisruptionBudget/keep"
    assert field in found.evidence
    assert "maxUnavailable to 1" in found.remedy


@pytest.mark.parametrize(
    "spec",
    [{"maxUnavailable": 1}, {"maxUnavailable": "1%"}, {"minAvailable": 0}, {"minAvailable": "0%"}, {}]
    + [{"minAvailable": junk} for junk in (None, True, [], "x", "-1%", "9" * 20 + "%")],
)
def test_a_budget_that_does(spec):
    assert list(pdb_blocks_drain([workload(), budget(**spec)])) == []


@pytest.mark.parametrize("other", [budget({"tier": "web"}, minAvailable=1), budget(namespace="else", minAvailable=1)])
def test_a_budget_of_others(other):
    assert list(pdb_blocks_drain([workload(), other])) == []


def test_the_fewest_replicas_count():
    keeps_one = budget(minAvailable=1)
    assert list(pdb_blocks_drain([workload(spec={"replicas": 2}), keeps_one])) == []
    assert len(list(pdb_blocks_drain([workload(spec={"replicas": 2}), hpa(minReplicas=1), keeps_one]))) == 1
    assert list(pdb_blocks_drain([workload(), hpa(minReplicas=2), keeps_one])) == []
    assert list(pdb_blocks_drain([workload(spec={"replicas": 0}), keeps_one])) == []
