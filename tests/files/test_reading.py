"""Tables in: every format gives the same columns, and every damage one clear line."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from uuid import UUID

import numpy as np
import pytest

from optional import lazily, needs
from setwise.files import column_types, read_array, read_corpus, read_table
from setwise.files.delimited import csv_batches
from setwise.finetuning.rows.repository import Repository

feather = lazily("pyarrow.feather")
pa = lazily("pyarrow")
pq = lazily("pyarrow.parquet")

ROWS = [
    {"id": 7, "text": 'one, "quoted"\nand broken', "score": 0.5, "vector": [1.0, 0.0]},
    {"id": 8, "text": "zwei – ünï", "score": -1.0, "vector": [0.0, 1.0]},
    {"id": 9, "text": "", "score": 3.0, "vector": [0.6, 0.8]},
]
COLUMNS = ["id", "text", "score", "vector"]


def write(path, rows=ROWS):
    """Write the rows in the format that the name asks for, by other code than the one tested."""
    table = pa.Table.from_pylist(rows)
    name = path.name
    if name.endswith(".parquet"):
        pq.write_table(table, path)
    elif name.endswith(".feather"):
        feather.write_feather(table, path)
    elif name.endswith("stream.arrow"):
        with pa.ipc.new_stream(path, table.schema) as sink:
            sink.write_table(table)
    elif name.endswith(".arrow"):
        with pa.ipc.new_file(path, table.schema) as sink:
            sink.write_table(table)
    elif name.endswith(".csv"):
        lines = ["id,text,score,vector"]
        for row in rows:
            text = row["text"].replace('"', '""')
            lines.append(f'{row["id"]},"{text}",{row["score"]},"{json.dumps(row["vector"])}"')
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        data = "\n".join(json.dumps(row) for row in rows).encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


FORMATS = ["a.parquet", "a.feather", "a.arrow", "stream.arrow", "a.jsonl", "a.jsonl.gz", "a.JSONL", "a.csv"]


@needs("pyarrow")
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_columns(tmp_path, name):
    path = write(tmp_path / name)
    assert list(column_types(path)) == COLUMNS
    assert column_types(path)["text"] == "string"
    table = read_table(path, COLUMNS)
    assert len(table) == 3
    assert table.texts("text") == [row["text"] for row in ROWS]
    assert [str(label) for label in table.labels("id", "id")] == ["7", "8", "9"]
    np.testing.assert_allclose(table.numbers("score", "relevance"), [0.5, -1.0, 3.0])
    np.testing.assert_allclose(table.vectors("vector"), [[1, 0], [0, 1], [0.6, 0.8]], rtol=1e-6)


@needs("pyarrow")
@pytest.mark.parametrize("name", FORMATS)
def test_only_the_columns_asked_for_are_read(tmp_path, name):
    assert list(read_table(write(tmp_path / name), ["score", "id"]).columns) == ["score", "id"]


@needs("pyarrow")
def test_csv_keeps_ids_as_they_are_written(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,text\n007,bond\n2020-01-01,a date\n")
    assert read_table(path, ["id"]).labels("id", "id") == ["007", "2020-01-01"]


@needs("pyarrow")
def test_a_column_is_what_all_of_its_rows_hold(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"id": 1, "text": None, "score": 1, "only": None}] + [{"id": 2, "text": None, "score": 2}] * 300
    rows += [{"text": "late", "score": 0.5, "later": [1.0], "flag": True, "deep": {"a": 1}}]
    path.write_text("\n".join(map(json.dumps, rows)))
    assert column_types(path) == {
        "id": "integer", "text": "string", "score": "number", "only": "null", "later": "list",
        "flag": "boolean", "deep": "struct",
    }  # fmt: skip
    path = tmp_path / "a.csv"
    path.write_text("id,text,none\n" + "1,2,\n" * 60_000 + "2,word,\n")
    assert column_types(path) == {"id": "integer", "text": "string", "none": "null"}


@needs("pyarrow")
def test_every_arrow_string_is_a_string(tmp_path):
    columns = {
        "plain": pa.array(["a", "b"]),
        "large": pa.array(["a", "b"], pa.large_string()),
        "view": pa.array(["a", "b"], pa.string_view()),
        "category": pa.array(["a", "b"]).dictionary_encode(),
    }
    with pa.ipc.new_file(tmp_path / "a.arrow", pa.table(columns).schema) as sink:
        sink.write_table(pa.table(columns))
    assert set(column_types(tmp_path / "a.arrow").values()) == {"string"}
    table = read_table(tmp_path / "a.arrow", list(columns))
    for name in columns:
        assert table.texts(name) == table.labels(name, "id") == ["a", "b"]


@needs("pyarrow")
def test_kinds_of_other_arrow_columns(tmp_path):
    key = UUID(int=7)
    table = pa.table(
        {
            "u": pa.array([key.bytes], pa.uuid()),
            "i": pa.array([1], pa.uint64()),
            "d": pa.array([1], pa.decimal128(4, 1)),
            "v": pa.array([[1.0]], pa.list_(pa.float32(), 1)),
            "s": pa.array([{"a": 1}]),
            "t": pa.array([0], pa.timestamp("s")),
            "b": pa.array([b"x"]),
            "n": pa.nulls(1),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    kinds = ["uuid", "integer", "number", "list", "struct", "time", "binary", "null"]
    assert list(column_types(tmp_path / "a.parquet").values()) == kinds
    assert read_table(tmp_path / "a.parquet", ["u"]).labels("u", "id") == [str(key)]


@needs("pyarrow")
def test_integers_that_became_floats_are_ids_again(tmp_path):
    pq.write_table(pa.table({"id": [1.0, 7.0]}), tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet", ["id"]).labels("id", "id") == [1, 7]
    pq.write_table(pa.table({"id": [1.0, None]}), tmp_path / "a.parquet")
    with pytest.raises(TypeError, match="id: a.parquet, row 1 has nothing in 'id'"):
        read_table(tmp_path / "a.parquet", ["id"]).labels("id", "id")


@needs("pyarrow")
@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_csv_cells_may_be_separated_otherwise(tmp_path, mark, encoding):
    path = tmp_path / "a.csv"
    rows = [
        ("id", "text"),
        ("a", f'"one{mark} two"'),
        ("b", "café"),
        ("c", "a, b; c") if mark not in ",;" else ("c", "d"),
    ]
    path.write_text("\n".join(map(mark.join, rows)), encoding=encoding)
    assert list(column_types(path)) == ["id", "text"]
    table = read_table(path, ["id", "text"])
    assert table.labels("id", "id") == ["a", "b", "c"]
    assert table.texts("text")[:2] == [f"one{mark} two", "café"]


@needs("pyarrow")
@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("latin-1", "file: a.csv, line 3 is not UTF-8; save the file as UTF-8"),
        ("utf-16-le", "file: a.csv is UTF-16 without a mark, or no text; save it as UTF-8"),
    ],
)
def test_a_csv_in_another_encoding_is_neither_damaged_nor_without_texts(tmp_path, encoding, message):
    from setwise.files.delimited import csv_batches

    path = tmp_path / "a.csv"
    path.write_text("id,text\na,tea\nb,café\n", encoding=encoding)
    with pytest.raises(ValueError, match=f"^{message}$"):
        column_types(path)
    with pytest.raises(ValueError, match=f"^{message.removeprefix('file: ')}$"):
        list(csv_batches(path))


@needs("pyarrow")
def test_a_csv_of_one_column_is_not_cut_at_other_marks(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text\none; two\nthree; four\nfive\n")
    assert read_table(path, ["text"]).texts("text") == ["one; two", "three; four", "five"]


@needs("pyarrow")
@pytest.mark.parametrize("place", [0, 3])
def test_csv_cells_of_any_length(tmp_path, place):
    path = tmp_path / "a.csv"
    cells = ["x" * 10] * 5
    cells[place] = "word " * 700_000
    path.write_text("id,text\n" + "".join(f"{row},{cell}\n" for row, cell in enumerate(cells)))
    assert column_types(path) == {"id": "integer", "text": "string"}
    assert read_table(path, ["text"]).texts("text") == cells
    batches = list(csv_batches(path))
    assert pa.Table.from_batches(batches).column("text").to_pylist() == cells


@needs("pyarrow")
def test_batches_of_a_csv_go_on_after_a_longer_record(tmp_path):
    path = tmp_path / "a.csv"
    cells = [f"row {row}" for row in range(300_000)] + ["y" * 3_000_000, "last"]
    path.write_text("id,text\n" + "".join(f"{row},{cell}\n" for row, cell in enumerate(cells)))
    table = pa.Table.from_batches(list(csv_batches(path)))
    assert table.column("text").to_pylist() == cells
    assert table.column("id").to_pylist() == [str(row) for row in range(len(cells))]


@needs("pyarrow")
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz", "a.jsonl.zst"])
def test_one_json_array_of_objects(tmp_path, name):
    data = (
        b"\xef\xbb\xbf\n"
        + json.dumps([{"id": 1, "text": "one"}, {"id": 2, "text": "two"}], indent=1).encode()
    )
    if name.endswith(".gz"):
        data = gzip.compress(data)
    if name.endswith(".zst"):
        data = pa.compress(data, "zstd", asbytes=True)
    (tmp_path / name).write_bytes(data)
    assert column_types(tmp_path / name) == {"id": "integer", "text": "string"}
    table = read_table(tmp_path / name, ["id", "text"])
    assert table.texts("text") == ["one", "two"]
    with pytest.raises(TypeError, match="row 0 has 1"):
        table.texts("id")


@needs("pyarrow")
def test_lines_that_are_compressed_otherwise(tmp_path):
    data = b'{"text": "one"}\n{"text": 2}\n'
    (tmp_path / "a.jsonl.zst").write_bytes(pa.compress(data, "zstd", asbytes=True))
    with pytest.raises(TypeError, match="line 2 has 2"):
        read_table(tmp_path / "a.jsonl.zst", ["text"]).texts("text")


@needs("pyarrow")
@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv"])
def test_ids_that_look_like_dates_are_ids(tmp_path, name):
    """In a CSV file all is text: what is called an id is read as one, and no row is numbered instead."""
    mark = "," if name.endswith("csv") else "\t"
    rows = [
        ("id", "text", "day"),
        ("2020-01-02", "apples", "2021-01-01"),
        ("2020-01-03", "pears", "2021-01-02"),
    ]
    (tmp_path / name).write_text("".join(f"{mark.join(row)}\n" for row in rows))
    assert column_types(tmp_path / name) == {"id": "string", "text": "string", "day": "time"}
    assert list(read_corpus(tmp_path / name).ids) == ["2020-01-02", "2020-01-03"]


def test_json_dates_stay_strings(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "2020-01-01"}\n')
    assert read_table(path, ["text"]).texts("text") == ["2020-01-01"]


@needs("pyarrow")
def test_null_texts_read_as_empty(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": null}\n{"other": 1}\n{"text": "x"}\n')
    assert read_table(path, ["text"]).texts("text") == ["", "", "x"]
    pq.write_table(pa.table({"text": pa.array([None, "x"], pa.string())}), tmp_path / "a.parquet")
    assert read_table(tmp_path / "a.parquet", ["text"]).texts("text") == ["", "x"]


@needs("pyarrow")
@pytest.mark.parametrize(
    ("kind", "size", "number"),
    [("list_", [2], "float32"), ("list_", [], "float64"), ("large_list", [], "float16")],
)
def test_arrow_vectors_of_every_list_type(tmp_path, kind, size, number):
    values = np.array([[1, 2], [3, 4]], number)
    column = pa.array(list(values), getattr(pa, kind)(getattr(pa, number)(), *size))
    pq.write_table(pa.table({"v": pa.chunked_array([column, column])}), tmp_path / "a.parquet")
    np.testing.assert_array_equal(
        read_table(tmp_path / "a.parquet", ["v"]).vectors("v"), [[1, 2], [3, 4]] * 2
    )


# ---------------------------------------------------------------- refusals


def refused(path, columns=("text",), error=ValueError):
    def read():
        column_types(path, "corpus")
        read_table(path, columns, "corpus")

    with pytest.raises(error) as caught:
        read()
    message = str(caught.value)
    assert message.startswith("corpus: ")
    assert "\n" not in message
    return message


@needs("pyarrow")
def test_a_missing_file_names_its_neighbor(tmp_path):
    write(tmp_path / "perspectives.jsonl")
    message = refused(tmp_path / "perspectves.jsonl", error=FileNotFoundError)
    assert "did you mean 'perspectives.jsonl'?" in message


def test_an_unknown_ending_names_the_known_ones(tmp_path):
    (tmp_path / "a.xlsx").write_text("x")
    assert (
        ".parquet, .arrow, .feather, .csv, .tsv, .tab, .jsonl, .json (text also as .gz or .zst)"
        in refused(tmp_path / "a.xlsx")
    )


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_file(tmp_path, name):
    (tmp_path / name).touch()
    assert refused(tmp_path / name) == f"corpus: {name} is empty"


@needs("pyarrow")
@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.arrow", "stream.arrow", "a.feather"])
def test_a_table_without_rows(tmp_path, name):
    path = tmp_path / name
    if name == "a.csv":
        path.write_text("id,text\n")
    else:
        table = pa.table({"id": pa.array([], pa.int64()), "text": pa.array([], pa.string())})
        if name == "a.parquet":
            pq.write_table(table, path)
        elif name == "a.feather":
            feather.write_feather(table, path)
        else:
            opened = pa.ipc.new_stream if name.startswith("stream") else pa.ipc.new_file
            with opened(path, table.schema) as sink:
                sink.write_table(table)
    assert refused(path) == f"corpus: {name} has no rows"


@pytest.mark.parametrize("name", ["blank.jsonl", "blank.jsonl.gz"])
def test_jsonl_of_blank_lines(tmp_path, name):
    data = b"\n \n"
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert refused(tmp_path / name) == f"corpus: {name} has no rows"


@needs("pyarrow")
@pytest.mark.parametrize("name", ["a.parquet", "a.feather", "a.arrow", "stream.arrow", "a.jsonl.gz"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file(tmp_path, name, share):
    rows = [{**ROWS[0], "id": number, "text": f"text {number * 7919 % 1000}"} for number in range(3000)]
    path = write(tmp_path / name, rows)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert "truncated or damaged" in refused(path)


@needs("pyarrow")
@pytest.mark.parametrize("name", ["a.parquet", "a.feather", "a.arrow", "a.jsonl", "a.jsonl.gz", "a.csv"])
def test_bytes_that_are_something_else(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(range(256)) * 20)
    refused(tmp_path / name)


def test_jsonl_errors_name_the_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n\n{"text": "b"}\n{"text": "c"')
    assert refused(path).startswith("corpus: a.jsonl, line 4 is not JSON")
    path.write_text('{"text": "a"}\n[1, 2]\n')
    assert refused(path) == "corpus: a.jsonl, line 2 is not a JSON object but list"
    path.write_bytes(b'{"text": "a"}\n{"text": "\xff\xfe"}\n')
    assert refused(path).startswith("corpus: a.jsonl, line 2 is not UTF-8")


@needs("pyarrow")
def test_a_csv_row_with_too_many_cells(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("id,text\n1,a\n2,b,c\n")
    assert "Expected 2 columns, got 3" in refused(path)


@needs("pyarrow")
def test_a_csv_that_is_not_utf8(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,text\n1,caf\xe9\n")
    refused(path)


@needs("pyarrow")
def test_a_column_that_stands_there_twice(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,text\n1,a\n")
    assert "has more than one column 'text'; rename one" in refused(path)


def wrong(tmp_path, rows, reading, error=TypeError):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(error) as caught:
        reading(read_table(path, rows[0]))
    return str(caught.value)


def test_rows_of_the_wrong_type_are_named(tmp_path):
    message = wrong(tmp_path, [{"text": "a"}, {"text": 5}], lambda table: table.texts("text"))
    assert message == "text: a.jsonl, line 2 has 5 (int) in 'text', expected a string"
    message = wrong(tmp_path, [{"id": "a"}, {"id": 0.5}], lambda table: table.labels("id", "id"))
    assert message == "id: a.jsonl, line 2 has 0.5 (float) in 'id', expected a string or an integer"
    message = wrong(tmp_path, [{"id": "a"}, {}], lambda table: table.labels("id", "id"))
    assert message == "id: a.jsonl, line 2 has nothing in 'id', expected a string or an integer"
    message = wrong(tmp_path, [{"r": 1}, {"r": "2"}], lambda table: table.numbers("r", "relevance"))
    assert message == "relevance: a.jsonl, line 2 has '2' (str) in 'r', expected a number"
    message = wrong(tmp_path, [{"r": 1}, {"r": True}], lambda table: table.numbers("r", "relevance"))
    assert "line 2 has True (bool)" in message


@needs("pyarrow")
def test_rows_are_named_from_zero_where_they_are_no_lines(tmp_path):
    pq.write_table(pa.table({"r": ["x", "y"]}), tmp_path / "a.parquet")
    with pytest.raises(
        TypeError, match=r"relevance: a.parquet, row 0 has 'x' \(str\) in 'r', expected a number"
    ):
        read_table(tmp_path / "a.parquet", ["r"]).numbers("r", "relevance")
    (tmp_path / "a.csv").write_text("r\n1\n1e3\nabc\n")
    with pytest.raises(TypeError, match=r"relevance: a.csv, row 2 has 'abc'"):
        read_table(tmp_path / "a.csv", ["r"]).numbers("r", "relevance")


@needs("pyarrow")
def test_ragged_and_broken_vectors(tmp_path):
    rows = [{"v": [1, 2]}, {"v": [1, 2, 3]}]
    message = wrong(tmp_path, rows, lambda table: table.vectors("v"), ValueError)
    assert message == "vectors: a.jsonl, line 2 has 3 numbers where line 1 has 2; all need the same"
    message = wrong(tmp_path, [{"v": [1, 2]}, {"v": "x"}], lambda table: table.vectors("v"))
    assert message == "vectors: a.jsonl, line 2 has 'x' (str) in 'v', expected a list of numbers"
    message = wrong(tmp_path, [{"v": [1, 2]}, {"v": [1, "x"]}], lambda table: table.vectors("v"))
    assert message == "vectors: a.jsonl, line 2 has an entry in 'v' that is no number"
    message = wrong(tmp_path, [{"v": [1, 2]}, {"v": [1, None]}], lambda table: table.vectors("v"))
    assert "line 2 has an entry in 'v' that is no number" in message
    message = wrong(tmp_path, [{"v": ["1", "2"]}, {"v": ["1", "2"]}], lambda table: table.vectors("v"))
    assert "line 1 has an entry in 'v' that is no number" in message
    pq.write_table(pa.table({"v": pa.array([[1.0, 2.0], [1.0]])}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"vectors: column 'v' of a.parquet: row 1 has 1"):
        read_table(tmp_path / "a.parquet", ["v"]).vectors("v")
    (tmp_path / "a.csv").write_text('v\n"[1, 2]"\nabc\n')
    with pytest.raises(TypeError, match="row 1 has 'abc'"):
        read_table(tmp_path / "a.csv", ["v"]).vectors("v")


@needs("pyarrow")
@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.jsonl.zst"])
@pytest.mark.parametrize("line", [b"x", b'{"text": "a"}\n'], ids=["one line", "lines"])
def test_a_file_that_expands_without_end_is_stopped(tmp_path, name, line, monkeypatch):
    monkeypatch.setattr("setwise.files.json_lines.ALLOWED", 1 << 18)
    data = line * ((1 << 23) // len(line))
    packed = gzip.compress(data) if name.endswith("gz") else pa.compress(data, "zstd", asbytes=True)
    (tmp_path / name).write_bytes(packed)
    assert "expands to more than 250 times its size" in refused(tmp_path / name)


def test_json_that_no_reader_can_hold(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": ' + "[" * 200_000 + "]" * 200_000 + "}\n")
    assert "line 2 is nested too deeply" in refused(path)
    path.write_text('{"text": ' + "9" * 5000 + "}\n")
    assert "line 1 cannot be read (Exceeds the limit" in refused(path)
    path.write_text("[" * 200_000)
    assert "nested too deeply" in refused(path)


@needs("pyarrow")
def test_any_flipped_byte_of_an_arrow_file_is_read_or_refused(tmp_path):
    """Run in a process of its own: a damaged offset ended in a segmentation fault."""
    table = pa.table({"text": [f"text {row}" * (row % 5) for row in range(200)], "v": [[1.0, 2.0]] * 200})
    with pa.ipc.new_file(tmp_path / "a.arrow", table.schema) as sink:
        sink.write_table(table)
    code = """
