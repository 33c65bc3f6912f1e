"""``setwise finetune``: what it prints, writes and refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from setwise.encode import encoder
from setwise.encode.static import Static
from setwise.finetuning import Pipeline, match
from setwise.finetuning.baselines import dsir

N = 240
ABOUT = ("adding apples and pears", "trains and ships", "painting a house", "verbs and nouns")


def text_of(row):
    return f"Question {row}: tell me about {ABOUT[row % 4]}, case {row * row % 97}."


@pytest.fixture
def rows(tmp_path):
    """A Parquet repository of four subjects, with two rows without text and row 7 a copy of row 3."""
    texts = [text_of(row) for row in range(N)]
    texts[7], texts[10], texts[20] = texts[3], "", None
    table = pa.table(
        {"id": pa.array(range(N), pa.int32()), "text": texts, "n": [len(text or "") for text in texts]}
    )
    parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=50)
    return tmp_path / "rows.parquet"


@pytest.fixture
def examples(tmp_path):
    path = tmp_path / "examples.jsonl"
    path.write_text(
        "".join(json.dumps({"text": f"What of {ABOUT[0]} in case {i}?"}) + "\n" for i in range(5))
    )
    return path


@pytest.fixture
def arrays(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "v.npy", rng.standard_normal((N, 6)).astype(np.float32))
    np.save(tmp_path / "e.npy", rng.standard_normal((4, 6)).astype(np.float32))
    return tmp_path / "v.npy", tmp_path / "e.npy"


def record(ran):
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


# ---------------------------------------------------------------- what it does


def test_rows_are_those_of_match_and_sample(run, rows, examples, tmp_path):
    out = tmp_path / "out.parquet"
    ran = run(
        *(
            "finetune",
            "--repository",
            rows,
            "--examples",
            examples,
            "--rows",
            60,
            "--out",
            out,
            "--model",
            "lsa",
        ),
        *("--diversity", 0.2, "--seed", 3, "--json"),
    )
    found = record(ran)
    table = parquet.read_table(rows)
    kept = [row for row in range(N) if row not in (10, 20)]
    texts = table["text"].take(kept).to_pylist()
    model = encoder("lsa", seed=3)
    model.fit([text or "" for text in table["text"].to_pylist()])
    probes = model.encode([json.loads(line)["text"] for line in examples.read_text().splitlines()])
    direct = match(model.encode(texts), probes, diversity=0.2, scale="auto", kernel_width="auto", seed=3)
    drawn = np.array(kept)[direct.sample(60, seed=3)]
    assert parquet.read_table(out).equals(table.take(drawn))
    assert found["candidates"] == N - 2
    assert found["left_out"] == 2
    assert found["distribution"]["transport_cost"] == pytest.approx(direct.transport_cost, rel=1e-5)
    assert found["epochs"] == [
        {"rows": 60, "distinct": len(set(drawn.tolist())), "tokens": None, "file": str(out)}
    ]
    counts = np.bincount(drawn, minlength=N)
    assert [one["times"] for one in found["most_drawn"]] == sorted(counts, reverse=True)[:3]
    assert all(counts[one["row"]] == one["times"] for one in found["most_drawn"])
    assert found["most_drawn"][0]["text"] == table["text"][found["most_drawn"][0]["row"]].as_py()
    far = found["least_covered"]
    assert [one["distance"] for one in far] == pytest.approx(
        sorted(direct.nearest, reverse=True)[:3], abs=1e-5
    )
    assert far[0]["row"] == int(np.argmax(direct.nearest))
    assert found["notes"] == [
        f"rows.parquet: 2 of {N} rows left out, without a word that the encoder knows in text",
        "1 row is an example, or nearly (1 within 0.258): --exclude-examples leaves them out",
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"rows": 40, "diversity": 0.2, "seed": 3},
        {"fraction": 0.1, "epochs": 3, "method": "nearest"},
        {"tokens": 90, "method": "dsir", "replace": True, "min_words": 0},
        {"rows": 20, "method": "random"},
    ],
)
def test_one_call_does_what_the_command_does(run, rows, examples, tmp_path, options):
    words = ["finetune", "--repository", rows, "--examples", examples, "--model", "lsa", "--json"]
    for name, value in options.items():
        words += ["--with-replacement"] if name == "replace" else [f"--{name.replace('_', '-')}", value]
    ran = run(*words, "--out", tmp_path / "command.jsonl", "--indices", tmp_path / "command.npy")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    selection = Pipeline(
        rows,
        examples,
        model="lsa",
        out=tmp_path / "call.jsonl",
        indices=tmp_path / "call.npy",
        drawn=tmp_path / "drawn.npy",
        **options,
    ).run()
    for ending in (".jsonl", ".npy"):
        assert (tmp_path / f"call{ending}").read_bytes() == (tmp_path / f"command{ending}").read_bytes()
    found = json.loads(json.dumps(selection.to_dict()))
    for record in (told, found):
        del record["seconds"], record["distribution"]["effective"]
        record["distribution"].pop("seconds", None)
        for epoch in record["epochs"]:
            del epoch["file"]
    assert found == told
    drawn = np.load(tmp_path / "drawn.npy")
    assert drawn["row"].tolist() == np.concatenate(selection.epochs).tolist()
    assert set(selection.distinct) == set(drawn["row"].tolist())


def test_summary_says_what_a_person_can_act_on(run, rows, examples, tmp_path):
    ran = run(
        *("finetune", "--repository", rows, "--examples", examples, "--rows", 60, "--model", "lsa"),
        *("--neighbors", 5, "--diversity", 0.8, "--out", tmp_path / "o.jsonl"),
    )
    assert ran.code == 0
    assert "rows.parquet for examples.jsonl" in ran.out
    assert f"of {N} (2 left out)" in ran.out
    assert "raise --neighbors to 10" in ran.out
    assert "least covered examples" in ran.out
    assert "most drawn rows" in ran.out
    assert "What of adding apples" in ran.out
    assert f"wrote {tmp_path}" in ran.err.replace("\n", "")
    whole = run("finetune", "--repository", rows, "--examples", examples, "--model", "lsa")
    assert "more neighbors would change nothing" in whole.out
    assert "read from the cache" in whole.out
    assert "nothing was written" in whole.out


def test_epochs_in_a_folder_are_gone_on_with(run, rows, examples, tmp_path):
    words = (
        *("finetune", "--repository", rows, "--examples", examples, "--fraction", 0.1, "--epochs", 3),
        *("--out", tmp_path / "out", "--model", "lsa"),
    )
    first = run(*words)
    names = ["epoch-00001.parquet", "epoch-00002.parquet", "epoch-00003.parquet"]
    assert sorted(os.listdir(tmp_path / "out")) == [".meta.json", "README.md", *names]
    assert "24 in each of 3 epochs" in first.out
    before = {name: (tmp_path / "out" / name).read_bytes() for name in names}
    (tmp_path / "out" / "epoch-00002.parquet").unlink()
    again = run(*words)
    assert "2 of them had been finished before" in again.err
    assert {name: (tmp_path / "out" / name).read_bytes() for name in names} == before
    assert "there already" in run(*words).err
    other = run(*words, "--seed", 1)
    assert other.code == 2
    assert "holds epochs of other rows" in other.err
    assert run(*words, "--seed", 1, "--force").code == 0


def test_tokens_are_counted_by_words_or_by_a_column(run, rows, examples, tmp_path):
    words = ("finetune", "--repository", rows, "--examples", examples, "--model", "lsa", "--tokens", 500)
    assert "tokens are counted as words, numbers" in run(*words, "--out", tmp_path / "c.parquet").err
    by_words = run(*words, "--tokenizer", "words", "--out", tmp_path / "a.parquet")
    assert "2 left out); 492 words" in by_words.out
    texts = parquet.read_table(tmp_path / "a.parquet")["text"].to_pylist()
    assert 480 < sum(len(text.split()) for text in texts) <= 500
    found = record(run(*words, "--length-column", "n", "--out", tmp_path / "b.parquet", "--json"))
    total = sum(parquet.read_table(tmp_path / "b.parquet")["n"].to_pylist())
    assert found["epochs"][0]["tokens"] == total <= 500


def test_own_vectors_need_no_texts(run, arrays, rows, tmp_path):
    vectors, probes = arrays
    found = record(
        run(
            *("finetune", "--repository", rows, "--vectors", vectors, "--example-vectors", probes),
            *("--indices", tmp_path / "p.npy", "--json", "--diversity", 0.1, "--scale", 5),
            *("--regularizer", "uniform"),
        )
    )
    direct = match(np.load(vectors), np.load(probes), diversity=0.1, regularizer="uniform", scale=5.0)
    table = np.load(tmp_path / "p.npy")
    assert table["row"].tolist() == direct.indices.tolist()
    assert table["probability"] == pytest.approx(direct.probabilities)
    assert found["encoder"] is None
    assert found["least_covered"][0]["text"] is None
    assert found["most_drawn"][0]["times"] is None
    assert not (tmp_path / ".setwise-cache").exists()
    bare = run("finetune", "--repository", vectors, "--examples", probes, "--indices", tmp_path / "p.csv")
    assert bare.code == 0
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert lines[0] == "row,probability"
    assert sum(float(line.split(",")[1]) for line in lines[1:]) == pytest.approx(1)
    drawn = ("--rows", 7, "--epochs", 2, "--seed", 3, "--workers", 1)
    for name in ("d.npy", "d.csv"):
        assert (
            run(
                "finetune", "--repository", vectors, "--examples", probes, *drawn, "--drawn", tmp_path / name
            ).code
            == 0
        )
    table = np.load(tmp_path / "d.npy")
    assert table["epoch"].tolist() == [1] * 7 + [2] * 7
    settings = {"scale": "auto", "kernel_width": "auto", "diversity": 0.4}
    epochs = match(np.load(vectors), np.load(probes), **settings).epochs(7, 2, seed=3)
    assert table["row"].tolist() == np.concatenate(list(epochs)).tolist()
    lines = (tmp_path / "d.csv").read_text().splitlines()
    assert lines[0] == "epoch,row"
    assert [int(line.split(",")[1]) for line in lines[1:]] == table["row"].tolist()
    looked = run("finetune", "--repository", vectors, "--examples", probes).out
    assert "nothing was written; --indices FILE writes their numbers" in looked
    assert "least covered examples\n" in looked
    assert "text" not in looked


def test_an_index_is_searched_in_two_stages(run, arrays, tmp_path):
    vectors, probes = arrays
    words = ("finetune", "--repository", vectors, "--examples", probes, "--json")
    exact = record(run(*words))["distribution"]
    found = record(run(*words, "--index", "IVF4,Flat", "--neighbors", 60))["distribution"]
    assert exact["stats"]["union"] is None
    assert found["stats"]["union"] <= N
    assert found["transport_cost"] == pytest.approx(exact["transport_cost"], rel=0.2)
    assert "rows that the index returned" in run(*words[:-1], "--index", "IVF4,Flat", "--diversity", 0.05).out


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_vectors_may_be_a_column(run, refused, arrays, tmp_path, kind):
    names = []
    for file in arrays:
        table = pa.table({"id": range(len(np.load(file))), "embedding": np.load(file).tolist()})
        names.append(tmp_path / f"{file.stem}.{kind}")
        if kind == "parquet":
            parquet.write_table(table, names[-1], row_group_size=100)
        else:
            names[-1].write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    words = ("finetune", "--repository", names[0], "--examples", names[1], "--json")
    by_column = record(run(*words, "--vectors", "embedding", "--example-vectors", "embedding"))
    by_file = record(run("finetune", "--repository", arrays[0], "--examples", arrays[1], "--json"))
    for one in (by_column, by_file):
        one["distribution"].pop("seconds")
    assert by_column["distribution"] == by_file["distribution"]
    assert "did you mean 'embedding'?" in refused(
        *words, "--vectors", "embeding", "--example-vectors", "e.npy"
    )


def test_baselines_draw_without_replacement(run, rows, examples, tmp_path):
    least = {
        "nearest": 25,
        "doubly-greedy": 25,
        "less": 25,
        "uot": 25,
        "dsir": 12,
        "random": 0,
    }  # by chance 12.5
    for method in sorted(least, key="dsir".__eq__):
        out = tmp_path / f"{method}.parquet"
        ran = run(
            *("finetune", "--repository", rows, "--examples", examples, "--rows", 50, "--out", out),
            *("--method", method, "--model", "lsa", "--json"),
            *(("--min-words", 0) if method == "dsir" else ()),
        )
        told = record(ran)["distribution"]
        assert (told["rows"], told["chosen"]) == (238, 238 if method in ("random", "dsir") else 50)
        ids = parquet.read_table(out)["id"].to_pylist()
        assert len(set(ids)) == 50
        assert not {10, 20} & set(ids)
        assert sum(row % 4 == 0 for row in ids) > least[method]
    texts = {row: text or "" for row, text in enumerate(parquet.read_table(rows)["text"].to_pylist())}
    kept = [row for row in texts if texts[row]]
    probes = [json.loads(line)["text"] for line in examples.read_text().splitlines()]
    direct = dsir([texts[row] for row in kept], probes, min_words=0)
    assert ids == [kept[place] for place in direct.sample(50, replace=False)]


def test_random_needs_no_examples(run, rows, tmp_path):
    out = tmp_path / "o.parquet"
    assert (
        run("finetune", "--repository", rows, "--method", "random", "--fraction", 0.25, "--out", out).code
        == 0
    )
    assert parquet.read_metadata(out).num_rows == 60


def test_sweep_prints_a_table_and_draws_it(run, rows, examples, tmp_path):
    words = ("finetune", "--repository", rows, "--examples", examples, "--model", "lsa", "--sweep")
    ran = run(*words)
    assert ran.code == 0
    assert "neighborhood" in ran.out
    found = record(run(*words, "--json"))
    sizes = [one["neighborhood"] for one in found["sweep"]]
    assert len(sizes) == 9
    assert sizes == sorted(sizes)
    pytest.importorskip("matplotlib")
    assert run(*words, "--plot", tmp_path / "s.png").code == 0
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


# ---------------------------------------------------------------- what it refuses


def refusals(rows, examples, tmp_path):
    base = ("--repository", rows, "--examples", examples)
    vectors = ("--repository", rows, "--vectors", tmp_path / "v.npy")
    out = ("--out", tmp_path / "new.parquet", "--model", "lsa")
    yield ("--repository", rows), "examples: say what the task is like"
    yield (*base, "--out", tmp_path / "new.parquet"), "rows: say how many"
    yield (*base, "--rows", 3, "--tokens", 3, *out), "rows and tokens are two budgets"
    yield (*base, "--rows", 0, *out), "rows: 0 is below 1"
    yield (*base, "--fraction", 2, *out), "fraction: 2.0 is not above 0 and at most 1"
    yield (*base, "--rows", 3, "--out", rows), "exists; add --force"
    yield (*base, "--rows", 3, "--out", rows, "--force"), "is read as repository; name another file"
    yield (*base, "--rows", 3, "--out", examples, "--force"), "is read as examples; name another file"
    inside = tmp_path / "folder" / "o.parquet"
    yield (
        ("--repository", tmp_path / "folder", "--rows", 3, "--out", inside, "--method", "random"),
        "a part of it",
    )
    yield (*base, "--rows", 3, "--out", tmp_path / "x.csv"), "ends in none of .parquet, .jsonl"
    yield (*base, "--rows", 3, "--out", tmp_path / "no" / "x.jsonl"), "create it first"
    yield (*base, "--rows", 3, *out, "--text-column", "txet"), "did you mean 'text'?"
    yield (
        (*base, "--tokens", 3, *out, "--length-column", "m"),
        "length_column: rows.parquet has no column 'm'",
    )
    yield (*base, "--tokens", 9, *out, "--length-column", "text"), "expected a number"
    yield (*base, "--rows", 3, *out, "--empty", "refuse"), "empty: 2 rows of rows.parquet, the first row 10"
    yield (*base, "--rows", 3, *out, "--diversity", 2), "diversity: 2.0 is outside [0, 1]"
    yield (*base, "--rows", 3, *out, "--kernel-width", 0), "kernel_width"
    yield (*base, "--rows", 3, *out, "--scale", "big"), "scale: expected a number or auto, got 'big'"
    yield (*base, "--rows", 3, *out, "--regularizer", "kd"), "did you mean 'kde'?"
    yield (*base, "--rows", 3, *out, "--method", "near"), "did you mean 'nearest'?"
    yield (*base, "--rows", 3, *out, "--method", "less", "--diversity", 0.1), "less does not look at it"
    yield (*base, "--tokens", 3, *out, "--method", "less"), "less chooses a number of rows"
    for rest, message in (
        (("--method", "nearest"), "238 there are"),
        (
            ("--without-replacement",),
            "rows of positive probability",
        ),
    ):
        yield (*base, "--rows", 241, *out, *rest), "rows: 241 are more than the 240 there are"
        yield (*base, "--rows", 239, *out, *rest), message
    yield (*base, "--rows", 3, "--sweep"), "sweep: it prints a table"
    yield (*base, "--plot", tmp_path / "s.png"), "add --sweep"
    yield (*base, "--epochs", 3), "epochs: it goes with a number of rows"
    yield (*base, "--rows", 3, "--length-column", "n"), "length_column: it goes with tokens"
    yield (*base, "--indices", tmp_path / "p.txt"), "ends in none of .npy, .csv"
    yield (*base, "--drawn", tmp_path / "d.npy"), "rows: say how many to draw"
    yield (*base, "--rows", 3, "--workers", "2", "--index", "IVF4,Flat", *out), "parts are searched exactly"
    yield (*base, "--rows", 3, "--workers", "0", *out), "workers: 0 is below 1"
    yield vectors, "examples: say what the task is like"
    yield (*vectors, "--examples", examples), "example_vectors: vectors brings its own"
    yield (*vectors, "--example-vectors", tmp_path / "wide.npy"), "they have 7 d, the repository's 6"
    yield (*base, "--vectors", tmp_path / "e.npy"), "vectors: e.npy has 4 rows, rows.parquet has 240"
    yield (
        ("--repository", tmp_path / "v.npy", "--examples", tmp_path / "e.npy", "--rows", 3, *out),
        "without rows",
    )
    yield ("--repository", tmp_path / "same.npy", "--examples", tmp_path / "e.npy"), "copies of one row"
    yield ("--repository", tmp_path / "nan.npy", "--examples", tmp_path / "e.npy"), "row 2 has NaN"


def test_bad_input_is_one_line_and_leaves_nothing(refused, rows, examples, arrays, tmp_path):
    np.save(tmp_path / "wide.npy", np.ones((3, 7)))
    np.save(tmp_path / "same.npy", np.ones((50, 6)))
    nan = np.load(arrays[0]).copy()
    nan[2, 1] = np.nan
    np.save(tmp_path / "nan.npy", nan)
    (tmp_path / "folder").mkdir()
    before = sorted(os.listdir(tmp_path))
    for words, message in refusals(rows, examples, tmp_path):
        assert message in refused("finetune", *words), words
    assert [name for name in sorted(os.listdir(tmp_path)) if name != ".setwise-cache"] == before


@pytest.mark.parametrize(
    ("option", "value"), [("--kernel-width", 0), ("--scale", -1), ("--density-neighbors", 0)]
)
def test_numbers_are_refused_before_anything_is_encoded(refused, rows, examples, tmp_path, option, value):
    words = ("--repository", rows, "--examples", examples, "--model", "lsa", option, value)
    assert option.strip("-").replace("-", "_") in refused("finetune", *words)
    assert not (tmp_path / ".setwise-cache").exists()


def test_fewer_candidates_than_neighbors_are_all_looked_at(run, arrays):
    vectors, probes = arrays
    found = record(
        run("finetune", "--repository", vectors, "--examples", probes, "--neighbors", 5000, "--json")
    )
    assert found["distribution"]["neighbors"] == N
    assert found["distribution"]["complete"]


STOPS = """
import time
from setwise.cli import main
from setwise.encode.static import Static

