"""The cache: used while nothing changed, made anew when anything did, never trusted when damaged."""

from __future__ import annotations

import io
import os
import zipfile

import numpy as np
import pytest

import setwise.encode.cache as cache
from setwise.encode.cache import encode_texts, folder_for
from setwise.encode.lsa import LSA

TEXTS = [f"text {number} about {word}" for number in range(40) for word in ("cats", "dogs", "stocks")]


class Counting:
    """An encoder that counts how often it is asked."""

    def __init__(self, key="counting"):
        self.key = self.name = key
        self.calls = 0

    def encode(self, texts, progress=None):
        self.calls += 1
        return np.array([[len(text), 1] for text in texts], np.float32)


def test_a_second_run_reads_the_cache(tmp_path):
    encoder = Counting()
    first = encode_texts(TEXTS, encoder, tmp_path)
    second = encode_texts(TEXTS, encoder, tmp_path)
    assert (first.cached, second.cached, encoder.calls) == (False, True, 1)
    np.testing.assert_array_equal(first.vectors, second.vectors)


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    encoder = Counting()
    assert not encode_texts(TEXTS, encoder).cached
    assert not encode_texts(TEXTS, encoder).cached
    assert os.listdir(tmp_path) == []


def test_a_fitted_encoder_comes_back_with_its_vectors(tmp_path):
    first = encode_texts(TEXTS, LSA(), tmp_path)
    second = encode_texts(TEXTS, LSA(), tmp_path)
    assert second.cached
    queries = ["cats and stocks", "unknown"]
    np.testing.assert_array_equal(first.encoder.encode(queries), second.encoder.encode(queries))
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert first.encoder.name == second.encoder.name


@pytest.mark.parametrize(
    "change",
    [
        lambda texts: [*texts[:-1], texts[-1] + "!"],
        lambda texts: texts[:-1],
        lambda texts: [*texts, ""],
        lambda texts: texts[::-1],
        lambda texts: [texts[0] + texts[1][:1], texts[1][1:], *texts[2:]],
    ],
)
def test_any_change_of_the_corpus_is_noticed(tmp_path, change):
    encoder = Counting()
    encode_texts(TEXTS, encoder, tmp_path)
    assert not encode_texts(change(TEXTS), encoder, tmp_path).cached


def test_another_encoder_or_version_is_noticed(tmp_path, monkeypatch):
    encode_texts(TEXTS, Counting("a"), tmp_path)
    assert not encode_texts(TEXTS, Counting("b"), tmp_path).cached
    assert encode_texts(TEXTS, Counting("a"), tmp_path).cached
    monkeypatch.setattr(cache, "__version__", "99")
    assert not encode_texts(TEXTS, Counting("a"), tmp_path).cached


def test_lsa_parameters_are_noticed(tmp_path):
    encode_texts(TEXTS, LSA(), tmp_path)
    assert not encode_texts(TEXTS, LSA(topics=3), tmp_path).cached
    assert not encode_texts(TEXTS, LSA(seed=1), tmp_path).cached


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_entry_is_made_anew(tmp_path, share):
    first = encode_texts(TEXTS, LSA(), tmp_path)
    (entry,) = tmp_path.glob("*.npz")
    whole = entry.read_bytes()
    entry.write_bytes(whole[: int(len(whole) * share)])
    second = encode_texts(TEXTS, LSA(), tmp_path)
    assert not second.cached
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert encode_texts(TEXTS, LSA(), tmp_path).cached


def test_a_flipped_bit_is_noticed(tmp_path):
    encode_texts(TEXTS, Counting(), tmp_path)
    (entry,) = tmp_path.glob("*.npz")
    data = bytearray(entry.read_bytes())
    at = data.index(np.float32(len(TEXTS[0])).tobytes())
    data[at] ^= 1
    entry.write_bytes(data)
    assert not encode_texts(TEXTS, Counting(), tmp_path).cached


def test_an_entry_never_unpickles(tmp_path):
    encode_texts(TEXTS, Counting(), tmp_path)
    (entry,) = tmp_path.glob("*.npz")
    buffer = io.BytesIO()
    np.save(buffer, np.array([print], object), allow_pickle=True)
    with np.load(entry) as arrays:
        header = arrays["header"]
    with zipfile.ZipFile(entry, "w") as file:
        file.writestr("vectors.npy", buffer.getvalue())
        plain = io.BytesIO()
        np.save(plain, header)
        file.writestr("header.npy", plain.getvalue())
    assert not encode_texts(TEXTS, Counting(), tmp_path).cached


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupt)
    with pytest.raises(KeyboardInterrupt):
        encode_texts(TEXTS, Counting(), tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_does_not_stop_the_work(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert encode_texts(TEXTS, Counting(), tmp_path).vectors.shape == (len(TEXTS), 2)
    assert os.listdir(tmp_path) == []


def test_old_entries_go_and_other_files_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_MOST", 3)
    (tmp_path / "mine.npz").write_text("not ours")
    for number in range(6):
        encode_texts([*TEXTS, str(number)], Counting(), tmp_path)
        for age, entry in enumerate(
            sorted(tmp_path.glob("counting-*.npz"), key=lambda path: -path.stat().st_mtime)
        ):
            os.utime(entry, (1e9 - age, 1e9 - age))
    assert (tmp_path / "mine.npz").exists()
    assert len(list(tmp_path.glob("counting-*.npz"))) == 3
    assert encode_texts([*TEXTS, "5"], Counting(), tmp_path).cached
    assert not encode_texts([*TEXTS, "0"], Counting(), tmp_path).cached


# ---------------------------------------------------------------- where it lies


def test_the_cache_lies_beside_a_file_and_inside_a_folder(tmp_path):
    (tmp_path / "corpus.jsonl").touch()
    assert folder_for(tmp_path / "corpus.jsonl") == tmp_path / ".setwise-cache"
    (tmp_path / "texts").mkdir()
    assert folder_for(tmp_path / "texts") == tmp_path / "texts" / ".setwise-cache"
    assert (tmp_path / ".setwise-cache" / ".gitignore").read_text() == "*\n"


def test_a_corpus_from_nowhere_uses_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folder_for(None) == tmp_path / "setwise"


def test_where_it_cannot_lie_beside_the_corpus_it_goes_to_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    (tmp_path / ".setwise-cache").write_text("a file is in the way")
    (tmp_path / "corpus.jsonl").touch()
    assert folder_for(tmp_path / "corpus.jsonl") == tmp_path / "user" / "setwise"
    (tmp_path / "user2").write_text("in the way as well")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user2"))
    assert folder_for(tmp_path / "corpus.jsonl") is None


def test_a_folder_that_was_asked_for_must_work(tmp_path):
    assert folder_for(None, str(tmp_path / "mine")) == tmp_path / "mine"
    (tmp_path / "file").touch()
    with pytest.raises(PermissionError, match=r"cache: folder .* is not writable"):
        folder_for(None, str(tmp_path / "file" / "below"))


def test_a_folder_that_exists_is_left_without_gitignore(tmp_path):
    folder_for(None, str(tmp_path))
    assert os.listdir(tmp_path) == []
