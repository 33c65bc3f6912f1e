"""Rows of a repository: read in blocks, drawn by a budget, written as they stood."""

from __future__ import annotations

import datetime
import decimal
import gzip
import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa
from pyarrow import csv, feather, parquet

from setwise.finetuning import Pipeline
from setwise.finetuning.distribution import Distribution
from setwise.finetuning.rows.card import CARD
from setwise.finetuning.rows.draw import count, draw, text_lengths, token_counts
from setwise.finetuning.rows.file_of_rows import stamp, written_by_worker
from setwise.finetuning.rows.ordering import in_order
from setwise.finetuning.rows.repository import Repository
from setwise.finetuning.rows.row_files import Lines, _line_starts
from setwise.finetuning.rows.writing import FORMAT, write_epochs, write_file

N = 1000


def make_table(n=N, first=0):
    """Rows with nested, temporal, null and dictionary columns."""
    number = np.arange(first, first + n)
    return pa.table(
        {
            "id": pa.array(number, pa.int32()),
            "text": pa.array([f"row {i} is about topic {i % 7}" for i in number], pa.large_string()),
            "tags": pa.array([[f"t{i % 3}"] * (i % 4) for i in number]),
            "score": pa.array([None if i % 11 == 0 else i / 8 for i in number], pa.float32()),
            "meta": pa.array([{"source": "web", "n": int(i)} for i in number]),
            "when": pa.array([datetime.date(2024, 1, 1) + datetime.timedelta(int(i) % 300) for i in number]),
            "kind": pa.array([f"k{i % 5}" for i in number]).dictionary_encode(),
        }
    )


@pytest.fixture
def table():
    return make_table()


@pytest.fixture
def sharded(tmp_path, table):
    """A folder of three Parquet files with small row groups, and a file that is none."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for name, start, size in (("b.parquet", 300, 450), ("a.parquet", 0, 300), ("c.parquet", 750, 250)):
        parquet.write_table(table.slice(start, size), folder / name, row_group_size=64)
    (folder / "README.md").write_text("about")
    (folder / ".hidden.parquet").write_text("")
    return folder


LINES = [
    b'{"text": "caf\xc3\xa9",  "n": 1e5, "x": [1, 2.50]}',
    b'  {"n": 12345678901234567890, "text": "spaces before"}',
    b'{"text": "\\u00e9scaped / \\/", "n": 1.0}   ',
    b'{"text": "last", "n": null, "late": {"a": "2020-01-01"}}',
]


@pytest.fixture
def lines(tmp_path):
    """A JSONL file with blank lines, Windows line ends and no end of its last line."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n  \n" + LINES[0] + b"\r\n" + LINES[1] + b"\n\n" + LINES[2] + b"\n \t\r\n" + LINES[3])
    return path


# ---------------------------------------------------------------- reading


def test_folder_is_its_files_in_name_order(sharded, table):
    repository = Repository(sharded)
    assert len(repository) == N
    assert [file.path.name for file in repository.files] == ["a.parquet", "b.parquet", "c.parquet"]
    assert [text for block in repository.texts(100) for text in block] == table["text"].to_pylist()
    assert repository.numbers("id", "x").tolist() == list(range(N))


