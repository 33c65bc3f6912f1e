"""``setwise catalog``: what it prints, keeps and refuses."""

from __future__ import annotations

import datetime
import decimal
import json
import os
import re
import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import setwise
from setwise.catalog import METHODS
from setwise.cli import items as reading
from setwise.files.versions import home

N, D = 300, 8


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((N, D)).astype(np.float32), rng.random(N)


@pytest.fixture
def table(data, tmp_path):
    """A Parquet file with ids, vectors and qualities."""
    vectors, quality = data
    columns = {
        "id": [f"sku{row}" for row in range(N)],
        "embedding": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), D),
        "quality": quality,
        "clicks": quality / 2,
    }
    parquet.write_table(pa.table(columns), tmp_path / "items.parquet")
    return tmp_path / "items.parquet"


@pytest.fixture
def shop(run, table, tmp_path):
    ran = run("catalog", "build", table, "--out", tmp_path / "shop", "--clusters", 10)
    assert (ran.code, ran.err) == (0, "")
    return tmp_path / "shop"


@pytest.fixture
def arrays(data, tmp_path):
    np.save(tmp_path / "v.npy", data[0])
    np.save(tmp_path / "q.npy", data[1])
    return tmp_path / "v.npy"


def record(ran):
    assert ran.code == 0, ran.err
    return json.loads(ran.out)


def ids(ran):
    return [item["id"] for item in record(ran)["set"]["items"]]


# ---------------------------------------------------------------- build


def test_one_summary_line(run, table, tmp_path, data):
    ran = run("catalog", "build", table, "--out", tmp_path / "shop", "--clusters", 10)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("shop  300 items · 8 d float32 · 10 clusters of ")
    assert sorted(os.listdir(tmp_path)) == ["items.parquet", "shop"]
    loaded = setwise.Catalog.load(tmp_path / "shop")
    own = setwise.Catalog.build(*data, clusters=10, ids=[f"sku{row}" for row in range(N)])
    assert loaded.ids.tolist() == own.ids.tolist()
    assert loaded.select(20).ids.tolist() == own.select(20).ids.tolist()
    assert np.array_equal(loaded.clusters.labels, own.clusters.labels)


def test_settings_reach_the_catalog(run, arrays, tmp_path, data):
    words = (
        "--quality",
        "q.npy",
        "--clusters",
        7,
        "--metric",
        "euclidean",
        "--quality-weight",
        2,
        "--seed",
        3,
    )
    ran = run("catalog", "build", arrays, "--out", tmp_path / "shop", *words)
    assert (ran.code, ran.err) == (0, "")
    loaded = setwise.Catalog.load(tmp_path / "shop")
    own = setwise.Catalog.build(*data, clusters=7, metric="euclidean", quality_weight=2, seed=3)
    assert np.array_equal(loaded.clusters.labels, own.clusters.labels)
    assert np.array_equal(loaded.quality, data[1])
    assert loaded.ids.tolist() == list(range(N))
    assert " of vectors and quality (weight 2), radii up to" in run("catalog", "info", tmp_path / "shop").out


def test_columns_and_files(run, table, arrays, tmp_path, data):
    words = ("--vectors", "v.npy", "--quality", "clicks", "--id", "id", "--clusters", 5)
    assert run("catalog", "build", table, "--out", tmp_path / "a", *words).code == 0
    assert np.array_equal(setwise.Catalog.load(tmp_path / "a").quality, data[1] / 2)
    lines = [{"uid": row, "vector": data[0][row].tolist(), "quality": data[1][row]} for row in range(N)]
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert (
        run("catalog", "build", tmp_path / "items.jsonl", "--out", tmp_path / "b", "--clusters", 5).code == 0
    )
    loaded = setwise.Catalog.load(tmp_path / "b")
    assert loaded.ids.tolist() == list(range(N))
    assert np.allclose(loaded._items.vectors.raw, data[0])


