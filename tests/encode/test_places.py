"""Where the cache lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from setwise.encode.places import folder_for


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


def test_a_folder_is_made_whole_or_not_at_all(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            folder_for(None, str(tmp_path / "cache"))
    assert os.listdir(tmp_path) == []
    assert os.listdir(folder_for(None, str(tmp_path / "cache"))) == [".gitignore"]