import sys
from pathlib import Path
import numpy as np
from setwise.files import column_types, read_table
source = Path(sys.argv[1])
data = source.read_bytes()
rng = np.random.default_rng(0)
path = source.with_name("b.arrow")
for place in rng.permutation(len(data))[:600]:
    for bit in (1, 128):
        path.write_bytes(data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :])
        try:
            names = list(column_types(path))
            table = read_table(path, names)
            for name in names:
                table.columns[name].to_pylist()
        except (ValueError, TypeError, UnicodeDecodeError):
            pass
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.arrow")], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr[-500:]) == (0, "")


def test_half_a_surrogate_pair_is_refused(tmp_path):
    (tmp_path / "b.jsonl").write_text('{"id": "a\\ud83d"}\n')
    with pytest.raises(ValueError, match="id: b.jsonl, line 1 holds half of a surrogate pair in 'id'"):
        read_table(tmp_path / "b.jsonl", ["id"]).labels("id", "id")

    (tmp_path / "a.jsonl").write_text('{"text": "ok \\ud83d\\ude00"}\n{"text": "half \\ud83d"}\n')
    with pytest.raises(ValueError, match="line 2 holds half of a surrogate pair"):
        read_table(tmp_path / "a.jsonl", ["text"]).texts("text")


def test_arrays_are_memory_mapped_and_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(6.0).reshape(3, 2))
    array = read_array(tmp_path / "a.npy", "vectors")
    assert isinstance(array, np.memmap)
    np.testing.assert_array_equal(array, np.arange(6.0).reshape(3, 2))
    np.save(tmp_path / "b.npy", np.array([{}], object), allow_pickle=True)
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "c.npy").write_bytes(data[:-8])
    (tmp_path / "d.npy").write_bytes(b"hello")
    (tmp_path / "e.npy").touch()
    header = data[:10] + data[10:].replace(b"(3, 2)", b"(9999999999999999999999, 2)")
    (tmp_path / "f.npy").write_bytes(header)
    (tmp_path / "g.npy").write_bytes(data[:10] + data[10:].replace(b"{'descr'", b"[((((((("))
    for name in "bcdefg":
        with pytest.raises(
            ValueError, match=rf"vectors: {name}.npy is truncated, or no .npy file of numbers"
        ):
            read_array(tmp_path / f"{name}.npy", "vectors")
    np.savez(tmp_path / "h.npz", x=np.eye(2))
    (tmp_path / "h.npz").rename(tmp_path / "h.npy")
    with pytest.raises(ValueError, match=r"vectors: h\.npy is an archive of arrays \(\.npz\)"):
        read_array(tmp_path / "h.npy", "vectors")
    with pytest.raises(FileNotFoundError, match="vectors: no file or folder"):
        read_array(tmp_path / "z.npy", "vectors")