def test_without_quality(run, arrays, tmp_path):
    ran = run("catalog", "build", arrays, "--out", tmp_path / "shop", "--clusters", 5)
    assert ran.code == 0
    assert ran.err.startswith("note: no quality was given, so every item has 1")
    assert set(setwise.Catalog.load(tmp_path / "shop").quality) == {1.0}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("v.npy", "--clusters", 301), "clusters: 301 are more than the 300 items"),
        (("v.npy", "--quality", "clicks"), "quality: 'v.npy' has no columns; name a .npy file"),
        (
            ("v.npy", "--quality", "short.npy"),
            "quality: short.npy has 3 rows, v.npy has 300; they must match",
        ),
        (("v.npy", "--quality", "v.npy"), "quality: v.npy has shape (300, 8), expected (n,)"),
        (("v.npy", "--quality", "low.npy"), "quality: row 0 is -1; it must be at least 0: shift or clip it"),
        (("v.npy", "--quality-weight", 1), "quality_weight: it needs qualities; name them with --quality"),
        (("v.npy", "--id", "id"), "id: 'v.npy' is a .npy file of vectors without columns"),
        (("v.npy", "--metric", "cosin"), "metric: 'cosin' is unknown"),
        (("q.npy",), "items: q.npy has shape (300,), expected (n, d)"),
        (("missing.npy",), "items: no file or folder"),
        (("items.parquet", "--vectors", "embeding"), "did you mean 'embedding'?"),
        (("items.parquet", "--vectors", "quality"), "vectors: column 'quality' of items.parquet"),
        (("items.parquet", "--quality", "id"), "quality: items.parquet, row 0 has 'sku0' (str) in 'id'"),
        (("bare.csv",), "vectors: bare.csv has no column vector or vectors or embedding or embeddings"),
        (("twice.jsonl",), "id: 'a' stands in line 1 and line 2 of twice.jsonl"),
        (("mixed.jsonl",), "id: mixed.jsonl has strings and integers in 'id'"),
        (("notes.txt",), "items: 'notes.txt' ends in none of"),
    ],
)
def test_what_cannot_be_built(refused, table, arrays, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    np.save("short.npy", np.ones(3))
    np.save("low.npy", np.full(N, -1.0))
    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "bare.csv").write_text("a,b\n1,2\n")
    line = '{{"id": {}, "vector": [1, 2], "quality": 1}}\n'
    (tmp_path / "twice.jsonl").write_text(line.format('"a"') * 2)
    (tmp_path / "mixed.jsonl").write_text(line.format('"a"') + line.format(1))
    before = sorted(os.listdir())
    assert message in refused("catalog", "build", *words, "--out", "shop")
    assert sorted(os.listdir()) == before


def test_nothing_is_replaced_unasked(run, refused, arrays, tmp_path):
    words = ("catalog", "build", arrays, "--out", tmp_path / "shop", "--clusters")
    assert run(*words, 5).code == 0
    assert "exists; add --force" in refused(*words, 6)
    assert len(setwise.Catalog.load(tmp_path / "shop").clusters) == 5
    assert run(*words, 6, "--force").code == 0
    assert len(setwise.Catalog.load(tmp_path / "shop").clusters) == 6


# ---------------------------------------------------------------- select


def test_a_set_on_the_terminal(run, shop):
    ran = run("catalog", "select", shop, "-k", 25, "--certify", "bounded")
    assert (ran.code, ran.err) == (0, "")
    assert "quality" in ran.out
    assert "… and 15 more; --out FILE writes all" in ran.out
    assert "25 of 300 in " in ran.out
    assert "frank-wolfe+swap (the highest objective" in ran.out
    assert "the best possible 25 of 300" in ran.out
    ran = run("catalog", "select", shop, "-k", 8, "--method", "muss")
    assert "more" not in ran.out
    assert run("catalog", "select", shop, "-k", 8, "--method", "muss", "--workers", "2").code == 0
    refused = run("catalog", "select", shop, "-k", 8, "--method", "greedy", "--workers", "2")
    assert (refused.code, refused.out) == (2, "")
    assert "looks at all items at once" in refused.err
    assert "guarantee" not in ran.out


