"""Every rule with cases that must and must not trigger it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_qualify.checks.answers import completeness, duplicates, phantoms, some, wrong_values, wrong_vectors
from chroma_qualify.findings import Severity

IDS = st.sets(st.text("abcdef", min_size=1, max_size=3), max_size=12)


@pytest.mark.parametrize(
    ("acknowledged", "store", "index", "expected"),
    [
        ([], [], [], {}),
        (["a", "b"], ["a", "b"], ["a", "b"], {}),
        (["a"], ["a", "other"], ["a", "other"], {}),  # more than was written is no loss
        (["a", "b"], ["a"], ["a"], {"lost-store": "b"}),
        (["a", "b"], ["a", "b"], ["a"], {"lost-index": "b"}),
        (["a", "b"], ["a"], ["a", "b"], {"lost-store": "b"}),  # an index entry saves nobody
        (["a", "b", "c"], ["a", "b"], ["a"], {"lost-store": "c", "lost-index": "b"}),
        (["a", "b"], [], [], {"lost-store": "a, b"}),  # not also lost-index: one loss, one rule
    ],
)
def test_completeness(acknowledged, store, index, expected):
    findings = completeness(acknowledged, store, index, collection="things")
    assert {finding.rule: finding.evidence for finding in findings} == expected
    for finding in findings:
        assert finding.severity is Severity.FAIL
        assert finding.collection == "things"
        assert finding.remedy
        assert f"{len(finding.evidence.split(', '))} of {len(acknowledged)}" in finding.message


@given(IDS, IDS, IDS)
def test_completeness_against_brute_force(acknowledged, store, index):
    rules = {finding.rule for finding in completeness(sorted(acknowledged), store, index)}
    assert ("lost-store" in rules) == any(id_ not in store for id_ in acknowledged)
    assert ("lost-index" in rules) == any(id_ in store and id_ not in index for id_ in acknowledged)


def test_lost_index_carries_the_servers_words():
    (finding,) = completeness(["a"], ["a"], [], server_said=("Error finding id",))
    assert finding.evidence == "a; the server said: Error finding id"


@pytest.mark.parametrize(
    ("written", "read", "expected"),
    [(["a"], ["a"], None), (["a"], [], None), (["a"], ["b", "a", "b"], "b"), ([], ["z", "y"], "z, y")],
)
def test_phantoms(written, read, expected):
    assert [finding.evidence for finding in phantoms(written, read)] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([], None),
        ([["a", "b"], ["a", "b"]], None),  # twice, but in two answers
        ([["a", "b", "a"]], "a (2 times)"),
        ([["a", "a"], ["a", "a", "a"], ["b", "b"]], "a (3 times), b (2 times)"),
    ],
)
def test_duplicates(answers, expected):
    assert [finding.evidence for finding in duplicates(answers)] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("expected", "read", "evidence"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": 1}, {}, None),  # absence is lost-store's
        ({"a": 1}, {"b": 2}, None),  # an unknown id is phantom's
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}, "a: read 2, wrote 1, b: read 1, wrote 2"),
        ({"a": 1}, {"a": -1}, "a: read -1, wrote 1"),
    ],
)
def test_wrong_values(expected, read, evidence):
    assert [finding.evidence for finding in wrong_values(expected, read)] == ([evidence] if evidence else [])


def test_wrong_vectors():
    right = np.eye(3, dtype=np.float32)
    assert wrong_vectors(["a", "b", "c"], right + np.float32(5e-6), right) == []
    assert wrong_vectors([], np.empty((0, 3)), np.empty((0, 3))) == []
    swapped = right[[1, 0, 2]]
    (finding,) = wrong_vectors(["a", "b", "c"], swapped, right)
    assert finding.rule == "wrong-value"
    assert finding.evidence == "a (off by 1), b (off by 1)"
    broken = right.copy()
    broken[2, 0] = np.nan
    assert "c (off by nan)" in wrong_vectors(["a", "b", "c"], broken, right)[0].evidence
    assert "shape (3, 2)" in wrong_vectors(["a", "b", "c"], right[:, :2], right)[0].message


def test_many_ids_are_cut_short_and_say_so():
    assert some(["x"] * 20).count("x") == 20
    assert some([str(number) for number in range(25)]).endswith("18, 19 and 5 more")
