"""Static word embeddings: real semantics offline, thousands of texts a second, from the wordllama package."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from setwise.encode.base import unit_rows
from setwise.encode.words import checked_texts, has_word
from setwise.extras import require
from setwise.progress import Progress, tell

#: Texts that are encoded at once.
_BATCH = 2048

#: Texts that rarity is learned from.
_SAMPLE = 20_000

_CONFIG, _DIMENSIONS = "l2_supercat", 256


class Static:
    """The mean of a text's token vectors, at length 1.

    As it stands, all tokens weigh the same and the vectors are wordllama's own. After `fit` a token weighs
    the root of its inverse document frequency in the corpus, so that "create a temporary file" is about
    temporary files. Tokens are pieces of words, so that every word is known; a text without a letter or
    digit is not. Model and tokenizer are the ones inside the package; nothing is downloaded.

    Raises ImportError: wordllama is not installed.
    """

    def __init__(self) -> None:
        wordllama = _import_wordllama()
        folder = Path(str(wordllama.__file__)).parent
        model = wordllama.WordLlama.load(_CONFIG, cache_dir=folder, dim=_DIMENSIONS, disable_download=True)
        self._version = wordllama.__version__
        self._tokenizer = model.tokenizer
        self._tokenizer.no_padding()
        self._vectors: NDArray[np.float32] = model.embedding
        self._weights = np.ones(len(self._vectors), np.float32)
        self._weighted = self._vectors
        self._fitted = False

    @property
    def name(self) -> str:
        weighted = ", weighted by rarity" if self._fitted else ""
        return f"static (wordllama {self._version}, {_DIMENSIONS} d{weighted})"

    @property
    def key(self) -> str:
        return f"static 2 wordllama {self._version} {_CONFIG} {_DIMENSIONS}"

    def fit(self, texts: Sequence[str]) -> None:
        """Learn how rare each token is, from up to about 20,000 texts spread over the corpus."""
        texts = list(checked_texts(texts))
        sample = texts[:: max(1, len(texts) // _SAMPLE)]
        frequency = np.zeros(len(self._vectors), np.int64)
        for start in range(0, len(sample), _BATCH):
            counts = self._count(sample[start : start + _BATCH])
            counts.sum_duplicates()
            frequency += np.bincount(counts.indices, minlength=len(frequency))
        self._weigh(np.sqrt(np.log((1 + len(sample)) / (1 + frequency)) + 1).astype(np.float32))

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the tokens' weights."""
        return {"weights": self._weights}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become the encoder that ``state`` came from."""
        if state["weights"].shape != (len(self._vectors),):
            raise ValueError("static: the weights belong to another vocabulary")
        self._weigh(state["weights"])

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Return one unit vector a text, zeros where there is no word."""
        texts = list(checked_texts(texts))
        vectors = np.empty((len(texts), self._vectors.shape[1]), np.float32)
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            stop = start + len(batch)
            wordy = np.array(list(map(has_word, batch)))
            vectors[start:stop] = unit_rows((self._count(batch) @ self._weighted) * wordy[:, None])
            tell(progress, stop, len(texts))
        return vectors

    def _weigh(self, weights: NDArray[np.float32]) -> None:
        """Let tokens weigh so much."""
        self._weights, self._weighted = weights, self._vectors * weights[:, None]
        self._fitted = True

    def _count(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """Return how often each token stands in each text."""
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        rows = [np.asarray(text.ids, np.int32) for text in encoded]
        tokens = np.concatenate(rows).clip(0, len(self._vectors) - 1)
        ends = np.cumsum([0, *map(len, rows)])
        shape = (len(rows), len(self._vectors))
        return sparse.csr_matrix((np.ones(len(tokens), np.float32), tokens, ends), shape=shape)


def _import_wordllama() -> ModuleType:
    """Import wordllama without letting it set up logging for the whole process, which it does."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        return require("wordllama", "text", "the static encoder")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
