"""Hashed n-grams: counted as their definition says, the same everywhere, and projected with small error."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optional import lazily, needs
from setwise import encode
from setwise.encode import FittedEncoder, known_rows

murmurhash3_32 = lazily("sklearn.utils", "murmurhash3_32")
Ngrams = lazily("setwise.encode.ngrams", "Ngrams")
counts = lazily("setwise.encode.ngrams", "counts")

pytestmark = needs("sklearn")

TEXTS = ["The cat sat, the cat ran.", "", "a", "Ünï Straße 日本 x_1", "!! ?", "the cat sat down on the mat"]


def by_hand(text, buckets, n):
    """The definition, word by word; of scripts without spaces, the texts here have 日 and 本."""
    words = re.findall(r"[日本]|[^\W日本]+|[^\w\s]+", text.lower())
    grams = [
        " ".join(words[at : at + size]) for size in range(1, n + 1) for at in range(len(words) - size + 1)
    ]
    row = np.zeros(buckets, int)
    for gram, times in Counter(grams).items():
        row[abs(murmurhash3_32(gram, seed=0)) % buckets] += times
    return row


@pytest.mark.parametrize(("buckets", "n"), [(10_000, 2), (64, 2), (1000, 1), (97, 3), (1, 2)])
def test_counts_follow_their_definition(buckets, n):
    found = counts(TEXTS, buckets=buckets, n=n)
    assert found.shape == (len(TEXTS), buckets)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found.toarray(), [by_hand(text, buckets, n) for text in TEXTS])
    assert found.has_sorted_indices
    assert (found.data > 0).all()


@settings(max_examples=40)
@given(st.lists(st.text("abAB, .é_1\n", max_size=20), max_size=5), st.integers(1, 3))
def test_any_texts_are_counted(texts, n):
    found = counts(texts, buckets=50, n=n).toarray()
    assert found.shape == (len(texts), 50)
    for row, text in zip(found, texts, strict=True):
        np.testing.assert_array_equal(row, by_hand(text, 50, n))


def test_a_stream_counts_as_its_parts():
    whole = counts(text for text in TEXTS)
    parts = [counts(TEXTS[:2]), counts(TEXTS[2:])]
    np.testing.assert_array_equal(whole.toarray(), np.vstack([part.toarray() for part in parts]))
    assert counts([]).shape == (0, 10_000)


def test_buckets_are_the_same_in_another_process():
    code = (
        "from setwise.encode.ngrams import counts, Ngrams;"
        "print(counts(['the cat sat']).indices.tolist(), Ngrams().encode(['the cat sat'])[0, :99].tolist())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    here = counts(["the cat sat"]).indices.tolist(), Ngrams().encode(["the cat sat"])[0, :99].tolist()
    assert ran.stdout == f"{here[0]} {here[1]}\n"


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: counts("one text"), TypeError, "texts: expected a sequence of texts, got str"),
        (lambda: counts(["a", None]), TypeError, "texts: row 1 is NoneType, not a text"),
        (lambda: counts(["a"], buckets=0), ValueError, "buckets: 0 is below 1"),
        (lambda: counts(["a"], n=0), ValueError, "n: 0 is below 1"),
        (lambda: counts(["a"], n=1.5), TypeError, "n: expected an integer"),
        (lambda: Ngrams(dimensions=0), ValueError, "dimensions: 0 is below 1"),
        (lambda: Ngrams(seed=-1), ValueError, "seed: -1 is below 0"),
    ],
)
def test_bad_arguments(call, error, match):
    with pytest.raises(error, match=match):
        call()


def corpus(n, seed=0):
    rng = np.random.default_rng(seed)
    words = np.array(["".join(letters) for letters in itertools.product("bcdfg", "aeiou", "klmn")])
    return [" ".join(rng.choice(words, rng.integers(10, 30))) for _ in range(n)]


def damped(texts, buckets=10_000):
    rows = counts(texts, buckets=buckets).toarray().astype(float)
    rows = np.where(rows > 0, 1 + np.log(np.maximum(rows, 1)), 0)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_cosines_are_those_of_the_damped_counts():
    """Within the error of a random projection, which falls as one over the root of the dimensions."""
    texts = corpus(120)
    truth = damped(texts) @ damped(texts).T
    off = ~np.eye(len(texts), dtype=bool)

    def error(dimensions):
        vectors = Ngrams(dimensions=dimensions, seed=3).encode(texts)
        return np.sqrt(((vectors @ vectors.T - truth)[off] ** 2).mean())

    assert error(512) < 1.5 / np.sqrt(512)
    assert error(2048) < 0.65 * error(512)


def test_shared_phrases_are_near():
    near, far = (
        Ngrams().encode(["the cat sat on the mat", "the cat sat on a mat", "stock prices fell"])[1:]
        @ (Ngrams().encode(["the cat sat on the mat"])[0])
    )
    assert near > 0.6 > 0.2 > far
    forward, backward = Ngrams(dimensions=4096).encode(["new york city", "city york new"])
    assert forward @ backward < 0.75  # same words, other pairs


def test_rows_are_of_unit_length_or_zero():
    vectors = Ngrams().encode(["", " \n", "?! --", "a", "7", "語"])
    assert vectors.dtype == np.float32
    assert known_rows(vectors).tolist() == [False] * 3 + [True] * 3
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), known_rows(vectors), atol=1e-6)
    assert Ngrams().encode([]).shape == (0, 512)


def test_the_registry_has_it_and_the_seed_counts():
    assert "ngrams" in encode.NAMES
    one, same, other = encode.encoder("ngrams"), Ngrams(), encode.encoder("ngrams", seed=1)
    assert isinstance(one, encode.Encoder)
    assert not isinstance(one, FittedEncoder)
    assert one.name == "ngrams (up to 2 words, 10,000 buckets, 512 d)"
    np.testing.assert_array_equal(one.encode(TEXTS), same.encode(TEXTS))
    assert one.key == same.key != other.key
    assert not np.array_equal(one.encode(TEXTS), other.encode(TEXTS))
    with pytest.raises(ValueError, match="'ngrams:x' is not understood"):
        encode.encoder("ngrams:x")


def test_batches_and_progress():
    texts = corpus(40) * 250
    seen = []
    vectors = Ngrams(dimensions=16).encode(texts, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(4096, 10_000), (8192, 10_000), (10_000, 10_000)]
    np.testing.assert_array_equal(vectors[:40], vectors[4080:4120])


def test_every_bucket_has_as_many_entries_of_one_length():
    """A word without an entry would count for nothing, and have no vector where it stands alone."""
    for dimensions, buckets in [(512, 10_000), (5, 300), (1, 7)]:
        projection = Ngrams(dimensions=dimensions, buckets=buckets, seed=2)._projection
        assert projection.shape == (buckets, dimensions)
        assert set(np.diff(projection.indptr)) == {min(8, dimensions)}
        lengths = np.sqrt(projection.multiply(projection).sum(axis=1))
        np.testing.assert_allclose(np.asarray(lengths).ravel(), 1, rtol=1e-6)
        assert len(np.unique(projection.indices)) == dimensions
    words = ["".join(letters) for letters in itertools.product("bcdfg", "aeiou", "klmn", "aeiou")]
    assert known_rows(Ngrams().encode(words)).all()
