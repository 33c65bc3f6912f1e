"""LSA: deterministic, close to TF-IDF where it has to be, and at home on tiny corpora."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optional import lazily, needs
from setwise.encode import FittedEncoder, known_rows

LSA = lazily("setwise.encode.lsa", "LSA")

pytestmark = needs("sklearn")

TEXTS = [
    "the cat sat on the mat",
    "a dog and a cat are friends",
    "stocks fell on the market today",
    "the market for stocks and bonds",
    "dogs chase cats",
]


def fitted(texts=TEXTS, **parameters):
    encoder = LSA(**parameters)
    encoder.fit(texts)
    return encoder


def corpus(n, seed=0, words=900):
    draw = np.random.default_rng(seed)
    return [" ".join(f"w{word}" for word in draw.zipf(1.3, 12) % words) for _ in range(n)]


def test_it_is_a_fitted_encoder_with_unit_rows():
    encoder = fitted()
    assert isinstance(encoder, FittedEncoder)
    vectors = encoder.encode(TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_related_texts_are_closer():
    encoder = fitted()
    cosines = encoder.encode(["stocks and bonds on the market"])[0] @ encoder.encode(TEXTS).T
    assert set(np.argsort(-cosines)[:2]) == {2, 3}


def test_the_same_corpus_gives_the_same_vectors():
    texts = corpus(400)
    first, second = fitted(texts), fitted(texts)
    np.testing.assert_array_equal(first.encode(texts), second.encode(texts))
    assert first.key == second.key
    assert fitted(texts, seed=1).key != first.key
    assert LSA(topics=8).key != LSA().key


def test_small_corpora_keep_the_cosines_of_tf_idf():
    """With as many topics as texts nothing is lost: cosines are those of the weighted counts."""
    encoder = fitted()
    weighted = encoder._weigh(encoder._counter.transform(TEXTS)).toarray()
    vectors = encoder.encode(TEXTS)
    np.testing.assert_allclose(vectors @ vectors.T, weighted @ weighted.T, atol=1e-4)


def test_weights_follow_their_definition():
    texts = ["a b b", "a c", "a"]
    encoder = fitted(texts)
    idf = {word: (np.log(4 / (1 + df)) + 1) ** 1.5 for word, df in {"a": 3, "b": 1, "c": 1}.items()}
    row = np.array([idf["a"], (1 + np.log(2)) * idf["b"], 0])
    expected = row / np.linalg.norm(row)
    np.testing.assert_allclose(
        encoder._weigh(encoder._counter.transform(texts[:1])).toarray()[0], expected, rtol=1e-5
    )


def test_the_sketch_keeps_what_the_topics_drop():
    """Rare words: two texts that share one are closer than two that share none, though no topic holds it."""
    texts = corpus(600)
    for number in range(0, 600, 2):
        texts[number] += f" rare{number}"
        texts[number + 1] += f" rare{number}"
    exact = fitted(texts, topics=1000)
    weighted = exact._weigh(exact._counter.transform(texts)).toarray()
    truth = weighted @ weighted.T

    def error(encoder):
        vectors = encoder.encode(texts)
        pairs = np.arange(0, 600, 2)
        return np.abs((vectors @ vectors.T - truth)[pairs, pairs + 1]).mean()

    assert error(fitted(texts, topics=32, sketch=256)) < 0.5 * error(fitted(texts, topics=32, sketch=0))


def test_words_are_parted_at_underscores_and_case_does_not_count():
    encoder = fitted(["def read_line", "write page"])
    cosines = encoder.encode(["READ a LINE"])[0] @ encoder.encode(["def read_line", "write page"]).T
    assert cosines[0] > 0.5 > cosines[1]


@pytest.mark.parametrize("texts", [["one"], ["one", "one"], ["one two"], ["a b", "c d"], ["x"] * 300])
def test_tiny_corpora(texts):
    vectors = fitted(texts).encode(texts)
    assert known_rows(vectors).all()
    assert vectors.shape[1] <= len(texts)


def test_texts_without_a_known_word_are_zero():
    encoder = fitted()
    vectors = encoder.encode(["", " \n", "?!", "xyzzy plugh", "cat"])
    assert known_rows(vectors).tolist() == [False, False, False, False, True]


def test_a_corpus_without_words_is_refused():
    with pytest.raises(ValueError, match="corpus: no text has a word in it"):
        fitted(["", "...", " "])


def test_encoding_before_learning_is_refused():
    for call in (lambda: LSA().encode(["a"]), lambda: LSA().state()):
        with pytest.raises(ValueError, match="call fit"):
            call()


def test_the_state_brings_the_encoder_back():
    texts = [*corpus(400), "ünï Straße 日本"]
    encoder = fitted(texts)
    state = encoder.state()
    assert {array.dtype.kind for array in state.values()} <= set("uf")
    again = LSA()
    again.restore(state)
    np.testing.assert_array_equal(
        again.encode([*texts, "unheard-of"]), encoder.encode([*texts, "unheard-of"])
    )
    assert again.name == encoder.name
    with pytest.raises(ValueError, match="do not belong together"):
        again.restore({**state, "idf": state["idf"][1:]})


def test_the_vocabulary_is_capped_by_frequency():
    encoder = fitted(["a a b", "a c", "a b"], words=2)
    assert known_rows(encoder.encode(["a", "b", "c"])).tolist() == [True, True, False]


def test_progress_counts_up():
    seen = []
    fitted().encode(TEXTS * 2000, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (10_000, 10_000)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text("_ .", max_size=12), min_size=1, max_size=8))
def test_a_corpus_without_a_word_is_refused(texts):
    with pytest.raises(ValueError, match="no text has a word"):
        fitted(texts)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text("ab c1_ .é", max_size=12), max_size=7), st.sampled_from("b1é"))
def test_any_corpus_with_a_word_encodes(texts, word):
    texts = [*texts, word]
    vectors = fitted(texts).encode(texts)
    assert np.isfinite(vectors).all()
    lengths = np.linalg.norm(vectors, axis=1)
    wordy = np.array([any(letter.isalnum() for letter in text) for text in texts])
    np.testing.assert_allclose(lengths, wordy, atol=1e-4)
