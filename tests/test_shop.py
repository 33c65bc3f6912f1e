"""The first hour of a shop on real data, where it is at hand: hourly quality, and a thousand users."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

import setwise
from optional import lazily, needs

parquet = lazily("pyarrow.parquet")

#: A folder with ``goodbooks`` and ``games6k`` (see benchmarks/).
DATA = Path(os.environ.get("SETWISE_DATA", "no data"))

pytestmark = [
    pytest.mark.slow,
    needs("faiss", "pyarrow", "typer", "wordllama"),
    pytest.mark.skipif(
        not (DATA / "goodbooks").is_dir(), reason="needs the folder SETWISE_DATA with goodbooks and games6k"
    ),
]


def test_books_with_hourly_quality(tmp_path):
    """A table of titles becomes a catalog by one command; part of the ratings changes every hour."""
    from typer.testing import CliRunner

    from setwise.cli import app

    with open(DATA / "goodbooks" / "books.csv", encoding="utf-8") as file:
        books = list(csv.DictReader(file))
    with open(tmp_path / "books.csv", "w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["id", "title", "authors", "quality"])
        for book in books:
            out.writerow([book["book_id"], book["title"], book["authors"], float(book["average_rating"]) / 5])
    run = CliRunner()
    words = ["--text", "title", "--clusters", "50", "--out", str(tmp_path / "shop")]
    built = run.invoke(app, ["catalog", "build", str(tmp_path / "books.csv"), *words])
    assert built.exit_code == 0, built.output
    shop = setwise.Catalog.load(tmp_path / "shop")
    assert len(shop) > 0.99 * len(books)
    assert shop.fields.column_names == ["title", "authors"]
    title = {book["book_id"]: book["title"] for book in books}
    rng = np.random.default_rng(0)
    quality = shop.quality.copy()
    for hour in range(24):
        some = rng.choice(len(shop), 500, replace=False)
        fresh = np.where(rng.random(500) < 0.05, -np.inf, rng.random(500))
        quality[some] = fresh
        with open(tmp_path / "hour.csv", "w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(
                [["id", "quality"], *zip(shop.ids[some].tolist(), fresh.tolist(), strict=True)]
            )
        with setwise.Catalog.edit(tmp_path / "shop") as held:
            assert held.set_quality(dict(zip(held.ids[some].tolist(), fresh, strict=True))) == len(held) - 500
        assert np.array_equal(setwise.Catalog.load(tmp_path / "shop").quality, quality)
        if hour % 8 == 0:
            words = ["-k", "20", "--quality", str(tmp_path / "hour.csv"), "--json"]
            found = run.invoke(app, ["catalog", "select", str(tmp_path / "shop"), *words])
            assert found.exit_code == 0, found.output
            items = json.loads(found.stdout)["set"]["items"]
            own = held.select(20)
            assert [one["id"] for one in items] == own.ids.tolist()
            assert all(one["title"] == title[str(one["id"])] for one in items)
            assert np.isfinite(quality[own.indices]).all()


def test_games_with_a_thousand_users():
    """What each has bought never comes again; sets together are those of one by one, or as good."""
    items = parquet.read_table(DATA / "games6k" / "items.parquet").to_pydict()
    row = {item: place for place, item in enumerate(items["item_id"])}
    histories = parquet.read_table(DATA / "games6k" / "sequences.parquet")["history"].to_pylist()
    users = [history for history in histories if len(history) >= 8][:1000]
    vectors = setwise.encode.encoder("static").encode([title or "game" for title in items["title"]])
    taste = np.stack([vectors[[row[item] for item in history]].mean(axis=0) for history in users])
    counts = np.bincount([row[item] for history in histories for item in history], minlength=len(row))
    catalog = setwise.Catalog.build(
        vectors,
        np.log1p(counts) / np.log1p(counts).max(),
        clusters=100,
        ids=items["item_id"],
        fields={"title": items["title"]},
    )
    shelves = catalog.select_many(10, queries=taste, exclude=users, diversity=0.2)
    assert len(shelves) == len(users) == 1000
    for history, shelf in zip(users, shelves, strict=True):
        assert len(set(shelf.ids.tolist())) == 10
        assert not set(shelf.ids.tolist()) & set(history)
    for user in range(0, 1000, 100):
        alone = catalog.select(10, query=taste[user], exclude=users[user], diversity=0.2)
        assert shelves[user].value >= alone.value - 2e-3 * abs(alone.value)
        assert shelves[user].fields["title"] == [
            items["title"][row[one]] for one in shelves[user].ids.tolist()
        ]
