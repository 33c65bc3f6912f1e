"""LanceIndex over embedded LanceDB tables."""

from typing import ClassVar

import numpy as np
import pytest
from stores import COLORS, D, N, Store, StoreTests, assert_answers, colors_of, queries_of, rows_of, scores_of

from optional import lazily, needs
from setwise.index.lance import DISTANCES, LanceIndex

lancedb = lazily("lancedb")
pa = lazily("pyarrow")

pytestmark = needs("lancedb", "pyarrow")


NAMES = {"integers": int, "strings": lambda row: f"it's `n{row}`"}


@pytest.fixture
def db(tmp_path):
    """An empty database in a folder."""
    return lancedb.connect(tmp_path / "db")


def lists(X):
    """Rows as Arrow stores vectors."""
    return pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), X.shape[1])


def fill(db, X, name=int, id="id", vector="vector", table="items"):
    """Make a table of the rows."""
    columns = {
        id: [name(row) for row in range(len(X))],
        vector: lists(X),
        "color": [COLORS[row % 3] for row in range(len(X))],
        "price": np.arange(len(X)),
    }
    return db.create_table(table, pa.table(columns))


class Lance(Store):
    def __init__(self, db, kind):
        self.db, self.kind = db, kind

    def fill(self, X, name=int, way=None):
        self.table = fill(self.db, X.astype(self.kind), name)
        metric = "cosine" if way is None else DISTANCES[way]
        return LanceIndex(self.table, metric=metric, distance=way)

    def colored(self, color):
        return f"color = '{color}'"

    def put(self, id, vector, color="red", price=0):
        self.delete([id])
        vector = np.asarray(vector, self.kind)[None]
        self.table.add(pa.table({"id": [id], "vector": lists(vector), "color": [color], "price": [price]}))

    def delete(self, ids):
        self.table.delete(f"id IN ({', '.join(map(str, ids))})")


class TestLance(StoreTests):
    ways: ClassVar = DISTANCES
    unit = ("dot",)
    names: ClassVar = NAMES
    zeros_are_found = False

    @pytest.fixture
    def store(self, db):
        return Lance(db, np.float32)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("kind", ["float16", "float64"])
def test_other_precisions(db, distance, kind):
    X = rows_of(unit=distance == "dot").astype(kind)
    index = Lance(db, kind).fill(X, way=distance)
    assert (index.dim, index.metric, index.exact) == (D, DISTANCES[distance], True)
    assert_answers(index, X, DISTANCES[distance], int, "color = 'red'", colors_of() == "red")


def test_the_best_of_close_halves_are_found(db):
    rng = np.random.default_rng(0)
    X = (np.ones(D) + 2e-2 * rng.standard_normal((N * 5, D))).astype(np.float16)
    index = LanceIndex(fill(db, X))
    Q = np.ones((1, D)) + 1e-2 * rng.standard_normal((1, D))
    truth = scores_of(X, Q)[0]
    assert set(index.fetch(Q, 20)[0].ids) == set(np.argsort(-truth)[:20])
    with pytest.raises(ValueError, match="beyond what the half precision"):
        LanceIndex(index.table, metric="euclidean").search(Q * 1e6, 3)


