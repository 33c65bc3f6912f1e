"""Static word vectors: wordllama's own, offline, weighted by rarity once they know a corpus."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from setwise.encode import FittedEncoder, known_rows

pytest.importorskip("wordllama", reason="wordllama is not installed")

from setwise.encode.static import Static

TEXTS = [
    "Create and return a temporary directory.",
    "Return the current time in seconds since the Epoch.",
    "Make a new folder that is deleted later.",
    "",
    "日本語 text with ünïcode",
]


@pytest.fixture(scope="module")
def encoder():
    return Static()


def test_unfitted_vectors_are_wordllamas_own(encoder):
    import wordllama

    folder = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    wordy = [text for text in TEXTS if text]
    np.testing.assert_allclose(encoder.encode(wordy), model.embed(wordy, norm=True), atol=1e-5)


def test_meaning_without_a_shared_word(encoder):
    vectors = encoder.encode(TEXTS)
    cosines = encoder.encode(["make a temporary folder"])[0] @ vectors.T
    assert cosines[0] > cosines[1]
    assert cosines[2] > cosines[1]


def test_texts_without_a_letter_or_digit_are_zero(encoder):
    vectors = encoder.encode(["", "  \n\t", "?!... --- ()", "😀", "a", "7", "語", "ok 😀"])
    assert known_rows(vectors).tolist() == [False] * 4 + [True] * 4


def test_fitting_weighs_rare_tokens_more():
    plain, fitted = Static(), Static()
    texts = ["create the file"] * 50 + ["temporary"]
    fitted.fit(texts)
    assert isinstance(fitted, FittedEncoder)
    query = ["create the temporary file"]

    def share(encoder):
        return float(encoder.encode(query)[0] @ encoder.encode(["temporary"])[0])

    assert share(fitted) > share(plain) + 0.02
    assert "weighted by rarity" in fitted.name
    assert "weighted by rarity" not in plain.name


def test_weights_follow_their_definition():
    encoder = Static()
    encoder.fit(["cat", "cat dog", "dog cat cat"])
    vocabulary = encoder._tokenizer.get_vocab()
    for token, documents in (("▁cat", 3), ("▁dog", 2), ("▁bird", 0)):
        expected = np.sqrt(np.log(4 / (1 + documents)) + 1)
        assert encoder._weights[vocabulary[token]] == pytest.approx(expected, rel=1e-6)


def test_the_state_brings_the_encoder_back():
    encoder, again = Static(), Static()
    encoder.fit(TEXTS)
    again.restore(encoder.state())
    np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))
    assert again.name == encoder.name
    with pytest.raises(ValueError, match="another vocabulary"):
        again.restore({"weights": np.ones(5, np.float32)})


def test_batches_do_not_change_the_vectors(encoder):
    texts = [f"text number {number} about {number % 7}" for number in range(5000)]
    vectors = encoder.encode(texts)
    np.testing.assert_array_equal(vectors[4000:4010], encoder.encode(texts[4000:4010]))
    assert encoder.encode([]).shape == (0, 256)


def test_thousands_of_texts_a_second(encoder):
    texts = ["School uniforms create a sense of equality among all the students."] * 4000
    began = time.perf_counter()
    encoder.encode(texts)
    assert 4000 / (time.perf_counter() - began) > 2000


def test_nothing_is_fetched(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert Static().encode(["cat"]).shape == (1, 256)


def test_logging_is_left_as_it_was():
    code = (
        "import logging; from setwise.encode.static import Static; Static();"
        "root = logging.getLogger(); print(root.handlers, root.level == logging.WARNING)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[] True"
    assert logging.getLogger("setwise").handlers == []
