"""Static word embeddings: real semantics offline, thousands of texts a second, from the wordllama package."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from setwise import checks
from setwise.encode.base import Progress, unit_rows

#: Texts that are encoded at once.
_BATCH = 2048

_CONFIG, _DIMENSIONS = "l2_supercat", 256


class Static:
    """The mean of a text's token vectors, as wordllama defines it, at length 1.

    Tokens are pieces of words, so that every word is known; a text without a letter or digit is not.
    Model and tokenizer are the ones inside the package; nothing is downloaded.

    Raises
    ------
    ImportError
        wordllama is not installed.
    """

    def __init__(self) -> None:
        wordllama = _import_wordllama()
        folder = Path(str(wordllama.__file__)).parent
        model = wordllama.WordLlama.load(_CONFIG, cache_dir=folder, dim=_DIMENSIONS, disable_download=True)
        self._version = wordllama.__version__
        self._tokenizer = model.tokenizer
        self._tokenizer.no_padding()
        self._vectors: NDArray[np.float32] = model.embedding
        self._is_word = _word_tokens(self._tokenizer.get_vocab(), len(self._vectors))

    @property
    def name(self) -> str:
        """How it is printed."""
        return f"static (wordllama {self._version} {_CONFIG}, {_DIMENSIONS} d)"

    @property
    def key(self) -> str:
        """What the vectors depend on beside the texts."""
        return f"static 1 wordllama {self._version} {_CONFIG} {_DIMENSIONS}"

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Return one unit vector a text, zeros where there is no word."""
        vectors = np.empty((len(texts), self._vectors.shape[1]), np.float32)
        for start in range(0, len(texts), _BATCH):
            batch = list(texts[start : start + _BATCH])
            encoded = self._tokenizer.encode_batch(batch, add_special_tokens=False)
            rows = [np.asarray(text.ids, np.int32) for text in encoded]
            tokens = np.concatenate(rows).clip(0, len(self._vectors) - 1)
            ends = np.cumsum([0, *map(len, rows)])
            counts = sparse.csr_matrix(
                (np.ones(len(tokens), np.float32), tokens, ends), shape=(len(batch), len(self._vectors))
            )
            has_word = counts @ self._is_word > 0
            vectors[start : start + len(batch)] = unit_rows((counts @ self._vectors) * has_word[:, None])
            if progress is not None:
                progress(start + len(batch), len(texts))
        return vectors


def _import_wordllama() -> ModuleType:
    """Import wordllama without letting it set up logging for the whole process, which it does."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        return checks.optional_import("wordllama", "static", "the static encoder")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def _word_tokens(vocabulary: dict[str, int], size: int) -> NDArray[np.float32]:
    """Return 1 for every token with a letter or digit in it, 0 for marks, spaces, bytes and specials."""
    is_word = np.zeros(size, np.float32)
    for token, number in vocabulary.items():
        if number < size and not (token.startswith("<") and token.endswith(">")):
            is_word[number] = any(character.isalnum() for character in token)
    return is_word
