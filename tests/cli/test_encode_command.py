"""``setwise encode``: vectors in a file are those of the encoder, in the rows' order."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from optional import needs
from setwise import encode
from setwise.files import read_corpus

pytest.importorskip("pyarrow")


@pytest.fixture
def three(tmp_path):
    rows = [
        {"id": 7, "text": "red apples", "year": 1},
        {"id": 8, "text": "…", "year": 3},
        {"id": 9, "text": "green pears", "year": 2},
    ]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path / "c.jsonl"


@pytest.mark.parametrize("model", ["ngrams", "lsa"])
def test_vectors_are_the_encoders(run, three, tmp_path, model):
    used = encode.encoder(model)
    if isinstance(used, encode.FittedEncoder):
        used.fit(read_corpus(three).texts)
    expected = used.encode(["red apples", "green pears"])
    words = ("encode", three, "--model", model, "--no-cache")
    ran = run(*words, "--out", tmp_path / "v.npy")
    assert ran.code == 0
    assert ran.err == "note: 1 have rows of zeros, since the encoder knows no word of their text: 8\n"
    vectors = np.load(tmp_path / "v.npy")
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors[[0, 2]], expected, atol=1e-6)
    assert not vectors[1].any()
    for name in ("v.jsonl", "v.parquet"):
        assert "1 are left out" in run(*words, "--out", tmp_path / name).err
        corpus = read_corpus(tmp_path / name, vectors="vector")
        assert (list(corpus.ids), corpus.texts) == ([7, 9], ["red apples", "green pears"])
        assert corpus.columns["year"] == [1, 2]
        np.testing.assert_allclose(np.array(corpus.vectors), expected, atol=1e-6)


def test_what_is_written_is_retrieved_from_and_built_of(run, corpus, tmp_path):
    """The same sets, with the texts encoded before and while they are read; passages of documents, too."""
    words = ("retrieve", corpus, "-k", 3, "--model", "ngrams", "--query", "school", "--json", "--no-cache")
    same = json.loads(run(*words).out)["set"]["items"]
    made = run("encode", corpus, "--model", "ngrams", "--out", tmp_path / "v.npy", "--json", "--no-cache")
    record = json.loads(made.out)
    assert (record["texts"], record["d"], record["unknown"]) == (len(read_corpus(corpus)), 512, [])
    again = json.loads(run(*words, "--vectors", tmp_path / "v.npy").out)["set"]["items"]
    assert [one["id"] for one in again] == [one["id"] for one in same]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("# One\n\nred apples\n\n# Two\n\ngreen pears\n")
    run("encode", tmp_path / "docs", "--model", "ngrams", "--out", tmp_path / "p.jsonl", "--no-cache")
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [row["title"] for row in rows] == ["One", "Two"]


def test_what_cannot_be_encoded(refused, corpus, three, tmp_path):
    np.save(tmp_path / "v.npy", np.eye(3))
    words = ("encode", "--model", "ngrams", "--no-cache")
    assert "ends in none of .npy, .parquet, .jsonl" in refused(*words, corpus, "--out", tmp_path / "v.csv")
    assert refused(*words, corpus, "--out", tmp_path / "v.npy").endswith("to replace it")
    assert refused(*words, tmp_path / "v.npy", "--out", tmp_path / "w.npy").startswith("corpus: v.npy has no")
    three.write_text('{"text": "…"}')
    assert "knows no word of any text" in refused(*words, three, "--out", tmp_path / "w.npy")
    assert not (tmp_path / "w.npy").exists()


@needs("scipy", "threadpoolctl")
def test_threads_are_bounded_of_libraries_that_are_loaded_later():
    """A language model's, too: it is read when the command runs already."""
    code = (
        "import os; from setwise.cli.options import at_most\n"
        "with at_most(1):\n"
        "    import numpy, scipy.linalg, threadpoolctl\n"
        "    print({one['num_threads'] for one in threadpoolctl.threadpool_info()})\n"
        "print(os.environ.get('OMP_NUM_THREADS'), 'MKL_NUM_THREADS' in os.environ)\n"
    )
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines() == ["{1}", "2 False"]
