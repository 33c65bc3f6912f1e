"""SqliteIndex by sqlite-vec: ordinary tables and vec0 tables, through apsw."""

import sqlite3
from typing import ClassVar

import numpy as np
import pytest
from stores import COLORS, D, N, Store, StoreTests, assert_answers, colors_of, queries_of, rows_of

import setwise
from optional import lazily, needs
from setwise.index import Index
from setwise.index.sqlite import SqliteIndex

apsw = lazily("apsw")

pytestmark = needs("apsw", "sqlite_vec")

NAMES = {"integers": int, "strings": lambda row: f'it\'s "n{row}"'}


class Lite(Store):
    def __init__(self, path=":memory:", vec0=False):
        self.database, self.vec0 = apsw.Connection(str(path)), vec0

    def fill(self, X, name=int, way=None):
        kind = "TEXT" if isinstance(name(0), str) else "INTEGER"
        create = f"CREATE TABLE items (id {kind} PRIMARY KEY, vector BLOB, color TEXT, price INTEGER)"
        if self.vec0:
            import sqlite_vec

            self.database.enable_load_extension(True)
            self.database.load_extension(sqlite_vec.loadable_path())
            create = (
                f"CREATE VIRTUAL TABLE items USING vec0(id {kind} PRIMARY KEY, vector float[{X.shape[1]}], "
                "color TEXT, price INTEGER)"
            )
        self.database.execute(create)
        with self.database:
            for row, vector in enumerate(X):
                self.put(name(row), vector, COLORS[row % 3], row)
        return Index.from_sqlite(self.database, "items", metric=way or "cosine")

    def colored(self, color):
        return ("color = ?", [color])

    def put(self, id, vector, color="red", price=0):
        self.delete([id])
        blob = np.asarray(vector, np.float32).tobytes()
        self.database.execute("INSERT INTO items VALUES (?, ?, ?, ?)", (id, blob, color, price))

    def delete(self, ids):
        for id in ids:
            self.database.execute("DELETE FROM items WHERE id = ?", (id,))


class TestSqlite(StoreTests):
    ways: ClassVar = {"cosine": "cosine", "euclidean": "euclidean"}
    names: ClassVar = NAMES

    @pytest.fixture
    def store(self):
        return Lite()


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_vec0_tables_in_a_file(tmp_path, metric, kind):
    X = rows_of()
    index = Lite(tmp_path / "items.db", vec0=True).fill(X, NAMES[kind], metric)
    assert_answers(index, X, metric, NAMES[kind], "color = 'red'", colors_of() == "red")


def test_filters():
    index = Lite().fill(rows_of())
    (found,) = index.fetch(queries_of(1), 50, filter="price < 20 AND color = 'red' OR 0", exclude=[0, 777])
    assert sorted(found.ids.tolist()) == [3, 6, 9, 12, 15, 18]
    for wrong in ("colour = 'red'", "price <", "1; DROP TABLE items"):
        with pytest.raises(ValueError, match="table 'items': SQLite refused"):
            index.search(queries_of(1), 5, filter=wrong)
    with pytest.raises(TypeError, match="filter: expected an SQL condition"):
        index.search(queries_of(1), 5, filter={"color": "red"})
    assert index.size == N


def test_rows_without_a_vector_are_left_out():
    store = Lite()
    index = store.fill(rows_of())
    store.database.execute("UPDATE items SET vector = NULL WHERE id = 5")
    assert index.size == N - 1
    assert 5 not in index.fetch(queries_of(1), N)[0].ids
    with pytest.raises(KeyError, match="5 is not stored in table 'items', or has no vector"):
        index.vectors([5])


def test_vectors_of_another_width_are_refused():
    store = Lite()
    index = store.fill(rows_of())
    store.put(7, np.ones(5))
    with pytest.raises(ValueError, match="table 'items': SQLite refused"):
        index.search(queries_of(1), 3)
    with pytest.raises(ValueError, match="table 'items': the vector of id 7 has shape"):
        index.vectors([6, 7])