def test_json_in_utf_16_is_no_other_kind_of_json(tmp_path):
    for name in ("a.json", "a.jsonl"):
        (tmp_path / name).write_text('[{"text": "tea"}]', encoding="utf-16")
        with pytest.raises(ValueError, match=rf"file: {name}, line 1 is not UTF-8; save the file as UTF-8"):
            column_types(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "same"),
    [
        pytest.param("t.tsv", "t.csv", marks=needs("pyarrow")),
        pytest.param("T.TSV", "t.csv", marks=needs("pyarrow")),
        ("t.ndjson", "t.jsonl"),
    ],
)
def test_other_names_of_a_format(tmp_path, name, same):
    text = '{"id": "007", "v": 1.5}\n' if "json" in name else "id\tv\n007\t1.5\n"
    found = []
    for each in (name, same):
        (tmp_path / each).write_text(text)
        table = read_table(tmp_path / each, ["id", "v"])
        found.append((column_types(tmp_path / each), table.values("id"), table.numbers("v", "file").tolist()))
    assert found[0] == found[1]
    assert found[0][1:] == (["007"], [1.5])


@needs("pyarrow")
@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('id\ttext\n1\thello\n2\t"open, not closed\n3\tthird\n', ["hello", '"open, not closed', "third"]),
        ('id\ttext\n1\t"open\n2\tb\n3\tclosed"\n', ['"open', "b", 'closed"']),
        ('id\ttext\n1\t"a ""b"", c"\n2\t5" pipe\n', ['a "b", c', '5" pipe']),
        ("id, of it\ttext\na\thello, you\nb\tworld, two\n", ["hello, you", "world, two"]),
        ("text\nhello, you\nworld; x\n", ["hello, you", "world; x"]),
    ],
)
def test_a_table_of_tabs_is_cut_by_tabs_alone(tmp_path, text, rows):
    (tmp_path / "t.tsv").write_text(text)
    assert read_table(tmp_path / "t.tsv", ["text"]).values("text") == rows


