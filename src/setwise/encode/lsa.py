"""Latent semantic analysis: the encoder that needs no model, learned from the corpus alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from setwise import checks
from setwise.encode.base import unit_rows
from setwise.encode.words import checked_texts, words_and_pairs
from setwise.extras import needs
from setwise.progress import Progress, tell
from setwise.threads import one_blas_thread

with needs("text", "the lsa encoder"):
    import sklearn
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.utils.extmath import randomized_svd

#: Texts that are encoded at once.
_BATCH = 4096


class LSA:
    """TF-IDF, its leading singular vectors, and a random sketch of what they leave out.

    Singular vectors alone drop the rare words that tell short texts apart. So the rest of the TF-IDF
    matrix is kept as well, by random signs [1]_: cosines stay close to those of TF-IDF, while the leading
    part lets words stand in for each other. A corpus of at most ``topics`` texts or words needs no sketch.
    In scripts without spaces, characters and pairs of them are what words are elsewhere; an underscore parts
    words, so that ``read_line`` has those of "read a line".

    Parameters
    ----------
    topics : int
        Singular vectors to keep; no more than there are texts or words.
    sketch : int
        Dimensions of the sketch of the rest.
    words : int
        The most frequent words are kept, up to this many.
    seed : int
        For the singular value decomposition and the sketch.

    References
    ----------
    .. [1] Achlioptas, Database-friendly random projections, 2003.
    """

    #: Weight of a word: inverse document frequency to this power, which needs no list of stop words.
    idf_power = 1.5
    #: Weight of the sketch beside the topics, below 1 since it is noisier.
    sketch_weight = 0.7

    def __init__(self, *, topics: int = 256, sketch: int = 256, words: int = 65_536, seed: int = 0) -> None:
        self.topics = checks.integer("topics", topics, least=1)
        self.sketch = checks.integer("sketch", sketch, least=0)
        self.words = checks.integer("words", words, least=1)
        self.seed = checks.integer("seed", seed, least=0)
        self._counter: CountVectorizer | None = None
        self._idf: NDArray[np.float32] = np.empty(0, np.float32)
        self._projection: NDArray[np.float32] = np.empty((0, 0), np.float32)

    @property
    def name(self) -> str:
        size = f", {self._projection.shape[1]} d" if self._counter is not None else ""
        return f"lsa (learned from this corpus{size})"

    @property
    def key(self) -> str:
        return (
            f"lsa 2 {self.topics} {self.sketch} {self.words} {self.seed} scikit-learn {sklearn.__version__}"
        )

    def fit(self, texts: Sequence[str]) -> None:
        """Learn words, their weights and the projection from a corpus.

        Raises ValueError: no text has a word in it.
        """
        counter = _counter(max_features=self.words)
        try:
            counts = counter.fit_transform(checked_texts(texts))
        except ValueError as error:
            if "empty vocabulary" not in str(error):
                raise
            raise ValueError("corpus: no text has a word in it; lsa learns from words") from None
        n, words = counts.shape
        frequency = np.bincount(counts.indices, minlength=words)
        self._idf = ((np.log((1 + n) / (1 + frequency)) + 1) ** self.idf_power).astype(np.float32)
        weighted = self._weigh(counts)
        topics = min(self.topics, n, words)
        with one_blas_thread():  # the products here are sparse; threads would wait for each other on the rest
            _, _, components = randomized_svd(weighted, topics, n_iter=5, random_state=self.seed)
        leading = components.T.astype(np.float32)
        if min(n, words) > topics and self.sketch:
            signs = np.random.default_rng(self.seed).integers(0, 2, (words, self.sketch), np.int8)
            rest = (2 * signs - 1).astype(np.float32) * np.float32(self.sketch_weight / self.sketch**0.5)
            rest -= leading @ (leading.T @ rest)
            leading = np.hstack([leading, rest])
        self._projection = np.ascontiguousarray(leading)
        self._counter = counter

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Return one unit vector a text, zeros where no word is known.

        Raises ValueError: nothing was learned yet.
        """
        if self._counter is None:
            raise ValueError("lsa has to learn from a corpus first: call fit")
        texts = list(checked_texts(texts))
        vectors = np.empty((len(texts), self._projection.shape[1]), np.float32)
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            weighted = self._weigh(self._counter.transform(batch))
            vectors[start : start + len(batch)] = unit_rows(weighted @ self._projection)
            tell(progress, start + len(batch), len(texts))
        return vectors

    def state(self) -> Mapping[str, NDArray[Any]]:
        """Return the words (UTF-8, one a line), their weights and the projection."""
        if self._counter is None:
            raise ValueError("lsa has to learn from a corpus first: call fit")
        words = "\n".join(self._counter.get_feature_names_out()).encode()
        return {"words": np.frombuffer(words, np.uint8), "idf": self._idf, "projection": self._projection}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become the encoder that ``state`` came from."""
        words = state["words"].tobytes().decode().split("\n")
        idf, projection = state["idf"], state["projection"]
        if idf.shape != (len(words),) or projection.ndim != 2 or len(projection) != len(words):
            raise ValueError("lsa: words, idf and projection do not belong together")
        self._counter = _counter(vocabulary=words)
        self._idf, self._projection = idf, projection

    def _weigh(self, counts: sparse.csr_matrix) -> sparse.csr_matrix:
        """Return counts as (1 + log count) times inverse document frequency, rows of length 1."""
        weighted = counts.tocsr().copy()
        weighted.data = (1 + np.log(weighted.data)) * self._idf[weighted.indices]
        row = np.repeat(np.arange(weighted.shape[0]), np.diff(weighted.indptr))
        lengths = np.sqrt(np.bincount(row, weighted.data.astype(np.float64) ** 2, weighted.shape[0]))
        weighted.data = (weighted.data / lengths[row]).astype(np.float32)
        return weighted


def _counter(**settings: Any) -> CountVectorizer:
    """Return what counts a text's words."""
    return CountVectorizer(
        tokenizer=words_and_pairs, token_pattern=None, lowercase=False, dtype=np.float32, **settings
    )
