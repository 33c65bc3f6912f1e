"""The closed forms against the linear program and against the paper's algorithms."""

import numpy as np
import pytest
from scipy import sparse

from reference import tsds
from setwise.objectives.transport import Transport
from setwise.solvers import matching


def instance(seed, M=4, N=12, d=2, copies=0):
    rng = np.random.default_rng(seed)
    X, Q = rng.normal(size=(N, d)), rng.normal(size=(M, d))
    if copies:
        X[1 : 1 + copies] = X[0] + 0.02 * rng.normal(size=(copies, d))
    distances = np.sqrt(((Q[:, None] - X[None]) ** 2).sum(-1))
    return X, distances


def sums_of(near, weights):
    sums = matching.Sums(near, even=weights is None)
    if weights is not None:
        sums.extend(weights)
    return sums


def solved(distances, rho, goal, reach=None):
    """The plan of our solver as a dense (M, N) matrix, and the plan."""
    M, N = distances.shape
    reach = N if reach is None else reach
    ids = np.argsort(distances, axis=1, kind="stable")[:, :reach]
    near = np.take_along_axis(distances, ids, axis=1)
    if goal.regularizer == "tv":
        plan = matching.total_variation(near, np.ones(near.shape, int), goal, N, everything=reach == N)
    else:
        sums = sums_of(near, (1 / rho)[ids] if goal.regularizer == "kde" else None)
        total = float((1 / rho).sum())
        plan = matching.capped(sums, goal, least_total=total, total=total if reach == N else None)
    gamma = sparse.csr_array((plan.mass, plan.entries(ids), plan.starts), shape=(M, N))
    return gamma.toarray(), plan