def test_links_lead_to_files_of_the_folder_alone(sharded, tmp_path, table):
    parquet.write_table(table.slice(0, 9), tmp_path / "secret.parquet")
    (sharded / "d.parquet").symlink_to("a.parquet")
    (sharded / "e.parquet").symlink_to(tmp_path / "secret.parquet")
    (sharded / "f.parquet").symlink_to("nowhere.parquet")
    (sharded / "g.parquet").symlink_to("g.parquet")
    (sharded / "again").symlink_to(".")
    repository = Repository(sharded)
    assert [file.path.name for file in repository.files] == [f"{name}.parquet" for name in "abcd"]
    assert repository.told.split("; ")[-2:] == [
        "links that lead out of the folder, not followed: e.parquet",
        "links that lead nowhere: f.parquet, g.parquet",
    ]
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "e.parquet").symlink_to(tmp_path / "secret.parquet")
    with pytest.raises(ValueError, match=r"holds no .* file \(links that lead out .*: e.parquet\)"):
        Repository(tmp_path / "only")
    # The hub's cache keeps files elsewhere in the dataset's folder, and links to them.
    shot = tmp_path / "datasets--x" / "snapshots" / "1" / "data"
    shot.mkdir(parents=True)
    (tmp_path / "datasets--x" / "blobs").mkdir()
    parquet.write_table(table.slice(0, 9), tmp_path / "datasets--x" / "blobs" / "b1")
    (shot / "train.parquet").symlink_to("../../../blobs/b1")
    assert len(Repository(shot.parent)) == 9


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "jsonl.gz", "csv", "arrow", "stream.arrow"])
def test_every_format_reads_and_takes_the_same_rows(tmp_path, table, kind):
    plain = table.select(["id", "text"])
    path = tmp_path / f"rows.{kind}"
    if kind == "parquet":
        parquet.write_table(plain, path, row_group_size=33)
    elif kind == "csv":
        csv.write_csv(plain, path)
    elif kind.endswith("arrow"):
        opener = pa.ipc.new_stream if kind == "stream.arrow" else pa.ipc.new_file
        with opener(str(path), plain.schema) as writer:
            writer.write_table(plain, max_chunksize=70)
    else:
        data = b"".join(json.dumps(row).encode() + b"\n" for row in plain.to_pylist())
        path.write_bytes(gzip.compress(data) if kind == "jsonl.gz" else data)
    repository = Repository(path)
    assert len(repository) == N
    assert [text for block in repository.texts(64) for text in block] == plain["text"].to_pylist()
    wanted = np.array([0, 1, 63, 64, 500, 998, 999])
    schema = repository.schema()
    taken = pa.concat_tables([repository.parsed(part, schema) for part in repository.take(wanted)])
    assert [int(value) for value in taken["id"].to_pylist()] == wanted.tolist()
    assert taken["text"].to_pylist() == plain["text"].take(wanted).to_pylist()
    assert repository.texts_of(np.array([999, 3, 999])) == [plain["text"][i].as_py() for i in (999, 3, 999)]


def test_places_of_lines_do_not_depend_on_how_the_file_is_read(lines, monkeypatch):
    data = lines.read_bytes()
    expected = [data.index(line) for line in LINES]
    for size in (1, 2, 3, 7, 64, 1 << 20):
        monkeypatch.setattr("setwise.finetuning.rows.row_files._CHUNK", size)
        assert _line_starts(lines).tolist() == expected
    assert len(Repository(lines)) == 4


def test_where_a_line_stands_is_looked_for_only_where_it_cannot_be_read(lines, monkeypatch):
    """It takes a pass over the file: for each line, time would grow with the square of the rows."""
    asked = []
    monkeypatch.setattr(Lines, "line_of", lambda self, row: asked.append(row) or f"line {row}")
    assert sum(map(len, Repository(lines).texts())) == 4
    assert asked == []
    monkeypatch.undo()
    repository = Repository(lines)
    lines.write_bytes(lines.read_bytes() + b"\n[1]\n")
    with pytest.raises(ValueError, match=r"rows.jsonl, line \d+ is not a JSON object but list"):
        list(repository.texts())


