"""``setwise cache``: what it lists and what it removes."""

from __future__ import annotations

import json
import os
import time

import pytest


@pytest.fixture
def kept(run, tmp_path, monkeypatch):
    """A folder with the encoded texts of two corpora, one of them old."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("old", "red apples"), ("new", "green pears")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"id": 1, "text": text}))
        ran = run("retrieve", "--corpus", f"{name}.jsonl", "--model", "lsa", "--query", text, "-k", 1)
        assert ran.code == 0
        if name == "old":
            (entry,) = (tmp_path / ".setwise-cache").glob("lsa-*/")
            for file in entry.iterdir():
                os.utime(file, (time.time() - 9 * 86_400,) * 2)
    return tmp_path / ".setwise-cache"


def names(run, *words):
    caches = json.loads(run("cache", "info", *words, "--json").out)["caches"]
    return {folder: [entry["name"] for entry in found] for folder, found in caches.items()}


def test_what_is_kept_is_listed(run, kept, tmp_path):
    found = names(run, "new.jsonl")
    assert list(found) == [".setwise-cache"]
    assert len(found[".setwise-cache"]) == 2
    assert names(run, kept) == {str(kept): found[".setwise-cache"]}
    assert list(names(run).values()) == [found[".setwise-cache"], []]
    ran = run("cache", "info", tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert "2 kept" in ran.out
    assert "90 days" in ran.out


def test_what_is_kept_is_removed_by_age_by_size_or_all(run, refused, kept):
    new, old = names(run, kept)[str(kept)]
    assert refused("cache", "clear", kept, "--unused", -1) == "unused: -1 is below 0"
    assert run("cache", "clear", kept, "--unused", 30).out.startswith(f"{kept}  0 removed")
    assert run("cache", "clear", kept, "--above", 1).out.startswith(f"{kept}  0 removed")
    assert run("cache", "clear", kept, "--unused", 5).out.startswith(f"{kept}  1 removed")
    assert names(run, kept)[str(kept)] == [new]
    assert old != new
    assert run("cache", "clear").code == 0
    assert names(run, kept)[str(kept)] == []
    assert (kept / ".gitignore").exists()
    assert refused("cache", "clear", "nowhere").startswith("cache: no file or folder 'nowhere'")