@needs("pyarrow")
def test_a_quote_that_is_never_closed_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text('id,text\n1,hello\n2,"two\nlines"\n3,"open\n4,fourth\n')
    assert refused(tmp_path / "t.csv").endswith("t.csv: the quote that line 5 opens is never closed")
    (tmp_path / "t.csv").write_text('id,text\n1,5" pipe\n2,"two\nlines"\n')
    assert read_table(tmp_path / "t.csv", ["text"]).values("text") == ['5" pipe', "two\nlines"]


@needs("pyarrow")
@pytest.mark.parametrize("name", ["a.parquet", "a.feather", "stream.arrow", "a.jsonl", "a.csv"])
@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_column_of_texts_gives_way_to_a_full_one(tmp_path, name, blank):
    rows = [{"id": row, "text": blank, "title": f"t{row}", "score": 1.0, "vector": [1.0]} for row in range(3)]
    if name == "a.csv":
        lines = ["id,text,title", *(f"{row['id']},{blank},{row['title']}" for row in rows)]
        (tmp_path / name).write_text("\n".join(lines))
    else:
        write(tmp_path / name, rows)
    corpus = read_corpus(tmp_path / name)
    assert corpus.texts == ["t0", "t1", "t2"]
    untyped = name == "a.csv" and not blank  # a CSV file's empty column holds no strings either
    assert corpus.notes == (() if untyped else ("texts: column 'title'; others: 'text'",))
    repository = Repository(tmp_path / name)
    assert list(repository.texts()) == [["t0", "t1", "t2"]]
    assert read_corpus(pa.Table.from_pylist(rows)).texts == corpus.texts
    rows[2]["text"] = "not blank"
    assert read_corpus(write(tmp_path / "full.jsonl", rows)).texts == [blank, blank, "not blank"]


