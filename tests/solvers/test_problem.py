"""The summed form of max-sum that solvers work on, in a pool and over all, against its definition."""

import itertools

import numpy as np
import pytest

from helpers import MEASURES, from_least, problem_of, summed_form, value_of
from reference import make
from reference.objectives import distance_matrix
from setwise.solvers.pools import GRID, Pool, Whole

data = pytest.mark.parametrize("name", list(make.ALL))
measures = pytest.mark.parametrize(("metric", "sharpness"), MEASURES)
views = pytest.mark.parametrize("view", [Pool, Whole])


def places(held, n):
    """Where each candidate stands: a pool has an order of its own."""
    return held.locate(np.arange(n)) if isinstance(held, Pool) else np.arange(n)


@data
@measures
@views
def test_gradient_by_finite_differences(name, metric, sharpness, view):
    """f is quadratic, so central differences are exact whatever the step."""
    X, r = from_least(make.ALL[name](n=10, seed=3))
    k = 4
    weights = np.random.default_rng(0).random(10)
    weights[[2, 7]] = 0.0
    weights *= k / weights.sum()
    support = np.flatnonzero(weights)
    for t in (0.0, 0.3, 1.0):
        held = view(problem_of(X, r, k, t, sharpness, metric))
        place = places(held, 10)
        gradient = held.gradient(place[support], weights[support])[place]
        for i in range(10):
            step = np.zeros(10)
            step[i] = 0.5
            above = summed_form(X, r, weights + step, k, t, sharpness, metric)
            below = summed_form(X, r, weights - step, k, t, sharpness, metric)
            assert gradient[i] == pytest.approx(above - below, rel=1e-8, abs=1e-8)


@data
@measures
def test_the_gradient_on_a_set_tells_its_value_and_its_exchanges(name, metric, sharpness):
    """f(S) = k(k-1) F; exchanging i for j changes f by g_j - g_i - 2t d_ij."""
    X, r = from_least(make.ALL[name](seed=4))
    n, k, t = len(r), 5, 0.4
    D = distance_matrix(X, sharpness, metric)
    S = np.random.default_rng(0).permutation(n)[:k]
    problem = problem_of(X, r, k, t, sharpness, metric)
    pool, ones = Pool(problem), np.ones(k)
    place = places(pool, n)
    gradient = pool.gradient(place[S], ones)[place]
    value = value_of(X, r, S, t, sharpness, metric)
    assert problem.value(S) == pytest.approx(value, abs=1e-12)
    assert pool.value(place[S]) == pytest.approx(k * (k - 1) * value)
    assert ((1 - t) * (k - 1) * r[S].sum() + gradient[S].sum()) / 2 == pytest.approx(k * (k - 1) * value)
    some = np.array([0, 3, *S[:2], n - 1])
    assert Whole(problem).gradient_at(some, S, ones) == pytest.approx(gradient[some], abs=1e-8)
    for slot, comes in itertools.product(range(k), np.setdiff1d(np.arange(n), S)):
        T = S.copy()
        T[slot] = comes
        change = gradient[comes] - gradient[S[slot]] - 2 * t * D[S[slot], comes]
        assert k * (k - 1) * (value_of(X, r, T, t, sharpness, metric) - value) == pytest.approx(
            change, abs=1e-8
        )
        change = pool.pull_change(place[comes], place[S[slot]])[place]
        assert change == pytest.approx(D[:, comes] - D[:, S[slot]], abs=1e-8)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_cosines_of_a_pool_are_exact(dtype):
    """As whole numbers give them: no kernel can round them otherwise."""
    X, r = make.clustered(n=90, d=300, seed=2)
    pool = Pool(problem_of(X.astype(dtype), r, 5))
    whole = (pool.rows / GRID).astype(np.int64)
    assert (whole * GRID == pool.rows).all()
    assert ((whole @ whole.T) * GRID**2 == pool.rows @ pool.rows.T).all()
    unit = X.astype(dtype).astype(np.float64)[pool.ids]
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    assert np.abs(pool.rows - unit).max() <= GRID / 2


def test_what_relevance_alone_bounds_is_not_read():
    """With an even sharpness, a gradient above the floor is exact, and the others stay at most the floor."""
    X, r = make.clustered(n=400, d=6, seed=2)
    problem = problem_of(X, r, 5, 0.3, 8)
    whole, S, ones = Whole(problem), np.array([3, 50, 90, 200, 311]), np.ones(5)
    exact = whole.gradient(S, ones)
    floor = float(np.sort(whole.linear)[-20]) + 2 * 0.3 * 5
    found = whole.gradient_above(S, ones, floor)
    above = exact > floor
    assert found[above] == pytest.approx(exact[above], abs=1e-9)
    assert found[S] == pytest.approx(exact[S], abs=1e-9)
    assert (found >= exact - 1e-9).all()
    assert (found[~above] <= np.maximum(floor, exact[~above]) + 1e-9).all()
    assert (found != exact).any(), "nothing was left unread"


def test_what_a_moved_point_cannot_raise_is_not_read():
    """Near another point gradients are exact where they may exceed the floor, and the k largest anyway."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 12)) + 0.4
    read = []
    for step, above, few in [
        (0.02, 300, 150),
        (0.02, 3900, 150),
        (0.3, 300, 150),
        (0.3, 3900, 150),
        (0.02, 300, 600),
    ]:
        problem = problem_of(X, X @ X[0] / 20, 6, 0.4)
        whole, S, ones = Whole(problem), rng.permutation(4000)[:12], np.full(12, 0.5)
        moved = ones + step * np.repeat([1.0, -1.0], 6)
        whole.gradient_above(S, ones, 0.0, few)
        exact = whole.gradient(S, moved)
        floor, k_th = np.sort(exact)[[-above, -6]]
        passes = problem.stats["passes"]
        found = whole.gradient_above(S, moved, floor, few)
        assert (found >= exact - 1e-9).all()
        same = np.abs(found - exact) < 1e-9
        assert same[exact >= k_th].all()
        assert (found[~same] < k_th).all()
        if above < 3900:
            assert same[exact > floor].all()
            assert (found[~same] <= floor).all()
        read.append((int(same.sum()), problem.stats["passes"] - passes))
    assert [whole for _, whole in read] == [0, 0, 1, 1, 1], "passes over all"
    assert max(count for count, whole in read if not whole) <= 500
