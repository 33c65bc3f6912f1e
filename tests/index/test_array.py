"""The exact index over an array, against NumPy."""

import numpy as np
import pytest

import setwise
from setwise.index.array import ArrayIndex


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(3).standard_normal((700, 12)).astype(np.float32)


def brute(X, queries, k, metric="cosine", allowed=None):
    X = np.asarray(X, np.float64)
    if metric == "cosine":
        scores = queries @ (X / np.linalg.norm(X, axis=1, keepdims=True)).T
    else:
        scores = -np.linalg.norm(queries[:, None] - X[None], axis=2)
    if allowed is not None:
        scores[:, ~allowed] = -np.inf
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, ids, 1), ids


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("m", [1, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, np.int8])
def test_search_is_brute_force(rows, metric, m, dtype, split):
    X = (rows * 20).astype(dtype)
    X[(X == 0).all(axis=1)] = 1
    queries = np.random.default_rng(0).standard_normal((m, 12)) * 3.7
    scores, ids = setwise.Index.from_array(X, metric=metric, threads=2).search(queries, 9)
    expected, places = brute(X, queries, 9, metric)
    assert np.allclose(scores, expected, rtol=1e-4, atol=1e-4)
    assert ids.dtype == np.int64
    if dtype != np.int8:
        assert np.array_equal(ids, places)


@pytest.mark.parametrize("share", [0.01, 0.5])
@pytest.mark.parametrize("kind", ["mask", "rows", "function"])
def test_filters_act_inside_the_search(rows, share, kind):
    index = ArrayIndex(rows)
    allowed = np.random.default_rng(1).random(700) < share
    given = {"mask": allowed, "rows": np.flatnonzero(allowed), "function": lambda row: allowed[row]}[kind]
    queries = np.random.default_rng(2).standard_normal((3, 12))
    gone = np.flatnonzero(allowed)[:2]
    scores, ids = index.search(queries, 300, filter=given, exclude=gone)
    allowed = allowed.copy()
    allowed[gone] = False
    found = min(300, int(allowed.sum()))
    expected, places = brute(rows, queries, found, allowed=allowed)
    assert np.array_equal(ids[:, :found], places)
    assert np.allclose(scores[:, :found], expected, atol=1e-5)
    assert (ids[:, found:] == -1).all()
    assert np.isneginf(scores[:, found:]).all()


def test_a_filter_that_leaves_nothing(rows):
    scores, ids = ArrayIndex(rows).search(rows[:2], 4, filter=np.zeros(700, bool))
    assert np.isneginf(scores).all()
    assert (ids == -1).all()


def test_fetch_gives_the_vectors_of_what_is_found(rows):
    index = ArrayIndex(rows * 5)
    first, second = index.fetch(rows[:2], 6, filter=np.arange(4))
    assert len(first) == len(second) == 4
    assert np.array_equal(first.vectors, (rows * 5)[first.ids])


def test_half_storage_halves_and_rounds(rows):
    half = ArrayIndex(rows, storage="float16")
    assert half.everything().vectors.raw.nbytes == rows.nbytes // 2
    assert np.allclose(half.search(rows[:1], 5)[0], ArrayIndex(rows).search(rows[:1], 5)[0], atol=3e-3)
    with pytest.raises(ValueError, match="row 3 has a number beyond what float16 holds"):
        ArrayIndex(np.where(np.arange(700)[:, None] == 3, 1e6, rows), storage="float16")


def test_a_memory_map_is_searched_in_place(rows, tmp_path):
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    index = ArrayIndex(mapped)
    assert np.shares_memory(index.everything().vectors.raw, mapped)
    assert np.array_equal(index.search(rows[:3], 7)[1], ArrayIndex(rows).search(rows[:3], 7)[1])


def test_the_sample_is_drawn_once_and_is_of_the_index(rows):
    index = ArrayIndex(np.tile(rows, (10, 1)))
    drawn = index.sample()
    assert drawn is index.sample()
    assert len(drawn) == 4096 == len(set(drawn.ids.tolist()))
    assert np.allclose(drawn.vectors, index.vectors(drawn.ids))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda i, q: i.search(q[:, :5], 3), ValueError, "queries: expected 12 numbers"),
        (lambda i, q: i.search(q * np.nan, 3), ValueError, "has NaN"),
        (lambda i, q: i.search(q, 0), ValueError, "k: 0"),
        (lambda i, q: i.search([["a"]], 3), TypeError, r"queries: row 0 has 'a' \(str\)"),
        (lambda i, q: i.search(q, 3, filter=np.ones(5, bool)), ValueError, "mask of 700"),
        (lambda i, q: i.search(q, 3, filter=[700]), ValueError, "filter: 700"),
        (lambda i, q: i.search(q, 3, exclude=[-1]), ValueError, "exclude: -1"),
        (lambda i, q: i.search(q, 3, exclude=["a"]), TypeError, "row numbers"),
        (lambda i, q: i.vectors([0, 700]), KeyError, "700"),
        (lambda i, q: i.values([0], "colour"), ValueError, "no field 'colour'"),
        (lambda i, q: ArrayIndex(q, storage="int4"), ValueError, "storage"),
        (lambda i, q: ArrayIndex(q, metric="dot"), ValueError, "metric"),
        (lambda i, q: ArrayIndex(q, fields={"a": [1]}), ValueError, "1 values for 3"),
        (lambda i, q: ArrayIndex(q * 0), ValueError, "row 0 is all zero"),
    ],
)
def test_bad_input(rows, call, error, match):
    with pytest.raises(error, match=match):
        call(ArrayIndex(rows), rows[:3])


def test_rows_changed_in_place_are_noticed_where_they_are_found():
    X = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
    index, query = ArrayIndex(X), np.ones(4)
    X[7] = 50
    with pytest.raises(ValueError, match="ArrayIndex scores id 7 .* in place need an index made anew"):
        setwise.retrieve(query, index, 3)
