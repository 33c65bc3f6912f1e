"""PgvectorIndex over a real PostgreSQL server with pgvector, started by the tests in a temporary folder."""

import asyncio
import decimal
import socket
import threading
import uuid
from typing import ClassVar

import numpy as np
import pytest
from postgres import Unavailable, server
from stores import COLORS, D, N, Store, StoreTests, assert_answers, colors_of, queries_of, rows_of, scores_of

from optional import lazily, needs
from setwise.index.pgvector import OPERATORS, PgvectorIndex

psycopg = lazily("psycopg")
psycopg_pool = lazily("psycopg_pool")
sqlalchemy = lazily("sqlalchemy")

pytestmark = needs("psycopg", "psycopg_pool", "sqlalchemy")


NAMES = {"bigint": int, "uuid": lambda row: str(uuid.UUID(int=row * 7919)), "text": lambda row: f"n{row}"}


@pytest.fixture(scope="session")
def dsn():
    """How to connect to a server with the extension."""
    try:
        with server() as dsn:
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            yield dsn
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def connection(dsn):
    """A connection in autocommit mode, to a database without tables."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS items CASCADE")
        yield connection


def fill(connection, X, id_type="bigint", column=f"vector({D})", table="items"):
    """Make a table of the rows."""
    name = NAMES[id_type]
    connection.execute(f"CREATE TABLE {table} (id {id_type}, embedding {column}, color text, price int)")
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {table} VALUES (%s, %s, %s, %s)",
            [(name(row), str(X[row].tolist()), COLORS[row % 3], row) for row in range(len(X))],
        )
    return connection


class Pgvector(Store):
    def __init__(self, connection):
        self.connection = connection

    def fill(self, X, name=int, way=None):
        fill(self.connection, X, next(kind for kind in NAMES if NAMES[kind] == name))
        metric = "cosine" if way is None else OPERATORS[way]
        return PgvectorIndex(self.connection, "items", metric=metric, operator=way)

    def colored(self, color):
        return "color = %s", [color]

    def put(self, id, vector, color="red", price=0):
        self.delete([id])
        values = [id, str(np.asarray(vector).tolist()), color, price]
        self.connection.execute("INSERT INTO items VALUES (%s, %s, %s, %s)", values)

    def delete(self, ids):
        self.connection.execute("DELETE FROM items WHERE id = ANY(%s)", [list(ids)])


class TestPgvector(StoreTests):
    ways: ClassVar = OPERATORS
    unit = ("<#>",)
    names: ClassVar = NAMES

    @pytest.fixture
    def store(self, connection):
        return Pgvector(connection)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("method", [None, "hnsw", "ivfflat"])
def test_half_precision(connection, operator, method):
    X = rows_of(unit=operator == "<#>").astype(np.float16)
    fill(connection, X, column=f"halfvec({D})")
    if method:
        name = {"<=>": "cosine", "<#>": "ip", "<->": "l2"}[operator]
        lists = " WITH (lists = 1)" if method == "ivfflat" else ""
        connection.execute(f"CREATE INDEX ON items USING {method} (embedding halfvec_{name}_ops){lists}")
    index = PgvectorIndex(connection, "items", metric=OPERATORS[operator], operator=operator)
    assert index.exact == (method is None)
    red = ("color = %s", ["red"])
    if method is None:
        assert_answers(index, X, OPERATORS[operator], int, red, colors_of() == "red")
    (found,) = index.fetch(queries_of(1), 20)
    truth = scores_of(X, queries_of(1), OPERATORS[operator])[0]
    assert len(set(found.ids) & set(np.argsort(-truth)[:20])) >= 18
    np.testing.assert_allclose(found.scores, truth[found.ids], atol=1e-5)
    scores, ids = index.search(queries_of(1), 20)
    np.testing.assert_allclose(scores[0], truth[ids[0]], atol=1e-5)


@pytest.mark.parametrize("kind", ["pool", "engine", "alchemy"])
def test_pools_and_sqlalchemy(dsn, connection, kind):
    X = rows_of()
    fill(connection, X)
    red = ("color = %s", ["red"])
    kept = colors_of() == "red"
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    if kind == "pool":
        with psycopg_pool.ConnectionPool(dsn, min_size=1, max_size=2, open=True) as pool:
            assert_answers(PgvectorIndex(pool, "items"), X, filter=red, kept=kept)
    elif kind == "engine":
        assert_answers(PgvectorIndex(engine, "items"), X, filter=red, kept=kept)
    else:
        with engine.connect() as alchemy:
            assert_answers(PgvectorIndex(alchemy, "items"), X, filter=red, kept=kept)
            assert not alchemy.in_transaction()
    engine.dispose()


def test_filters_of_every_kind(connection):
    fill(connection, rows_of())
    table = sqlalchemy.table("items", *map(sqlalchemy.column, ("color", "price")))
    index = PgvectorIndex(connection, "items")
    for condition in (
        "price < 20 AND color LIKE 'r%'",
        ("price < %s AND color = %s", [20, "red"]),
        ("price < %s AND color LIKE 'r%%'", (20,)),
        psycopg.sql.SQL("{} < {} AND color = 'red'").format(psycopg.sql.Identifier("price"), 20),
        sqlalchemy.and_(table.c.price < 20, table.c.color == "red"),
        sqlalchemy.and_(table.c.price.in_(range(20)), table.c.color.in_(["red", "mauve"])),
        "price < 20 AND color = 'red' OR false",
    ):
        (found,) = index.fetch(queries_of(1), 50, filter=condition, exclude=[0, 777])
        assert sorted(found.ids.tolist()) == [3, 6, 9, 12, 15, 18], condition
    assert (index.search(queries_of(1), 5, filter="false")[1] == -1).all()
    for wrong in ("colour = 'red'", "price <", "1; DROP TABLE items"):
        with pytest.raises(ValueError, match="table 'items': PostgreSQL refused"):
            index.search(queries_of(1), 5, filter=wrong)
    for wrong in (7, {"color": "red"}, ("color = %s", "red")):
        with pytest.raises(TypeError, match="filter: expected an SQL condition"):
            index.search(queries_of(1), 5, filter=wrong)
    assert index.size == N


@pytest.mark.parametrize("method", ["hnsw", "ivfflat"])
def test_an_approximate_index_is_used_and_never_starves_a_result(connection, method):
    rng = np.random.default_rng(3)
    connection.execute(f"CREATE TABLE items (id bigserial, embedding vector({D}), rare bool)")
    X = rng.standard_normal((4000, D)).astype(np.float32)
    with connection.cursor() as cursor, cursor.copy("COPY items (embedding, rare) FROM STDIN") as copy:
        for row in range(len(X)):
            copy.write_row((str(X[row].tolist()), row % 200 == 0))
    lists = "WITH (lists = 40)" if method == "ivfflat" else ""
    connection.execute(f"CREATE INDEX ON items USING {method} (embedding vector_cosine_ops) {lists}")
    connection.execute("ANALYZE items")
    index = PgvectorIndex(connection, "items")
    assert not index.exact
    (found,) = index.fetch(queries_of(1), 500)
    assert len(found) == 500
    truth = scores_of(X, queries_of(1))[0]
    assert len(set(found.ids - 1) & set(np.argsort(-truth)[:500])) > 150
    np.testing.assert_allclose(found.scores, truth[found.ids - 1], atol=1e-5)
    (rare,) = index.fetch(queries_of(1), 20, filter="rare")
    assert len(rare) == 20
    assert PgvectorIndex(connection, "items", exact=True).exact
    (exact,) = PgvectorIndex(connection, "items", exact=True).fetch(queries_of(1), 500)
    assert (exact.ids - 1).tolist() == np.argsort(-truth, kind="stable")[:500].tolist()
    # An index for another operator does not serve this one.
    assert PgvectorIndex(connection, "items", metric="euclidean").exact
    assert PgvectorIndex(connection, "items", ef_search=200, probes=40).fetch(queries_of(1), 5)[0].ids[0] == (
        truth.argmax() + 1
    )
    plans = []
    with psycopg.connect(connection.info.dsn, autocommit=True) as watched:
        seen = PgvectorIndex(watched, "items")
        asked = seen._ask

        def explain(execute, *details, **more):
            plans.append(asked(lambda text, values: execute(f"EXPLAIN {text}", values), *details, **more))
            return asked(execute, *details, **more)

        seen._ask = explain
        seen.search(queries_of(1), 10)
    assert any("Index Scan" in row[0] for row in plans[0])


def test_indexes_of_partitions_and_views_count(connection):
    connection.execute("CREATE TABLE items (id int, embedding vector(2)) PARTITION BY RANGE (id)")
    connection.execute("CREATE TABLE items_1 PARTITION OF items FOR VALUES FROM (0) TO (100)")
    connection.execute("INSERT INTO items SELECT i, array[i, 1]::vector FROM generate_series(1, 9) i")
    connection.execute("CREATE VIEW seen AS SELECT * FROM items WHERE id < 5")
    try:
        assert PgvectorIndex(connection, "items").exact
        connection.execute("CREATE INDEX ON items_1 USING hnsw (embedding vector_cosine_ops)")
        assert not PgvectorIndex(connection, "items").exact
        view = PgvectorIndex(connection, "seen")
        assert not view.exact
        assert sorted(view.fetch(np.ones((1, 2)), 9)[0].ids) == [1, 2, 3, 4]
        assert PgvectorIndex(connection, "seen", exact=True).exact
    finally:
        connection.execute("DROP VIEW seen")


def test_the_callers_transaction_is_left_as_it_was(dsn, connection):
    fill(connection, rows_of())
    with psycopg.connect(dsn) as mine:
        index = PgvectorIndex(mine, "items", timeout=5)
        assert mine.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        mine.execute("UPDATE items SET color = 'mauve' WHERE id = 1")
        (found,) = index.fetch(queries_of(1), 5, filter="color = 'mauve'")
        assert found.ids.tolist() == [1]
        with pytest.raises(ValueError, match="refused"):
            index.search(queries_of(1), 5, filter="nonsense")
        assert mine.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        assert mine.execute("SHOW statement_timeout").fetchone() == ("0",)
        assert mine.execute("SELECT color FROM items WHERE id = 1").fetchone() == ("mauve",)
        assert connection.execute("SELECT color FROM items WHERE id = 1").fetchone() == ("green",)
        mine.rollback()
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    with engine.connect() as mine:
        index = PgvectorIndex(mine, "items", timeout=5)
        assert not mine.in_transaction()
        mine.execute(sqlalchemy.text("UPDATE items SET color = 'mauve' WHERE id = 1"))
        assert index.fetch(queries_of(1), 5, filter="color = 'mauve'")[0].ids.tolist() == [1]
        with pytest.raises(ValueError, match="refused"):
            index.search(queries_of(1), 5, filter="nonsense")
        assert mine.in_transaction()
        assert mine.execute(sqlalchemy.text("SHOW statement_timeout")).scalar() == "0"
        assert mine.execute(sqlalchemy.text("SELECT color FROM items WHERE id = 1")).scalar() == "mauve"
        mine.rollback()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as mine:
        index = PgvectorIndex(mine, "items", timeout=0.2)
        with pytest.raises(TimeoutError):
            index.search(queries_of(1), 3, filter="pg_sleep(0.05) IS NOT NULL")
        assert mine.execute(sqlalchemy.text("SHOW statement_timeout")).scalar() == "0"
    engine.dispose()
    with psycopg.connect(dsn) as mine:
        index = PgvectorIndex(mine, "items")
        with pytest.raises(psycopg.errors.UndefinedTable):
            mine.execute("SELECT * FROM nowhere")
        with pytest.raises(ValueError, match="transaction has failed; roll it back first"):
            index.search(queries_of(1), 5)


def test_names_are_quoted(connection):
    schema, table, ident, vector = 'a "b"', "it'em; s%", 'i"d %s', "Vec tor%"
    q = psycopg.sql.Identifier
    connection.execute(psycopg.sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(q(schema)))
    connection.execute(psycopg.sql.SQL("CREATE SCHEMA {}").format(q(schema)))
    statement = psycopg.sql.SQL("CREATE TABLE {} ({} int, {} vector(2), {} text)")
    connection.execute(statement.format(q(schema, table), q(ident), q(vector), q("10%")))
    statement = psycopg.sql.SQL("INSERT INTO {} VALUES (1, '[1,0]', 'x'), (2, '[0,1]', 'y')")
    connection.execute(statement.format(q(schema, table)))
    index = PgvectorIndex(connection, table, schema=schema, id=ident, embedding=vector)
    assert index.search(np.array([[1.0, 0.5]]), 2)[1].tolist() == [[1, 2]]
    assert index.values([2, 1], "10%") == ["y", "x"]
    assert index.size == len(index.sample()) == 2
    connection.execute(psycopg.sql.SQL("DROP SCHEMA {} CASCADE").format(q(schema)))


def test_an_extension_off_the_search_path(dsn, connection):
    fill(connection, rows_of())
    connection.execute("CREATE SCHEMA IF NOT EXISTS extensions")
    connection.execute("ALTER EXTENSION vector SET SCHEMA extensions")
    try:
        with psycopg.connect(dsn) as fresh:
            index = PgvectorIndex(fresh, "items")
            assert index.fetch(queries_of(1), 1)[0].ids[0] == scores_of(rows_of(), queries_of(1))[0].argmax()
            assert len(index.sample()) == N
    finally:
        connection.execute("ALTER EXTENSION vector SET SCHEMA public")


def test_rows_without_a_vector_are_left_out(connection):
    fill(connection, rows_of())
    connection.execute("UPDATE items SET embedding = NULL WHERE id < 10")
    index = PgvectorIndex(connection, "items")
    assert index.size == N - 10
    assert index.fetch(queries_of(1), N)[0].ids.min() == 10
    assert index.sample().ids.min() == 10
    with pytest.raises(KeyError, match="3 is not stored in table 'items', or has no vector"):
        index.vectors([20, 3])
    assert index.values([20, 3], "color") == ["blue", "red"]


def test_vectors_of_several_widths(connection):
    connection.execute("CREATE TABLE items (id int, embedding vector)")
    connection.execute("INSERT INTO items VALUES (1, '[1,0]'), (2, '[0,1]'), (3, '[1,2,3]')")
    for query in (np.ones((1, 2)), np.ones((1, 3))):
        index = PgvectorIndex(connection, "items")
        if index.dim == query.shape[1]:
            with pytest.raises(ValueError, match="several widths .* pass dim= to search those of one width"):
                index.search(query, 3)
            with pytest.raises(ValueError, match="the vector of id 3 has shape"):
                index.vectors([1, 3])
    for dim, ids in ((2, [1, 2]), (3, [3])):
        index = PgvectorIndex(connection, "items", dim=dim)
        assert (index.dim, index.size) == (dim, len(ids))
        assert sorted(index.fetch(np.ones((1, dim)), 9)[0].ids) == ids
        assert sorted(index.sample().ids) == ids
    with pytest.raises(KeyError, match="3"):
        PgvectorIndex(connection, "items", dim=2).vectors([1, 3])
    connection.execute("TRUNCATE items")
    with pytest.raises(ValueError, match="has no vectors, and its column declares no width; pass dim="):
        PgvectorIndex(connection, "items")


def test_ids_must_be_unique(connection):
    fill(connection, rows_of())
    connection.execute("INSERT INTO items SELECT * FROM items WHERE id = 5")
    index = PgvectorIndex(connection, "items")
    with pytest.raises(ValueError, match="id 5 is stored twice; ids must be unique"):
        index.search(queries_of(1), N + 1)
    with pytest.raises(ValueError, match="id 5 is stored twice"):
        index.fetch(queries_of(1), N + 1)
    with pytest.raises(ValueError, match="id 5 is stored twice"):
        index.vectors([4, 5])
    connection.execute("UPDATE items SET id = NULL WHERE id = 5")
    with pytest.raises(ValueError, match="a row has a vector and no id"):
        index.search(queries_of(1), N + 1)


def test_what_cannot_be_searched_is_refused(connection):
    connection.execute("CREATE TABLE items (id int, price numeric, embedding vector(2), few sparsevec(5))")
    for options, text in [
        ({"table": "itemz"}, "table: 'itemz' is unknown; pass schema= if it is not on the search path"),
        ({"schema": "elsewhere"}, "table: 'elsewhere.items' is unknown"),
        ({"id": "ids"}, "id: 'ids' is unknown; did you mean 'id'"),
        ({"id": "price"}, "id: column 'price' of table 'items' is of type numeric"),
        ({"embedding": "embeddings"}, "embedding: 'embeddings' is unknown; did you mean 'embedding'"),
        ({"embedding": "few"}, "is of type sparsevec; only vector and halfvec"),
        ({"embedding": "price"}, "is of type numeric; only vector and halfvec"),
        ({"metric": "manhattan"}, "metric: 'manhattan' is unknown"),
        ({"operator": "<->"}, "operator: <-> ranks by euclidean, not cosine"),
        ({"operator": "<+>"}, "operator: '<\\+>' is unknown"),
        ({"dim": 3}, "dim: 3 is not the width of the column, 2"),
        ({"timeout": 0}, "timeout: 0 is not a finite number above 0"),
        ({"ef_search": 1001}, "ef_search: 1001 is above 1000"),
        ({"probes": 0}, "probes: 0 is below 1"),
    ]:
        with pytest.raises(ValueError, match=text):
            PgvectorIndex(connection, **{"table": "items", **options})
    with pytest.raises(TypeError, match=r"connection: expected a psycopg.Connection"):
        PgvectorIndex("host=here", "items")
    with pytest.raises(TypeError, match="made with postgresql.psycopg://, got sqlite"):
        PgvectorIndex(sqlalchemy.create_engine("sqlite://"), "items")


def test_a_slow_statement_ends_in_time(connection):
    fill(connection, rows_of())
    index = PgvectorIndex(connection, "items", timeout=0.2)
    with pytest.raises(TimeoutError, match="table 'items': PostgreSQL did not answer in time"):
        index.search(queries_of(1), 3, filter="pg_sleep(0.05) IS NOT NULL")
    assert len(index.fetch(queries_of(1), 3)[0]) == 3


def test_a_pool_without_a_free_connection(dsn, connection):
    fill(connection, rows_of())
    with psycopg_pool.ConnectionPool(dsn, min_size=1, max_size=1, timeout=0.2, open=True) as pool:
        index = PgvectorIndex(pool, "items")
        with pool.connection(), pytest.raises(TimeoutError, match="did not answer in time"):
            index.search(queries_of(1), 3)


def test_a_server_that_is_down_or_gone(dsn, connection):
    fill(connection, rows_of())
    mine = psycopg.connect(dsn, autocommit=True)
    index = PgvectorIndex(mine, "items")
    connection.execute("SELECT pg_terminate_backend(%s)", [mine.info.backend_pid])
    for _ in range(2):
        with pytest.raises(ConnectionError, match="table 'items': PostgreSQL cannot be reached"):
            index.search(queries_of(1), 3)
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        url = f"postgresql+psycopg://me@127.0.0.1:{reserved.getsockname()[1]}/db"
        with pytest.raises(ConnectionError, match="cannot be reached"):
            PgvectorIndex(sqlalchemy.create_engine(url), "items")


def test_a_table_that_is_gone(connection):
    fill(connection, rows_of())
    index = PgvectorIndex(connection, "items")
    connection.execute("DROP TABLE items")
    with pytest.raises(ValueError, match="table 'items': PostgreSQL refused"):
        index.search(queries_of(1), 3)


def test_one_connection_serves_threads_and_the_event_loop(connection):
    X = rows_of()
    fill(connection, X)
    index = PgvectorIndex(connection, "items")
    best = scores_of(X, queries_of(8)).argmax(axis=1).tolist()

    async def together():
        return await asyncio.gather(*(index.afetch(query[None], 3) for query in queries_of(8)))

    assert [found.ids[0] for (found,) in asyncio.run(together())] == best
    wrong = []

    def work():
        for query, row in zip(queries_of(8), best, strict=True):
            if index.search(query[None], 3)[1][0, 0] != row:
                wrong.append(row)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("analyzed", [False, True])
def test_a_large_table_is_sampled_by_pages(connection, monkeypatch, analyzed):
    monkeypatch.setattr("setwise.index.pgvector.SAMPLED_BY_ROW", 100)
    fill(connection, rows_of())
    if analyzed:
        connection.execute("ANALYZE items")
    drawn = PgvectorIndex(connection, "items").sample(20)
    assert 0 < len(drawn) <= 20
    np.testing.assert_array_equal(drawn.ids, PgvectorIndex(connection, "items").sample(20).ids)


def test_expressions_convert_their_values(connection):
    fill(connection, rows_of())
    index = PgvectorIndex(connection, "items")
    price = sqlalchemy.column("price", sqlalchemy.Numeric)
    (found,) = index.fetch(queries_of(1), 50, filter=price < decimal.Decimal("3.5"))
    assert sorted(found.ids.tolist()) == [0, 1, 2, 3]
