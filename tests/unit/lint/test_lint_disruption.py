"""Rules on PodDisruptionBudgets: which never let a single server go, and where one is missed."""

import pytest
from lint_builders import assert_one, claim, findings, hpa, meta, service, workload

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


OF_ITS_OWN = {"volumes": [{"name": "store", "emptyDir": {}}, {"name": "scratch", "emptyDir": {}}]}
CLAIMS = {"volumeClaimTemplates": [{"metadata": {"name": "store"}}]}


def several(replicas=2, **spec):
    return workload(spec={"replicas": replicas, **spec}, pod=OF_ITS_OWN)


def test_several_servers_without_a_budget_are_noted():
    about = "Deployment/vector-db"
    assert_one("pdb-missing", [several()], about, "all 2 servers", severity=Severity.NOTE, path="spec.replicas")
    other = budget(labels={"tier": "web"}, maxUnavailable=1)
    assert_one("pdb-missing", [several(), other], about, severity=Severity.NOTE)


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param([workload()], id="one server: a budget changes nothing"),
        pytest.param([several(), budget(maxUnavailable=1)], id="there is one"),
        pytest.param([several(), hpa(3, minReplicas=1)], id="there may be one server only"),
        pytest.param([workload(spec={"replicas": 2}), claim()], id="there must not be two"),
        pytest.param(
            [workload("StatefulSet", spec={"replicas": 2, **CLAIMS}, pod={"volumes": []}), service()], id="nor apart"
        ),
    ],
)
def test_no_budget_is_missed(objects):
    assert findings("pdb-missing", objects) == []