@pytest.mark.parametrize("kind", ["xterm", "dumb"])
def test_ranks_and_numbers_are_whole_on_a_narrow_terminal(run, shop, monkeypatch, kind):
    words = ("catalog", "select", shop, "-k", 3, "--certify", "none")
    found = json.loads(run(*words, "--json").out)["set"]["items"]
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = re.sub(r"\x1b\[[0-9;]*m", "", run(*words).out)
    for one in found:
        row = rf" {one['rank']}   {one['id']} +{one['gain']:.4g} +{one['quality']:.4g}"
        assert re.search(row, out)
    assert max(map(len, out.splitlines())) <= 40
    assert "\x1b[32mnot compared" not in run(*words).out  # green is what is proven


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ((), {}),
        (
            (
                "--method",
                "muss",
                "--clusters",
                4,
                "--per-cluster",
                3,
                "--cluster-diversity",
                0.2,
                "--no-top-up",
            ),
            {"method": "muss", "clusters": 4, "per_cluster": 3, "cluster_diversity": 0.2, "top_up": False},
        ),
        (
            ("--method", "muss", "--criterion", "min", "--final-quality-scale", 0.5, "--diversity", 0.6),
            {"method": "muss", "criterion": "min", "final_quality_scale": 0.5, "diversity": 0.6},
        ),
        (("--method", "dgds", "--seed", 4, "--threads", 1), {"method": "dgds", "seed": 4}),
    ],
)
def test_the_same_set_as_in_python(run, shop, words, settings):
    found = record(run("catalog", "select", shop, "-k", 10, "--json", *words))
    own = setwise.Catalog.load(shop).select(10, **settings)
    assert [item["id"] for item in found["set"]["items"]] == own.ids.tolist()
    assert [item["row"] for item in found["set"]["items"]] == own.indices.tolist()
    assert found["set"]["value"] == own.value
    assert found["items"] == N


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "json", "npy"])
def test_files(run, refused, shop, tmp_path, kind):
    out = tmp_path / f"set.{kind}"
    words = ("catalog", "select", shop, "-k", 5, "--out", out)
    ran = run(*words)
    assert ran.err == f"note: wrote {out}\n"
    own = setwise.Catalog.load(shop).select(5)
    if kind == "npy":
        found = np.load(out)
        assert found.dtype.names == ("id", "rank", "gain", "quality", "cluster")
        assert found["id"].tolist() == own.ids.tolist()
        assert np.allclose(found["gain"], own.gains)
    elif kind == "json":
        assert [item["id"] for item in json.loads(out.read_text())["set"]["items"]] == own.ids.tolist()
    elif kind == "csv":
        lines = out.read_text().splitlines()
        assert lines[0] == "id,rank,gain,quality,cluster,clicks"
        assert [line.split(",")[0] for line in lines[1:]] == own.ids.tolist()
    else:
        rows = (
            parquet.read_table(out).to_pylist()
            if kind == "parquet"
            else [json.loads(line) for line in out.read_text().splitlines()]
        )
        assert [row["id"] for row in rows] == own.ids.tolist()
        assert [row["cluster"] for row in rows] == own.clusters.tolist()
        assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    assert "exists; add --force" in refused(*words)
    assert run(*words, "--force").code == 0


def test_quality_of_this_hour(run, shop, tmp_path, data):
    fresh = data[1][::-1]
    own = setwise.Catalog.load(shop)
    own.set_quality(fresh)
    wanted = own.select(10).ids.tolist()
    np.save(tmp_path / "hour.npy", fresh)
    order = np.random.default_rng(1).permutation(N)
    columns = {"id": [f"sku{row}" for row in order], "quality": fresh[order], "rate": fresh[order]}
    parquet.write_table(pa.table(columns), tmp_path / "hour.parquet")
    lines = ["item,quality", *(f"sku{row},{fresh[row]!r}" for row in order), "strange,1"]
    (tmp_path / "hour.csv").write_text(
        "\n".join(line.replace("np.float64(", "").rstrip(")") for line in lines)
    )
    base = ("catalog", "select", shop, "-k", 10, "--json", "--quality")
    assert ids(run(*base, tmp_path / "hour.npy")) == wanted
    assert ids(run(*base, tmp_path / "hour.parquet")) == wanted
    assert ids(run(*base, tmp_path / "hour.parquet", "--quality-column", "rate", "--id", "id")) == wanted
    ran = run(*base, tmp_path / "hour.csv", "--id", "item")
    assert ids(ran) == wanted
    assert ran.err == "note: ids in hour.csv that the catalog has not, left out: 1\n"
    assert ids(run(*base[:-1])) != wanted  # what is saved stays


def test_part_of_the_qualities(run, shop, tmp_path, data):
    """By id; the others keep theirs, and it is said how many."""
    (tmp_path / "hour.csv").write_text("id,quality\nsku7,2\nsku9,-inf\nnew,1\n")
    ran = run(
        "catalog", "select", shop, "-k", 5, "--json", "--diversity", 0, "--quality", tmp_path / "hour.csv"
    )
    expected = data[1].copy()
    expected[[7, 9]] = 2, -np.inf
    assert ids(ran) == [f"sku{row}" for row in np.argsort(-expected, kind="stable")[:5]]
    assert ran.err == (
        "note: ids in hour.csv that the catalog has not, left out: 1\n"
        "note: 298 of the 300 items keep the quality they have, for hour.csv has none for them, such as "
        "'sku0'\n"
    )


