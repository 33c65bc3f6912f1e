"""DuckdbIndex over tables in memory and in a file."""

import uuid
from typing import ClassVar

import numpy as np
import pytest
from stores import COLORS, D, N, Store, StoreTests, assert_answers, colors_of, queries_of, rows_of

from optional import lazily, needs
from setwise.index import Index
from setwise.index.duckdb import DuckdbIndex

duckdb = lazily("duckdb")

pytestmark = needs("duckdb")


def uuid_of(row):
    """A UUID for a row."""
    return str(uuid.UUID(int=row * 7919))


NAMES = {"integers": int, "strings": lambda row: f'it\'s "n{row}"', "UUIDs": uuid_of}


@pytest.fixture
def connection():
    with duckdb.connect() as made:
        yield made


class Duck(Store):
    def __init__(self, connection, kind="FLOAT"):
        self.connection, self.kind = connection, kind

    def fill(self, X, name=int, way=None):
        ids = {str: "VARCHAR", int: "BIGINT"}[type(name(0))]
        ids = "UUID" if name is uuid_of else ids
        self.connection.execute(
            f"CREATE TABLE items (id {ids}, vector {self.kind}[{X.shape[1]}], color VARCHAR, price INTEGER)"
        )
        self.connection.executemany(
            "INSERT INTO items VALUES (?, ?, ?, ?)",
            [(name(row), x.tolist(), COLORS[row % 3], row) for row, x in enumerate(X)],
        )
        return Index.from_duckdb(self.connection, "items", metric=way or "cosine")

    def colored(self, color):
        return ("color = ?", [color])

    def put(self, id, vector, color="red", price=0):
        self.delete([id])
        self.connection.execute(
            "INSERT INTO items VALUES (?, ?, ?, ?)",
            [id, np.asarray(vector, np.float32).tolist(), color, price],
        )

    def delete(self, ids):
        self.connection.executemany("DELETE FROM items WHERE id = ?", [[id] for id in ids])


class TestDuckdb(StoreTests):
    ways: ClassVar = {"cosine": "cosine", "euclidean": "euclidean"}
    names: ClassVar = NAMES

    @pytest.fixture
    def store(self, connection):
        return Duck(connection)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_doubles_in_a_file_and_a_view(tmp_path, metric):
    X = rows_of()
    with duckdb.connect(tmp_path / "items.duckdb") as connection:
        Duck(connection, "DOUBLE").fill(X)
        connection.execute(
            'CREATE SCHEMA shop; CREATE VIEW shop.kept AS SELECT id AS "my id", vector AS "Vec tor", color '
            "FROM items"
        )
        index = DuckdbIndex(connection, "shop.kept", vector="Vec tor", id="my id", metric=metric)
        assert_answers(index, X, metric, filter="color = 'red'", kept=colors_of() == "red")


def test_filters(connection):
    index = Duck(connection).fill(rows_of())
    (found,) = index.fetch(
        queries_of(1), 50, filter="price < 20 AND color = 'red' OR false", exclude=[0, 777]
    )
    assert sorted(found.ids.tolist()) == [3, 6, 9, 12, 15, 18]
    for wrong in ("colour = 'red'", "price <", "1; DROP TABLE items"):
        with pytest.raises(ValueError, match="table 'items': DuckDB refused"):
            index.search(queries_of(1), 5, filter=wrong)
    with pytest.raises(TypeError, match="filter: expected an SQL condition"):
        index.search(queries_of(1), 5, filter={"color": "red"})
    assert index.size == N


def test_rows_without_a_vector_are_left_out(connection):
    store = Duck(connection)
    index = store.fill(rows_of())
    connection.execute("UPDATE items SET vector = NULL WHERE id = 5")
    assert index.size == N - 1
    assert 5 not in index.fetch(queries_of(1), N)[0].ids
    with pytest.raises(KeyError, match="5 is not stored in table 'items', or has no vector"):
        index.vectors([5])
    connection.execute("INSERT INTO items SELECT * FROM items WHERE id = 6")
    with pytest.raises(ValueError, match="id 6 is stored twice"):
        index.search(queries_of(1), N)


