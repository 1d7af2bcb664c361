import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chroma_qualify.checks.recall import exact_neighbours, low_recall, recall


@given(
    st.integers(1, 30), st.integers(1, 8), st.integers(1, 12), st.sampled_from(["cosine", "l2", "ip"]), st.integers()
)
def test_exact_neighbours_against_one_by_one(rows, queries, k, space, seed):
    rng = np.random.default_rng(abs(seed))
    matrix, asked = rng.standard_normal((rows, 5)), rng.standard_normal((queries, 5))
    result = exact_neighbours(matrix, asked, k, space)
    assert result.shape == (queries, min(k, rows))
    for query, found in zip(asked, result, strict=True):
        distance = [
            {
                "l2": np.sum((row - query) ** 2),
                "ip": -row @ query,
                "cosine": -(row @ query) / np.linalg.norm(row) / np.linalg.norm(query),
            }[space]
            for row in matrix
        ]
        assert list(found) == sorted(range(rows), key=lambda row: distance[row])[:k]


def test_exact_neighbours_of_chunks_are_those_of_all():
    rng = np.random.default_rng(1)
    matrix, asked = rng.standard_normal((50, 8)), rng.standard_normal((600, 8))
    whole = exact_neighbours(matrix, asked, 3)
    assert (whole[599] == exact_neighbours(matrix, asked[599:], 3)[0]).all()
    assert (exact_neighbours(matrix, matrix, 1)[:, 0] == np.arange(50)).all()


def test_the_spaces_differ():
    matrix = np.array([[10.0, 1.0], [1.0, 0.0]])
    query = np.array([[1.0, 0.0]])
    assert exact_neighbours(matrix, query, 1, "ip")[0, 0] == 0
    assert exact_neighbours(matrix, query, 1, "l2")[0, 0] == 1
    assert exact_neighbours(matrix, query, 1, "cosine")[0, 0] == 1


@pytest.mark.parametrize(("k", "width"), [(0, 2), (1, 3)])
def test_nonsense_is_refused(k, width):
    with pytest.raises(ValueError, match=r"k must|dimensions"):
        exact_neighbours(np.ones((2, 2)), np.ones((1, width)), k)


@pytest.mark.parametrize(
    ("exact", "returned", "k", "expected"),
    [
        ([["a", "b"]], [["b", "a"]], 2, 1),  # order does not matter
        ([["a", "b"]], [["a", "a"]], 2, 0.5),  # the same one twice is one
        ([["a", "b"]], [["x", "a", "b"]], 2, 0.5),  # beyond k does not count
        ([["a"], ["b"]], [["a"], []], 10, 0.5),  # fewer than k exist
        ([["a"]], [["b"]], 1, 0),
    ],
)
def test_recall(exact, returned, k, expected):
    assert recall(exact, returned, k) == expected


@pytest.mark.parametrize(("exact", "returned"), [([], []), ([["a"]], []), ([[]], [[]])])
def test_recall_of_nothing_is_an_error_not_a_pass(exact, returned):
    with pytest.raises(ValueError, match=r"answers|nothing"):
        recall(exact, returned, 10)


def test_low_recall():
    assert low_recall(0.95, 0.95, "recall@10") == []
    (finding,) = low_recall(0.9499, 0.95, "recall@10", collection="c")
    assert (finding.rule, finding.collection, finding.evidence) == ("low-recall", "c", "0.9499")
    assert "0.9499" in finding.message
