"""What every index over a database must do, as tests. A new adapter's test file inherits them:

    class TestMyIndex(StoreTests):
        ways: ClassVar = {"cosine": "cosine", "l2": "euclidean"}
        names: ClassVar = {"integers": int}

        @pytest.fixture
        def store(self):
            return MyStore()

and says in ``MyStore``, a `Store`, how its database is filled, changed and filtered. Answers are compared
with plain NumPy over the same data.
"""

import asyncio
import warnings
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import pytest

import setwise
from reference.brute import best_subset
from setwise.index import Index, StoreIndex

N, D = 300, 12


class Store(ABC):
    """An empty database for one test."""

    @abstractmethod
    def fill(self, X, name=int, way=None) -> StoreIndex:
        """Make a table of the rows, and an index over it.

        The id of a row is ``name(row)``; a field ``color`` is `COLORS`[row % 3], a field ``price`` is the
        row's number.
        """

    @abstractmethod
    def colored(self, color):
        """A filter, in the database's own terms, that lets the rows of a color through."""

    @abstractmethod
    def put(self, id, vector, color="red", price=0):
        """Add a row, or change it."""

    @abstractmethod
    def delete(self, ids):
        """Delete rows by their ids."""


COLORS = ("red", "green", "blue")


def rows_of(unit=False, n=N, seed=7):
    """Vectors of any length, or of length 1."""
    X = np.random.default_rng(seed).standard_normal((n, D)).astype(np.float32)
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32) if unit else X


def colors_of(n=N):
    """The color of every row."""
    return np.array([COLORS[row % 3] for row in range(n)])


def scores_of(X, queries, metric="cosine"):
    """The scores that the protocol defines, (m, n), float64."""
    X, queries = np.asarray(X, np.float64), np.asarray(queries, np.float64)
    if metric == "cosine":
        return queries @ (X / np.linalg.norm(X, axis=1, keepdims=True)).T
    return -np.linalg.norm(queries[:, None] - X[None], axis=2)


