"""``setwise prefer``: what it prints, keeps and refuses."""

from __future__ import annotations

import json
import os

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from setwise.preference.rows.formats import FORMATS
from setwise.preference.rows.rows import PreferenceRows

N, K = 8, 3


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    words = ["red", "green", "blue", "black", "white", "grey"]
    return [
        {
            "prompt": f"Which color, number {number}?",
            "all_generated_responses": [f"{' '.join(rng.choice(words, 4))} {place}" for place in range(N)],
            "all_rm_scores": rng.standard_normal(N).round(3).tolist(),
            "origin": f"o{number}",
        }
        for number in range(12)
    ]


@pytest.fixture
def pools(rows, tmp_path):
    path = tmp_path / "pools.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture
def call(run, pools, tmp_path):
    """Return a function that selects with the encoder that needs no package."""

    def call(*words, source=pools, out="out.jsonl", model="lsa"):
        return run(
            "prefer", "--responses", source, "-k", K, "--out", tmp_path / out, "--model", model, *words
        )

    return call


def written(path):
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_summary_and_the_rows(call, rows, tmp_path):
    ran = call("--reward-weight", 1)
    assert (ran.code, ran.err) == (0, "")
    head, *lines = ran.out.splitlines()
    assert head.startswith("out.jsonl  12 groups by opt-select in ")
    facts = {line.split()[0]: line for line in lines}
    assert list(facts) == ["prompts", "reward", "coverage", "columns", "vectors"]
    made = PreferenceRows(rows, K, model="lsa", reward_weight=1)
    assert written(tmp_path / "out.jsonl") == list(made)
    summary = made.summary
    assert f"12, of {12 * N} responses" in facts["prompts"]
    assert f"chosen {summary.chosen_reward:.4g} · rejected {summary.rejected_reward:.4g}" in facts["reward"]
    assert f"cost {summary.cost:.4g} on average" in facts["coverage"]
    assert f"best possible for {summary.optimal} of 12 prompts" in facts["coverage"]
    assert "lsa" in facts["vectors"]
    assert (
        facts["columns"].split(maxsplit=1)[1]
        == "prompt prompt · responses all_generated_responses · rewards all_rm_scores"
    )


@pytest.mark.parametrize(
    ("format", "count"),
    [(each, 12 if each == "groups" else 12 * (K + (each == "unpaired"))) for each in FORMATS],
)
def test_every_format_is_written_and_counted(call, tmp_path, format, count):
    ran = call("--format", format)
    assert (ran.code, ran.err) == (0, "")
    noun = {"groups": "groups", "unpaired": "labeled responses"}.get(format, "pairs")
    assert ran.out.startswith(f"out.jsonl  {count} {noun} by opt-select in ")
    assert len(written(tmp_path / "out.jsonl")) == count


