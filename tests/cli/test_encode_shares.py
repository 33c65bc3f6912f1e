"""A corpus encoded by several processes is the file that one process writes, to the last byte."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import tiny_policy
from optional import needs
from setwise.encode.shares import Rank


def test_shares_are_consecutive_whole_and_from_multiples_of_a_step():
    for n, step, size in ((1000, 128, 3), (5, 128, 4), (256, 128, 2), (0, 8, 2)):
        shares = [Rank(rank, size).share(n, step) for rank in range(size)]
        assert np.concatenate([np.arange(n)[one] for one in shares]).tolist() == list(range(n))
        assert all(one.start % step == 0 or one.start == n for one in shares)
    assert [one.stop - one.start for one in (Rank(0, 2).share(1000, 128), Rank(1, 2).share(1000, 128))] == [
        512,
        488,
    ]


def test_a_rank_is_what_is_asked_for_or_what_the_launcher_says(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert Rank.of(None, None) == Rank(0, 1)
    monkeypatch.setenv("RANK", "1")
    assert Rank.of(None, None) == Rank(0, 1)
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert Rank.of(None, None) == Rank(1, 4)
    assert Rank.of(2, 3) == Rank(2, 3)
    for asked, message in (
        ((2, 2), "rank: 2"),
        ((0, 0), "world_size: 0"),
        ((1, None), "world_size: it goes"),
    ):
        with pytest.raises(ValueError, match=message):
            Rank.of(*asked)


@pytest.fixture
def corpus(tmp_path):
    words = tiny_policy.WORDS
    texts = [f"{words[row % 12]} {words[row * 5 % 11]} " * (1 + row % 3) for row in range(40)]
    texts[33] = "…"
    (tmp_path / "c.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return tmp_path / "c.jsonl"


@pytest.mark.parametrize("ending", [".npy", ".parquet"])
@pytest.mark.parametrize("model", ["ngrams", "lsa"])
def test_ranks_write_what_one_process_writes(run, corpus, tmp_path, monkeypatch, model, ending):
    monkeypatch.setattr("setwise.encode.cache.CHUNK", 8)
    words = ("encode", corpus, "--model", model, "--no-cache")
    assert run(*words, "--out", tmp_path / f"one{ending}").code == 0
    several = tmp_path / f"three{ending}"
    for rank in (2, 0, 0):  # a rank that runs again finds its share
        ran = run(*words, "--out", several, "--rank", rank, "--world-size", 3)
        assert "the last to finish writes" in ran.err
        assert not several.exists()
    assert "33" in run(*words, "--out", several, "--rank", 1, "--world-size", 3).err
    assert several.read_bytes() == (tmp_path / f"one{ending}").read_bytes()
    assert {one.name for one in tmp_path.iterdir()} == {"c.jsonl", f"one{ending}", f"three{ending}"}


def test_shares_of_another_corpus_are_not_joined(run, corpus, tmp_path):
    words = (
        "encode",
        corpus,
        "--model",
        "ngrams",
        "--no-cache",
        "--out",
        tmp_path / "v.npy",
        "--world-size",
        2,
    )
    run(*words, "--rank", 0)
    corpus.write_text(corpus.read_text() + '{"text": "good red tree"}\n')
    assert "the last to finish writes" in run(*words, "--rank", 1).err
    run(*words, "--rank", 0)
    assert np.load(tmp_path / "v.npy").shape[0] == 41


@pytest.mark.slow
@needs("torch", "transformers", "peft", "accelerate")
@pytest.mark.parametrize(
    ("kind", "launcher"),
    [
        ("hidden", ["torch.distributed.run", "--nproc-per-node", "2"]),
        ("gradients", ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]),
    ],
)
def test_two_processes_of_a_launcher_encode_with_a_language_model(corpus, tmp_path, kind, launcher):
    tiny_policy.saved(tmp_path / "model", layers=2, context=128)
    chunked = tmp_path / "run.py"
    chunked.write_text(
        "import sys\n"
        "from setwise.encode.hidden import Hidden\n"
        "from setwise.encode.gradients.texts import Gradients\n"
        "Hidden.chunk = Gradients.chunk = 8\n"
        "from setwise.__main__ import main\n"
        "main()\n"
    )
    words = ["encode", str(corpus), "--model", f"{kind}:{tmp_path / 'model'}", "--no-cache", "--threads", "1"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    for before, out in (([], "one.npy"), (["-m", *launcher], "two.npy")):
        command = [sys.executable, *before, str(chunked), *words, "--out", str(tmp_path / out)]
        subprocess.run(command, check=True, capture_output=True, env=environment)
    assert (tmp_path / "two.npy").read_bytes() == (tmp_path / "one.npy").read_bytes()
