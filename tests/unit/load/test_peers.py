"""The labels of our pods come from the candidate's policies, and from nowhere else."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chroma_qualify.deployment.objects import Candidate
from chroma_qualify.load import peers

BASE = Path(__file__).parents[3] / "manifests" / "base"


def candidate(change=lambda objects: objects):
    objects = [yaml.safe_load(path.read_text()) for path in sorted(BASE.glob("*.yaml"))]
    return Candidate.from_objects(change(objects), BASE)


def without_policies(objects):
    return [item for item in objects if item["kind"] != "NetworkPolicy"]


def changed_policy(change):
    def apply(objects):
        policy = next(item for item in objects if item["kind"] == "NetworkPolicy")
        change(policy["spec"])
        return objects

    return apply


def test_of_our_manifests():
    found = candidate()
    assert peers.selects({"matchLabels": peers.backend(found).pod_labels}, peers.backend(found).pod_labels)
    assert peers.backend(found).namespace_labels is None
    assert peers.monitoring(found).namespace_labels == {peers.NAME_LABEL: "monitoring"}
    assert len(peers.policies(found)) == 1


def test_without_a_policy_any_pod_is_a_backend():
    found = candidate(without_policies)
    assert peers.backend(found) is not None
    assert peers.monitoring(found) is None


def test_a_policy_that_admits_nobody():
    found = candidate(changed_policy(lambda spec: spec.update(ingress=[])))
    assert peers.backend(found) is None


def test_a_policy_on_other_pods_is_not_ours():
    found = candidate(changed_policy(lambda spec: spec.update(podSelector={"matchLabels": {"app": "other"}})))
    assert peers.policies(found) == ()


def test_another_port_admits_nobody_to_chroma():
    rule = {"from": [{"podSelector": {"matchLabels": {"app": "x"}}}], "ports": [{"port": 9000}]}
    found = candidate(changed_policy(lambda spec: spec.update(ingress=[rule])))
    assert peers.peers(found) == ()


@pytest.mark.parametrize("source", [{"podSelector": {}}, {}])
def test_an_empty_selector_admits_everybody(source):
    rule = {"from": [source]} if source else {}
    found = candidate(changed_policy(lambda spec: spec.update(ingress=[rule])))
    assert peers.backend(found) == peers.Peer({})


EXPRESSIONS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["In", "Exists"]), st.lists(st.sampled_from("xyz"), min_size=1)),
    max_size=3,
    unique_by=lambda expression: expression[0],
)


@given(st.dictionaries(st.sampled_from("def"), st.sampled_from("xyz")), EXPRESSIONS)
def test_satisfying_labels_are_selected(labels, expressions):
    selector = {
        "matchLabels": labels,
        "matchExpressions": [{"key": k, "operator": op, "values": values} for k, op, values in expressions],
    }
    assert peers.selects(selector, peers.satisfying(selector))


def test_negative_expressions():
    selector = {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]}
    assert peers.selects(selector, {"a": "y"})
    assert not peers.selects(selector, {"a": "x"})
    assert not peers.selects({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": "y"})