def test_what_cannot_be_searched_is_refused():
    store = Lite()
    store.fill(rows_of()[:4])
    for options, text in [
        ({"vector": "vectors"}, "vector: 'vectors' is unknown; did you mean 'vector'"),
        ({"id": "ids"}, "id: 'ids' is unknown; did you mean 'id'"),
        ({"id": "vector"}, "id: column 'vector' of table 'items' holds blob"),
        ({"metric": "manhattan"}, "metric: 'manhattan' is unknown"),
        ({"timeout": 0}, "timeout: 0 is not a finite number above 0"),
    ]:
        with pytest.raises(ValueError, match=text):
            SqliteIndex(store.database, "items", **options)
    with pytest.raises(ValueError, match="table: there is no table 'gone'"):
        SqliteIndex(store.database, "gone")
    store.delete(range(4))
    with pytest.raises(ValueError, match="dim: table 'items' has no vector yet; pass their width"):
        SqliteIndex(store.database, "items")
    assert SqliteIndex(store.database, "items", dim=D).size == 0
    with pytest.raises(TypeError, match=r"connection: expected a sqlite3\.Connection or an apsw\.Connection"):
        SqliteIndex("items.db", "items")


def test_pythons_own_connection(tmp_path):
    """Where Python's sqlite3 loads extensions it serves as well; where it does not, that is said."""
    Lite(tmp_path / "items.db").fill(rows_of())
    database = sqlite3.connect(tmp_path / "items.db", check_same_thread=False)
    if hasattr(database, "enable_load_extension"):
        assert_answers(
            SqliteIndex(database, "items"), rows_of(), filter="color = 'red'", kept=colors_of() == "red"
        )
    else:
        with pytest.raises(ImportError, match=r"built without loadable extensions; use apsw\.Connection"):
            SqliteIndex(database, "items")


def test_a_slow_query_ends_in_time():
    store = Lite()
    store.fill(rows_of())
    index = SqliteIndex(store.database, "items", timeout=0.2)
    slow = (
        "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) "
        "SELECT count(*) FROM n) > price"
    )
    with pytest.raises(TimeoutError, match=r"table 'items': SQLite did not answer within 0\.2 s"):
        index.search(np.ones((1, D)), 3, filter=slow)
    assert len(index.fetch(np.ones((1, D)), 3)[0]) == 3


def test_a_connection_that_is_closed():
    store = Lite()
    index = store.fill(rows_of())
    store.database.close()
    with pytest.raises(ConnectionError, match="table 'items': SQLite cannot read it"):
        index.search(queries_of(1), 3)


def test_ids_are_told_apart_letter_for_letter():
    X, ids = rows_of(n=20), [f"{'aA'[row % 2]}{row // 2}" for row in range(20)]
    store = Lite()
    store.database.execute("CREATE TABLE items (id TEXT COLLATE NOCASE, vector BLOB, color TEXT, price INT)")
    for row, id in enumerate(ids):
        values = (id, X[row].tobytes(), "red", row)
        store.database.execute("INSERT INTO items VALUES (?, ?, ?, ?)", values)
    index = SqliteIndex(store.database, "items")
    assert_answers(index, X, name=ids.__getitem__, filter="price < 9", kept=np.arange(20) < 9)


@pytest.mark.parametrize("kind", ["vec0", "view", "without"])
def test_rows_that_have_no_number(kind):
    """Along gradients a retrieval starts from some drawn over all: by ids, where rows are not numbered."""
    X = rows_of(n=30)
    store = Lite(vec0=kind == "vec0")
    index, table = store.fill(X), "items"
    if kind != "vec0":
        table = "others"
        create = "CREATE VIEW others AS SELECT * FROM items"
        if kind == "without":
            create = "CREATE TABLE others (id INTEGER PRIMARY KEY, vector BLOB) WITHOUT ROWID"
        store.database.execute(create)
        if kind == "without":
            store.database.execute("INSERT INTO others SELECT id, vector FROM items")
        index = SqliteIndex(store.database, table)
    assert index.sample(9).ids.tolist() == index.sample(9).ids.tolist()
    assert sorted(index.sample().ids.tolist()) == list(range(30))
    hits = setwise.retrieve(X[0], index, 4, sharpness=1, diversity=0.5)
    same = setwise.retrieve(X[0], Index.from_array(X), 4, sharpness=1, diversity=0.5)
    assert hits.ids.tolist() == same.ids.tolist()