@pytest.mark.parametrize("regularizer", ["kde", "uniform", "tv"])
@pytest.mark.parametrize("diversity", [0.0, 0.02, 0.2, 0.4, 0.6, 0.8, 0.98, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_plan_is_the_linear_programs_optimum(regularizer, diversity, seed):
    X, distances = instance(seed, copies=4 * (seed % 2))
    rho = tsds.density(X, 0.5) if regularizer == "kde" else np.ones(len(X))
    scale = [5.0, 1.0, 0.3, 20.0][seed]
    goal = Transport(diversity, regularizer=regularizer, scale=scale)
    gamma, plan = solved(distances, rho, goal)
    np.testing.assert_allclose(gamma.sum(axis=1), 1 / len(gamma), rtol=1e-12)
    assert (gamma >= 0).all()
    assert plan.complete
    least = tsds.lp_value(distances, rho, diversity, scale, regularizer)
    assert goal.terms(gamma, distances, rho).value == pytest.approx(least, abs=1e-9)


def test_some_instances_break_the_theorems_assumption_and_some_do_not():
    """It holds where s* <= s̄ / 2; past that the plan is the one at s̄ / 2, or the even one."""
    met = set()
    for seed in range(12):
        X, distances = instance(seed)
        rho = tsds.density(X, 0.5)
        total = (1 / rho).sum()
        for diversity in (0.1, 0.3, 0.5, 0.7, 0.9):
            plan = solved(distances, rho, Transport(diversity, scale=5.0))[1]
            ids = np.argsort(distances, axis=1, kind="stable")
            s = tsds.knn_kde(ids, np.sort(distances), rho[ids], len(rho), diversity, 5.0)[1]
            assert plan.fits == (s <= total / 2)
            met.add((plan.fits, plan.even))
            if not plan.fits and not plan.even:
                assert plan.limit == pytest.approx(total / 2)
    assert met == {(True, False), (False, False), (False, True)}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("diversity", [0.1, 0.4, 0.7])
def test_capped_equals_the_papers_heap(seed, diversity):
    X, distances = instance(seed, M=7, N=400, d=6, copies=60)
    rho = tsds.density(X, 0.6)
    ids = np.argsort(distances, axis=1, kind="stable")[:, :150]
    near = np.take_along_axis(distances, ids, axis=1)
    goal = Transport(diversity, scale=0.8)
    p, s, whole = tsds.knn_kde(ids, near, rho[ids], 400, diversity, 0.8)
    assert whole.max() < 150
    gamma, plan = solved(distances, rho, goal, reach=150)
    assert plan.complete
    assert plan.limit == pytest.approx(s, rel=1e-12)
    np.testing.assert_allclose(gamma.sum(axis=0), p, atol=1e-12)
    # The heap stops amid queries whose breakpoints tie: theirs is a full share too, by the last line.
    assert (plan.whole >= whole).all()
    full = np.isclose(gamma, np.where(gamma > 0, 1 / (7 * s * rho), -1))
    assert (full.sum(axis=1) == plan.whole).all()
    assert plan.remainder == pytest.approx(gamma[~full].sum())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("diversity", [0.0, 0.1, 0.4, 0.7])
def test_capped_equals_the_papers_uniform(seed, diversity):
    _, distances = instance(seed, M=6, N=300, d=5)
    ids = np.argsort(distances, axis=1, kind="stable")
    near = np.take_along_axis(distances, ids, axis=1)
    p, K = tsds.knn_uniform(ids, near, 300, diversity, 0.7)
    assert K <= 150
    gamma, plan = solved(distances, np.ones(300), Transport(diversity, regularizer="uniform", scale=0.7))
    assert plan.limit == K
    np.testing.assert_allclose(gamma.sum(axis=0), p, atol=1e-12)


@pytest.mark.parametrize("diversity", [0.0, 0.01, 0.05, 0.2, 1.0])
def test_total_variation_equals_theorem_a1(diversity):
    _, distances = instance(3, M=5, N=60, d=3)
    gamma, _ = solved(distances, np.ones(60), Transport(diversity, regularizer="tv"))
    np.testing.assert_allclose(gamma, tsds.theorem_a1(distances, diversity, 5.0), atol=1e-15)


@pytest.mark.parametrize("regularizer", ["kde", "uniform", "tv"])
def test_neighbors_that_run_out_are_reported(regularizer):
    X, distances = instance(1, M=5, N=200, d=3)
    rho = tsds.density(X, 0.5)
    goal = Transport(0.9, regularizer=regularizer, scale=5.0)
    gamma, plan = solved(distances, rho, goal, reach=10)
    assert not plan.complete
    np.testing.assert_allclose(gamma.sum(axis=1), 1 / 5, rtol=1e-12)
    assert np.count_nonzero(gamma, axis=1).max() <= 10


def test_without_diversity_all_goes_to_the_nearest():
    X, distances = instance(2)
    for regularizer in ("kde", "uniform", "tv"):
        gamma, _ = solved(distances, tsds.density(X, 0.5), Transport(0.0, regularizer=regularizer))
        np.testing.assert_array_equal(gamma.argmax(axis=1), distances.argmin(axis=1))
        np.testing.assert_allclose(gamma.max(axis=1), 1 / len(gamma))


def test_equal_distances_and_repeated_queries():
    distances = np.ones((3, 8))
    for regularizer in ("kde", "uniform", "tv"):
        goal = Transport(0.4, regularizer=regularizer)
        rho = np.full(8, 8.0 if regularizer == "kde" else 1.0)
        gamma, _ = solved(distances, rho, goal)
        least = tsds.lp_value(distances, rho, 0.4, 5.0, regularizer)
        assert goal.terms(gamma, distances, rho).value == pytest.approx(least, abs=1e-12)


def test_many_equal_breakpoints():
    """More rows share each breakpoint than are ever sorted at once."""
    rng = np.random.default_rng(0)
    near = np.sort(rng.random((9_000, 30)), axis=1)
    goal = Transport(0.05, regularizer="uniform", scale=2.0)
    plan = matching.capped(sums_of(near, None), goal, least_total=1e4, total=None)
    costs = [(near[:, k : k + 1] - near[:, :k]).sum() for k in range(1, 30)]
    K = next(k for k, c in enumerate(costs, 1) if 0.95 / 2.0 * c >= 0.05 * 9_000)
    assert plan.limit == K
    same = matching.capped(sums_of(near, np.ones((9_000, 30))), goal, least_total=1e4, total=None)
    assert same.limit == K


def test_sums_that_grow_are_those_made_at_once(monkeypatch):
    """Weights come a few columns at a time; what was summed is not summed again."""
    rng = np.random.default_rng(1)
    near, weights = np.sort(rng.random((50, 400)), axis=1), rng.uniform(0.1, 1.0, (50, 400))
    whole, grown = sums_of(near, weights), matching.Sums(near, even=False)
    read = []
    multiply = np.multiply
    monkeypatch.setattr(np, "multiply", lambda a, b, out: (read.append(a.size), multiply(a, b, out=out))[1])
    for start, stop in ((0, 30), (30, 31), (31, 250), (250, 400)):
        grown.extend(weights[:, start:stop])
        assert grown.reach == stop
        np.testing.assert_array_equal(grown.each(stop), weights[:, :stop])
        np.testing.assert_allclose(grown.weight(stop), np.cumsum(weights, axis=1)[:, :stop], rtol=1e-12)
        np.testing.assert_allclose(grown.paid(stop), np.cumsum(weights * near, axis=1)[:, :stop], rtol=1e-12)
    assert sum(read) == near.size
    goal = Transport(0.5, scale=0.5)
    plans = [matching.capped(sums, goal, least_total=1e4, total=None) for sums in (whole, grown)]
    assert plans[0].limit == pytest.approx(plans[1].limit, rel=1e-12)
    np.testing.assert_allclose(plans[0].mass, plans[1].mass, rtol=1e-12)


@pytest.mark.parametrize("first", [1.0, 1.0 - 2.0**-53])
def test_weights_that_vanish_in_the_sum(first):
    """More breakpoints than are ever sorted at once lie at one number; no bisection gets between them."""
    near = np.linspace(0.1, 0.9, 10_100)[None]
    weights = np.concatenate([[first], np.full(9_999, 1e-20), np.full(100, 0.5)])[None]
    assert len(np.unique(np.cumsum(weights)[:10_000])) == 1
    assert matching.FEW < 10_000
    goal = Transport(0.2, scale=2.0)
    _, s, whole = tsds.knn_kde(np.arange(10_100)[None], near, 1 / weights, 10_100, 0.2, 2.0)
    assert 1 < whole[0] < 10_000
    plan = matching.capped(sums_of(near, weights), goal, least_total=1e4, total=None)
    assert plan.limit == pytest.approx(s, rel=1e-15)
    assert plan.complete
