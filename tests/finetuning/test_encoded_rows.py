"""A repository's vectors: the same in chunks as at once, and gone on with after an interruption."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from setwise.encode import encoder
from setwise.finetuning.rows.encoding import encode_examples, encoded_rows
from setwise.finetuning.rows.repository import Repository

TEXTS = [f"note {i} about {('apples', 'pears', 'trains', 'ships')[i % 4]} number {i * i}" for i in range(300)]


def repository_of(tmp_path, texts):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return Repository(path)


@pytest.mark.parametrize("model", ["lsa", "static"])
@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_chunks_give_what_one_call_gives(tmp_path, model, chunk):
    if model == "static":
        pytest.importorskip("wordllama")
    texts = TEXTS[:20] if chunk == 1 else TEXTS
    direct = encoder(model)
    direct.fit(texts)
    expected = direct.encode(texts)
    with encoded_rows(repository_of(tmp_path, texts), encoder(model), chunk=chunk) as made:
        assert np.allclose(made.vectors, expected, atol=1e-6)
        assert made.rows.tolist() == list(range(len(texts)))
        assert (made.n, made.found, made.learned) == (len(texts), 0, len(texts))
        assert np.allclose(encode_examples(TEXTS[:3], made.encoder), expected[:3], atol=1e-6)
    assert os.listdir(tmp_path) == ["rows.jsonl"]


class Counting:
    """An encoder that counts the texts it has encoded, and stops when told to."""

    def __init__(self, stop=None):
        self.inner, self.seen, self.stop = encoder("lsa"), 0, stop
        self.name, self.key = self.inner.name, self.inner.key
        self.fit, self.state, self.restore = self.inner.fit, self.inner.state, self.inner.restore

    def encode(self, texts, progress=None):
        if self.stop is not None and self.seen >= self.stop:
            raise KeyboardInterrupt
        self.seen += len(texts)
        return self.inner.encode(texts, progress)


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    repository, cache = repository_of(tmp_path, TEXTS), tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt), encoded_rows(repository, Counting(128), cache, chunk=64):
        pass
    second = Counting()
    with encoded_rows(repository, second, cache, chunk=50) as made:
        assert second.seen == len(TEXTS) - 128
        assert made.found == 128
        vectors = np.array(made.vectors)
    whole = Counting()
    with encoded_rows(repository, whole, chunk=64) as direct:
        assert np.array_equal(vectors, direct.vectors)
    third = Counting()
    with encoded_rows(repository, third, cache) as again:
        assert third.seen == 0
        assert again.found == len(TEXTS)
        assert isinstance(again.vectors, np.memmap)
        assert np.array_equal(again.vectors, vectors)


def test_other_texts_are_encoded_anew_and_damage_is_mended(tmp_path):
    cache = tmp_path / "cache"
    with encoded_rows(repository_of(tmp_path, TEXTS), encoder("lsa"), cache) as made:
        expected = np.array(made.vectors)
    with encoded_rows(repository_of(tmp_path, [*TEXTS[:-1], "changed"]), encoder("lsa"), cache) as made:
        assert made.found == 0
    for file in cache.glob("*/vectors.npy"):
        file.write_bytes(file.read_bytes()[:1000])
    for file in cache.glob("*/encoder.npz"):
        file.write_bytes(b"no archive")
    with encoded_rows(repository_of(tmp_path, TEXTS), encoder("lsa"), cache) as made:
        assert made.found == 0
        assert np.array_equal(made.vectors, expected)


def test_rows_without_a_word_have_no_vector(tmp_path):
    texts = [*TEXTS[:5], "", "  ", *TEXTS[5:9], "?!", TEXTS[9]]
    repository = repository_of(tmp_path, texts)
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        with encoded_rows(repository, encoder("lsa"), cache, chunk=4) as made:
            assert made.rows.tolist() == [0, 1, 2, 3, 4, 7, 8, 9, 10, 12]
            assert made.n == 13
            assert made.vectors.shape[0] == 10
            assert np.allclose(made.vectors[7], made.encoder.encode([TEXTS[7]])[0], atol=1e-6)
    with (
        pytest.raises(ValueError, match=r"empty: 3 rows of rows\.jsonl, the first row 5, have no word"),
        encoded_rows(repository, encoder("lsa"), empty="refuse"),
    ):
        pass
    with (
        pytest.raises(ValueError, match="did you mean 'drop'"),
        encoded_rows(repository, encoder("lsa"), empty="dorp"),
    ):
        pass


def test_a_repository_without_a_word_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="no text has a word"),
        encoded_rows(repository_of(tmp_path, ["", "?"]), encoder("lsa")),
    ):
        pass


def test_learning_takes_texts_spread_over_the_repository(tmp_path, monkeypatch):
    monkeypatch.setattr("setwise.finetuning.rows.encoding._LEARN", 100)
    learned = []
    model = encoder("lsa")
    fit = model.fit
    monkeypatch.setattr(model, "fit", lambda texts: (learned.extend(texts), fit(texts)))
    with encoded_rows(repository_of(tmp_path, TEXTS), model) as made:
        assert made.learned == 100
    assert learned == TEXTS[::3]


def test_progress_is_told_of_both_passes(tmp_path):
    told = []
    tell = lambda *step: told.append(step)  # noqa: E731
    with encoded_rows(repository_of(tmp_path, TEXTS), encoder("lsa"), chunk=128, progress=tell):
        pass
    assert ("reading", 300, 300) in told
    assert told[-1] == ("encoding", 300, 300)
    assert [done for step, done, _ in told if step == "encoding"] == sorted(
        done for step, done, _ in told if step == "encoding"
    )


def test_examples_of_an_encoder_that_learns_nothing_are_kept(tmp_path):
    class Fixed:
        name = key = "fixed"
        calls = 0

        def encode(self, texts, progress=None):
            self.calls += 1
            return np.eye(len(texts), 8, dtype=np.float32)

    model = Fixed()
    first = encode_examples(["a", "b"], model, tmp_path)
    assert np.array_equal(encode_examples(["a", "b"], model, tmp_path), first)
    assert model.calls == 1
    encode_examples(["a", "c"], model, tmp_path)
    assert model.calls == 2
