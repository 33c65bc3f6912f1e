"""The concave relaxation: its quadratic program against other solvers and its own optimality conditions."""

import itertools

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, linprog, minimize

from helpers import MEASURES, from_least, problem_of
from reference import make
from reference.brute import best_subset
from reference.objectives import distance_matrix
from setwise.solvers import bounds
from setwise.solvers.pools import Pool, Whole
from setwise.solvers.relaxation import maximize, quadratic_program

measures = pytest.mark.parametrize(("metric", "sharpness"), MEASURES)


def programs():
    """(name, linear, matrix, weight, total): full rank and low, duplicates, ties, every size of answer."""
    rng = np.random.default_rng(0)
    for m, d in itertools.product((4, 9, 30), (2, 5, 40)):
        X = rng.standard_normal((m, d))
        E = X / np.linalg.norm(X, axis=1)[:, None]
        for weight in (1e-3, 0.3, 1.0, 50.0):
            for total in {1, m // 2, m - 1}:
                yield f"{m}x{d} {weight} {total}", rng.standard_normal(m), E @ E.T, weight, total
    X, r = make.with_duplicates(n=14, seed=2)
    yield "duplicates", 4 * r, -distance_matrix(X), 0.7, 5
    X, r = make.with_ties(n=14, seed=2)
    yield "ties", 4 * r, -distance_matrix(X), 0.7, 5
    X, r = make.clustered(n=14, seed=2)
    yield "euclidean", 4 * r, -distance_matrix(X, metric="euclidean"), 0.7, 5
    yield "sharp", 4 * r, -distance_matrix(X, 8), 0.7, 5
    yield "flat", np.zeros(10), np.ones((10, 10)), 0.5, 4
    yield "no linear part", np.zeros(14), -distance_matrix(X), 0.5, 4
    yield "one direction", rng.standard_normal(12), np.outer(*2 * [rng.standard_normal(12)]), 1.0, 3


PROGRAMS = list(programs())
SMALL = [program for program in PROGRAMS if len(program[1]) <= 15]


def value_at(x, linear, matrix, weight):
    return float(linear @ x - weight * x @ matrix @ x)


@pytest.mark.parametrize("program", PROGRAMS, ids=[program[0] for program in PROGRAMS])
def test_quadratic_program_meets_the_optimality_conditions(program):
    """Concave, so a point is optimal where one threshold parts the gradients at 0, inside and at 1."""
    _, linear, matrix, weight, total = program
    m = len(linear)
    for start in (np.full(m, total / m), np.eye(m)[:total].sum(axis=0)):
        given = start.copy()
        x = quadratic_program(linear, matrix, weight, total, start)
        assert np.array_equal(start, given)
        assert x.min() >= 0
        assert x.max() <= 1
        assert x.sum() == pytest.approx(total, rel=1e-6)
        gradient = linear - 2 * weight * matrix @ x
        size = np.abs(gradient).max() + np.abs(linear).max() + 1e-9
        best = np.sort(gradient)[::-1][:total].sum()
        # Where the linear part is next to nothing and the rank is low, it may end before it has converged.
        allowed = 1e-6 if weight <= 1 else 2e-2
        assert best - gradient @ x <= allowed * size * total, "a vertex lies above the tangent plane"


@pytest.mark.parametrize("program", SMALL, ids=[program[0] for program in SMALL])
def test_quadratic_program_against_slsqp(program):
    _, linear, matrix, weight, total = program
    m = len(linear)
    x = quadratic_program(linear, matrix, weight, total, np.full(m, total / m))
    other = minimize(
        lambda y: -value_at(y, linear, matrix, weight),
        np.full(m, total / m),
        jac=lambda y: -(linear - 2 * weight * matrix @ y),
        method="SLSQP",
        bounds=[(0, 1)] * m,
        constraints=[LinearConstraint(np.ones(m), total, total)],
        options={"maxiter": 500, "ftol": 1e-13},
    )
    size = 1 + abs(other.fun)
    assert value_at(x, linear, matrix, weight) >= -other.fun - 1e-6 * size


@pytest.mark.parametrize("seed", range(5))
def test_without_weight_it_is_a_linear_program(seed):
    rng = np.random.default_rng(seed)
    m, total = 12, 1 + 2 * seed
    linear, X = rng.standard_normal(m), rng.standard_normal((m, 4))
    x = quadratic_program(linear, X @ X.T, 0.0, total, np.full(m, total / m))
    other = linprog(-linear, A_eq=np.ones((1, m)), b_eq=[total], bounds=(0, 1))
    assert linear @ x == pytest.approx(-other.fun)
    assert set(np.unique(x)) <= {0.0, 1.0}
    assert np.array_equal(quadratic_program(linear, X @ X.T, 1.0, m, np.ones(m)), np.ones(m))


@pytest.mark.parametrize("exact", [True, False])
def test_what_grows_most_may_be_orthogonal_to_where_its_search_begins(exact):
    """Two pairs of copies: x = (1, -1, -1, 1) grows most, and 1, 2, 3, 4 has no part of it."""
    matrix = -np.abs(np.subtract.outer([1.0, 0, 0, 1], [1.0, 0, 0, 1]))
    linear = np.array([4.0, 3.9999999991324016, 3.9999999991324016, 4.0])
    for start in (*np.eye(4), np.full(4, 0.25)):
        x = quadratic_program(linear, matrix, 1.0, 1, start, exact=exact)
        assert x.sum() == pytest.approx(1)
        assert -x @ matrix @ x == pytest.approx(0.5)  # 2 s (1 - s) for the share s of one pair


# --- over a pool --------------------------------------------------------------------------------------------


@measures
@pytest.mark.parametrize("kind", list(make.ALL))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_bound_is_above_every_set(kind, metric, sharpness, dtype):
    """At any point, not at the best one alone: few rounds, no tolerance met."""
    X, r = from_least(make.ALL[kind](seed=1))
    for t, k in itertools.product([0.1, 0.5, 0.9, 1.0], (2, 4, 9)):
        best = best_subset(X.astype(dtype), r, k, t, sharpness, metric)[0] * k * (k - 1)
        problem = problem_of(X.astype(dtype), r, k, t, sharpness, metric)
        pool, whole = Pool(problem), Whole(problem)
        slack = (1e-5 if dtype == "float32" else 1e-10) * max(1, abs(best))
        for rounds in (1, 25):
            found = maximize(pool, k, tolerance=1e-9, rounds=rounds)
            assert found.bound >= best - slack
            assert found.value <= found.bound + slack
            assert found.weights.sum() == pytest.approx(k, rel=1e-5)
            ids = pool.ids[found.local]
            proven = bounds.concave_bound(whole, ids, found.weights, whole.gradient(ids, found.weights))
            assert proven.upper >= best - 1e-9 * max(1, abs(best))
            survivors = proven.survivors(best * (1 - 1e-12))
            members = best_subset(X.astype(dtype), r, k, t, sharpness, metric)[1]
            assert set(members.tolist()) <= set(survivors.tolist())


@measures
def test_a_bound_from_any_point_of_the_relaxation(metric, sharpness):
    """Random x, sets among them, and all x = k/n."""
    X, r = from_least(make.clustered(seed=3))
    n, k, t = len(r), 5, 0.5
    rng = np.random.default_rng(0)
    best = best_subset(X, r, k, t, sharpness, metric)[0] * k * (k - 1)
    whole = Whole(problem_of(X, r, k, t, sharpness, metric))
    points = [np.full(n, k / n), np.eye(n)[:k].sum(axis=0)]
    for _ in range(20):
        x = rng.random(n)
        x *= k / x.sum()
        if x.max() <= 1:
            points.append(x)
    assert len(points) > 12
    for x in points:
        ids = np.flatnonzero(x)
        proven = bounds.concave_bound(whole, ids, x[ids], whole.gradient(ids, x[ids]))
        assert proven.upper >= best - 1e-9


@measures
def test_must_have_rows_tighten_it(metric, sharpness):
    X, r = from_least(make.clustered(seed=4))
    k, t = 5, 0.5
    for include in ([int(np.argmin(r))], [0, 7, 3], [0, 1, 2, 3, 4]):
        best = best_subset(X, r, k, t, sharpness, metric, include=include)[0] * k * (k - 1)
        pool = Pool(problem_of(X, r, k, t, sharpness, metric, include=include))
        held = np.sort(np.array(include))
        found = maximize(pool, k, fixed=np.sort(pool.locate(held)), tolerance=1e-9)
        free = maximize(pool, k, tolerance=1e-9)
        assert best - 1e-9 <= found.bound <= free.bound + 1e-6
        weights = dict(zip(pool.ids[found.local].tolist(), found.weights, strict=True))
        assert all(weights[row] == 1.0 for row in include)


@measures
def test_it_converges(metric, sharpness):
    """With rounds enough the bound meets the point, from any start."""
    X, r = make.clustered(n=400, d=16, seed=5, clusters=15)
    pool = Pool(problem_of(X, r, 12, 0.4, sharpness, metric))
    one = maximize(pool, 12, tolerance=1e-9, rounds=100)
    assert one.bound - one.value <= 1e-6 * abs(one.value)
    start = (np.arange(100, 112), np.ones(12))
    other = maximize(pool, 12, start=start, tolerance=1e-9, rounds=100)
    assert other.value == pytest.approx(one.value, rel=1e-6)
    rough = maximize(pool, 12, tolerance=1e-1)
    assert rough.bound >= one.value - 1e-6 * abs(one.value)


def test_no_choice_is_left():
    X, r = make.clustered(n=9, seed=0)
    for k, fixed in ((9, None), (3, np.array([1, 4, 6])), (9, np.array([0, 8]))):
        found = maximize(Pool(problem_of(X, r, k, 0.5)), k, fixed=fixed)
        assert found.value == pytest.approx(found.bound)
        assert set(found.local.tolist()) == (set(range(9)) if k == 9 else {1, 4, 6})