encode = Static.encode
seen = []

def stopping(self, texts, progress=None):
    seen.append(texts)
    if len(seen) == 2:
        print("one chunk is encoded", flush=True)
        time.sleep(600)
    return encode(self, texts, progress)

Static.encode, Static.chunk = stopping, 256
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupt_leaves_no_half_file(tmp_path, number, monkeypatch, run):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": text_of(row)}) + "\n" for row in range(300)))
    (tmp_path / "e.jsonl").write_text(json.dumps({"text": text_of(0)}) + "\n")
    words = ["finetune", "--repository", path, "--examples", tmp_path / "e.jsonl", "--rows", "100"]
    words += ["--out", tmp_path / "o.jsonl", "--model", "static"]
    command = [sys.executable, "-c", STOPS, *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "one chunk is encoded\n"
    process.send_signal(number)
    _, error = process.communicate()
    assert process.returncode == 130
    assert "the same command goes on from there" in error
    assert sorted(os.listdir(tmp_path)) == [".setwise-cache", "e.jsonl", "rows.jsonl"]
    encode, counts = Static.encode, []
    monkeypatch.setattr(Static, "chunk", 256, raising=False)
    monkeypatch.setattr(
        Static, "encode", lambda self, texts, *more: counts.append(len(texts)) or encode(self, texts, *more)
    )
    assert run(*words).code == 0
    assert counts == [44, 1]  # the chunk that is left and the examples; not the first chunk again
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 100
