"""What the tests of the command line share: a corpus, a cache of their own, and a way to run a command."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import pytest

from optional import installed, lazily

main = lazily("setwise.cli", "main")

#: Commands read tables, encode texts and build catalogs.
collect_ignore_glob = [] if installed("typer", "sklearn", "wordllama", "pyarrow", "faiss") else ["test_*.py"]

TEXTS = [
    "School uniforms create a sense of equality.",
    "School uniforms create a sense of equality!",
    "School uniforms are often expensive for parents.",
    "Students express themselves through their clothes.",
    "Wearing the same clothes limits free expression.",
    "A teacher needs patience with young children.",
    "Recycling saves energy and raw materials.",
    "Homework helps students learn to work alone.",
    "Uniforms make getting ready for school easier.",
    "Zoos keep wild animals away from their homes.",
]


class Ran(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _surroundings(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def corpus(tmp_path):
    """A JSONL file with ids, texts, labels, scores and vectors."""
    path = tmp_path / "corpus.jsonl"
    rows = []
    for row, text in enumerate(TEXTS):
        topic = "school" if "chool" in text else "other"
        vector = [row % 3, row % 4, 1.0]
        rows.append({"id": f"p{row}", "text": text, "topic": topic, "score": 1 - row / 10, "vector": vector})
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def by_vector(corpus, tmp_path):
    """Words of a command that encodes nothing, for processes of their own: encoders take seconds to load."""
    np.save(tmp_path / "query.npy", [0.0, 1.0, 1.0])
    return [
        "retrieve",
        "--corpus",
        str(corpus),
        "--vectors",
        "vector",
        "--query-vector",
        str(tmp_path / "query.npy"),
    ]


@pytest.fixture
def run(capsys):
    """Return a function that runs a command as the entry point does, in this process."""

    def run(*words):
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        return Ran(left.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def refused(run):
    """Return a function that runs a command which must be refused, and gives its one line."""

    def refused(*words):
        ran = run(*words)
        assert ran.code == 2
        assert ran.out == ""
        assert ran.err.startswith("setwise: ")
        assert ran.err.count("\n") == 1
        return ran.err.removeprefix("setwise: ").rstrip("\n")

    return refused
