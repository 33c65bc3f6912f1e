"""From files to files in one call: what the command does, with the command's defaults."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from dataclasses import MISSING, fields, replace
from pathlib import Path

import numpy as np
import pytest

from setwise.encode import encoder
from setwise.engine.local import LocalEngine
from setwise.finetuning import Pipeline, Sources, encode_examples, match
from setwise.finetuning.baselines import less
from setwise.finetuning.pipeline import METHODS

THINGS = ("apples and pears", "trains and ships", "verbs and nouns")


@pytest.fixture
def rows(tmp_path):
    """A repository of three subjects, row 7 without a word."""
    path = tmp_path / "rows.jsonl"
    texts = [f"note {row} about {THINGS[row % 3]}, part {row * row % 83}" for row in range(150)]
    texts[7] = "?"
    path.write_text("".join(json.dumps({"id": row, "text": text}) + "\n" for row, text in enumerate(texts)))
    return path


@pytest.fixture
def examples(tmp_path):
    path = tmp_path / "task.jsonl"
    path.write_text("".join(json.dumps({"text": f"a note of {THINGS[0]}, {i}"}) + "\n" for i in range(4)))
    return path


def test_a_pipeline_takes_what_the_command_takes_with_its_defaults():
    from setwise.cli.finetune import finetune

    own = {one.name: one.default for one in fields(Pipeline)}
    command = {name: one.default for name, one in inspect.signature(finetune).parameters.items()}
    for name in (
        "context",
        "sweep",
        "plot",
        "as_json",
        "no_cache",
    ):  # typer's; what is printed; `sweep`; cache=None
        del command[name]
    assert set(command) == set(own)
    assert own.pop("repository") is MISSING
    # Where nothing is named the command has None.
    assert own.pop("cache") == "auto"
    assert [own.pop(name) for name in ("text_column", "example_text_column", "roles")] == [(), (), ()]
    assert own == {name: command[name] for name in own}


def test_vectors_may_be_arrays_and_the_model_an_encoder(rows, examples, tmp_path):
    rng = np.random.default_rng(0)
    X, Q = rng.standard_normal((150, 8)), rng.standard_normal((4, 8))
    direct = match(X, Q, diversity=0.3)
    for repository, like, own in (
        (X, Q, {}),
        (rows, examples, {"vectors": X, "example_vectors": Q}),
        (rows, None, {"vectors": X, "example_vectors": Q}),
    ):
        selection = Pipeline(repository, like, diversity=0.3, **own).run()
        np.testing.assert_array_equal(selection.distribution.probabilities, direct.probabilities)
        assert selection.sources.encoder is None
    assert selection.to_dict()["repository"] == str(rows)
    assert selection.to_dict()["examples"] == "array"
    named = Pipeline(rows, examples, model="lsa", cache=None).run()
    made = Pipeline(rows, examples, model=encoder("lsa"), cache=tmp_path / "kept").run()
    np.testing.assert_array_equal(named.distribution.probabilities, made.distribution.probabilities)
    assert not (tmp_path / ".setwise-cache").exists()
    assert Pipeline(rows, examples, model="lsa", cache=tmp_path / "kept").run().sources.cached


def test_sources_can_be_opened_alone(rows, examples):
    with Sources(rows, examples, model="lsa").opened() as sources:
        assert (sources.n, sources.m) == (150, 149)
        assert 7 not in sources.rows
        found = match(sources.candidates, sources.examples)
        assert sources.texts_of(sources.rows_of(found.indices[:1]))[0].startswith("note")
        assert sources.example_texts([1]) == ["a note of apples and pears, 1"]
        left = "rows.jsonl: 1 of 150 rows left out, without a word that the encoder knows in text"
        assert sources.notes == (left,)


def test_a_sweep_is_that_of_the_vectors(rows, examples):
    pipeline = Pipeline(rows, examples, model="lsa", rows=10)
    swept = pipeline.sweep((0.1, 0.6))
    for found in swept:
        alone = replace(pipeline, diversity=found.diversity).run().distribution
        np.testing.assert_array_equal(found.probabilities, alone.probabilities)


def test_what_is_worth_a_look(rows, examples):
    selection = Pipeline(rows, examples, model="lsa", rows=30, epochs=2).run()
    assert "epochs: 2 of 30 rows" in repr(selection)
    counts = np.bincount(np.concatenate(selection.epochs), minlength=150)
    assert [one["times"] for one in selection.most_drawn(5)] == sorted(counts, reverse=True)[:5]
    assert len(selection.least_covered(2)) == 2
    shown = Pipeline(rows, examples, model="lsa").run()
    assert "none drawn" in repr(shown)
    assert shown.distinct.tolist() == []
    assert [one["times"] for one in shown.most_drawn(2)] == [None, None]
    assert Pipeline(rows, method="random", rows=3).run().least_covered() == []


def refusals():
    yield {"method": "matching"}, "method: 'matching' is unknown; did you mean 'match'"
    yield {"diversity": -1}, "diversity: -1.0 is outside"
    yield {"kernel_width": -1}, "kernel_width: -1 is not"
    yield {"empty": "keep"}, "empty: 'keep' is unknown"
    yield {"model": "lsi"}, "model: "
    yield {"epochs": 0}, "epochs: 0 is below 1"
    yield {"epochs": 2}, "epochs: it goes with a number of rows"
    yield {"replace": True}, "replace: it goes with a number of rows"
    yield {"rows": 2, "fraction": 0.5}, "rows: rows and fraction are two budgets"
    yield {"out": "x.jsonl"}, "rows: say how many to write"
    yield {"drawn": "x.npy"}, "rows: say how many to draw"
    yield {"tokens": 0}, "tokens: 0 is below 1"
    yield {"method": "nearest"}, "rows: nearest chooses a number of rows"
    yield {"rows": 3, "length_column": "n"}, "length_column: it goes with tokens"
    yield {"rows": 3, "method": "less", "neighbors": 7}, "neighbors: it goes with the method match"
    yield {"rows": 3, "min_words": 7}, "min_words: it goes with the method dsir; match does not"
    yield (
        {"rows": 3, "method": "random", "subtask_column": "x"},
        "subtask_column: it goes with the method less",
    )
    yield {"workers": 2, "index": "Flat"}, "workers: parts are searched exactly"
    yield {"threads": 0}, "threads: 0 is below 1"


@pytest.mark.parametrize(("options", "message"), list(refusals()))
def test_what_cannot_be_is_refused_before_anything_is_read(options, message):
    with pytest.raises(ValueError, match=message):
        Pipeline("there is no such file", "nor this", **options)


class Unasked:
    """An encoder that must not be asked."""

    name, key = "unasked", "unasked 1"

    def encode(self, texts, progress=None):
        raise AssertionError("it was asked")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": 50, "length_column": "id", "rows": None}, "length_column: rows.jsonl, row 3 has -1"),
        ({"method": "less", "subtask_column": "task"}, "subtask_column: task.jsonl has no column 'task'"),
        ({"index": "."}, "index: '.' is a folder without meta.json, no setwise index"),
        ({"index": "IVFx"}, "index: FAISS does not understand 'IVFx'"),
        ({"index": "./none"}, "index: no file or folder './none'"),
        ({"rows": 151, "replace": False}, "rows: 151 are more than the 150 there are"),
        ({"rows": 151, "method": "nearest"}, "rows: 151 are more than the 150 there are"),
        ({"tokens": 50, "rows": None, "tokenizer": "tiktoken:none"}, "tokenizer: 'none' is unknown"),
        ({"tokens": 50, "rows": None, "tokenizer": 3}, "tokenizer: expected one of"),
        ({"index": 3}, "index: expected 'auto', 'exact', a FAISS factory string"),
        ({"index": Path(__file__)}, "index: test_pipeline.py is damaged, or no FAISS index"),
        ({"index": "a" * 300}, "index: FAISS does not understand 'aaa"),
        ({"workers": 0}, "workers: 0 is below 1"),
        ({"workers": 2.5}, "workers: expected an integer, got 2.5"),
        ({"workers": "localhost:1"}, "workers: "),  # no Ray there, or no Ray at all
        ({"limits": "source"}, "limits: expected a mapping of columns to shares, got 'source'"),
        ({"limits": {"id": (0.1,)}}, "limits: 'id' has (0.1,); expected a most, or (least, most)"),
        ({"fraction": np.ones((9, 9)), "rows": None}, "fraction: expected a number above 0 and at most 1"),
        ({"examples": {"sums": ("x",)}}, "examples: 'sums' has 1 values; expected (source, weight)"),
        ({"examples": ""}, "examples: the path is empty; name a file or folder"),
        ({"vectors": "a\0b"}, "vectors: 'a\\x00b' is no path here (null character)"),
        ({"cache": 3}, "cache: expected a path, got int"),
        ({"cache": ""}, "cache: the path is empty; name a folder"),
        ({"out": ""}, "out: the path is empty; name a file or folder"),
        ({"drawn": " "}, "drawn: the path is blank; name a file or folder"),
    ],
)
def test_what_does_not_fit_the_rows_is_refused_before_they_are_encoded(rows, examples, options, message):
    if options.get("length_column"):
        rows.write_text(rows.read_text().replace('"id": 3,', '"id": -1,'))
    if "tiktoken" in str(options):
        pytest.importorskip("tiktoken")
    asked = {"rows": 5, "model": Unasked(), "cache": None, **options}
    with pytest.raises((TypeError, ValueError, OSError, ImportError), match=re.escape(message)) as refused:
        Pipeline(rows, **{"examples": examples, **asked}).run()
    assert "\n" not in str(refused.value)


def test_what_is_told_or_tried_is_refused_before_rows_are_encoded(rows, examples):
    pipeline = Pipeline(rows, examples, model=Unasked(), cache=None)
    short = Pipeline(examples, rows, model=Unasked(), cache=None, tokens=3)
    for call, message in (
        (lambda: pipeline.run(progress=3), "progress: expected a function or None, got int"),
        (short.run, "tokens: 3 hold no row; the shortest has 8. Raise the budget"),
        (lambda: pipeline.sweep(0.5), "diversities: expected a list of numbers, got 0.5"),
        (lambda: pipeline.sweep([0.5, 2.0]), "diversities: 2.0 is outside [0, 1]"),
        (lambda: pipeline.opened("rwos").__enter__(), "needs: 'rwos' is unknown; did you mean 'rows'?"),
        (lambda: encode_examples("a text", Unasked()), "texts: expected a list of strings, got 'a text'"),
        (lambda: encode_examples(["a", None], Unasked()), "texts: text 1 is None, expected a string"),
        (lambda: encode_examples(["a"], Unasked(), 3), "folder: expected a path, got int"),
    ):
        with pytest.raises((TypeError, ValueError), match=re.escape(message)):
            call()


def test_one_engine_serves_a_job_from_its_first_step_to_its_last(rows, examples, tmp_path, monkeypatch):
    made = []

    class Counted(LocalEngine):
        def __init__(self, workers):
            made.append(workers)
            super().__init__(workers)

    monkeypatch.setattr("setwise.engine.local.LocalEngine", Counted)
    asked = {"model": "ngrams", "cache": None, "rows": 5, "epochs": 2, "neighbors": 100}
    found = Pipeline(rows, examples, workers=1, out=tmp_path / "run", **asked).run()
    assert made == [1]
    alone = Pipeline(rows, examples, **asked).run()
    np.testing.assert_array_equal(found.epochs, alone.epochs)
    match(np.eye(9), np.eye(9)[:2], workers=1)
    assert made == [1, 1]


def test_outputs_are_refused_before_anything_is_read(rows, examples, tmp_path):
    (tmp_path / "there.jsonl").write_text("mine")
    for out, error in (
        (tmp_path / "there.jsonl", FileExistsError),
        (tmp_path / "no" / "x.jsonl", FileNotFoundError),
        (tmp_path / "x.csv", ValueError),
    ):
        with pytest.raises(error, match="out: "):
            Pipeline("there is no such file", examples, rows=2, out=out).run()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "rows.jsonl").write_bytes(rows.read_bytes())
    with pytest.raises(ValueError, match="would be read as a part of it"):
        Pipeline(folder, examples, rows=2, out=folder / "more.jsonl").run()
    (tmp_path / "other.jsonl").hardlink_to(examples)
    for same in (examples, tmp_path / "other.jsonl"):
        with pytest.raises(ValueError, match="indices: .* is read as examples"):
            Pipeline(rows, examples, indices=same, force=True).run()
    assert (tmp_path / "there.jsonl").read_text() == "mine"


def test_every_method_gives_a_distribution_over_the_candidates(rows, examples):
    for method in METHODS:
        own = {"min_words": 0} if method == "dsir" else {}
        selection = Pipeline(rows, examples, model="lsa", method=method, rows=20, **own).run()
        assert selection.distribution.n == 149
        assert len(selection.epochs[0]) == 20
        assert 7 not in selection.epochs[0]


def test_a_row_counts_by_the_subtask_it_serves_best(tmp_path):
    """Of two subtasks, the larger does not drown the smaller."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 8))
    labels = ["many"] * 9 + ["few"]
    lines = [{"text": f"text {row}", "task": label} for row, label in enumerate(labels)]
    (tmp_path / "examples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "rows.jsonl").write_text("".join(f'{{"text": "row {row}"}}\n' for row in range(60)))
    Q = rng.standard_normal((10, 8))
    own = {"vectors": X, "example_vectors": Q, "method": "less", "rows": 12}
    found = Pipeline(tmp_path / "rows.jsonl", tmp_path / "examples.jsonl", subtask_column="task", **own).run()
    direct = less(X, Q, 12, subtasks=labels)
    np.testing.assert_array_equal(found.distribution.indices, direct.indices)
    assert not np.array_equal(direct.indices, less(X, Q, 12).indices)
    with pytest.raises(ValueError, match="subtask_column: .*no column 'job'"):
        Pipeline(tmp_path / "rows.jsonl", tmp_path / "examples.jsonl", subtask_column="job", **own).run()


def test_quality_beside_vectors_is_one_number_a_row():
    """Where there are vectors alone, as where there are rows: a candidate's number is its row's."""
    rng = np.random.default_rng(0)
    X, Q, quality = rng.standard_normal((50, 4)), rng.standard_normal((5, 4)), rng.uniform(0.5, 2.0, 50)
    for name in ("quality", "densities"):
        found = Pipeline(X, Q, rows=5, **{name: quality}).run()
        assert found.distribution.probabilities.sum() == pytest.approx(1.0)
        for wrong in (45, 55):
            with pytest.raises(ValueError, match=rf"{name}: expected one number a row, shape \(50,\)"):
                Pipeline(X, Q, rows=5, **{name: np.ones(wrong)}).run()


def test_commands_that_run_at_once_over_one_cache_all_succeed(rows, examples, tmp_path):
    words = [sys.executable, "-c", "from setwise.cli import main; main()", "finetune"]
    words += ["--repository", rows, "--examples", examples, "--model", "static", "--rows", "9", "--out"]
    runs = [
        subprocess.Popen([*map(str, words), str(out)], stderr=subprocess.PIPE, text=True)
        for out in (tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    ]
    for one in runs:
        _, error = one.communicate(timeout=120)
        assert one.returncode == 0, error
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