def test_must_haves_and_barred_items(run, shop, tmp_path):
    base = ("catalog", "select", shop, "-k", 6, "--json", "--method", "muss")
    plain = ids(run(*base))
    (tmp_path / "bought.txt").write_text("\n".join([*plain[:2], "gone"]))
    more = ("--exclude-from", tmp_path / "bought.txt", "--exclude", plain[2], "--exclude", plain[1])
    found = ids(run(*base, "--include", "sku200", "--include", "sku3", *more))
    assert found[:2] == ["sku200", "sku3"]
    assert not set(found) & set(plain[:3])


WORDS = ("red shoes", "blue shoes", "iron pan", "steel pan", "rain jacket", "down jacket")


def test_texts_are_encoded_and_columns_kept(run, tmp_path):
    """Names and categories come in with the items, are saved, and are shown with what is selected."""
    rows = [
        {"sku": f"s{row}", "name": f"{WORDS[row % 6]} {row}", "kind": WORDS[row % 6][-6:], "stars": row % 5}
        for row in range(60)
    ]
    rows[4]["name"] = ""
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ("--text", "name", "--model", "ngrams", "--id", "sku", "--quality", "stars", "--clusters", 6)
    ran = run("catalog", "build", tmp_path / "items.jsonl", "--out", tmp_path / "shop", *words)
    assert ran.code == 0, ran.err
    assert ran.err == "note: items left out, since the encoder knows no word of their 'name': 1 (s4)\n"
    shop = setwise.Catalog.load(tmp_path / "shop")
    kept = [row for row in range(60) if row != 4]
    assert shop.ids.tolist() == [f"s{row}" for row in kept]
    assert shop.quality.tolist() == [row % 5 for row in kept]
    assert shop.fields.to_pydict() == {name: [rows[row][name] for row in kept] for name in ("name", "kind")}
    shown = run("catalog", "select", tmp_path / "shop", "-k", 6)
    assert "name" in shown.out
    assert "shoes" in shown.out
    found = record(run("catalog", "select", tmp_path / "shop", "-k", 6, "--json"))["set"]["items"]
    assert all(one["name"] == rows[int(one["id"][1:])]["name"] for one in found)
    kind = WORDS[2][-6:]
    words = ("catalog", "select", tmp_path / "shop", "-k", 3, "--json", "--where", f"kind = '{kind}'")
    assert {one["kind"] for one in record(run(*words))["set"]["items"]} == {kind}
    assert run(*words[:5], "--where", "kin = 'a'").err.startswith("setwise: where: there is no column 'kin'")
    limited = run("catalog", "select", tmp_path / "shop", "-k", 6, "--json", "--limit", "kind=1:3")
    counts = Counter(one["kind"] for one in record(limited)["set"]["items"])
    assert len(counts) == len({word[-6:] for word in WORDS})
    assert max(counts.values()) <= 3
    grouped = run(*words[:3], "-k", 3, "--json", "--group", "kind", "--max-per-group", 1)
    assert len({one["kind"] for one in record(grouped)["set"]["items"]}) == 3
    apart = record(run(*words[:3], "-k", 3, "--json", "--max-similarity", 0.5))["set"]["items"]
    E = shop._items.vectors.rows(np.array([one["row"] for one in apart]), np.float64)
    assert (E @ E.T)[~np.eye(3, dtype=bool)].max() <= 0.5
    for name in ("set.csv", "set.npy", "set.parquet"):
        assert run("catalog", "select", tmp_path / "shop", "-k", 6, "--out", tmp_path / name).code == 0
    assert "columns" in run("catalog", "info", tmp_path / "shop").out
    more = [
        {"sku": "n1", "vector": shop._items.vectors.raw[0].tolist(), "stars": 9, "name": "new pan", "x": 1}
    ]
    (tmp_path / "more.jsonl").write_text(json.dumps(more[0]))
    ran = run(
        "catalog", "add", tmp_path / "shop", tmp_path / "more.jsonl", "--id", "sku", "--quality", "stars"
    )
    assert ran.code == 0, ran.err
    assert setwise.Catalog.load(tmp_path / "shop").fields.to_pylist()[-1] == {"name": "new pan", "kind": None}
    words = ("catalog", "select", tmp_path / "shop", "-k", 6)
    limited, grouped = run(*words, "--limit", "kind=3"), run(*words, "--group", "kind", "--max-per-group", 3)
    assert limited.err.startswith("setwise: limit['kind']: row ")
    assert grouped.err.startswith("setwise: group: row ")


