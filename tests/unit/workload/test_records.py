import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chroma_qualify.workload.records import DIMENSION, Record, Values, batches, make_records, values_of, vector, vectors


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=20, unique=True))
def test_vectors_are_unit_distinct_and_independent_of_the_batch(values):
    matrix = vectors(values)
    assert matrix.shape == (len(values), DIMENSION)
    assert matrix.dtype == np.float32
    assert np.allclose(np.linalg.norm(matrix.astype(float), axis=1), 1, atol=1e-6)
    assert all((vector(value) == row).all() for value, row in zip(values, matrix, strict=True))
    assert len(np.unique(matrix, axis=0)) == len(values)


def test_the_same_bits_everywhere():
    # A recorded run is judged by vectors computed anew, so the function may never change.
    digest = hashlib.sha256(vectors(range(1000)).astype("<f4").tobytes()).hexdigest()
    assert digest == "33332a1d257da470d5df592de88f0667afb2a8c55ec1fbc149556c1cf04d860b"


def test_vectors_are_well_apart():
    matrix = vectors(range(5000))
    cosine = matrix[:500] @ matrix.T
    cosine[np.arange(500), np.arange(500)] = -1
    assert cosine.max() < 0.9
    assert abs(cosine.mean()) < 0.01


def test_no_records_have_no_vectors():
    assert vectors([]).shape == (0, DIMENSION)


def test_values_are_given_once():
    first, other = Values(7), Values(8)
    taken = [*first.take(3), *first.take(2)]
    assert len(set(taken)) == 5
    assert not set(taken) & set(other.take(1000))
    assert list(Values(7).take(5)) == taken


def test_records():
    records = make_records("a", [5, 9, 7])
    assert records == (Record("a-0", 5), Record("a-1", 9), Record("a-2", 7))
    assert values_of(records) == {"a-0": 5, "a-1": 9, "a-2": 7}
    assert [len(part) for part in batches(records, 2)] == [2, 1]