def test_what_cannot_be_searched_is_refused(connection):
    connection.execute(
        "CREATE TABLE items (id BIGINT, day DATE, vector FLOAT[4], ragged FLOAT[], whole INTEGER[4])"
    )
    for options, text in [
        ({"vector": "vectors"}, "vector: 'vectors' is unknown; did you mean 'vector'"),
        ({"id": "ids"}, "id: 'ids' is unknown; did you mean 'id'"),
        ({"id": "day"}, "id: column 'day' of table 'items' is of type DATE"),
        ({"vector": "ragged"}, r"only FLOAT\[d\] and DOUBLE\[d\]"),
        ({"vector": "whole"}, r"only FLOAT\[d\] and DOUBLE\[d\]"),
        ({"metric": "manhattan"}, "metric: 'manhattan' is unknown"),
        ({"timeout": 0}, "timeout: 0 is not a finite number above 0"),
    ]:
        with pytest.raises(ValueError, match=text):
            DuckdbIndex(connection, "items", **options)
    with pytest.raises(ValueError, match="table 'gone': DuckDB refused"):
        DuckdbIndex(connection, "gone")
    with pytest.raises(TypeError, match="connection: expected a duckdb connection, got str"):
        DuckdbIndex("items.duckdb", "items")


def test_a_slow_query_ends_in_time(connection):
    index = DuckdbIndex(connection, "items", timeout=0.2) if Duck(connection).fill(rows_of()) else None
    slow = "(SELECT count(*) FROM range(100000000) a, range(1000) b WHERE a.range + b.range = price) > 0"
    with pytest.raises(TimeoutError, match=r"table 'items': DuckDB did not answer within 0\.2 s"):
        index.search(np.ones((1, D)), 3, filter=slow)
    assert len(index.fetch(np.ones((1, D)), 3)[0]) == 3


def test_a_connection_that_is_closed(connection):
    index = Duck(connection).fill(rows_of())
    connection.close()
    with pytest.raises(ConnectionError, match="table 'items': DuckDB cannot read it"):
        index.search(queries_of(1), 3)


def test_ids_beyond_63_bits_may_be_excluded(connection):
    connection.execute("CREATE TABLE items (id UBIGINT, vector FLOAT[4])")
    ids, rows = [2**64 - 1 - row for row in range(4)], np.eye(4)
    connection.executemany("INSERT INTO items VALUES (?, ?)", list(zip(ids, rows.tolist(), strict=True)))
    index = Index.from_duckdb(connection, "items")
    _, found = index.search(rows[:1], 3, exclude=[ids[0], -1])
    assert sorted(found[0].tolist()) == sorted(ids[1:])
    connection.execute("UPDATE items SET id = NULL WHERE id = ?", [ids[3]])
    with pytest.raises(ValueError, match="a row has a vector and no id"):
        index.search(rows[:1], 3, exclude=ids[:1])


@pytest.mark.parametrize("kind", ["VARCHAR COLLATE NOCASE", "ENUM"])
def test_ids_are_told_apart_letter_for_letter(connection, kind):
    X, ids = rows_of(n=20), [f"{'aA'[row % 2]}{row // 2}" for row in range(20)]
    if kind == "ENUM":
        kind = f"ENUM ({', '.join(map(repr, ids))})"
    connection.execute(f"CREATE TABLE items (id {kind}, vector FLOAT[{D}], price INTEGER)")
    rows = [(id, X[row].tolist(), row) for row, id in enumerate(ids)]
    connection.executemany("INSERT INTO items VALUES (?, ?, ?)", rows)
    index = DuckdbIndex(connection, "items")
    assert_answers(index, X, name=ids.__getitem__, filter="price < 9", kept=np.arange(20) < 9)


def test_doubles_are_not_rounded(connection):
    """Places in meters: as single precision they are half a meter off."""
    X = np.array([5e6, 1e6, 3e6]) + np.random.default_rng(0).standard_normal((12, 3))
    index = Duck(connection, "DOUBLE").fill(X, way="euclidean")
    (found,) = index.fetch(X[:1], 12)
    away = np.linalg.norm(X - X[0], axis=1)
    np.testing.assert_allclose(-found.scores, np.sort(away), atol=1e-8)
    for rows in (found.vectors, index.vectors(found.ids)):
        np.testing.assert_array_equal(rows, X[found.ids])
    drawn = index.sample()
    np.testing.assert_array_equal(drawn.vectors, X[drawn.ids])
