"""Records whose vector follows from one number, so that a wrong vector shows by itself.

A record is an id and a value. The value is a number used once in the whole run; it is
written into the metadata, and the embedding is computed from it. Whoever reads a record
back can therefore tell, without a copy of what was written, whether it is the right one.

The vectors are not isotropic noise. Exact search cannot be approximated well on noise
(HNSW with Chroma's defaults finds 0.73 of the 10 nearest of 20,000 random 384-d
directions), and no embedding model produces it. They lie near a 32-dimensional plane, as
real embeddings do; there Chroma's default index finds 0.999.

Only integers, +, *, / and sqrt are used: the same value gives the same bits everywhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float32]

DIMENSION = 384  # that of all-MiniLM-L6-v2
VALUE_KEY = "value"  # where the metadata carries the value
_PLANE = 32  # dimensions that carry most of a vector
_NOISE = 0.1  # share of a vector that is its own in all dimensions
_PLANE_SEED = 1 << 63  # beyond every value; one plane for every run, so that vectors of two runs compare
_CHUNK = 4096  # rows at a time: bounds the temporary memory to about 13 MB


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """What one write puts under one id.

    Attributes:
        id: the record's id.
        value: a number used once in the whole run, 0 to 2**62.
    """

    id: str
    value: int


class Values:
    """Gives out numbers, each once in a run; runs with different seeds share none."""

    def __init__(self, seed: int) -> None:
        """`seed` is the run's; only its lowest 30 bits count."""
        self._next = (seed % (1 << 30)) << 32

    def take(self, count: int) -> range:
        """The next `count` numbers."""
        start = self._next
        self._next += count
        return range(start, self._next)


def make_records(prefix: str, values: Iterable[int]) -> tuple[Record, ...]:
    """Records with the ids `prefix-0`, `prefix-1` … and the given values."""
    return tuple(Record(f"{prefix}-{number}", value) for number, value in enumerate(values))


def vector(value: int) -> Matrix:
    """The embedding of one value: shape (384,), float32, length 1."""
    row: Matrix = vectors([value])[0]
    return row


def vectors(values: Sequence[int]) -> Matrix:
    """The embeddings of many values: shape (n, 384), float32, every row of length 1."""
    numbers = np.asarray(values, dtype=np.uint64)
    result = np.empty((len(numbers), DIMENSION), dtype=np.float32)
    plane = _normal(np.arange(_PLANE, dtype=np.uint64) + np.uint64(_PLANE_SEED), DIMENSION) / np.sqrt(_PLANE)
    for start in range(0, len(numbers), _CHUNK):
        chunk = numbers[start : start + _CHUNK]
        raw = _normal(chunk, _PLANE + DIMENSION)
        mixed = np.zeros((len(chunk), DIMENSION))
        for axis in range(_PLANE):  # not `@`: a BLAS may add in another order, and the bits would differ
            mixed += raw[:, axis, None] * plane[axis]
        mixed += _NOISE * raw[:, _PLANE:]
        result[start : start + _CHUNK] = _unit(mixed)
    return result


def batches(records: Sequence[Record], size: int) -> Iterator[Sequence[Record]]:
    """Cut records into runs of at most `size`."""
    for start in range(0, len(records), size):
        yield records[start : start + size]


def values_of(records: Iterable[Record]) -> dict[str, int]:
    """Id to value, the form that checks take."""
    return {record.id: record.value for record in records}


def _unit(rows: npt.NDArray[np.float64]) -> Matrix:
    squares = np.zeros(len(rows))
    for column in range(rows.shape[1]):
        squares += rows[:, column] * rows[:, column]
    return (rows / np.sqrt(squares)[:, None]).astype(np.float32)


def _normal(seeds: npt.NDArray[np.uint64], width: int) -> npt.NDArray[np.float64]:
    """Nearly normal numbers, shape (len(seeds), width): each is the sum of four uniform 16-bit ones."""
    counter = np.arange(1, width + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed = _splitmix(_splitmix(seeds)[:, None] + counter[None, :])
    total = np.zeros(mixed.shape, dtype=np.int64)
    for shift in (0, 16, 32, 48):
        total += ((mixed >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.int64)
    return (total - 2 * 65535) / 37837.2  # sqrt(4 / 12) * 65536: variance 1


def _splitmix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The output function of SplitMix64 (Steele, Lea, Flood 2014); wraps modulo 2**64 on purpose."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
