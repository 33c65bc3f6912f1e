"""Bounds equal their definitions, computed densely over every set there is."""

import itertools

import numpy as np
import pytest

import setwise
from helpers import MEASURES, distances_to, from_least, problem_of
from reference import make
from setwise.constraints import Constraints
from setwise.relevance import Relevance
from setwise.request import Request
from setwise.solvers import bounds
from setwise.solvers.bounds import Bound
from setwise.solvers.pools import Whole
from setwise.solvers.problem import Problem
from setwise.vectors import Vectors

measures = pytest.mark.parametrize(("metric", "sharpness"), MEASURES)

#: Must-have rows and groups, of twelve candidates.
CONSTRAINTS = [
    {},
    {"include": [3, 7]},
    {"groups": np.arange(12) % 4, "max_per_group": 1},
    {"groups": np.arange(12) % 4, "max_per_group": 2, "include": [5]},
]


def sets_of(n, k, include=(), groups=None, max_per_group=None):
    """Every feasible set, one a row."""
    sets = [s for s in itertools.combinations(range(n), k) if set(include) <= set(s)]
    if groups is not None:
        sets = [s for s in sets if np.bincount(groups[list(s)]).max() <= max_per_group]
    return np.array(sets)


def point(n, k, seed=0):
    """A point of the relaxation with a few zeros: where it is not zero, and its weights."""
    rng = np.random.default_rng(seed)
    x = rng.random(n) * (rng.random(n) < 0.8)
    x *= k / x.sum()
    assert x.max() <= 1
    ids = np.flatnonzero(x)
    return x, ids


@measures
@pytest.mark.parametrize("options", CONSTRAINTS)
def test_the_bound_is_the_tangents_largest_value(metric, sharpness, options):
    """f(x) + max over sets of ∇f(x)·(s - x), by trying every set."""
    X, r = from_least(make.clustered(n=12, seed=6))
    n, k, t = 12, 4, 0.4
    W = distances_to(X, np.arange(n), sharpness, metric)
    x, ids = point(n, k)
    linear = (1 - t) * (k - 1) * r
    gradient = linear + 2 * t * W @ x
    largest = gradient[sets_of(n, k, **options)].sum(axis=1).max()
    expected = linear @ x + t * x @ W @ x + largest - gradient @ x
    whole = Whole(problem_of(X, r, k, t, sharpness, metric, **options))
    found = bounds.concave_bound(whole, ids, x[ids], whole.gradient(ids, x[ids]))
    assert found.upper == pytest.approx(expected, rel=1e-12)
    if options:
        return
    assert found.threshold == pytest.approx(np.sort(gradient)[-k], rel=1e-12)
    assert found.margin < 2e-13
    order = np.argsort(-gradient)
    for count in (k + 1, n):  # a scan's leaders stand for all
        led = bounds.concave_bound(whole, ids, x[ids], whole.gradient(ids, x[ids]), order[:count])
        assert led.upper == pytest.approx(expected, rel=1e-12)
        assert led.threshold == found.threshold


@measures
@pytest.mark.parametrize("options", CONSTRAINTS)
def test_a_point_a_little_beside_the_plane_is_moved_onto_it(metric, sharpness, options):
    """Σx is k but for what a projection leaves: the bound is that of the point whose sum is k."""
    X, r = from_least(make.clustered(n=12, seed=6))
    x, ids = point(12, 4)
    whole = Whole(problem_of(X, r, 4, 0.4, sharpness, metric, **options))
    uppers = []
    for weights in (x[ids], x[ids] * (1 - 1e-5), x[ids] * (1 + 1e-5)):
        uppers.append(bounds.concave_bound(whole, ids, weights, whole.gradient(ids, weights)).upper)
    assert uppers == pytest.approx([uppers[0]] * 3, rel=1e-12)


@measures
def test_survivors_are_those_whose_own_bound_is_not_below(metric, sharpness):
    """For every candidate the tangent's largest value over the sets that hold it."""
    X, r = make.clustered(n=12, seed=7)
    n, k, t = 12, 4, 0.3
    x, ids = point(n, k, seed=1)
    whole = Whole(problem_of(X, r, k, t, sharpness, metric))
    found = bounds.concave_bound(whole, ids, x[ids], whole.gradient(ids, x[ids]))
    gradient = found.gradient
    sets = sets_of(n, k)
    worth = found.upper + gradient[sets].sum(axis=1) - np.sort(gradient)[-k:].sum()
    own = np.array([worth[(sets == j).any(axis=1)].max() for j in range(n)])
    between = (np.sort(own)[1:] + np.sort(own)[:-1]) / 2  # never on an edge
    counts = set()
    for best in between[: n - k]:
        np.testing.assert_array_equal(found.survivors(best), np.flatnonzero(own > best))
        counts.add(len(found.survivors(best)))
    assert len(counts) > 3


def test_a_margin_widens_what_survives_and_an_edge_is_kept():
    bound = Bound(10.0, np.array([5.0, 4.0, 3.0, 2.0]), 4.0, 0.5)
    assert bound.survivors(9.0).tolist() == [0, 1, 2]
    assert bound.survivors(9.5).tolist() == [0, 1, 2]
    assert bound.survivors(9.75).tolist() == [0, 1]
    assert bound.may_be_better(8.5).tolist() == [True, True, True, True]


