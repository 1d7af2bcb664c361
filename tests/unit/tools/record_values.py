"""Records for the tests of backup and restore: with everything that Chroma can keep."""

from __future__ import annotations

import numpy as np
from chroma_tools._chroma import Records

METADATA = (
    {"bool": True, "int": 1, "float": 1.0, "text": "", "false": False, "zero": 0, "nought": 0.0},
    None,
    {"large": 2**63 - 1, "small": -(2**63), "odd": 2**53 + 1},
    {"tiny": 5e-324, "huge": 1.7976931348623157e308, "third": 1 / 3, "whole": 1e16},
    {"ints": [1, 2], "floats": [1.0, 2.5], "bools": [True, False], "texts": ["a", ""]},
    {"text": "é\u0000\u2028\U0001f600\ufffd", "ключ": "line\nfeed"},
)
DOCUMENTS = ("text", None, "", "é\u0000\U0001f600", "a" * 10_000)
URIS = (None, "file:///a b", None, "")


def everything(count: int, dimension: int = 7, *, prefix: str = "r", seed: int = 1) -> Records:
    """Records whose vectors use all of float32, each kind of metadata, documents and URIs there and not there."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(count, dimension)).astype(np.float32)
    vectors *= np.exp2(random.integers(-3, 3, size=(count, 1))).astype(np.float32)
    vectors[0, :3] = np.array([1e-45, -0.0, 3.4e18], np.float32)
    return Records(
        [f"{prefix}-{number}" if number % 3 else f"{prefix} / é\U0001f600 {number}" for number in range(count)],
        vectors,
        [METADATA[number % len(METADATA)] for number in range(count)],
        [DOCUMENTS[number % len(DOCUMENTS)] for number in range(count)],
        [URIS[number % len(URIS)] for number in range(count)],
    )


def counted(values: range, dimension: int = 4, *, prefix: str = "n") -> Records:
    """Records that tell whether they are whole: metadata, document and vector carry the same number."""
    return Records(
        [f"{prefix}-{value}" for value in values],
        np.array([[value] * dimension for value in values], np.float32),
        [{"value": value} for value in values],
        [str(value) for value in values],
        [None] * len(values),
    )


def halves(records: Records) -> list[str]:
    """The ids of `counted` records that are not whole."""
    rows = zip(records.ids, records.vectors, records.metadatas, records.documents, strict=True)
    return [
        id_ for id_, vector, metadata, document in rows if {int(document), *map(int, vector)} != {metadata["value"]}
    ]
