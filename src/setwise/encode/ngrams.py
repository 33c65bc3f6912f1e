"""Hashed word n-grams: which words and pairs of words a text holds, with nothing learned or installed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from setwise import checks
from setwise.encode.base import Progress, unit_rows
from setwise.extras import needs

with needs("text", "the ngrams encoder"):
    import sklearn
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.random_projection import SparseRandomProjection

#: Runs of word characters, and runs of marks: both are words (DSIR, section 3).
_WORD = r"\w+|[^\w\s]+"

#: Texts that are encoded at once.
_BATCH = 4096


def counts(texts: Iterable[str], *, buckets: int = 10_000, n: int = 2) -> sparse.csr_matrix:
    """Count each text's word n-grams, hashed into a fixed number of buckets.

    Words are lower-cased runs of letters, digits and underscores, and runs of marks. An n-gram's bucket is
    its MurmurHash3 (32 bits, seed 0) modulo the buckets: the same in every process and on every machine.
    Nothing is learned, so that a corpus may be counted part by part.

    Parameters
    ----------
    texts : iterable of str
        Read once; a stream will do.
    buckets : int
        At least 1. DSIR uses 10,000.
    n : int
        The longest n-grams: 2 counts words and pairs of neighboring words.

    Returns
    -------
    scipy.sparse.csr_matrix of shape (n_texts, buckets), int32
        Columns of a row in ascending order, none of them zero; about 8 bytes an n-gram.

    Raises
    ------
    TypeError
        ``texts`` is one text, or one of them is not a text; the message has its row.
    ValueError
        ``buckets`` or ``n`` is below 1.

    References
    ----------
    Xie et al., Data selection for language models via importance resampling (DSIR), 2023, section 3.
    """
    vectorizer = HashingVectorizer(
        n_features=checks.integer("buckets", buckets, least=1, most=2**31 - 1),
        ngram_range=(1, checks.integer("n", n, least=1)),
        token_pattern=_WORD,
        alternate_sign=False,
        norm=None,
        dtype=np.int32,
    )
    one_more = itertools.chain(_checked(texts), [""])  # scikit-learn cannot take no text at all
    found = sparse.csr_matrix(vectorizer.transform(one_more))[:-1]
    found.sort_indices()
    return found


class Ngrams:
    """Hashed n-gram counts, damped to 1 + log, in a dense space made by a sparse random projection.

    Texts are alike when they share words and phrases, not when they mean the same; that finds
    near-duplicates and domains. Cosines are those of the damped counts to within about
    1 / sqrt(``dimensions``). There is nothing to fit, so that texts may come in parts. A text without a
    letter or digit gets a row of zeros.

    Parameters
    ----------
    dimensions : int
        Of the vectors.
    buckets, n : int
        As for `counts`.
    seed : int
        Of the projection.

    References
    ----------
    Li, Hastie and Church, Very sparse random projections, 2006.
    """

    def __init__(self, *, dimensions: int = 512, buckets: int = 10_000, n: int = 2, seed: int = 0) -> None:
        self.dimensions = checks.integer("dimensions", dimensions, least=1)
        self.buckets = checks.integer("buckets", buckets, least=1, most=2**31 - 1)
        self.n = checks.integer("n", n, least=1)
        self.seed = checks.integer("seed", seed, least=0, most=2**32 - 1)
        shape = sparse.csr_matrix((1, self.buckets), dtype=np.float32)
        self._projection = SparseRandomProjection(
            self.dimensions, random_state=self.seed, dense_output=True
        ).fit(shape)

    @property
    def name(self) -> str:
        """How it is printed."""
        return f"ngrams (up to {self.n} words, {self.buckets:,} buckets, {self.dimensions} d)"

    @property
    def key(self) -> str:
        """What the vectors depend on beside the texts."""
        settings = f"{self.dimensions} {self.buckets} {self.n} {self.seed}"
        return f"ngrams 1 {settings} scikit-learn {sklearn.__version__}"

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Return one unit vector a text, zeros where there is no letter or digit."""
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            damped = counts(batch, buckets=self.buckets, n=self.n).astype(np.float32)
            damped.data = 1 + np.log(damped.data)
            wordy = np.array([any(map(str.isalnum, text)) for text in batch])
            vectors[start : start + len(batch)] = unit_rows(
                self._projection.transform(damped) * wordy[:, None]
            )
            if progress is not None:
                progress(start + len(batch), len(texts))
        return vectors


def _checked(texts: Iterable[str]) -> Iterator[str]:
    """Yield texts, refusing what is none."""
    if isinstance(texts, str | bytes):
        raise TypeError(f"texts: expected a sequence of texts, got {type(texts).__name__}; put it in a list")
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts: row {row} is {type(text).__name__}, not a text")
        yield text
