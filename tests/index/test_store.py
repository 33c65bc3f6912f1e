"""StoreIndex: what it does for an adapter, and the adapter over SQLite that the docs show."""

import importlib.util
import re
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from stores import COLORS, D, Store, StoreTests, queries_of

from setwise.index import Reply, StoreIndex

PAGE = Path(__file__).resolve().parents[2] / "docs" / "indexes-databases.md"


@pytest.fixture(scope="module")
def SqliteIndex(tmp_path_factory):
    """The class on the page, as it stands there."""
    (block,) = (
        block
        for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        if "StoreIndex" in block
    )
    assert len(block.splitlines()) <= 60
    path = tmp_path_factory.mktemp("page") / "sqlite_index.py"
    path.write_text(block, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("sqlite_index", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.SqliteIndex


class Sqlite(Store):
    def __init__(self, index):
        self.database, self.index = sqlite3.connect(":memory:", check_same_thread=False), index

    def fill(self, X, name=int, way=None):
        self.database.execute(
            "CREATE TABLE items (id INTEGER PRIMARY KEY, vector BLOB, color TEXT, price INTEGER)"
        )
        for row, vector in enumerate(X):
            self.put(name(row), vector, COLORS[row % 3], row)
        return self.index(self.database, "items", X.shape[1])

    def colored(self, color):
        return f"color = '{color}'"

    def put(self, id, vector, color="red", price=0):
        blob = np.asarray(vector, np.float32).tobytes()
        self.database.execute("REPLACE INTO items VALUES (?, ?, ?, ?)", (id, blob, color, price))

    def delete(self, ids):
        self.database.executemany("DELETE FROM items WHERE id = ?", [(int(id),) for id in ids])


class TestTheExampleOfTheDocs(StoreTests):
    draws = False

    @pytest.fixture
    def store(self, SqliteIndex):
        return Sqlite(SqliteIndex)


class Listed(StoreIndex):
    """Rows in a dict, with answers that may be spoiled."""

    def __init__(self, rows, **options):
        super().__init__("the dict", dim=2, **options)
        self.held, self.spoil = dict(rows), lambda answer: answer

    def count(self, most):
        return len(self.held)

    def find(self, queries, k, filter, exclude, vectors):
        ids = [id for id in self.held if id not in exclude]
        rows = np.array([self.held[id] for id in ids]).reshape(-1, 2)
        answers = []
        for query in queries:
            scores = rows @ query / np.linalg.norm(rows, axis=1)
            order = np.argsort(-scores)[:k]
            answers.append(self.spoil(Reply([ids[one] for one in order], scores[order], rows[order])))
        return answers

    def read(self, ids, field):
        return [(id, self.held[id]) for id in ids if id in self.held]


ROWS = {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [1.0, 1.0]}


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda a: Reply([*a.ids[:-1], None], a.scores, a.vectors), "has a vector and no id"),
        (lambda a: Reply([a.ids[0]] * 3, a.scores, a.vectors), "is stored twice"),
        (lambda a: Reply(a.ids, a.scores, a.vectors * np.nan), "has NaN or Inf"),
        (lambda a: Reply(a.ids, a.scores, a.vectors * 0), "is all zero"),
        (lambda a: Reply(a.ids, a.scores, [[1.0], [2.0, 1.0], [1.0, 0.0]]), "has shape"),
    ],
)
def test_answers_that_cannot_be_used_name_the_store(spoil, match):
    index = Listed(ROWS, ids="strings", missing="raise")
    index.spoil = spoil
    with pytest.raises(ValueError, match=f"^the dict: .*{match}"):
        index.fetch(np.ones((1, 2)), 3)


def test_a_database_that_does_not_leave_out_what_it_is_told_to():
    """It would be asked for ever."""
    index = Listed(ROWS, ids="strings")
    index.spoil = lambda a: Reply(["c"], a.scores[:1], [[0.0, 0.0]])
    with pytest.raises(ValueError, match="the dict: the vector of id 'c' is all zero"):
        index.fetch(np.ones((1, 2)), 3)


def test_a_database_that_ranks_by_something_else_is_not_exact():
    """By inner product, of vectors that are not of length 1: the short ones might never be found."""
    index = Listed(ROWS, ids="strings")
    index.spoil = lambda answer: Reply(
        answer.ids, answer.scores * np.linalg.norm(answer.vectors, axis=1), answer.vectors
    )
    with pytest.raises(ValueError, match="^the dict: the database scores id 'c' 4, its vector has 2.82843"):
        index.fetch(np.array([[3.0, 1.0]]), 3)


def test_scores_are_of_the_vectors_whatever_an_approximate_index_says():
    index = Listed(ROWS, ids="strings", exact=False)
    index.spoil = lambda answer: Reply(answer.ids[::-1], -answer.scores, answer.vectors[::-1])
    (found,) = index.fetch(np.array([[3.0, 1.0]]), 3)
    assert found.ids.tolist() == ["a", "c", "b"]
    np.testing.assert_allclose(found.scores, [3.0, 4.0 / 2**0.5, 1.0])


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"ids": "numbers"}, ValueError, "ids: 'numbers' is unknown"),
        ({"metric": "dot"}, ValueError, "metric: 'dot' is unknown"),
        ({"timeout": 0}, ValueError, "timeout: 0 is not a finite number above 0"),
        ({"timeout": "1"}, TypeError, "timeout: expected a number above 0"),
    ],
)
def test_what_an_adapter_says_of_its_store_is_checked(options, error, match):
    with pytest.raises(error, match=match):
        Listed(ROWS, **options)


def test_uuids_in_any_form():
    import uuid

    name = uuid.UUID(int=7919)
    index = Listed({str(name): [1.0, 0.0]}, ids="UUIDs")
    forms = [str(name), str(name).upper(), name, name.hex]
    assert (index.vectors(forms) == [1.0, 0.0]).all()
    assert len(index.fetch(np.ones((1, 2)), 3, exclude=[name])[0]) == 0
    with pytest.raises(KeyError, match="'no-uuid' is no id of the dict, whose ids are UUIDs"):
        index.vectors(["no-uuid"])


def test_many_ids_are_read_a_thousand_at_a_time():
    index = Listed({row: [1.0, row] for row in range(2500)})
    asked = []
    read = index.read
    index.read = lambda ids, field: asked.append(len(ids)) or read(ids, field)
    assert index.vectors(np.arange(2500)[::-1])[:, 1].tolist() == list(range(2500))[::-1]
    assert asked == [1000, 1000, 500]
    assert queries_of().shape[1] == D