def test_texts_that_cannot_be_encoded(refused, tmp_path, arrays):
    (tmp_path / "items.csv").write_text('id,name,vector\n1,,"[1, 2]"\n2,,"[2, 1]"\n')
    base = ("catalog", "build", tmp_path / "items.csv", "--out", tmp_path / "shop")
    assert "knows no word of any text in 'name'" in refused(*base, "--text", "name", "--model", "ngrams")
    assert "text: items.csv has no column 'title'" in refused(*base, "--text", "title")
    assert "text: --vectors brings vectors already" in refused(*base, "--text", "name", "--vectors", "vector")
    assert "model: --model goes with --text" in refused(*base, "--model", "lsa")
    npy = ("catalog", "build", arrays, "--out", tmp_path / "shop")
    assert "text: 'v.npy' is a .npy file of vectors" in refused(*npy, "--text", "name")


def test_integers_match_what_a_csv_has(arrays, tmp_path, data):
    catalog = setwise.Catalog.build(*data, clusters=5)
    (tmp_path / "h.csv").write_text("id,quality\n" + "".join(f"{row},{row}\n" for row in reversed(range(N))))
    found, notes = reading.read_quality(str(tmp_path / "h.csv"), "quality", None, catalog)
    assert found.tolist() == list(range(N))
    assert notes == ()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-k", 301), "k: 301 is more than the 300 candidates"),
        (("-k", 0), "k: 0 is below 1"),
        (("--method", "mus"), "did you mean 'muss'?"),
        (("-k", 10, "--method", "muss", "--clusters", 11), "clusters: 11 are more than the 10 clusters"),
        (("-k", 5, "--diversity", 2), "diversity: 2.0 is outside [0, 1]"),
        (("-k", 5, "--certify", "yes"), "certify: 'yes' is unknown"),
        (("-k", 5, "--out", "set.txt"), "out: 'set.txt' ends in none of"),
        (("-k", 5, "--id", "id"), "id: --id goes with --quality TABLE"),
        (("-k", 5, "--quality", "none.csv"), "quality: none.csv has no id of the catalog's 300 items"),
        (("-k", 5, "--include", "sku1", "--exclude", "sku1"), "include: 'sku1' is in exclude, too"),
        (("-k", 5, "--limit", "kind=1"), "limit['kind']: the catalog has no column 'kind' (columns: "),
        (("-k", 5, "--limit", "kind"), "limit: expected COLUMN=MOST or COLUMN=LEAST:MOST, got 'kind'"),
        (("-k", 5, "--max-per-group", 1), "group: needed with max_per_group"),
        (("-k", 5, "--group", "kind"), "group: --group and --max-per-group go together"),
        (("-k", 5, "--include", "sku300"), "include: 'sku300' is not in the catalog"),
        (("-k", 5, "--exclude-from", "gone.txt"), "exclude_from: no file or folder 'gone.txt'"),
        (("-k", 5, "--quality", "plain.csv"), "plain.csv has 2 rows and no ids, the catalog has 300 items"),
        (
            ("-k", 5, "--quality", "few.csv", "--quality-column", "rate"),
            "quality_column: few.csv has no column 'rate'",
        ),
        (("-k", 5, "--quality", "low.npy"), "quality: row 0 is -1"),
        (("-k", 5, "--quality", "gone.npy"), "quality: no file or folder 'gone.npy'"),
    ],
)
def test_what_cannot_be_selected(refused, shop, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    np.save("low.npy", np.full(N, -1.0))
    (tmp_path / "few.csv").write_text("id,quality\nsku7,1\n")
    (tmp_path / "none.csv").write_text("id,quality\nx7,1\n")
    (tmp_path / "plain.csv").write_text("quality\n1\n2\n")
    assert message in refused("catalog", "select", shop, *words)


def test_options_that_do_nothing_are_named(run, shop):
    ran = run("catalog", "select", shop, "-k", 5, "--clusters", 3, "--json")
    assert ran.err.startswith("note: clusters: it does nothing for frank-wolfe+swap, it is for muss")
    assert run("catalog", "select", shop, "-k", 5, "--clusters", 3, "--method", "muss").err == ""


# ---------------------------------------------------------------- add, remove, info


def test_added_items(run, shop, tmp_path):
    rows = [{"id": f"new{row}", "vector": [row, *[1.0] * (D - 1)], "quality": 9} for row in range(4)]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ran = run("catalog", "add", shop, tmp_path / "new.jsonl")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("shop  304 items, 4 of them new · 8 d float32 · 10 clusters")
    assert set(ids(run("catalog", "select", shop, "-k", 4, "--json"))) == {f"new{row}" for row in range(4)}
    assert sorted(os.listdir(tmp_path)) == ["items.parquet", "new.jsonl", "shop"]


def test_a_csv_adds_to_integer_ids(run, refused, arrays, tmp_path, data):
    setwise.Catalog.build(*data, clusters=5).save(tmp_path / "shop")
    new = tmp_path / "new.csv"
    for name in ("007", "a", "1.0"):
        new.write_text(f'id,vector,quality\n{name},"{[1] * D}",2\n')
        assert f"id: new.csv has '{name}'" in refused("catalog", "add", tmp_path / "shop", new)
    new.write_text(f'id,vector,quality\n900,"{[1] * D}",2\n-3,"{[2] * D}",2\n')
    assert run("catalog", "add", tmp_path / "shop", new).code == 0
    assert setwise.Catalog.load(tmp_path / "shop").ids.tolist() == [*range(N), 900, -3]


def test_what_cannot_be_added(refused, shop, table, tmp_path):
    before = {file: file.read_bytes() for file in shop.rglob("*") if file.is_file()}
    np.save(tmp_path / "v.npy", np.ones((2, D)))
    np.save(tmp_path / "wide.npy", np.ones((2, D + 1)))
    np.save(tmp_path / "q.npy", np.ones(2))
    assert "'sku0' (row 0) is in the catalog already" in refused("catalog", "add", shop, table)
    assert "quality: new items need one" in refused("catalog", "add", shop, tmp_path / "v.npy")
    words = ("--quality", tmp_path / "q.npy")
    assert "new items need their own; pass ids" in refused("catalog", "add", shop, tmp_path / "v.npy", *words)
    assert "rows have 9 entries" in refused("catalog", "add", shop, tmp_path / "wide.npy", *words)
    assert {file: file.read_bytes() for file in shop.rglob("*") if file.is_file()} == before


def test_removed_items(run, shop, tmp_path):
    ran = run("catalog", "remove", shop, "sku0", "sku299", "sku0")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("shop  298 items, 2 removed · 8 d float32 · 10 clusters")
    (tmp_path / "gone.txt").write_text("sku5\n\n  sku6 \n")
    assert run("catalog", "remove", shop, "sku7", "--from", tmp_path / "gone.txt").code == 0
    gone = [0, 5, 6, 7, 299]
    loaded = setwise.Catalog.load(shop)
    assert loaded.ids.tolist() == [f"sku{row}" for row in range(N) if row not in gone]
    assert sorted(os.listdir(tmp_path)) == ["gone.txt", "items.parquet", "shop"]


@pytest.mark.parametrize("numbers", [False, True])
@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv", "npy", "txt", "only.csv"])
def test_files_of_ids(run, tmp_path, data, kind, numbers):
    names = list(range(N)) if numbers else [f"sku{row}" for row in range(N)]
    setwise.Catalog.build(*data, clusters=5, ids=names).save(tmp_path / "shop")
    gone = names[10:40]
    path, words = tmp_path / f"gone.{kind}", ()
    if kind == "parquet":
        parquet.write_table(pa.table({"sku": gone, "id": names[:30]}), path)
        words = ("--id", "sku")
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps({"id": name, "why": "sold"}) for name in gone))
    elif kind == "csv":
        path.write_text("id,why\n" + "".join(f"{name},sold\n" for name in gone))
    elif kind == "only.csv":
        path.write_text("article\n" + "".join(f"{name}\n" for name in gone))
    elif kind == "npy":
        np.save(path, np.array(gone))
    else:
        path.write_text("\n".join(map(str, gone)))
    ran = run("catalog", "remove", tmp_path / "shop", "--from", path, *words)
    assert (ran.code, ran.err) == (0, "")
    assert setwise.Catalog.load(tmp_path / "shop").ids.tolist() == names[:10] + names[40:]