def test_filters(db):
    index = LanceIndex(fill(db, rows_of()))
    (found,) = index.fetch(
        queries_of(1), 50, filter="price < 20 AND color = 'red' OR false", exclude=[0, 777]
    )
    assert sorted(found.ids.tolist()) == [3, 6, 9, 12, 15, 18]
    assert (index.search(queries_of(1), 5, filter="false")[1] == -1).all()
    for wrong in ("colour = 'red'", "price <", "1; DROP TABLE items"):
        with pytest.raises(ValueError, match="table 'items': LanceDB refused"):
            index.search(queries_of(1), 5, filter=wrong)
    with pytest.raises(TypeError, match="filter: expected an SQL condition"):
        index.search(queries_of(1), 5, filter={"color": "red"})


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_a_vector_index_is_used_and_never_starves_a_result(db, kind):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((4000, D)).astype(kind)
    table = fill(db, X)
    table.create_index(
        "vector", config=lancedb.index.IvfPq(distance_type="cosine", num_partitions=16, num_sub_vectors=4)
    )
    index = LanceIndex(table)
    assert not index.exact
    truth = scores_of(X, queries_of(1))[0]
    best = np.argsort(-truth, kind="stable")
    (found,) = index.fetch(queries_of(1), 100)
    assert len(found) == 100
    assert len(set(found.ids) & set(best[:100])) > 30
    np.testing.assert_allclose(found.scores, truth[found.ids], atol=1e-5)
    scores, ids = index.search(queries_of(1), 100)
    np.testing.assert_allclose(scores[0], truth[ids[0]], atol=1e-5)
    for options in ({"filter": "price % 200 = 0"}, {"filter": "price % 200 = 0", "exclude": [7, 9]}):
        assert len(index.fetch(queries_of(1), 20, **options)[0]) == 20
    exact = LanceIndex(table, exact=True)
    assert exact.exact
    assert exact.fetch(queries_of(1), 100)[0].ids.tolist() == best[:100].tolist()
    tuned = LanceIndex(table, nprobes=16, refine_factor=10)
    assert len(set(tuned.fetch(queries_of(1), 100)[0].ids) & set(best[:100])) > 90
    # An index for another distance does not serve this one.
    assert LanceIndex(table, metric="euclidean").exact


def test_names_are_quoted(db):
    X = rows_of()
    table = fill(db, X, id="my id", vector="Vec tor")
    assert_answers(
        LanceIndex(table, id="my id", vector="Vec tor"),
        X,
        filter="color = 'red'",
        kept=colors_of() == "red",
    )


def test_rows_without_a_vector_are_left_out(db):
    vectors = pa.array([[1.0, 0.0], None, [0.0, 1.0], [1.0, 1.0]], pa.list_(pa.float32(), 2))
    table = db.create_table(
        "items", pa.table({"id": ["a", "b", "c", "d"], "vector": vectors}), on_bad_vectors="null"
    )
    index = LanceIndex(table)
    assert index.size == 3
    assert sorted(index.fetch(np.ones((1, 2)), 9)[0].ids) == ["a", "c", "d"]
    assert sorted(index.sample().ids) == ["a", "c", "d"]
    np.testing.assert_array_equal(index.sample().vectors, [[1, 0], [0, 1], [1, 1]])
    with pytest.raises(KeyError, match="'b' is not stored in table 'items', or has no vector"):
        index.vectors(["a", "b"])
    table.delete("id = 'a'")
    assert sorted(LanceIndex(table).sample().ids) == ["c", "d"]


def test_ids_must_be_unique(db):
    table = fill(db, rows_of())
    table.add(table.search().where("id = 5").to_arrow())
    index = LanceIndex(table)
    for call in (lambda: index.search(queries_of(1), N + 1), lambda: index.vectors([4, 5])):
        with pytest.raises(ValueError, match="id 5 is stored twice; ids must be unique"):
            call()
    table = db.create_table(
        "gaps", pa.table({"id": ["a", None], "vector": lists(np.eye(2, dtype=np.float32))})
    )
    for exclude in ([], ["a"]):  # to SQL, nothing is neither in a list nor not in it
        with pytest.raises(ValueError, match="a row has a vector and no id"):
            LanceIndex(table).search(np.ones((1, 2)), 2, exclude=exclude)


def test_many_ids_may_be_excluded(db):
    X = np.random.default_rng(0).standard_normal((6000, 4)).astype(np.float32)
    index = LanceIndex(fill(db, X, NAMES["strings"]))
    out = [NAMES["strings"](row) for row in range(5000)]
    (found,) = index.fetch(np.ones((1, 4)), 2000, exclude=out)
    assert sorted(found.ids) == sorted(NAMES["strings"](row) for row in range(5000, 6000))
    assert len(index.sample(2000)) == 1000


