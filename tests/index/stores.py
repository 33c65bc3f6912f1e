"""What the tests of all databases share: the same data, and plain NumPy answers over it."""

import asyncio

import numpy as np

import setwise
from setwise.index import Index

N, D = 300, 12


def data(metric="cosine", unit=False):
    """Vectors of any length (or of length 1), float32, with a category and a price each."""
    rng = np.random.default_rng(7)
    X = rng.standard_normal((N, D)).astype(np.float32)
    if unit:
        X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    return X, [("red", "green", "blue")[row % 3] for row in range(N)], np.arange(N)


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
                assert found[one].vectors.dtype == np.float32
                assert found[one].vectors.shape == (count, index.dim)
                np.testing.assert_allclose(found[one].scores, truth[one][rows], rtol=0, atol=tolerance)
                np.testing.assert_allclose(
                    scores_of(found[one].vectors, Q[one : one + 1], metric)[0],
                    truth[one][rows],
                    atol=tolerance,
                )
    order = [5, 0, 5, 17]
    got = index.vectors([names[row] for row in order])
    assert got.dtype == np.float32
    np.testing.assert_allclose(scores_of(got, Q, metric), truth[:, order], atol=tolerance)
    assert index.vectors([]).shape == (0, index.dim)
    assert index.size == len(X) == len(index)
    drawn = index.sample()
    assert len(drawn) == len(X)
    assert sorted(drawn.ids.tolist()) == sorted(names)
    assert not drawn.scores.any()
    assert index.sample() is drawn


def assert_retrieves(index, X, metric="cosine", name=int, filter=None, kept=None):
    """`setwise.retrieve` over the store chooses the sets that it chooses over the array."""
    colors = data()[1]
    array = Index.from_array(X, metric=metric, fields={"color": np.array(colors)})
    Q = queries_of()
    sharp = ({}, {"sharpness": 1}) if metric == "cosine" else ({},)
    for options in (
        *({"diversity": t, **one} for t in (0.0, 0.4, 0.9) for one in sharp),
        {"objective": "mmr"},
        {"objective": "log-det", "diversity": 0.1},
        {"groups": "color", "max_per_group": 3},
        {"include": [4, 9], "exclude": [1, 2, 3]},
        {"filter": kept},
    ):
        mine = dict(options)
        for rows in {"include", "exclude"} & set(options):
            mine[rows] = [name(row) for row in options[rows]]
        if "filter" in options:
            mine["filter"] = filter
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