def test_columns_of_ids_that_were_not_asked_for_are_told(run, tmp_path, data):
    """In what is built from, what is added, new qualities, and the ids to remove."""
    vectors, quality = data

    def items(name, columns, rows):
        made = {"vector": list(vectors[rows]), "quality": quality[rows], **columns}
        parquet.write_table(pa.table(made), tmp_path / name)
        return tmp_path / name

    shop = tmp_path / "shop"
    built = items("a.parquet", {"item_id": range(20), "maker_id": [1] * 20}, slice(20))
    told = run("catalog", "build", built, "--out", shop, "--clusters", 3)
    assert told.err == "note: ids: rows are numbered; others: 'item_id', 'maker_id'\n"
    added = items("b.parquet", {"doc_id": [90, 91], "maker_id": [1, 1]}, slice(20, 22))
    told = run("catalog", "add", shop, added)
    assert told.err == "note: ids: column 'doc_id'; others: 'maker_id'\n"
    assert setwise.Catalog.load(shop).ids.tolist() == [*range(20), 90, 91]
    told = run("catalog", "select", shop, "-k", 3, "--quality", added)
    assert told.err.startswith(
        "note: ids: column 'doc_id'; others: 'maker_id'\nnote: 20 of the 22 items keep"
    )
    told = run("catalog", "remove", shop, "--from", added)
    assert told.err == "note: ids: column 'doc_id'; others: 'maker_id'\n"
    parquet.write_table(pa.table({"item_id": [3], "doc_id": [4]}), tmp_path / "c.parquet")
    assert run("catalog", "remove", shop, "--from", tmp_path / "c.parquet", "--id", "item_id").code == 0
    assert setwise.Catalog.load(shop).ids.tolist() == [0, 1, 2, *range(4, 20)]