def queries_of(m=3, seed=1):
    """Queries that are not of length 1."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, D)) * rng.uniform(0.3, 8, (m, 1))


def assert_answers(index, X, metric="cosine", name=int, filter=None, kept=None, tolerance=1e-5):
    """search and fetch agree with a plain scan: several queries, exclude, a filter, k above the size.

    ``name`` turns a row number into its id; ``kept`` says which rows pass the filter.
    """
    names = [name(row) for row in range(len(X))]
    Q = queries_of()
    truth = scores_of(X, Q, metric)
    every = np.ones(len(X), bool)
    kept = every if kept is None else np.asarray(kept)
    out = [3, 8, *np.argsort(-truth[0])[:5].tolist()]
    left = every.copy()
    left[out] = False
    for allowed, options in [
        (every, {}),
        (left, {"exclude": [names[row] for row in out]}),
        (kept, {"filter": filter}),
        (kept & left, {"filter": filter, "exclude": [names[row] for row in out]}),
    ]:
        for k in (1, 10, len(X) + 20):
            scores, ids = index.search(Q, k, **options)
            found = index.fetch(Q, k, **options)
            assert scores.shape == ids.shape == (len(Q), k)
            assert scores.dtype == np.float64
            assert len(found) == len(Q)
            for one in range(len(Q)):
                rows = np.flatnonzero(allowed)
                rows = rows[np.argsort(-truth[one][rows], kind="stable")][:k]
                count = len(rows)
                assert ids[one, :count].tolist() == [names[row] for row in rows]
                np.testing.assert_allclose(scores[one, :count], truth[one][rows], rtol=0, atol=tolerance)
                assert (scores[one, count:] == -np.inf).all()
                assert all(blank is None or blank == -1 for blank in ids[one, count:].tolist())
                assert found[one].ids.tolist() == [names[row] for row in rows]
                assert found[one].ids.dtype == ids.dtype
                assert found[one].vectors.shape == (count, index.dim)
                np.testing.assert_allclose(found[one].scores, truth[one][rows], rtol=0, atol=tolerance)
                np.testing.assert_allclose(
                    scores_of(found[one].vectors, Q[one : one + 1], metric)[0],
                    truth[one][rows],
                    atol=tolerance,
                )
    order = [5, 0, 5, 17]
    got = index.vectors([names[row] for row in order])
    np.testing.assert_allclose(scores_of(got, Q, metric), truth[:, order], atol=tolerance)
    assert index.vectors([]).shape == (0, index.dim)
    assert index.size == len(X) == len(index) == index.counted(len(X) + 1)
    assert index.counted(7) == 7


class StoreTests:
    """The tests. A subclass gives the fixture ``store``, and says what its database knows."""

    #: What the database may rank by, and the metric of each.
    ways: ClassVar = {"cosine": "cosine"}
    #: The ways for which stored vectors must have length 1.
    unit = ()
    #: The ways in which a database that compares every row does not find the best of vectors of any length.
    inexact = ()
    #: Kinds of ids: what makes the id of a row.
    names: ClassVar = {"integers": int}
    #: Ids that are none of the database's.
    strange = ("a", 1.5, None, True)
    #: Whether an all-zero vector is found under cosine; else the database itself leaves it out.
    zeros_are_found = True
    #: Whether the database draws rows, to start from where diversity outweighs relevance.
    draws = True

    def test_answers_are_those_of_a_scan(self, store, way, kind):
        X, name, metric = rows_of(unit=way in self.unit), self.names[kind], self.ways[way]
        index = store.fill(X, name, way)
        assert (index.dim, index.metric, index.exact) == (D, metric, way not in self.inexact)
        assert_answers(index, X, metric, name, store.colored("red"), colors_of() == "red")

    def test_sets_are_those_of_an_array(self, store, pair):
        way, kind = pair
        X, name, metric = rows_of(unit=way in self.unit), self.names[kind], self.ways[way]
        index = store.fill(X, name, way)
        array = Index.from_array(X, metric=metric, fields={"color": colors_of()})
        Q, red = queries_of(), colors_of() == "red"
        sharp = ({}, {"sharpness": 1}) if metric == "cosine" else ({},)
        for options in (
            *({"diversity": t, **one} for t in (0.0, 0.4, 0.9) for one in sharp),
            {"objective": "mmr"},
            {"objective": "log-det", "diversity": 0.1},
            {"groups": "color", "max_per_group": 3},
            {"include": [4, 9], "exclude": [1, 2, 3]},
            {"filter": red},
        ):
            mine = dict(options)
            for rows in {"include", "exclude"} & set(options):
                mine[rows] = [name(row) for row in options[rows]]
            if "filter" in options:
                mine["filter"] = store.colored("red")
            for one, other in zip(
                setwise.retrieve(Q, index, 8, **mine), setwise.retrieve(Q, array, 8, **options), strict=True
            ):
                assert set(one.ids.tolist()) == {name(row) for row in other.ids.tolist()}, options
                assert abs(one.value - other.value) < 1e-5 * (1 + abs(other.value))
                if metric == "cosine":
                    assert one.certificate.pool_sufficient == other.certificate.pool_sufficient
        awaited = asyncio.run(setwise.aretrieve(Q, index, 5))
        for one, other in zip(awaited, setwise.retrieve(Q, index, 5), strict=True):
            assert one.ids.tolist() == other.ids.tolist()

    def test_no_set_is_better_than_is_proven(self, store, way):
        X, metric = rows_of(unit=way in self.unit, n=14, seed=3), self.ways[way]
        index = store.fill(X, way=way)
        for query in queries_of(4):
            direction = query / np.linalg.norm(query) if metric == "cosine" else query
            relevance = scores_of(X, direction[None], metric)[0]
            for t in (0.2, 0.7):
                hits = setwise.retrieve(query, index, 4, diversity=t, sharpness=1, certify="full")
                best, _ = best_subset(X, relevance, 4, t, 1, metric)
                assert hits.certificate.upper_bound >= best - 1e-6 * (1 + abs(best))
                assert hits.certificate.optimal <= (hits.value >= best - 1e-6 * (1 + abs(best)))

    def test_a_filter_that_lets_nothing_through(self, store):
        index = store.fill(rows_of())
        (none,) = index.fetch(queries_of(1), 5, filter=store.colored("mauve"))
        assert len(none) == 0
        assert none.vectors.shape == (0, D)
        scores, ids = index.search(queries_of(1), 5, filter=store.colored("mauve"))
        assert (scores == -np.inf).all()
        assert (ids == -1).all()

    def test_fields_and_vectors_by_id(self, store, kind):
        X, name = rows_of(), self.names[kind]
        index = store.fill(X, name)
        assert index.values([name(4), name(0), name(4)], "color") == ["green", "red", "green"]
        many = np.arange(N).repeat(9)
        assert index.values([name(row) for row in many.tolist()], "price") == many.tolist()
        np.testing.assert_allclose(
            scores_of(index.vectors([name(row) for row in many.tolist()]), queries_of(1)),
            scores_of(X, queries_of(1))[:, many],
            atol=1e-5,
        )
        with pytest.raises(ValueError, match="colour"):
            index.values([name(1)], "colour")
        for call in (lambda ids: index.vectors(ids), lambda ids: index.values(ids, "color")):
            with pytest.raises(KeyError, match=r"is not stored in .*, or has no vector"):
                call([name(0), name(12345)])

    def test_ids_of_another_kind(self, store):
        index = store.fill(rows_of())
        for id in self.strange:
            with pytest.raises(TypeError, match=f"exclude: {id!r} is no id of {index.place}, whose ids are"):
                index.search(queries_of(1), 5, exclude=[id])
            with pytest.raises(KeyError, match="is no id of"):
                index.vectors([id])

    def test_queries_are_checked(self, store):
        index = store.fill(rows_of())
        for query, error, text in [
            (np.ones((1, D + 1)), ValueError, rf"query: expected {D} numbers .*, got shape \(1, {D + 1}\)"),
            (np.ones((1, 1, D)), ValueError, f"query: expected {D} numbers"),
            (np.full((1, D), np.nan), ValueError, "query: has NaN or Inf"),
            (np.zeros((1, D)), ValueError, "query: all zero has no direction"),
            ([["a"] * D], TypeError, "query: "),
        ]:
            for call in (index.search, index.fetch):
                with pytest.raises(error, match=text):
                    call(query, 3)
        with pytest.raises(ValueError, match="k: 0 is below 1"):
            index.search(np.ones((1, D)), 0)

    def test_lengths_that_are_not_1(self, store, unit_way):
        index = store.fill(rows_of(), way=unit_way)
        with pytest.raises(ValueError, match=r"has length .* store unit vectors, or rank by cosine"):
            index.fetch(queries_of(1), 5)

    def test_vectors_without_a_direction(self, store):
        X = rows_of()
        X[7] = 0
        X[9] = 0
        index = store.fill(X)
        left = sorted({*range(N)} - {7, 9})
        told = r"2 vectors cannot be used and are left out \(the first: id [79] is all zero\)"
        if not self.zeros_are_found:
            told = r"2 vectors have no direction \(all zero\) and are left out"
        array = Index.from_array(X[left])
        for query in queries_of(3):
            with pytest.warns(UserWarning, match=told):
                (found,) = index.fetch(query[None], N)
            assert sorted(found.ids.tolist()) == left
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                hits = setwise.retrieve(query, index, N - 2)
                few, same = setwise.retrieve(query, index, 5), setwise.retrieve(query, array, 5)
                awaited = asyncio.run(setwise.aretrieve(query, index, 5))
            assert sorted(hits.ids.tolist()) == left
            assert few.ids.tolist() == awaited.ids.tolist() == [left[row] for row in same.ids.tolist()]
        with pytest.raises(ValueError, match="the vector of id 7 is all zero"):
            index.vectors([6, 7])
        index.missing = "raise"
        if self.zeros_are_found:
            with pytest.raises(ValueError, match="the vector of id [79] is all zero"):
                index.fetch(queries_of(1), N)

    def test_an_empty_store(self, store):
        index = store.fill(rows_of())
        store.delete(range(N))
        assert index.size == index.counted(5) == 0
        assert index.sample() is None
        assert len(index.fetch(queries_of(1), 3)[0]) == 0
        with pytest.raises(ValueError, match="k: 3 is more than the 0 vectors of the index"):
            setwise.retrieve(queries_of(1)[0], index, 3)

    def test_a_sample_is_of_what_is_stored(self, store, kind):
        X, name = rows_of(), self.names[kind]
        index = store.fill(X, name)
        drawn = index.sample()
        if not self.draws:
            assert drawn is None
            return
        assert sorted(drawn.ids.tolist()) == sorted(name(row) for row in range(N))
        assert not drawn.scores.any()
        np.testing.assert_allclose(
            scores_of(drawn.vectors, queries_of(1)),
            scores_of(index.vectors(drawn.ids), queries_of(1)),
            atol=1e-6,
        )
        assert 0 < len(index.sample(20)) <= 20

    def test_what_is_found_is_stored(self, store):
        """Rows that are deleted, changed or added between two retrievals: no ghost, and none is missed."""
        X = rows_of()
        index = store.fill(X)
        Q = queries_of()
        options = {"sharpness": 1, "diversity": 0.9}
        before = setwise.retrieve(Q, index, 8, **options)
        gone = sorted({id for hits in before for id in hits.ids.tolist()})
        store.delete(gone)
        left = np.setdiff1d(np.arange(N), gone)
        array = Index.from_array(X[left])
        for hits, other in zip(
            setwise.retrieve(Q, index, 8, **options), setwise.retrieve(Q, array, 8, **options), strict=True
        ):
            assert set(hits.ids.tolist()) == set(left[other.ids].tolist())
            assert hits.certificate.upper_bound >= hits.value
        best = Q[0] / np.linalg.norm(Q[0])
        store.put(gone[0], best, "mauve", 7)
        store.put(int(left[0]), -best, "mauve", 7)
        assert index.size == N - len(gone) + 1
        hits = setwise.retrieve(Q[0], index, 3, diversity=0.1, groups="color", max_per_group=1)
        assert hits.ids[0] == gone[0]
        assert left[0] not in hits.ids
        np.testing.assert_allclose(hits.scores[0], 1, atol=1e-6)
        (found,) = index.fetch(Q[:1], 9, filter=store.colored("mauve"))
        assert found.ids.tolist() == [gone[0], left[0]]
        assert index.values([gone[0], int(left[0])], "price") == [7, 7]
        store.delete(range(N))
        store.put(gone[0], best)
        assert setwise.retrieve(Q[0], index, 1).ids.tolist() == [gone[0]]

    @pytest.mark.parametrize("times", [1, 1000])
    def test_rows_that_change_between_searches(self, store, times, monkeypatch):
        """The best row is deleted or changed before a search: what is returned was there when asked."""
        for few in ("ask.FIRST", "plan.FIRST", "plan.WIDE", "plan.WIDER"):
            monkeypatch.setattr(f"setwise.retrieval.{few}", 20)
        way, name = next(iter(self.ways)), next(iter(self.names.values()))
        X = rows_of(unit=way in self.unit)
        index, query = store.fill(X, name, way), queries_of(1)[0]
        honest, done, versions = index.fetch, [], {name(row): [x] for row, x in enumerate(X)}

        def fetch(queries, k, **options):
            if 0 < len(done) <= times:
                best = honest(queries, 1, **options)[0].ids.tolist()[0]
                if len(done) % 2:
                    store.delete([best])
                else:
                    other = X[(7 * len(done)) % N]
                    store.put(best, other)
                    versions[best].append(other)
            done.append(k)
            return honest(queries, k, **options)

        index.fetch = fetch
        hits = setwise.retrieve(query, index, 6, sharpness=1, diversity=0.8, groups="color", max_per_group=3)
        assert len(done) > 1
        assert len(set(hits.ids.tolist())) == 6
        unit = query / np.linalg.norm(query)
        for one, score in zip(hits.ids.tolist(), hits.scores, strict=True):
            rows = np.array(versions[one], np.float64)
            if index.metric == "cosine":
                known = rows @ unit / np.linalg.norm(rows, axis=1)
            else:
                known = -np.linalg.norm(rows - query, axis=1)
            assert np.abs(known - score).min() < 1e-4

    def test_awaited_is_the_same(self, store):
        index = store.fill(rows_of())
        awaited = asyncio.run(index.afetch(queries_of(), 9, exclude=[4]))
        for one, other in zip(awaited, index.fetch(queries_of(), 9, exclude=[4]), strict=True):
            assert one.ids.tolist() == other.ids.tolist()
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
            np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-6)
