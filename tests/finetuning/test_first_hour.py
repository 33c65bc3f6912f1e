"""The first hour of who tunes a model on real data, where it is at hand: index, match, draw, and read."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from optional import lazily, needs

datasets, pa = lazily("datasets"), lazily("pyarrow")
parquet = lazily("pyarrow.parquet")

#: A folder with ``instruct_mix`` (see benchmarks/).
DATA = Path(os.environ.get("SETWISE_DATA", "no data"))

pytestmark = [
    pytest.mark.slow,
    needs("datasets", "faiss", "pyarrow", "typer", "sklearn"),
    pytest.mark.skipif(
        not (DATA / "instruct_mix").is_dir(), reason="needs the folder SETWISE_DATA with instruct_mix"
    ),
]


def test_rows_for_a_few_word_problems(tmp_path, monkeypatch):
    """Of 8,000 instructions of seven sources, two epochs of those like 40 held-out problems of GSM8K."""
    from typer.testing import CliRunner

    from setwise.cli import app

    monkeypatch.chdir(tmp_path)
    mix = parquet.read_table(DATA / "instruct_mix" / "instruct_mix.parquet")
    draw = np.random.default_rng(0)
    source = np.array(mix["source"].to_pylist())
    problems = np.flatnonzero(source == "GSM8K")
    held_out = draw.choice(problems, 40, replace=False)
    pool = np.sort(draw.choice(np.setdiff1d(np.arange(len(mix)), held_out), 8000, replace=False))
    names = ["id", "source", "instruction", "input", "output"]
    parquet.write_table(mix.take(pool).select(names), "rows.parquet")
    parquet.write_table(mix.take(np.sort(held_out)).select(names), "dev.parquet")

    def run(*words):
        ran = CliRunner().invoke(app, [*map(str, words), "--model", "ngrams"])
        assert ran.exit_code == 0, ran.output
        return ran.output

    given = ("finetune", "--repository", "rows.parquet", "--examples", "dev.parquet", "--rows", 1000)
    told = run(*given, "--epochs", 2, "--without-replacement", "--out", "run")
    assert "of 8,000" in told

    rows = datasets.load_dataset("run", split="train", cache_dir=str(tmp_path / "cache"))
    assert set(names) <= set(rows.column_names)
    assert len(rows) == 2000
    ids = np.array(rows["id"])
    assert np.isin(ids, np.array(mix["id"])[pool]).all()
    assert len(np.unique(ids[:1000])) == len(np.unique(ids[1000:])) == 1000
    # what was drawn is of the examples' kind far more often than the repository is
    share, before = (np.array(rows["source"]) == "GSM8K").mean(), (source[pool] == "GSM8K").mean()
    assert share > 4 * before, (share, before)

    run(*given, "--epochs", 2, "--without-replacement", "--out", "again")
    again = datasets.load_dataset("again", split="train", cache_dir=str(tmp_path / "cache"))
    assert again["id"] == rows["id"]