@pytest.mark.parametrize(
    ("columns", "expected", "text"),
    [
        ({"instruction": "Add.", "input": "", "output": "3"}, ("instruction", "input", "output"), "Add.\n3"),
        ({"prompt": "a", "completion": "b", "text": "c"}, ("text",), "c"),
        (
            {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]},
            ("messages",),
            "hi\nho",
        ),
        ({"conversations": [{"from": "human", "value": "hi"}], "id": "1"}, ("conversations",), "hi"),
        ({"id": "7", "strange": "only"}, ("strange",), "only"),
        ({"question": "q", "answer": None}, ("question", "answer"), "q"),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_texts_are_found_in_the_usual_columns(tmp_path, columns, expected, text, kind):
    path = tmp_path / f"rows.{kind}"
    if kind == "jsonl":
        path.write_text(json.dumps(columns))
    else:
        parquet.write_table(pa.Table.from_pylist([columns]), path)
    repository = Repository(path)
    assert repository.text == expected
    assert list(repository.texts()) == [[text]]


def test_text_columns_are_joined_in_the_order_given(sharded):
    repository = Repository(sharded, text_column=["kind", "text"])
    assert repository.texts_of(np.array([8])) == ["k3\nrow 8 is about topic 1"]


def refusals(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    yield write("e.parquet", ""), {}, "e.parquet is empty"
    yield write("n.jsonl", "\n\n"), {}, "n.jsonl has no rows"
    yield write("l.jsonl", '{"text": "a"}\n\n[1]\n'), {}, "l.jsonl, line 3 is not a JSON object but list"
    yield write("t.jsonl", '{"text": "a"}\n\n{"text": 1}'), {}, "t.jsonl, line 3 has 1 (int) in 'text'"
    yield write("u.jsonl", '{"text": "a"}'), {"text_column": "txet"}, "no column 'txet'; did you mean 'text'?"
    yield write("s.jsonl", '{"text": "\\ud800"}'), {}, "half of a surrogate pair"
    yield write("o.jsonl", '{"a": "x", "b": "y"}'), {}, "name one of a, b"
    yield write("x.txt", "a"), {}, "ends in none of"
    yield tmp_path / "u.jsnl", {}, "did you mean 'u.jsonl'?"
    yield tmp_path / "empty", {}, "holds no .parquet"
    yield tmp_path / "mixed", {}, "a.csv and b.jsonl are of two kinds"
    yield tmp_path / "unlike", {}, "a.csv has a column 'y' and b.csv has not"


def test_what_cannot_be_read_is_one_line_that_names_it(tmp_path):
    for folder, files in (
        ("empty", {}),
        ("mixed", {"a.csv": "x\n1", "b.jsonl": "{}"}),
        ("unlike", {"a.csv": "x,y\n1,2", "b.csv": "x\n1"}),
    ):
        (tmp_path / folder).mkdir()
        for name, text in files.items():
            (tmp_path / folder / name).write_text(text)
    for path, options, message in refusals(tmp_path):
        with pytest.raises((ValueError, TypeError, FileNotFoundError)) as refused:
            for _ in Repository(path, **options).texts():
                pass
        assert message in str(refused.value), path
        assert "\n" not in str(refused.value)


def test_a_file_that_changes_meanwhile_is_noticed(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text\na\nb\nc\n")
    repository = Repository(path)
    path.write_text("text\na\n")
    with pytest.raises(ValueError, match=r"rows\.csv has changed while it was read"):
        list(repository.take(np.array([0, 2])))


# ---------------------------------------------------------------- budgets


@pytest.fixture
def skewed():
    return Distribution.over(np.arange(50, dtype=float))


def test_rows_and_shares_are_those_of_the_distribution(skewed):
    (drawn,) = draw(skewed, rows=20, seed=3)
    assert np.array_equal(drawn, skewed.sample(20, seed=3))
    (share,) = draw(skewed, fraction=0.1, seed=3)
    assert np.array_equal(share, drawn[:5])
    assert count(1000, fraction=1e-9) == 1
    three = draw(skewed, rows=20, epochs=3, seed=3)
    assert np.array_equal(three[0], drawn)
    assert not np.array_equal(three[0], three[1])
    assert all(
        np.array_equal(a, b) for a, b in zip(three, draw(skewed, rows=20, epochs=5, seed=3), strict=False)
    )


def test_candidates_are_mapped_to_rows(skewed):
    places = np.arange(50) * 2 + 1
    (drawn,) = draw(skewed, fraction=0.1, of=places, n=200)
    assert np.array_equal(drawn, places[skewed.sample(20)])


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("tokens", [75, 300, 1111])
def test_tokens_are_filled_and_never_passed(skewed, replace, tokens):
    lengths = np.random.default_rng(1).integers(0, 70, 50)
    for epoch, drawn in enumerate(
        draw(skewed, tokens=tokens, lengths=lengths, epochs=3, seed=5, replace=replace)
    ):
        # The first draws of as many as there could ever be, until the next one would pass the budget.
        most = 5000 if replace else 49
        every = list(skewed.epochs(most, epoch + 1, seed=5, replace=replace))[epoch]
        kept, total = [], 0
        for row in every.tolist():
            if total + lengths[row] > tokens:
                break
            kept.append(row)
            total += lengths[row]
        assert drawn.tolist() == kept
        assert lengths[drawn].sum() <= tokens


def test_lengths_are_of_the_repositorys_rows_where_candidates_are_fewer():
    of = np.array([1, 3])
    lengths = np.array([1000, 2, 1000, 3])
    (drawn,) = draw(Distribution.uniform(np.arange(2), 2), tokens=30, lengths=lengths, of=of, n=4)
    assert set(drawn.tolist()) == {1, 3}
    assert 27 < lengths[drawn].sum() <= 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "none of them is given"),
        ({"rows": 3, "tokens": 3}, "rows and tokens are two budgets"),
        ({"rows": 0}, "rows: 0 is below 1"),
        ({"fraction": 0.0}, "fraction: 0.0 is not above 0"),
        ({"rows": 10**17}, "rows: 100,000,000,000,000,000 rows are more than 4,294,967,296 in all; draw"),
        ({"rows": 10**6, "epochs": 10**4}, "rows: 1,000,000 rows in each of 10,000 epochs are more than"),
        ({"rows": 1, "epochs": 2 * 10**9}, "epochs: 2000000000 is above 10000"),
        ({"fraction": 1.5}, "for more rows give rows"),
        ({"fraction": True}, "fraction: expected a number"),
        ({"tokens": 10}, "needs the length of every row"),
        ({"tokens": 10, "lengths": np.ones(49)}, r"got shape \(49,\)"),
        ({"tokens": 10, "lengths": np.full(50, 0.5)}, "row 0 has 0.5"),
        ({"tokens": 10, "lengths": np.zeros(50)}, "no budget is ever filled"),
        ({"tokens": 10, "lengths": np.full(50, 11)}, "the first drawn has 11"),
        ({"tokens": 101, "lengths": np.full(50, 2), "replace": False}, "more than the 98 of all 49 rows"),
        ({"rows": 50, "replace": False}, "rows: 50 are more than the 49 rows of positive prob"),
        ({"fraction": 1.0, "replace": False}, "fraction: 50 are more than the 49 rows"),
    ],
)
def test_budgets_that_cannot_be_met_are_refused(skewed, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        draw(skewed, **options)


def test_all_rows_fit_exactly(skewed):
    (drawn,) = draw(skewed, tokens=98, lengths=np.full(50, 2), replace=False)
    assert sorted(drawn.tolist()) == list(range(1, 50))


def test_lengths_come_from_a_column_or_from_words(sharded, tmp_path):
    assert text_lengths(Repository(sharded)).tolist() == [6] * N
    assert token_counts(Repository(sharded), "id").tolist() == list(range(N))
    with pytest.raises(ValueError, match="did you mean 'score'"):
        token_counts(Repository(sharded), "scor")
    (tmp_path / "parts.jsonl").write_text('{"text": "a", "n": 2}\n{"text": "b", "n": 0.5}')
    with pytest.raises(ValueError, match=r"length_column: parts\.jsonl, row 1 has 0\.5"):
        token_counts(Repository(tmp_path / "parts.jsonl"), "n")


# ---------------------------------------------------------------- writing


def test_rows_keep_schema_and_order(sharded, table, tmp_path):
    drawn = np.random.default_rng(0).integers(0, N, 2500)
    write_file(Repository(sharded), [drawn], tmp_path / "out.parquet")
    found = parquet.read_table(tmp_path / "out.parquet")
    assert found.schema.equals(table.schema)
    assert found.equals(table.take(drawn))


@pytest.mark.parametrize("memory", [1, 3000, 40_000, 1 << 30])
def test_order_does_not_depend_on_memory(sharded, table, tmp_path, memory):
    drawn = np.random.default_rng(0).integers(0, N, 700)
    repository = Repository(sharded)
    if memory == 1:
        drawn = drawn[:40]
    found = pa.concat_tables(list(in_order(repository, drawn, memory=memory, beside=tmp_path)))
    assert found["id"].to_pylist() == drawn.tolist()
    assert found["meta"].to_pylist() == table["meta"].take(drawn).to_pylist()
    assert found["kind"].to_pylist() == table["kind"].take(drawn).to_pylist()
    assert sorted(os.listdir(tmp_path)) == ["shards"]


def test_only_row_groups_with_a_drawn_row_are_read_and_each_once(sharded, monkeypatch):
    repository, read = Repository(sharded), []
    whole = parquet.ParquetFile.iter_batches

    def counted(self, size, row_groups=None, columns=None):
        read.extend(row_groups)
        return whole(self, size, row_groups=row_groups, columns=columns)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", counted)
    drawn = np.array([5, 290, 5, 70, 6] * 30)  # row groups 0, 4 and 1 of the first file
    found = list(in_order(repository, drawn, memory=2000))
    assert len(found) > 3
    assert sorted(read) == [0, 1, 4]


def test_lines_stay_byte_for_byte(lines, tmp_path):
    drawn = np.array([3, 0, 2, 2, 1])
    write_file(Repository(lines), [drawn], tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == b"".join(LINES[row] + b"\n" for row in drawn)


def test_lines_of_a_marked_and_of_a_compressed_file(tmp_path):
    data = b"\xef\xbb\xbf" + b"\r\n".join(LINES)
    (tmp_path / "marked.jsonl").write_bytes(data)
    (tmp_path / "small.jsonl.gz").write_bytes(gzip.compress(data))
    for name in ("marked.jsonl", "small.jsonl.gz"):
        repository = Repository(tmp_path / name)
        assert len(repository) == 4
        write_file(repository, [np.array([2, 0])], tmp_path / "out.jsonl", force=True)
        assert (tmp_path / "out.jsonl").read_bytes() == LINES[2] + b"\n" + LINES[0] + b"\n"


def test_lines_become_parquet_with_the_types_of_all(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [
        {"text": "a", "n": 1},
        {"text": "2020-01-01", "n": 2.5, "late": {"a": [1]}},
        {"text": None, "n": 3},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    write_file(Repository(path), [np.array([2, 1, 0])], tmp_path / "out.parquet")
    found = parquet.read_table(tmp_path / "out.parquet")
    assert str(found.schema.field("n").type) == "double"
    assert str(found.schema.field("text").type) == "string"
    assert found.to_pylist() == [
        {"text": None, "n": 3.0, "late": None},
        {"text": "2020-01-01", "n": 2.5, "late": {"a": [1]}},
        {"text": "a", "n": 1.0, "late": None},
    ]
    path.write_text('{"text": "a", "n": 1}\n{"text": "a", "n": "one"}')
    with pytest.raises(ValueError, match=r"values of several kinds in 'n'.*write \.jsonl"):
        write_file(Repository(path), [np.array([0])], tmp_path / "other.parquet")
    assert sorted(os.listdir(tmp_path)) == ["out.parquet", "rows.jsonl"]


def test_parquet_becomes_lines(sharded, table, tmp_path):
    write_file(Repository(sharded), [np.array([12, 0])], tmp_path / "out.jsonl")
    found = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    expected = table.take([12, 0]).to_pylist()
    for row in expected:
        row["when"] = row["when"].isoformat()
    assert found == expected


def test_what_json_lacks_is_refused_and_leaves_nothing(tmp_path):
    length = datetime.timedelta(1)
    for value in (b"raw", {"in": [b"raw"]}, decimal.Decimal("1.5"), length, float("nan")):
        parquet.write_table(pa.table({"text": ["a"], "x": [value]}), tmp_path / "rows.parquet")
        with pytest.raises(ValueError, match=r"out: .*JSON does not hold.*; write \.parquet"):
            write_file(Repository(tmp_path / "rows.parquet"), [np.array([0])], tmp_path / "out.jsonl")
        assert os.listdir(tmp_path) == ["rows.parquet"]


def test_what_parquet_lacks_is_refused_before_anything_is_chosen(tmp_path, monkeypatch):
    empty = pa.array([{}, {}], pa.struct([]))
    source = tmp_path / "rows.arrow"
    for held in (empty, pa.ListArray.from_arrays([0, 1, 2], empty)):
        feather.write_feather(
            pa.table({"text": ["a", "b"], "meta": held}), source, compression="uncompressed"
        )
        monkeypatch.setattr(
            "setwise.finetuning.pipeline.selected_rows", lambda *_: pytest.fail("rows were chosen")
        )
        asked = Pipeline(
            source, source, rows=1, out=tmp_path / "out.parquet", method="nearest", model="ngrams"
        )
        told = r"out: column 'meta' of rows.arrow holds empty objects \({}\), which Parquet has no place for"
        with pytest.raises(ValueError, match=told):
            asked.run()
        with pytest.raises(ValueError, match=told):
            write_epochs(Repository(source), [np.array([0])], tmp_path / "epochs", kind=".parquet")
        assert os.listdir(tmp_path) == ["rows.arrow"]
    (tmp_path / "rows.jsonl").write_text('{"text": "a", "meta": {}}\n{"text": "b"}\n')
    with pytest.raises(ValueError, match=r"out: column 'meta' of rows.jsonl holds empty objects"):
        write_file(Repository(tmp_path / "rows.jsonl"), [np.array([0])], tmp_path / "out.parquet")
    write_file(Repository(tmp_path / "rows.jsonl"), [np.array([0])], tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text() == '{"text": "a", "meta": {}}\n'


@pytest.mark.parametrize("memory", [1, 1 << 20])
def test_shards_that_spell_one_column_differently_are_one_repository(tmp_path, memory):
    """A category in one shard, a plain, large or viewed string in others, or nothing but nulls."""
    folder = tmp_path / "shards"
    folder.mkdir()
    texts = [f"row {row}" for row in range(12)]
    kinds = [pa.dictionary(pa.int8(), pa.string()), pa.string(), pa.large_string(), pa.null()]
    texts[9:] = [None] * 3
    for number, kind in enumerate(kinds):
        part = pa.array(texts[3 * number : 3 * number + 3]).cast(kind)
        parquet.write_table(pa.table({"text": part, "n": range(3)}), folder / f"{number}.parquet")
    for first in (0, 3):  # what the first shard holds does not say what the column is
        if first:
            (folder / "3.parquet").rename(folder / "-3.parquet")
            texts = texts[9:] + texts[:9]
        repository = Repository(folder)
        assert repository.columns == {"text": "string", "n": "integer"}
        assert repository.text == ("text",)
        assert [text for block in repository.texts() for text in block] == [text or "" for text in texts]
        rows = np.array([11, 0, 5, 5, 2])
        for out in ("out.parquet", "out.jsonl"):
            write_file(repository, [rows], tmp_path / out, force=True, memory=memory)
        assert parquet.read_table(tmp_path / "out.parquet")["text"].to_pylist() == [
            texts[row] for row in rows
        ]
        lines = (tmp_path / "out.jsonl").read_text().splitlines()
        assert [json.loads(line)["text"] for line in lines] == [texts[row] for row in rows]


def test_shards_are_one_repository_by_the_names_of_columns_and_values_that_fit(tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    texts = pa.array(["a", "b"])
    parquet.write_table(pa.table({"text": texts, "n": [2**53, 1]}), folder / "a.parquet")
    parquet.write_table(pa.table({"n": [0.5, 2.0], "text": texts}), folder / "b.parquet")
    write_file(Repository(folder), [np.array([3, 0])], tmp_path / "out.parquet")
    assert parquet.read_table(tmp_path / "out.parquet").to_pylist() == [
        {"text": "b", "n": 2.0},
        {"text": "a", "n": 2.0**53},
    ]
    parquet.write_table(pa.table({"text": texts, "n": [2**53 + 1, 1]}), folder / "a.parquet")
    with pytest.raises(ValueError, match="repository: a.parquet has a value in 'n' that double, the type of"):
        write_file(Repository(folder), [np.array([3, 0])], tmp_path / "other.parquet")


@pytest.mark.parametrize("values", [[2**60 + 1, 0.5], ["\ud800", "a"]])
def test_lines_that_no_type_holds_are_refused_however_far_apart(tmp_path, monkeypatch, values):
    monkeypatch.setattr("setwise.finetuning.rows.repository._BLOCK", 1)
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"text": "a", "n": value}) for value in values))
    with pytest.raises(ValueError, match=r"rows.jsonl has values of several kinds in 'n', or "):
        write_file(Repository(path), [np.array([0, 1])], tmp_path / "out.parquet")


def test_cells_of_csv_stay_strings(tmp_path):
    (tmp_path / "rows.csv").write_text('id,text\n007,"two\nlines"\n008,\n')
    write_file(Repository(tmp_path / "rows.csv"), [np.array([1, 0])], tmp_path / "out.parquet")
    expected = [{"id": "008", "text": ""}, {"id": "007", "text": "two\nlines"}]
    assert parquet.read_table(tmp_path / "out.parquet").to_pylist() == expected


def test_one_file_of_several_epochs_has_a_column(sharded, lines, tmp_path):
    epochs = [np.array([3, 1]), np.array([1])]
    write_file(Repository(sharded), epochs, tmp_path / "out.parquet")
    found = parquet.read_table(tmp_path / "out.parquet")
    assert found["epoch"].to_pylist() == [1, 1, 2]
    assert found["id"].to_pylist() == [3, 1, 1]
    write_file(Repository(lines), epochs, tmp_path / "out.jsonl")
    first = (tmp_path / "out.jsonl").read_bytes().splitlines()[0]
    assert first == LINES[3][:-1] + b', "epoch": 1}'
    assert [json.loads(line)["epoch"] for line in (tmp_path / "out.jsonl").read_bytes().splitlines()] == [
        1,
        1,
        2,
    ]
    (tmp_path / "own.jsonl").write_text('{"epoch": 3, "text": "a"}\n{}')
    with pytest.raises(ValueError, match="has a column 'epoch' of its own"):
        write_file(Repository(tmp_path / "own.jsonl"), [np.array([0])] * 2, tmp_path / "x.jsonl")


# ---------------------------------------------------------------- epochs

META = FORMAT.meta


@pytest.fixture
def drawn():
    return draw(Distribution.uniform(np.arange(N), N), rows=200, epochs=3)


def test_a_file_an_epoch(sharded, table, drawn, tmp_path):
    written = write_epochs(Repository(sharded), drawn, tmp_path / "out", settings={"seed": 0})
    assert sorted(os.listdir(tmp_path / "out")) == [
        META,
        CARD,
        *(f"epoch-{i:05d}.parquet" for i in (1, 2, 3)),
    ]
    assert written.kept == ()
    for file, rows in zip(written.files, drawn, strict=True):
        assert parquet.read_table(file).equals(table.take(rows))
    record = json.loads((tmp_path / "out" / META).read_text())
    assert record["settings"] == {"seed": 0}
    assert [facts["rows"] for facts in record["files"].values()] == [200] * 3
    parquet.write_table(table, tmp_path / "blob")  # as a cache keeps downloads, without an ending
    (tmp_path / "link.parquet").symlink_to(tmp_path / "blob")
    linked = Repository(tmp_path / "link.parquet")
    alone = write_epochs(linked, drawn, tmp_path / "alone")
    spread = write_epochs(linked, drawn, tmp_path / "by-workers", workers=1)
    for one, other in zip(alone.files, spread.files, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_a_repository_that_has_changed_is_not_written_by_workers(sharded, drawn, tmp_path):
    before, file = stamp(Repository(sharded)), tmp_path / "epoch-00001.parquet"
    assert written_by_worker((str(sharded), before, drawn[0], str(file), 1e8))["bytes"] == file.stat().st_size
    os.utime(sharded / "b.parquet", ns=(1, 1))
    with pytest.raises(ValueError, match=r"repository: shards has changed while it was read"):
        written_by_worker((str(sharded), before, drawn[0], str(file), 1e8))


def test_an_interrupted_run_keeps_what_is_finished(sharded, table, drawn, tmp_path):
    out = tmp_path / "out"

    def stop(step, done, total):
        if "epoch-00002" in step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_epochs(Repository(sharded), drawn, out, progress=stop)
    assert sorted(os.listdir(out)) == [META, CARD, "epoch-00001.parquet"]
    before = os.stat(out / "epoch-00001.parquet").st_mtime_ns
    written = write_epochs(Repository(sharded), drawn, out)
    assert written.kept == ("epoch-00001.parquet",)
    assert os.stat(out / "epoch-00001.parquet").st_mtime_ns == before
    for file, rows in zip(written.files, drawn, strict=True):
        assert parquet.read_table(file).equals(table.take(rows))


def test_a_run_that_is_interrupted_before_an_epoch_is_finished_leaves_nothing(sharded, drawn, tmp_path):
    def stop(step, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_epochs(Repository(sharded), drawn, tmp_path / "out", progress=stop)
    assert os.listdir(tmp_path) == ["shards"]
    write_epochs(Repository(sharded), drawn, tmp_path / "out")
    other = [rows[::-1] for rows in drawn]
    with pytest.raises(KeyboardInterrupt):
        write_epochs(Repository(sharded), other, tmp_path / "out", force=True, progress=stop)
    assert os.listdir(tmp_path / "out") == [META]


def test_a_damaged_epoch_is_written_anew(sharded, table, drawn, tmp_path):
    out = tmp_path / "out"
    write_epochs(Repository(sharded), drawn, out)
    data = bytearray((out / "epoch-00002.parquet").read_bytes())
    data[100] ^= 1
    (out / "epoch-00002.parquet").write_bytes(data)
    (out / "epoch-00003.parquet").unlink()
    written = write_epochs(Repository(sharded), drawn, out)
    assert written.kept == ("epoch-00001.parquet",)
    assert parquet.read_table(written.files[1]).equals(table.take(drawn[1]))


def test_other_rows_are_replaced_only_when_asked(sharded, drawn, tmp_path):
    out = tmp_path / "out"
    write_epochs(Repository(sharded), drawn, out)
    other = [rows[::-1] for rows in drawn[:2]]
    with pytest.raises(FileExistsError, match="epochs of other rows"):
        write_epochs(Repository(sharded), other, out)
    assert len(os.listdir(out)) == 5
    write_epochs(Repository(sharded), other, out, force=True)
    assert sorted(os.listdir(out)) == [META, CARD, "epoch-00001.parquet", "epoch-00002.parquet"]


def test_of_two_runs_into_one_folder_one_says_that_the_other_is_at_it(sharded, drawn, tmp_path):
    out = tmp_path / "out"
    hold = f"from setwise.files.locking import locked\nwith locked({str(out)!r}, 'out'):\n    pass\n"
    met = []

    def meet(step, done, total):
        if not met:
            met.append(subprocess.run([sys.executable, "-c", hold], capture_output=True, text=True))

    write_epochs(Repository(sharded), drawn, out, progress=meet)
    assert "TimeoutError: out: " in met[0].stderr
    assert "is being written by another process" in met[0].stderr
    assert FORMAT.verify(out).epochs == 3


@pytest.mark.parametrize("damage", [b"{", b'{"format": "setwise epochs", "version": 1}', None])
def test_a_damaged_record_of_epochs_is_refused_in_one_line(sharded, drawn, tmp_path, damage):
    out = tmp_path / "out"
    write_epochs(Repository(sharded), drawn, out)
    before = (out / META).read_bytes()
    (out / META).write_bytes(before.replace(b'"rows": 200', b'"rows": 201') if damage is None else damage)
    with pytest.raises((ValueError, FileExistsError), match="out|epochs: .*is damaged") as refused:
        write_epochs(Repository(sharded), drawn, out, force=True)
    assert "\n" not in str(refused.value)
    assert len(os.listdir(out)) == 5


def test_places_that_are_not_for_epochs_are_refused(sharded, drawn, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("keep")
    (tmp_path / "file").write_text("keep")
    for out, error, message in (
        (tmp_path / "mine", FileExistsError, "is no setwise epochs, so nothing replaces it"),
        (tmp_path / "file", NotADirectoryError, "is a file"),
        (tmp_path / "no" / "out", FileNotFoundError, "create it first"),
        (tmp_path / "out.csv", ValueError, "ends in none of .parquet, .jsonl"),
    ):
        with pytest.raises(error, match=message):
            write_epochs(Repository(sharded), drawn, out, force=True)
    parquet.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(FileExistsError, match="exists; add --force"):
        write_file(Repository(sharded), drawn, tmp_path / "x.parquet")
    assert (tmp_path / "mine" / "notes").read_text() == "keep"
