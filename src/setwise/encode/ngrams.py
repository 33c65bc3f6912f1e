"""Hashed word n-grams: which words and pairs of words a text holds, with nothing learned or installed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from setwise import checks
from setwise.encode.base import unit_rows
from setwise.encode.words import checked_texts, has_word, words
from setwise.extras import needs
from setwise.progress import Progress, tell

with needs("text", "the ngrams encoder"):
    import sklearn
    from sklearn.feature_extraction.text import HashingVectorizer

#: Texts that are encoded at once.
_BATCH = 4096

#: Entries of the projection for a bucket.
_ENTRIES = 8


def counts(texts: Iterable[str], *, buckets: int = 10_000, n: int = 2) -> sparse.csr_matrix:
    """Count each text's word n-grams, hashed into a fixed number of buckets.

    Words are lower-cased runs of letters, digits and underscores, and runs of marks; in scripts without
    spaces, such as Chinese, Japanese and Thai, single characters. An n-gram's bucket is its MurmurHash3
    (32 bits, seed 0) modulo the buckets: the same in every process and on every machine. Nothing is learned,
    so that a corpus may be counted part by part.

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

    Raises TypeError: ``texts`` is one text, or one of them is not a text; the message has its row;
    ValueError: ``buckets`` or ``n`` is below 1.

    References
    ----------
    Xie et al., Data selection for language models via importance resampling (DSIR), 2023, section 3.
    """
    vectorizer = HashingVectorizer(
        n_features=checks.integer("buckets", buckets, least=1, most=2**31 - 1),
        ngram_range=(1, checks.integer("n", n, least=1)),
        tokenizer=partial(words, code=True),
        token_pattern=None,
        lowercase=False,
        alternate_sign=False,
        norm=None,
        dtype=np.int32,
    )
    one_more = itertools.chain(checked_texts(texts), [""])  # scikit-learn cannot take no text at all
    found = sparse.csr_matrix(vectorizer.transform(one_more))[:-1]
    found.sort_indices()
    return found


class Ngrams:
    """Hashed n-gram counts, damped to 1 + log, in a dense space made by a sparse random projection.

    The projection has as many entries for every bucket [1]_, so that every word has a direction. Texts are
    alike when they share words and phrases, not when they mean the same; that finds near-duplicates and
    domains. Cosines are those of the damped counts to within about 1 / sqrt(``dimensions``). There is nothing
    to fit, so that texts may come in parts. A text without a letter or digit gets a row of zeros.

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
    .. [1] Kane and Nelson, Sparser Johnson-Lindenstrauss transforms, 2014, the block construction.
    """

    def __init__(self, *, dimensions: int = 512, buckets: int = 10_000, n: int = 2, seed: int = 0) -> None:
        self.dimensions = checks.integer("dimensions", dimensions, least=1)
        self.buckets = checks.integer("buckets", buckets, least=1, most=2**31 - 1)
        self.n = checks.integer("n", n, least=1)
        self.seed = checks.integer("seed", seed, least=0, most=2**32 - 1)
        self._projection = _projection(self.buckets, self.dimensions, self.seed)

    @property
    def name(self) -> str:
        return f"ngrams (up to {self.n} words, {self.buckets:,} buckets, {self.dimensions} d)"

    @property
    def key(self) -> str:
        settings = f"{self.dimensions} {self.buckets} {self.n} {self.seed}"
        return f"ngrams 2 {settings} scikit-learn {sklearn.__version__}"

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Return one unit vector a text, zeros where there is no letter or digit."""
        texts = list(checked_texts(texts))
        vectors = np.zeros((len(texts), self.dimensions), np.float32)
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            damped = counts(batch, buckets=self.buckets, n=self.n).astype(np.float32)
            damped.data = 1 + np.log(damped.data)
            wordy = np.array(list(map(has_word, batch)))
            projected = (damped @ self._projection).toarray()
            vectors[start : start + len(batch)] = unit_rows(projected * wordy[:, None])
            tell(progress, start + len(batch), len(texts))
        return vectors


def _projection(buckets: int, dimensions: int, seed: int) -> sparse.csr_matrix:
    """Return a random map from buckets to dimensions: a few signs a bucket, one in each block of columns."""
    entries = min(_ENTRIES, dimensions)
    first = np.linspace(0, dimensions, entries + 1).astype(np.int64)
    rng = np.random.default_rng(seed)
    places = first[:-1] + (rng.random((buckets, entries)) * np.diff(first)).astype(np.int64)
    signs = (2 * rng.integers(0, 2, (buckets, entries), np.int8) - 1).astype(np.float32)
    ends = np.arange(0, buckets * entries + 1, entries)
    shape = (buckets, dimensions)
    return sparse.csr_matrix((signs.ravel() / np.float32(entries**0.5), places.ravel(), ends), shape=shape)
