"""The tables of docs/doors.md: every cell is run, in every way of the kind that it names."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import setwise
from optional import needs
from setwise.finetuning import match

pytestmark = needs("pandas", "polars", "pyarrow", "datasets", "torch", "faiss", "typer", "sklearn")

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "doors.md").read_text(encoding="utf-8")
N, D = 24, 6
ROWS = np.random.default_rng(0).integers(-9, 9, (N, D)).astype(np.float32) + 0.5


def cells(first):
    """The table whose head starts so: kind -> {door: whether it is taken}."""
    table = PAGE[PAGE.index(f"| {first} |") :].partition("\n\n")[0].splitlines()
    doors = [door.strip() for door in table[0].strip("|").split("|")[1:]]
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]
    return [
        pytest.param(kind, door, {"yes": True, "no": False}[cell], id=f"{kind[:24]}-{door[:20]}")
        for kind, *row in lines
        for door, cell in zip(doors, row, strict=True)
    ]


def vectors_as(kind, folder):
    """The same rows in every way that a kind has."""
    import datasets
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    import torch
    from scipy import sparse

    flat, listed = pa.array(ROWS.ravel()), ROWS.tolist()
    lists = pa.array(listed, pa.list_(pa.float32()))
    named = {"name": [f"n{row}" for row in range(N)], "v": listed}
    if kind == "memory map":
        np.save(folder / "rows.npy", ROWS)
    return {
        "NumPy array, any float or integer type": lambda: [
            ROWS,
            ROWS.astype(np.float64),
            ROWS.astype(np.float16),
        ],
        "memory map": lambda: [np.load(folder / "rows.npy", mmap_mode="r")],
        "nested lists": lambda: [listed, [tuple(row) for row in listed]],
        "torch tensor, bfloat16 or with a gradient too": lambda: [
            torch.tensor(ROWS),
            torch.tensor(ROWS).bfloat16(),
            torch.tensor(ROWS, requires_grad=True),
        ],
        "list of tensors": lambda: [list(torch.tensor(ROWS)), list(torch.tensor(ROWS).bfloat16())],
        "Arrow column of lists, fixed lists or list views": lambda: [
            lists,
            pa.chunked_array([lists[:5], lists[5:]]),
            pa.FixedSizeListArray.from_arrays(flat, D),
            pa.array(listed, pa.list_view(pa.float32())),
        ],
        "Arrow column of fixed-shape tensors": lambda: [pa.FixedShapeTensorArray.from_numpy_ndarray(ROWS)],
        "pandas column of arrays": lambda: [pd.Series(list(ROWS)), pd.Series(listed, index=range(N, 0, -1))],
        "polars column of lists or arrays": lambda: [
            pl.Series(listed),
            pl.Series(listed).cast(pl.Array(pl.Float32, D)),
        ],
        "pandas frame": lambda: [pd.DataFrame(named), pd.DataFrame(ROWS)],
        "polars frame": lambda: [pl.DataFrame(named), pl.DataFrame(ROWS)],
        "Arrow table": lambda: [pa.table(named), pa.table({f"c{at}": ROWS[:, at] for at in range(D)})],
        "Hugging Face dataset": lambda: [datasets.Dataset.from_dict(named)],
        "Arrow column of structs": lambda: [pa.array([{"v": row} for row in listed])],
        "SciPy sparse matrix": lambda: [sparse.csr_matrix(ROWS), sparse.csr_array(ROWS)],
        "sparse tensor": lambda: [torch.tensor(ROWS).to_sparse()],
        "packed bits (bytes)": lambda: [[bytes(8)] * N, pa.array([bytes(8)] * N)],
        "polars LazyFrame, stream of Arrow batches": lambda: [
            pl.DataFrame(named).lazy(),
            pa.RecordBatchReader.from_batches(pa.table(named).schema, pa.table(named).to_batches()),
        ],
        "masked array": lambda: [np.ma.masked_array(ROWS, mask=ROWS > 8)],
        "a path": lambda: [folder / "vectors.npy"],
    }[kind]()


CALLS = {
    "`select`": lambda X: setwise.select(X, 5, relevance=np.arange(N) / N, threads=1).indices.tolist(),
    "`Index.from_array`": lambda X: setwise.retrieve(ROWS[2], setwise.Index.from_array(X), 5).ids.tolist(),
    "`diversify`": lambda X: setwise.diversify(range(N), 5, relevance=np.arange(N), vectors=X).ids.tolist(),
    "`Catalog.build`": lambda X: (
        setwise.Catalog.build(X, np.arange(N) / N, clusters=3).select(5).ids.tolist()
    ),
    "`finetuning.match`": lambda X: match(X, ROWS[:2] + 1, diversity=0.3).indices.tolist(),
}


@pytest.mark.parametrize(("kind", "door", "taken"), cells("vectors as"))
def test_vectors(kind, door, taken, tmp_path):
    np.save(tmp_path / "vectors.npy", ROWS)
    call = CALLS[door]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = call(ROWS)
        for given in vectors_as(kind, tmp_path):
            if kind == "a path" and taken:
                given = [given]  # a list of shards
            if taken:
                assert call(given) == expected
                continue
            with pytest.raises((TypeError, ValueError)) as refused:
                call(given)
            assert "\n" not in str(refused.value)
            assert re.match(r"(vectors|candidates|ids)", str(refused.value))


# ---------------------------------------------------------------------- files and frames

WORDS = ["bread", "dough", "yeast", "oven", "tax", "law", "court", "audit"]
RECORDS = {
    "retrieve": [
        {
            "id": f"d{row}",
            "text": f"{WORDS[row % 8]} and {WORDS[(3 * row + 1) % 8]} {row}",
            "vector": ROWS[row].tolist(),
        }
        for row in range(N)
    ],
    "prefer": [
        {
            "prompt": f"Q{row}?",
            "responses": [f"{WORDS[at]} {at} {row}" for at in range(5)],
            "rewards": [0.5 * at for at in range(5)],
        }
        for row in range(4)
    ],
}
COMMANDS = {
    "`retrieve`, `index build`": (
        "retrieve --corpus {0} --query bread -k 3 --model ngrams --no-cache --out {1} --threads 1"
    ),
    "`catalog build`": "catalog build {0} --out {1} --clusters 3 --threads 1",
    "`finetune`": (
        "finetune --repository {0} --examples {2} --rows 3 --method nearest --model ngrams --no-cache "
        "--out {1}"
    ),
    "`prefer`": "prefer --responses {0} -k 2 --model lsa --out {1} --threads 1",
}


def source_as(kind, records, folder):
    """The same records as every file of a kind."""
    import datasets
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from pyarrow import feather, parquet

    lines = "".join(json.dumps(record) + "\n" for record in records).encode()
    table = pa.Table.from_pylist(records)

    def written(name, content):
        (folder / name).write_bytes(content)
        return folder / name

    if kind == ".jsonl, also as .gz or .zst":
        with pa.CompressedOutputStream(str(folder / "z.jsonl.zst"), "zstd") as stream:
            stream.write(lines)
        return [
            written("a.jsonl", lines),
            written("b.jsonl.gz", gzip.compress(lines)),
            folder / "z.jsonl.zst",
        ]
    if kind == ".json, one array of objects, also as .gz or .zst":
        array = json.dumps(records, indent=1).encode()
        return [written("a.json", array), written("b.json.gz", gzip.compress(array))]
    if kind == ".parquet":
        parquet.write_table(table, folder / "a.parquet")
        return [folder / "a.parquet"]
    if kind == ".arrow, .feather":
        feather.write_feather(table, folder / "a.feather")
        with pa.OSFile(str(folder / "a.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        return [folder / "a.feather", folder / "a.arrow"]
    if kind.startswith(".csv"):
        frame = pd.DataFrame(
            [{n: json.dumps(v) if isinstance(v, list) else v for n, v in r.items()} for r in records]
        )
        cells = {mark: frame.to_csv(index=False, sep=mark).encode() for mark in ",;\t"}
        with pa.CompressedOutputStream(str(folder / "z.csv.zst"), "zstd") as stream:
            stream.write(b"sep=;\r\n" + cells[";"])
        return [
            *(written(f"{at}.csv", content) for at, content in enumerate(cells.values())),
            written("b.tsv.gz", gzip.compress(cells["\t"])),
            folder / "z.csv.zst",
        ]
    if kind == ".npy of vectors":
        np.save(folder / "v.npy", ROWS)
        return [folder / "v.npy"]
    if kind == ".npz":
        np.savez(folder / "v.npz", ROWS)
        return [folder / "v.npz"]
    if kind == "folder of tables of one kind":
        (folder / "parts").mkdir()
        (folder / "parts" / "a.jsonl").write_bytes(lines)
        return [folder / "parts"]
    if kind == "saved Hugging Face dataset":
        datasets.Dataset.from_list(records).save_to_disk(folder / "saved")
        return [folder / "saved"]
    return [table.to_pandas(), pl.from_arrow(table), table]


def run(line):
    """Run a command: its exit code, and what it printed."""
    from setwise.cli import main

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            main(line)
        except SystemExit as ended:
            return ended.code or 0, out.getvalue()
    return 0, out.getvalue()


def from_python(door, frame):
    """What a command does, from Python; `catalog build` reads files alone."""
    from setwise.files import read_corpus
    from setwise.finetuning import Pipeline
    from setwise.preference.rows.rows import PreferenceRows

    if door == "`prefer`":
        return [row["chosen"] for row in PreferenceRows(frame, 2, model="lsa")]
    if door == "`finetune`":
        return Pipeline(frame, frame, rows=3, method="nearest", model="ngrams").run().epochs[0].tolist()
    return list(read_corpus(frame).ids)


@pytest.mark.parametrize(("kind", "door", "taken"), cells("source"))
def test_sources(kind, door, taken, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    records = RECORDS["prefer" if door == "`prefer`" else "retrieve"]
    if kind.startswith("pandas, polars"):
        if not taken:
            assert door == "`catalog build`"  # a command has no frames, and its Python call is Catalog.build
            return
        expected = from_python(door, source_as(".parquet", records, tmp_path)[0])
        for frame in source_as(kind, records, tmp_path):
            assert from_python(door, frame) == expected
        return
    (tmp_path / "like.jsonl").write_text('{"text": "bread and dough"}\n')
    line = COMMANDS[door]
    vectors = kind == ".npy of vectors"
    if vectors and taken:
        np.save(tmp_path / "q.npy", ROWS[0])
        line = {
            "`retrieve`, `index build`": "retrieve --corpus {0} --query-vector {3} -k 3 --out {1}",
            "`finetune`": "finetune --repository {0} --examples {0} --rows 3 --method nearest --drawn {1}",
        }.get(door, line)
    for number, source in enumerate(source_as(kind, records, tmp_path)):
        out = tmp_path / f"out{number}{'' if door == '`catalog build`' else '.jsonl'}"
        out = out.with_suffix(".csv") if "--drawn" in line else out
        spelled = line.format(source, out, tmp_path / "like.jsonl", tmp_path / "q.npy").split()
        code, told = run(spelled)
        if taken:
            assert code == 0, told
            assert out.exists()
        else:
            assert code == 2, told
            assert len(told.strip().splitlines()) == 1
            assert not out.exists()