def test_negative_integers_as_words(run, tmp_path, data):
    setwise.Catalog.build(*data, clusters=5, ids=range(-5, N - 5)).save(tmp_path / "shop")
    assert run("catalog", "remove", tmp_path / "shop", "--", "-5", "17").code == 0
    left = setwise.Catalog.load(tmp_path / "shop").ids.tolist()
    assert left == [name for name in range(-5, N - 5) if name not in (-5, 17)]


def test_what_cannot_be_removed(refused, shop, tmp_path, data):
    before = {file: file.read_bytes() for file in shop.rglob("*") if file.is_file()}
    (tmp_path / "gone.txt").write_text("sku5\nnone\n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "two.csv").write_text("a,b\n1,2\n")
    parquet.write_table(pa.table({"id": [1, 2]}), tmp_path / "numbers.parquet")
    np.save(tmp_path / "half.npy", np.ones(3) / 2)
    remove = ("catalog", "remove", shop)
    assert refused(*remove, "sku1", "sku300") == "ids: 'sku300' is not in the catalog"
    message = refused(*remove, "sku1", "x", "y", "--from", tmp_path / "gone.txt")
    assert message == "ids: 3 of these 5 are not in the catalog, such as 'x'"
    for words, message in (
        ((), "ids: say which items to remove, or name a file of ids with --from"),
        (("sku1", "--id", "id"), "id: --id goes with --from TABLE"),
        (("--from", tmp_path / "gone.tx"), "from: no file or folder"),
        (("--from", tmp_path / "bytes.txt"), "from: bytes.txt is not UTF-8 text"),
        (("--from", tmp_path / "two.csv"), "id: two.csv has none of the usual columns of ids"),
        (("--from", tmp_path / "two.csv", "--id", "c"), "id: two.csv has no column 'c'"),
        (("--from", tmp_path / "gone.txt", "--id", "c"), "id: 'gone.txt' has no columns"),
        (("--from", tmp_path / "half.npy"), "from: half.npy holds float64 of shape (3,)"),
        (("--from", tmp_path), "ends in none of"),
        (("--from", tmp_path / "numbers.parquet"), "the catalog's ids are strings, these are integers"),
        ([f"sku{row}" for row in range(N)], "ids: these are all items"),
    ):
        assert message in refused(*remove, *words)
    assert "no file or folder" in refused("catalog", "remove", tmp_path / "shob", "sku1")
    assert {file: file.read_bytes() for file in shop.rglob("*") if file.is_file()} == before
    setwise.Catalog.build(*data, clusters=5).save(tmp_path / "numbers")
    message = refused("catalog", "remove", tmp_path / "numbers", "3", "007")
    assert message == "id: the command line has '007', the catalog's ids are integers"


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_removal_that_fails_leaves_the_folder(run, shop, monkeypatch, error):
    before = {file: file.read_bytes() for file in shop.rglob("*") if file.is_file()}

    def fail(*words, **more):
        raise error("no room")

    monkeypatch.setattr(np, "save", fail)
    ran = run("catalog", "remove", shop, "sku1")
    assert ran.code == (130 if error is KeyboardInterrupt else 2)
    assert os.listdir(shop.parent).count("shop") == 1
    assert len(os.listdir(shop.parent)) == 2  # and the table; nothing half-written
    assert {file: file.read_bytes() for file in shop.rglob("*") if file.is_file()} == before


def test_info(run, refused, shop, tmp_path):
    ran = run("catalog", "info", shop, "--verify")
    assert (ran.code, ran.err) == (0, "")
    for words in (
        "300 × 8, float32, cosine",
        "strings, sku0, sku1, sku2, …",
        "10 clusters of ",
        "8 files are as",
        "columns   clicks",
    ):
        assert words in ran.out
    found = record(run("catalog", "info", shop, "--json"))
    assert (found["format"], found["n"], found["verified"]) == ("setwise catalog", N, None)
    data = (home(shop) / "vectors.npy").read_bytes()
    (home(shop) / "vectors.npy").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert run("catalog", "info", shop).code == 0
    assert "vectors.npy was altered" in refused("catalog", "info", shop, "--verify")
    (home(shop) / "vectors.npy").write_bytes(data[:-1])
    for command in ("info", "select"):
        assert "vectors.npy has 9,727 bytes instead of 9,728" in refused("catalog", command, shop)
    assert "no setwise catalog" in refused("catalog", "info", tmp_path)


def test_the_page_names_every_method_and_call():
    page = (Path(__file__).resolve().parents[2] / "docs" / "catalog.md").read_text(encoding="utf-8")
    for name in METHODS:
        assert re.search(rf"^\|.*`{re.escape(name)}`.*\|", page, re.MULTILINE)
    for name in vars(setwise.Catalog):
        if not name.startswith("_") and callable(getattr(setwise.Catalog, name)):
            assert f".{name}(" in page


def test_what_json_has_no_form_for_is_written_as_it_is_spelled(run, tmp_path):
    day, name = datetime.date(2026, 5, 4), uuid.UUID(int=7)
    kept = {
        "day": (day, "2026-05-04"),
        "at": (datetime.datetime(2026, 5, 4, 12, tzinfo=datetime.UTC), "2026-05-04T12:00:00+00:00"),
        "hour": (datetime.time(12, 30), "12:30:00"),
        "price": (decimal.Decimal("1.25"), 1.25),
        "gap": (float("nan"), None),
        "key": (name, str(name)),
    }
    table = pa.table(
        {
            "id": ["a", "b"],
            "vector": [[1.0, 0.0], [0.0, 1.0]],
            "quality": [1.0, 0.5],
            **{one: pa.array([value] * 2) for one, (value, _) in kept.items() if one != "key"},
            "key": pa.array([name.bytes] * 2, pa.uuid()),
        }
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    run("catalog", "build", tmp_path / "t.parquet", "--clusters", 1, "--out", tmp_path / "shop")
    expected = {one: spelled for one, (_, spelled) in kept.items()}
    for ending in ("jsonl", "json", "csv", "parquet"):
        asked = ("catalog", "select", tmp_path / "shop", "-k", 1, "--json")
        shown = record(run(*asked, "--out", tmp_path / f"o.{ending}"))["set"]["items"][0]
        assert {one: shown[one] for one in kept} == expected
    assert json.loads((tmp_path / "o.jsonl").read_text()).items() >= expected.items()
    assert json.loads((tmp_path / "o.json").read_text())["set"]["items"][0].items() >= expected.items()
    assert parquet.read_table(tmp_path / "o.parquet")["day"].to_pylist() == [day]
    found = setwise.Catalog.load(tmp_path / "shop").select(1)
    assert {
        one: values[0] for one, values in json.loads(json.dumps(found.to_dict()))["fields"].items()
    } == expected
    assert found.fields["day"] == [day]


def test_a_tilde_is_the_home_folder(run, table, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert run("catalog", "build", f"~/{table.name}", "--out", "~/shop", "--clusters", 3).code == 0
    assert run("catalog", "select", "~/shop", "-k", 2, "--out", "~/set.jsonl").code == 0
    assert len((tmp_path / "set.jsonl").read_text().splitlines()) == 2
    setwise.Catalog.load("~/shop").save("~/again")
    assert len(setwise.Catalog.load(tmp_path / "again")) == N


def test_ids_and_numbers_stay_whole_where_kept_columns_are_long(run, table, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    named = parquet.read_table(table)
    names = [f"a rather long name of product {row}, in many words" for row in range(N)]
    parquet.write_table(named.append_column("name", pa.array(names)), table)
    assert run("catalog", "build", table, "--out", tmp_path / "shop", "--clusters", 3).code == 0
    printed = run("catalog", "select", tmp_path / "shop", "-k", 3).out
    found = setwise.Catalog.load(tmp_path / "shop").select(3)
    assert "…" not in printed
    assert all(len(line) <= 80 for line in printed.splitlines())
    for name, gain in zip(found.ids.tolist(), found.gains.tolist(), strict=True):
        assert re.search(rf"\b{name}\s+{gain:.4g}\s", printed)