@pytest.mark.parametrize("sharpness", [2, 8])
@pytest.mark.parametrize("options", CONSTRAINTS)
def test_relevance_alone_bounds_where_distances_are_at_most_one(sharpness, options):
    """(1-t) times the mean relevance of the most relevant set, plus t."""
    X, r = from_least(make.clustered(n=12, seed=8))
    k, t = 4, 0.3
    problem = problem_of(X, r, k, t, sharpness, **options)
    found = bounds.bound_at_sight(problem)
    most = r[sets_of(12, k, **options)].mean(axis=1).max()
    assert found.upper / (k * (k - 1)) == pytest.approx((1 - t) * most + t, rel=1e-12)
    np.testing.assert_allclose(found.gradient, (1 - t) * (k - 1) * r, rtol=1e-12)
    assert found.margin == 0
    if not options:
        assert found.threshold == pytest.approx((1 - t) * (k - 1) * np.sort(r)[-k], rel=1e-12)


@pytest.mark.parametrize(("metric", "sharpness"), [("cosine", 1), ("euclidean", 1)])
def test_relevance_alone_bounds_nothing_where_distances_may_be_more(metric, sharpness):
    X, r = make.clustered(n=12, seed=8)
    assert bounds.bound_at_sight(problem_of(X, r, 4, 0.3, sharpness, metric)) is None


def asked(X, query, k, t, sharpness, dtype):
    """A problem whose relevance is the similarity to a query, scanned in the rows' precision."""
    scanned, vectors = Vectors(X, "cosine"), Vectors(X.astype(dtype), "cosine")
    goal = problem_of(X, np.zeros(len(X)), k, t, sharpness).objective
    request = Request(k=k, objective=goal)
    relevance = Relevance(scanned.scan(query).astype(np.float64), scanned, query)
    return Problem(vectors, relevance, request, Constraints(len(X), request))


@pytest.mark.parametrize("d", [2, 3, 12])
def test_with_a_query_no_total_of_rows_is_above_the_bound_at_sight(d):
    """f = (1-t)(k-1) q·Σ + t (k² - |Σ|²) at the best Σ is above every set."""
    closest = np.inf
    for seed in range(12):
        rng = np.random.default_rng([d, seed])
        X, query = rng.standard_normal((14, d)), rng.standard_normal(d)
        k, t = int(rng.integers(2, 5)), float(rng.choice([0.2, 0.5, 0.8, 1.0]))
        found = bounds.bound_at_sight(asked(X, query / np.linalg.norm(query), k, t, 1, np.float32))
        E, q = X / np.linalg.norm(X, axis=1, keepdims=True), query / np.linalg.norm(query)
        inner, sets = E @ E.T, sets_of(14, k)
        spread = np.array([sum(1 - inner[i, j] for i in s for j in s if i != j) for s in sets])
        values = (1 - t) * (E @ q)[sets].mean(axis=1) + t * spread / (k * (k - 1))
        upper = found.upper / (k * (k - 1))
        assert upper >= values.max()
        assert found.survivors(values.max() * k * (k - 1)).tolist() == list(range(14))
        closest = min(closest, upper - values.max())
    assert closest < 0.2


def test_a_set_whose_total_is_the_best_of_all_is_proven_at_sight():
    """Two rows of unit length at the angle where 2 cos is (1-t) / 2t, among others: nothing is above them."""
    t = 0.5
    angle = np.arccos((1 - t) / (4 * t))
    turned = np.concatenate([[angle, -angle], np.linspace(1.5, 3.0, 40)])
    X = np.column_stack([np.cos(turned), np.sin(turned)])
    best = setwise.select(X, 2, query=[1.0, 0.0], diversity=t)
    assert sorted(best.indices.tolist()) == [0, 1]
    assert best.certificate.optimal
    problem = asked(X, np.array([1.0, 0.0]), 2, t, 1, np.float64)
    assert bounds.bound_at_sight(problem).upper / 2 == pytest.approx(best.value, rel=1e-12)
    assert bounds.bound_at_sight(problem_of(X, X[:, 0], 2, t, 1)) is None  # it is not known to be a cosine
    assert bounds.bound_at_sight(asked(X, np.array([1.0, 0.0]), 2, 0.0, 1, np.float64)) is None


@pytest.mark.parametrize("sharpness", [1, 2, 8])
def test_the_margin_is_a_dots_rounding_and_relevances(sharpness):
    """2 t k times (d/8 + 16) units of the cosine's power, and (1-t)(k-1) times what relevance is off by."""
    X, r = make.clustered(n=12, d=8, seed=9)
    k, t = 4, 0.3
    single = problem_of(X.astype(np.float32), r, k, t, sharpness)
    assert single.vectors.dtype == np.float32
    dots = 2 * t * k * (8 / 8 + 16) * 2.0**-24 * sharpness
    assert bounds.rounding_margin(single) == pytest.approx(dots, rel=1e-12)
    double = dots * 2.0**-29
    assert bounds.rounding_margin(problem_of(X, r, k, t, sharpness)) == pytest.approx(double, rel=1e-12)
    query = X[0] / np.linalg.norm(X[0])
    problem = asked(X.astype(np.float32), query, k, t, sharpness, np.float32)
    relevances = (1 - t) * (k - 1) * problem.relevance.error
    assert relevances > 0
    assert bounds.rounding_margin(problem) == pytest.approx(relevances + dots, rel=1e-12)
    wider = asked(X.astype(np.float32), query, k, t, sharpness, np.float64)  # relevance was scanned before
    assert bounds.rounding_margin(wider) == pytest.approx(relevances + double, rel=1e-14)
    if sharpness == 1:
        return
    found = bounds.bound_at_sight(problem)
    exact = np.sort(problem.relevance.values)[-k:].sum() * (1 - t) * (k - 1)
    assert found.upper == pytest.approx(exact + k * relevances + t * k * (k - 1), rel=1e-5)
    assert found.upper >= exact + k * relevances + t * k * (k - 1)
    assert found.margin == pytest.approx(2 * relevances, rel=1e-12)