@pytest.mark.parametrize("out", ["out.jsonl", "out.parquet"])
def test_options_reach_the_selection(call, rows, tmp_path, out):
    options = {
        "method": "coreset",
        "positives": 2,
        "split": "mean",
        "format": "pairs",
        "seed": 5,
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    assert call(*words, out=out).code == 0
    assert written(tmp_path / out) == list(PreferenceRows(rows, K, model="lsa", **options))
    assert call("--solver", "exact", "--format", "unpaired", "--force", out=out).code == 0
    exact = PreferenceRows(rows, K, model="lsa", solver="exact", format="unpaired")
    assert written(tmp_path / out) == list(exact)


def test_columns_can_be_named_and_brought(run, rows, tmp_path):
    rng = np.random.default_rng(1)
    table = [
        {
            "ask": row["prompt"],
            "said": row["all_generated_responses"],
            "worth": row["all_rm_scores"],
            "where": rng.standard_normal((N, 5)).tolist(),
        }
        for row in rows
    ]
    parquet.write_table(pa.Table.from_pylist(table), tmp_path / "in.parquet")
    names = {"prompt": "ask", "responses_column": "said", "rewards": "worth", "embeddings": "where"}
    words = [word for name, value in names.items() for word in (f"--{name.replace('_', '-')}", value)]
    ran = run(
        "prefer", "--responses", tmp_path / "in.parquet", "--out", tmp_path / "o.jsonl", *words, "-k", K
    )
    assert (ran.code, ran.err) == (0, "")
    assert "your own, column where" in ran.out
    assert written(tmp_path / "o.jsonl") == list(PreferenceRows(table, K, **names))


def test_one_response_a_row(call, rows, tmp_path):
    lines = [
        {"asked": row["prompt"], "key": row["origin"], "response": text, "score": reward}
        for row in rows
        for text, reward in zip(row["all_generated_responses"], row["all_rm_scores"], strict=True)
    ]
    (tmp_path / "long.jsonl").write_text("\n".join(map(json.dumps, lines)))
    ran = call("--prompt", "asked", "--prompt-id", "key", "--json", source=tmp_path / "long.jsonl")
    found = json.loads(ran.out)
    assert found["prompts"] == 12
    assert found["columns"] == {
        "prompt": "asked",
        "responses": "response",
        "rewards": "score",
        "embeddings": None,
        "prompt_id": "key",
        "long": True,
    }
    short = list(PreferenceRows(rows, K, model="lsa"))
    for one, other in zip(written(tmp_path / "out.jsonl"), short, strict=True):
        assert (one["chosen"], one["rejected"]) == (other["chosen"], other["rejected"])
        assert one["key"] == other["origin"]


def test_a_saved_dataset(call, rows, tmp_path):
    import datasets

    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    assert call(source=tmp_path / "saved").code == 0
    assert written(tmp_path / "out.jsonl") == list(PreferenceRows(rows, K, model="lsa"))


def test_the_record(call, rows, tmp_path, pools):
    ran = call("--json", "--certify", "none", "--format", "pairs")
    assert ran.err == ""
    found = json.loads(ran.out)
    assert (found["source"], found["out"]) == (str(pools), str(tmp_path / "out.jsonl"))
    assert (found["prompts"], found["rows"], found["responses"]) == (12, 12 * K, 12 * N)
    assert (found["skipped"], found["blank"], found["duplicates"], found["ties"]) == (0, 0, 0, 0)
    assert found["lower_bound"] is None
    assert found["settings"] == {
        "k": K,
        "reward_weight": 3.0,
        "formulation": "appendix-e",
        "near": 0.9,
        "min_gap": 0.0,
        "method": "opt-select",
        "solver": "swap",
        "positives": 1,
        "split": "one-vs-k",
        "format": "pairs",
        "model": "lsa",
        "duplicates": "drop",
        "ties": "drop",
        "unscored": "drop",
        "too_few": "refuse",
        "seed": 0,
        "threads": None,
        "certify": "none",
    }
    list(made := PreferenceRows(rows, K, model="lsa", certify=False))
    assert found["cost"] == pytest.approx(made.summary.cost)
    full = json.loads(call("--json", "--certify", "full", "--force").out)
    assert (full["optimal"], full["gap"]) == (12, 0)
    assert full["cost"] == pytest.approx(full["lower_bound"], rel=1e-6)


def test_what_was_left_out_is_said(call, rows, pools):
    rows[0]["all_generated_responses"][1] = ""
    rows[1]["all_generated_responses"][2] = rows[1]["all_generated_responses"][1]
    for column in ("all_generated_responses", "all_rm_scores"):
        rows[2][column] = rows[2][column][:2]
    rows[0]["cost"] = 1.5
    pools.write_text("\n".join(map(json.dumps, rows)))
    ran = call("--too-few", "skip")
    assert ran.code == 0
    assert ran.err.splitlines() == [
        "note: 1 prompt skipped for too few responses, the first: line 3 of pools.jsonl has 2 responses "
        "to choose from, where 4 are needed",
        "note: 1 response says nothing, left out: no model can be trained on it",
        "note: left out of the rows: the input's cost; groups have columns of that name, or TRL would take "
        "them for such",
    ]
    assert "11, of 86 responses; 1 skipped" in ran.out
    assert "1 response repeats another of their prompt, left out" in ran.out
    assert "ties" not in ran.out
    assert "kept" in call("--too-few", "skip", "--duplicates", "keep", "--force").out


def test_ties_are_said(call, rows, pools):
    rows[0]["all_rm_scores"][:3] = [9, 9, 9]
    pools.write_text("\n".join(map(json.dumps, rows)))
    assert "2 responses are as good as a chosen one, left out" in call().out
    assert "ties" not in call("--ties", "keep", "--force").out


def test_bad_input_is_one_line(refused, rows, pools, tmp_path):
    out = tmp_path / "out.jsonl"
    base = ("prefer", "--responses", pools, "--out", out, "--model", "lsa")
    assert refused(*base, "-k", 9).startswith("responses: line 1 of pools.jsonl has 8 responses to choose")
    assert refused(*base, "-k", 0) == "k: 0 is below 1"
    assert refused(*base, "--method", "coresets").startswith("method: 'coresets' is unknown; did you mean")
    assert refused(*base, "--format", "pair").startswith("format: 'pair' is unknown; did you mean 'pairs'")
    assert refused(*base, "--certify", "ful").startswith("certify: 'ful' is unknown; did you mean 'full'")
    assert refused(*base, "--rewards", "all_rm_score").startswith("rewards: pools.jsonl has no column")
    assert refused(*base, "--embeddings", "origin").startswith("model: embeddings say what")
    gone = refused("prefer", "--responses", tmp_path / "pool.jsonl", "--out", out)
    assert gone.startswith("responses: no file or folder")
    assert "did you mean 'pools.jsonl'" in gone
    assert "ends in none of .jsonl, .parquet" in refused(*base[:3], "--out", tmp_path / "out.csv")
    assert "no folder" in refused(*base[:3], "--out", tmp_path / "there" / "out.jsonl")
    rows[7]["all_rm_scores"][3] = float("nan")
    pools.write_text("\n".join(map(json.dumps, rows)))
    nan = refused(*base, "-k", K, "--unscored", "refuse")
    assert nan.startswith("rewards: line 8 of pools.jsonl, response 3 has no score; score it, or leave such")
    assert os.listdir(tmp_path) == ["pools.jsonl"]


def test_nothing_is_replaced_unasked(call, tmp_path):
    (tmp_path / "out.jsonl").write_text("mine")
    ran = call()
    assert ran.code == 2
    assert "exists; add --force" in ran.err
    assert (tmp_path / "out.jsonl").read_text() == "mine"
    assert call("--force").code == 0
    assert len(written(tmp_path / "out.jsonl")) == 12


@pytest.mark.parametrize("out", ["out.jsonl", "out.parquet"])
def test_an_interrupt_leaves_no_file(call, tmp_path, monkeypatch, out):
    from setwise.preference.rows import rows as module

    def interrupted(*_, **__):
        assert [name for name in os.listdir(tmp_path) if name.endswith(".part")]  # it had begun to write
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "select_responses_many", interrupted)
    ran = call(out=out)
    assert (ran.code, ran.out) == (130, "")
    assert ran.err == "setwise: interrupted; nothing was written\n"
    assert os.listdir(tmp_path) == ["pools.jsonl"]
