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
def test_chunks_give_what_one_call_gives(tmp_path, monkeypatch, model, chunk):
    if model == "static":
        pytest.importorskip("wordllama")
    monkeypatch.setattr("setwise.finetuning.rows.encoding.CHUNK", chunk)
    texts = TEXTS[:20] if chunk == 1 else TEXTS
    direct = encoder(model)
    direct.fit(texts)
    expected = direct.encode(texts)
    with encoded_rows(repository_of(tmp_path, texts), encoder(model)) as made:
        assert np.allclose(made.vectors, expected, atol=1e-6)
        assert made.rows.tolist() == list(range(len(texts)))
        assert (made.n, made.found, made.learned) == (len(texts), 0, len(texts))
        assert np.allclose(encode_examples(TEXTS[:3], made.encoder).vectors, expected[:3], atol=1e-6)
    assert os.listdir(tmp_path) == ["rows.jsonl"]


def test_a_second_run_reads_what_the_first_has_kept(tmp_path):
    repository, cache = repository_of(tmp_path, TEXTS), tmp_path / "cache"
    with encoded_rows(repository, encoder("lsa"), cache) as made:
        assert made.found == 0
        expected = np.array(made.vectors)
    with encoded_rows(repository, encoder("lsa"), cache) as again:
        assert again.cached
        assert isinstance(again.vectors, np.memmap)
        assert np.array_equal(again.vectors, expected)
    with encoded_rows(repository_of(tmp_path, [*TEXTS[:-1], "changed"]), encoder("lsa"), cache) as made:
        assert made.found == 0


def test_a_repository_shares_its_vectors_with_a_corpus_of_the_same_texts(tmp_path):
    from setwise.encode.cache import encode_texts

    encode_texts(TEXTS, encoder("lsa"), tmp_path / "cache")
    with encoded_rows(repository_of(tmp_path, TEXTS), encoder("lsa"), tmp_path / "cache") as made:
        assert made.cached


def test_a_repository_that_changes_while_it_is_read_is_refused(tmp_path):
    repository = repository_of(tmp_path, TEXTS)
    repository.source.write_text(json.dumps({"text": "alone"}) + "\n")
    with (
        pytest.raises(ValueError, match=r"repository: rows\.jsonl has changed while it was read"),
        encoded_rows(repository, encoder("lsa")),
    ):
        pass


def test_rows_without_a_word_have_no_vector(tmp_path):
    texts = [*TEXTS[:5], "", "  ", *TEXTS[5:9], "?!", TEXTS[9]]
    repository = repository_of(tmp_path, texts)
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        with encoded_rows(repository, encoder("lsa"), cache) as made:
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


def test_progress_is_told_of_both_passes(tmp_path, monkeypatch):
    monkeypatch.setattr("setwise.finetuning.rows.encoding.CHUNK", 128)
    told = []
    tell = lambda *step: told.append(step)  # noqa: E731
    with encoded_rows(repository_of(tmp_path, TEXTS), encoder("lsa"), progress=tell):
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
            return np.eye(len(texts), 8, dtype=np.float32) * [[text != "?"] for text in texts]

    model = Fixed()
    first = encode_examples(["a", "?", "b"], model, tmp_path)
    assert first.rows.tolist() == [0, 2]
    assert np.array_equal(encode_examples(["a", "?", "b"], model, tmp_path).vectors, first.vectors)
    assert model.calls == 1
    encode_examples(["a", "c"], model, tmp_path)
    assert model.calls == 2


def test_an_encoder_is_given_full_chunks_however_the_rows_lie(tmp_path, monkeypatch):
    """Of a shuffled dataset each row lies by itself, of a folder each file's."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("setwise.finetuning.rows.encoding.CHUNK", 128)
    (tmp_path / "rows").mkdir()
    for file in range(10):
        lines = (json.dumps({"text": text}) + "\n" for text in TEXTS[file * 30 : file * 30 + 30])
        (tmp_path / "rows" / f"{file}.jsonl").write_text("".join(lines))
    shuffled = datasets.Dataset.from_dict({"text": TEXTS}).shuffle(seed=0)
    for repository in (Repository(tmp_path / "rows"), Repository(shuffled)):
        model, given = encoder("ngrams"), []
        encode = model.encode
        monkeypatch.setattr(
            model,
            "encode",
            lambda texts, *rest, encode=encode, given=given: (
                given.append(list(texts)),
                encode(texts, *rest),
            )[1],
        )
        with encoded_rows(repository, model):
            pass
        assert list(map(len, given)) == [128, 128, 44]
        assert [text for texts in given for text in texts] == [
            text for texts in repository.texts() for text in texts
        ]
