"""Row order changes nothing: any permutation of the candidates gives the same set."""

import itertools
import warnings

import numpy as np
import pytest

import setwise
from setwise.solvers import SOLVERS, solver_of
from setwise.vectors import Vectors

#: What is drawn from the seed, row by row, or cut into parts by it, follows the rows.
OF_ROWS = ("random", "k-dpp", "clustering", "k-means", "multilevel", "distributed")

CASES = [
    ("max-sum", "cosine", 1),
    ("max-sum", "cosine", 8),
    ("max-sum", "euclidean", 1),
    ("mmr", "cosine", 1),
    ("mmr", "euclidean", 1),
    ("log-det", "cosine", 1),
    ("log-det", "euclidean", 1),
    ("coverage", "cosine", 1),
    ("coverage", "euclidean", 1),
]


def instance(seed):
    """Rows of all kinds: spread or in clusters, near the origin or far from it, of either precision."""
    rng = np.random.default_rng(seed)
    n, d, k = int(rng.choice([20, 60, 150])), int(rng.choice([3, 5, 12, 40])), int(rng.integers(2, 12))
    X = rng.standard_normal((n, d))
    if seed % 2:
        X = np.repeat(3 * rng.standard_normal((5, d)), n // 5, axis=0) + 0.3 * X
    if seed % 5 == 0:
        X = X + 100
    if seed % 7 == 2:
        X = X + 1e4  # cosines next to 1: what members of a cluster cost differs by rounding
    X = X.astype(np.float32 if seed % 3 == 0 else np.float64)
    t = float(rng.choice([0.1, 0.3, 0.6, 1.0]))
    return X, rng.random(n), rng.standard_normal(d), k, t, rng.permutation(n)


def both(X, k, order, told, **options):
    """The set, and the set of permuted rows in terms of the rows as they were."""
    moved = {name: value[order] if name == "relevance" else value for name, value in told.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        here = setwise.select(X, k, **told, **options)
        there = setwise.select(X[order], k, **moved, **options)
    return here, set(here.indices.tolist()), there, set(order[there.indices].tolist())


@pytest.mark.parametrize(("objective", "metric", "sharpness"), CASES)
def test_the_set_is_the_same(objective, metric, sharpness):
    """With relevance or a query; diversity alone too, but where the first picks tie."""
    for seed in range(22):
        X, r, query, k, t, order = instance(seed)
        if t == 1.0 and (objective == "log-det" or sharpness == 8):
            t = 0.8  # residuals are all 1 at first; powers of small cosines vanish beside 1
        told = {"relevance": r} if seed % 4 < 2 else {"query": query}
        for solver in SOLVERS:
            if solver_of(objective, solver) is None or solver in (*OF_ROWS, "exact"):
                continue
            options = {"objective": objective, "metric": metric, "sharpness": sharpness, "solver": solver}
            _, here, _, there = both(X, k, order, told, diversity=t, certify=seed % 3 == 0, **options)
            assert here == there, (seed, solver)


@pytest.mark.parametrize(("metric", "sharpness"), [("cosine", 1), ("cosine", 8), ("euclidean", 1)])
def test_the_set_is_the_same_where_all_are_equally_relevant(metric, sharpness):
    """What a solver starts from is decided by what the rows are, not by where they stand."""
    for seed, solver in itertools.product(range(40), ("auto", "frank-wolfe", "swap")):
        X, _, _, k, t, order = instance(seed)
        options = {"metric": metric, "sharpness": sharpness, "solver": solver, "diversity": t}
        one, here, other, there = both(X, k, order, {}, certify=False, **options)
        assert here == there, (seed, solver)
        assert one.value == pytest.approx(other.value, rel=1e-12)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_set_that_covers_many_is_the_same(metric):
    """Beyond what all distances are held of: samples, and candidates around members, are by content, too."""
    rng = np.random.default_rng(3)
    X = np.repeat(rng.standard_normal((1100, 4)), 2, axis=0) + 0.01 * rng.standard_normal((2200, 4))
    order, r = rng.permutation(2200), rng.integers(4, size=2200) / 3
    for told in ({"relevance": r}, {}):
        options = {"objective": "coverage", "metric": metric, "diversity": 0.6, "certify": False}
        _, here, _, there = both(X, 8, order, told, **options)
        assert here == there, list(told)


@pytest.mark.parametrize(("metric", "sharpness"), [("cosine", 1), ("cosine", 8), ("euclidean", 1)])
@pytest.mark.parametrize("given", ["relevance", "levels", "neither"])
def test_the_set_of_many_is_the_same(metric, sharpness, given):
    """Beyond what one pool holds: samples and first pools are by content, too.

    Powers of small cosines vanish beside 1, and few levels of relevance tie as well: greedy selection's ties
    go by row, and one of the starts is its set, from which exchanges may end at another local maximum.
    """
    tied = sharpness == 8 or given == "levels"
    rng = np.random.default_rng(0)
    X = rng.standard_normal((9000, 6)).astype(np.float32)
    r = {"relevance": rng.random(9000), "levels": rng.integers(4, size=9000) / 3}.get(given)
    told = {} if r is None else {"relevance": r}
    order = rng.permutation(9000)
    for t in (0.3, 1.0):
        options = {"metric": metric, "sharpness": sharpness, "diversity": t}
        one, here, other, there = both(X, 8, order, told, certify=False, **options)
        assert one.value == pytest.approx(other.value, rel=5e-4 if tied else 1e-12), t
        assert tied or here == there, t


@pytest.mark.parametrize("distinct", [5, 200, 20_000])
def test_a_sample_is_of_content(distinct):
    """The same rows, whatever their order and however few numbers tell them apart."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((20_000, 5)).astype(np.float32)
    values = rng.integers(distinct, size=20_000) / distinct
    order = rng.permutation(20_000)
    for metric in ("cosine", "euclidean"):
        here = Vectors(X, metric).sample(500, values)
        there = Vectors(X[order], metric).sample(500, values[order])
        assert set(here.tolist()) == set(order[there].tolist())
        assert 250 < len(here) < 1000


def test_the_number_of_threads_changes_no_bit_of_a_pass():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((60_000, 130)).astype(np.float32)
    one, two, three = (Vectors(X, "euclidean", workers=workers) for workers in (1, 2, 3))
    probes = rng.standard_normal((9, 130))
    for other in (two, three):
        assert np.array_equal(one.mean(), other.mean())
        found = []
        for vectors in (one, other):
            products = np.empty((60_000, 9), np.float32)
            vectors.products(probes, lambda a, b, part, out=products: out.__setitem__(slice(a, b), part))
            found.append(products)
        assert np.array_equal(*found)