def test_what_cannot_be_searched_is_refused(db):
    X = rows_of()[:4]
    ragged = pa.array([[1.0], [1.0, 2.0], [3.0], [4.0]], pa.list_(pa.float32()))
    whole = pa.FixedSizeListArray.from_arrays(pa.array(range(8), pa.uint8()), 2)
    columns = {"id": [0, 1, 2, 3], "at": [0.5] * 4, "vector": lists(X), "ragged": ragged, "whole": whole}
    table = db.create_table("items", pa.table(columns))
    for options, text in [
        ({"vector": "vectors"}, "vector: 'vectors' is unknown; did you mean 'vector'"),
        ({"id": "ids"}, "id: 'ids' is unknown; did you mean 'id'"),
        ({"id": "at"}, "id: column 'at' of table 'items' is of type double"),
        ({"vector": "ragged"}, "only fixed-size lists of floats"),
        ({"vector": "whole"}, "only fixed-size lists of floats"),
        ({"vector": "at"}, "only fixed-size lists of floats"),
        ({"metric": "manhattan"}, "metric: 'manhattan' is unknown"),
        ({"distance": "l2"}, "distance: l2 ranks by euclidean, not cosine"),
        ({"timeout": 0}, "timeout: 0 is not a finite number above 0"),
        ({"nprobes": 0}, "nprobes: 0 is below 1"),
    ]:
        with pytest.raises(ValueError, match=text):
            LanceIndex(table, **options)
    with pytest.raises(TypeError, match="table: expected an open LanceDB table, got str"):
        LanceIndex("items")


def test_a_slow_query_ends_in_time(db):
    X = np.random.default_rng(0).standard_normal((100_000, 32)).astype(np.float32)
    table = db.create_table("items", pa.table({"id": np.arange(len(X)), "vector": lists(X)}))
    with pytest.raises(TimeoutError, match="table 'items': LanceDB did not answer in time"):
        LanceIndex(table, timeout=1e-6).search(np.ones((1, 32)), 3)
    assert len(LanceIndex(table, timeout=60).fetch(np.ones((1, 32)), 3)[0]) == 3


def test_a_table_that_is_gone(db):
    index = LanceIndex(fill(db, rows_of()))
    db.drop_table("items")
    with pytest.raises(ConnectionError, match="table 'items': LanceDB cannot read it"):
        index.search(queries_of(1), 3)


def test_rows_that_another_handle_deletes_are_not_found(db, tmp_path):
    import setwise

    index = LanceIndex(fill(db, rows_of()))
    other = lancedb.connect(tmp_path / "db").open_table("items")
    for options in ({"sharpness": 1, "diversity": 0.9}, {"diversity": 0.2}):
        gone = setwise.retrieve(queries_of(1)[0], index, 8, **options).ids.tolist()
        other.delete(f"id IN ({', '.join(map(str, gone))})")
        assert not set(setwise.retrieve(queries_of(1)[0], index, 8, **options).ids.tolist()) & set(gone)
        with pytest.raises(KeyError, match=f"{gone[0]} is not stored"):
            index.vectors(gone)
    assert index.size == N - 16


def test_a_table_that_is_checked_out_stays_there(db, tmp_path):
    table = fill(db, rows_of())
    table.checkout(1)
    index = LanceIndex(table)
    lancedb.connect(tmp_path / "db").open_table("items").delete("id < 100")
    assert index.size == N
    assert table.version == 1


def test_the_least_integer_is_an_id(db):
    X = rows_of(n=20)
    index = LanceIndex(fill(db, X, lambda row: row - 2**63))
    assert_answers(index, X, name=lambda row: row - 2**63, filter="price < 9", kept=np.arange(20) < 9)