@needs("pyarrow")
@pytest.mark.parametrize("start", ["sep=;\n", "SEP=;\r\n", '"sep=;"\n', "\ufeffsep=;\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_first_line_may_say_what_separates_cells(tmp_path, start, encoding):
    path = tmp_path / "a.csv"
    path.write_text(
        start.lstrip("\ufeff" if encoding == "utf-16" else "") + "id;text\n1;a,b\n2;c\n", encoding
    )
    assert read_table(path, column_types(path)).columns == {"id": ["1", "2"], "text": ["a,b", "c"]}
    assert [batch.to_pydict() for batch in csv_batches(path)] == [{"id": ["1", "2"], "text": ["a,b", "c"]}]
    path.write_text("sep=,kind\n1,a\n")  # names of columns
    assert list(column_types(path)) == ["sep=", "kind"]


@needs("pyarrow")
def test_compressed_cells_are_read_as_far_as_they_go(tmp_path):
    cells = b"id,text\n" + b"".join(
        b"%d,%s\n" % (row, b"x" * 3_000_000 if row == 7 else b"y") for row in range(9)
    )
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(cells))
    table = read_table(path, column_types(path))
    assert [len(text) for text in table.texts("text")] == [1] * 7 + [3_000_000, 1]
    assert table.numbers("id", "id").tolist() == list(range(9))
    path.write_bytes(gzip.compress(cells)[:-20])
    with pytest.raises(ValueError, match=r"file: a\.csv\.gz is truncated or damaged"):
        read_table(path, column_types(path))


@needs("pyarrow")
def test_feather_of_the_first_version_is_refused_with_its_mend(tmp_path):
    (tmp_path / "a.feather").write_bytes(b"FEA1" + bytes(60) + b"FEA1")
    with pytest.raises(ValueError, match=r"file: a\.feather is Feather V1; write it anew by pyarrow"):
        column_types(tmp_path / "a.feather")


@needs("pyarrow")
def test_columns_are_known_in_capitals_too_after_those_that_are_not(tmp_path):
    rows = [{"ID": f"x{row}", "Text": f"t{row}", "Author": "a"} for row in range(2)]
    corpus = read_corpus(pa.Table.from_pylist(rows))
    assert (corpus.ids, corpus.texts) == (["x0", "x1"], ["t0", "t1"])
    both = read_corpus(
        pa.Table.from_pylist([{**row, "body": f"b{row['ID']}", "uid": row["Text"]} for row in rows])
    )
    assert (both.ids, both.texts) == (["t0", "t1"], ["bx0", "bx1"])
    (tmp_path / "a.csv").write_text("id,text\n")
    with pytest.raises(ValueError, match=r"file: a\.csv has no rows"):
        column_types(tmp_path / "a.csv")
