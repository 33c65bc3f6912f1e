"""The references against each other and against the papers' relations, on tiny instances."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

from . import make
from .brute import best_subset, best_value_milp
from .frank_wolfe import frank_wolfe, top_k
from .greedy import RANK_TOLERANCE, dpp, max_sum_greedy, mmr
from .objectives import (
    ccbqp_relaxed_value,
    ccbqp_value,
    cosine_matrix,
    distance_matrix,
    kernel_matrix,
    log_det_value,
    max_sum_value,
    mmr_similarity_matrix,
    mmr_value,
)

DATA = [(name, seed) for name in make.ALL for seed in range(3)]
DIVERSITIES = [0.0, 0.1, 0.5, 0.9, 1.0]
MEASURES = [("cosine", 1), ("cosine", 2), ("cosine", 8), ("euclidean", 1)]

data = pytest.mark.parametrize(("name", "seed"), DATA)
measures = pytest.mark.parametrize(("metric", "sharpness"), MEASURES)


def indicator(S, n):
    """The 0/1 vector of S."""
    x = np.zeros(n)
    x[list(S)] = 1.0
    return x


# --- the objectives -----------------------------------------------------------------------------------------


def test_values_by_hand():
    """A case small enough for paper: rows e1, e2, -e1, (3, 4)/5."""
    X = [[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [3.0, 4.0]]
    r = [1.0, 0.5, 0.25, 0.75]
    assert np.allclose(max_sum_value(X, r, [0, 1, 3], 0.5), (0.5 * 0.75 + 0.5 * 1.6 / 3, 0.75, 1.6 / 3))
    assert np.allclose(max_sum_value(X, r, [0, 3], 1.0, sharpness=2), (0.64, 0.875, 0.64))
    assert np.allclose(max_sum_value(X, r, [1, 2], 1.0, metric="euclidean"), (2**0.5, 0.375, 2**0.5))
    assert max_sum_value(X, r, [3], 0.25) == (0.75 * 0.75, 0.75, 0.0)
    # MMR in the order 0, 3, 1: .5, then .375 - .3, then .25 - .4
    assert np.isclose(mmr_value(X, r, [0, 3, 1], 0.5), (0.5 + 0.075 - 0.15) / 3)
    assert np.isclose(mmr_value(X, r, [1, 2], 0.5, "euclidean"), (0.25 + 0.125 + 0.5 * 2**0.5) / 2)
    assert np.isclose(log_det_value(X, r, [0, 3], 0.5), 0.5 * 1.75 + 0.5 * np.log(0.64))
    assert log_det_value(X, r, [0, 2], 0.5) == -np.inf
    assert log_det_value(X, r, [0, 2], 0.0) == 1.25
    # the Gaussian kernel's scale: the mean of all the 16 squared distances
    squared = [(a - c) ** 2 + (b - d) ** 2 for a, b in X for c, d in X]
    K = kernel_matrix(X, "euclidean")
    assert np.isclose(K[0, 3], np.exp(-17 / np.mean(squared)))
    assert np.array_equal(kernel_matrix([[1.0, 2.0]] * 3, "euclidean"), np.ones((3, 3)))


@data
def test_matrices_are_exact_where_it_matters(name, seed):
    """Unit diagonal, symmetric, and equal rows stay equal, so that ties can be told."""
    X, _ = make.ALL[name](seed=seed)
    for K in (cosine_matrix(X), kernel_matrix(X, "euclidean")):
        assert np.array_equal(np.diag(K), np.ones(len(X)))
        assert np.array_equal(K, K.T)
        for i, j in itertools.combinations(range(len(X)), 2):
            if np.array_equal(X[i], X[j]):
                assert np.array_equal(K[i], K[j])
    assert np.isclose(distance_matrix(X, metric="euclidean")[0, 1], np.linalg.norm(X[0] - X[1]))


@data
@pytest.mark.parametrize("sharpness", [1, 2, 8])
def test_ccbqp_is_max_sum_on_sets(name, seed, sharpness):
    """CCBQP Eq. 2 on 0/1 x is k(k-1) F - (1-θ) k(k-1); λ = 2 adds (1-θ) k; Σ_{i≠j} d = k² - |v|²."""
    X, r = make.ALL[name](seed=seed)
    rng = np.random.default_rng(seed)
    for t, k in itertools.product(DIVERSITIES, (1, 2, 5)):
        S = rng.permutation(len(r))[:k]
        F, relevance, distance = max_sum_value(X, r, S, t, sharpness)
        x = indicator(S, len(r))
        f = ccbqp_value(X, r, x, k, t, sharpness)
        assert np.isclose(f, k * (k - 1) * F - t * k * (k - 1), atol=1e-12)
        assert np.isclose(ccbqp_relaxed_value(X, r, x, k, t, sharpness), f + t * k, atol=1e-12)
        assert np.isclose(F, (1 - t) * relevance + t * distance)
        if sharpness == 1:
            E = X / np.linalg.norm(X, axis=1)[:, None]
            assert np.isclose(k * (k - 1) * distance, k**2 - np.linalg.norm(E[S].sum(axis=0)) ** 2)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sharpness", [1, 8])
def test_relaxation_is_tight(seed, sharpness):
    """CCBQP Theorem 2.1: with λ = 2 no fractional x beats the best set."""
    X, r = make.clustered(n=9, seed=seed)
    rng = np.random.default_rng(seed)
    for t, k in [(0.3, 3), (0.9, 4)]:
        F, _ = best_subset(X, r, k, t, sharpness)
        best = k * (k - 1) * (F - t) + t * k
        for _ in range(50):
            weights = rng.dirichlet(np.full(8, 0.3))
            x = sum(w * indicator(rng.permutation(9)[:k], 9) for w in weights)
            assert ccbqp_relaxed_value(X, r, x, k, t, sharpness) <= best + 1e-10


# --- the greedy methods -------------------------------------------------------------------------------------


@data
@measures
def test_max_sum_greedy_is_its_definition(name, seed, metric, sharpness):
    """Every pick is the best of MUSS Alg. 1's scores, computed from scratch; F follows from the gains."""
    X, r = make.ALL[name](seed=seed)
    D = distance_matrix(X, sharpness, metric)
    for t in DIVERSITIES:
        S, gains = max_sum_greedy(X, r, 6, t, sharpness, metric)
        assert S[0] == np.argmax(r)
        assert np.isclose(gains[0], (1 - t) * r.max())
        for step in range(1, 6):
            scores = {
                j: (1 - t) * r[j] + t * np.mean([D[j, u] for u in S[:step]])
                for j in range(len(r))
                if j not in S[:step]
            }
            assert np.isclose(gains[step], max(scores.values()))
            assert np.isclose(gains[step], scores[S[step]])
        spread = sum(2 * i * (gains[i] - (1 - t) * r[S[i]]) for i in range(1, 6)) / 30
        assert np.isclose((1 - t) * r[S].mean() + spread, max_sum_value(X, r, S, t, sharpness, metric)[0])


@data
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_mmr_is_its_definition(name, seed, metric):
    """The mean gain is mmr_value, picks are the best, and scores never rise from the second step on."""
    X, r = make.ALL[name](seed=seed)
    sim = mmr_similarity_matrix(X, metric)
    for t in DIVERSITIES:
        S, gains = mmr(X, r, 7, t, metric)
        assert S[0] == np.argmax(r)
        assert np.isclose(gains.mean(), mmr_value(X, r, S, t, metric))
        for step in range(1, 7):
            scores = [
                (1 - t) * r[j] - t * max(sim[j, u] for u in S[:step])
                for j in range(len(r))
                if j not in S[:step]
            ]
            assert np.isclose(gains[step], max(scores))
        assert (np.diff(gains[1:]) <= 1e-12).all()
        if (sim >= 0).all():  # a negative similarity makes the second score pass the first
            assert gains[1] <= gains[0] + 1e-12


@data
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("t", [0.3, 0.7, 1.0])
def test_dpp_is_greedy_on_log_det(name, seed, metric, t):
    """By Cholesky as by slogdet from scratch; gains add up to the value and never rise."""
    X, r = make.ALL[name](seed=seed)
    K = kernel_matrix(X, metric)
    S, gains = dpp(X, r, 6, t, metric)

    def from_scratch(chosen):
        scores = {}
        for j in range(len(r)):
            if j not in chosen:
                _, below = np.linalg.slogdet(K[np.ix_(chosen, chosen)])
                sign, above = np.linalg.slogdet(K[np.ix_([*chosen, j], [*chosen, j])])
                if sign > 0 and above - below >= np.log(RANK_TOLERANCE):
                    scores[j] = (1 - t) * r[j] + t * (above - below)
        return scores

    for step in range(len(S)):
        scores = from_scratch(list(S[:step]))
        assert np.isclose(gains[step], max(scores.values()), rtol=1e-6, atol=1e-8)
        assert np.isclose(gains[step], scores[S[step]], rtol=1e-6, atol=1e-8)
    if len(S) < 6:
        assert not from_scratch(list(S))
    assert np.isclose(gains.sum(), log_det_value(X, r, S, t, metric), rtol=1e-6)
    assert (np.diff(gains) <= 1e-9).all()


def test_dpp_stops_at_the_rank():
    """Fewer than k where the kernel's rank is less, never at t = 0."""
    X, r = make.low_rank(rank=3)
    assert len(dpp(X, r, 6, 0.5)[0]) == 3
    assert np.array_equal(dpp(X, r, 6, 0.0)[0], top_k(r, 6))
    X, r = make.with_duplicates(n=8, d=8, copies=4)
    S, _ = dpp(X, r, 8, 0.01)
    assert len(S) == np.linalg.matrix_rank(kernel_matrix(X)) == 4
    S, gains = dpp([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]], [0.0, 0.0, 1.0], 3, 0.5, include=[1, 0])
    assert np.array_equal(S, [1, 0, 2])
    assert np.array_equal(gains, [0.0, -np.inf, 0.5])


def test_ties_go_to_the_lowest_index():
    """All alike: 0, 1, 2, …, whatever the method."""
    X, r = np.tile([3.0, 1.0, 2.0], (6, 1)), np.full(6, 0.7)
    for t in DIVERSITIES:
        for method in (max_sum_greedy, mmr):
            for metric in ("cosine", "euclidean"):
                assert np.array_equal(method(X, r, 4, t, metric=metric)[0], range(4))
        assert np.array_equal(dpp(X, r, 4, t)[0], range(4 if t == 0 else 1))
        assert np.array_equal(frank_wolfe(X, r, 4, t)[0], range(4))
        assert np.array_equal(best_subset(X, r, 4, t)[1], range(4))


@pytest.mark.parametrize("method", [max_sum_greedy, mmr, dpp])
@pytest.mark.parametrize("seed", range(3))
def test_include_and_groups(method, seed):
    """Included first and in order; no group past its cap; a cap that never binds changes nothing."""
    X, r = make.clustered(n=12, d=8, seed=seed)
    groups = make.group_labels(12, 4, seed)
    for t in DIVERSITIES:
        free, _ = method(X, r, 6, t)
        assert np.array_equal(method(X, r, 6, t, groups=groups, max_per_group=3)[0], free)
        again, gains = method(X, r, 6, t, include=free[:3])
        assert np.array_equal(again, free)
        include = [11, int(np.flatnonzero(groups != groups[11])[0])]
        S, gains = method(X, r, 4, t, include=include, groups=groups, max_per_group=1)
        assert S[:2].tolist() == include
        assert len(S) == len(gains) == len(set(groups[S])) == 4
    labels = np.array(["a", "b", "c", "d"])[groups]
    assert np.array_equal(
        method(X, r, 4, 0.5, groups=labels, max_per_group=1)[0],
        method(X, r, 4, 0.5, groups=groups, max_per_group=1)[0],
    )
    with pytest.raises(ValueError, match="fill"):
        method(X, r, 5, 0.5, groups=groups, max_per_group=1)
    with pytest.raises(ValueError, match="breaks"):
        method(X, r, 4, 0.5, include=np.flatnonzero(groups == 0)[:2], groups=groups, max_per_group=1)
    with pytest.raises(ValueError, match="met"):
        method(X, r, 2, 0.5, include=[0, 1, 2])


# --- Frank-Wolfe --------------------------------------------------------------------------------------------


@data
@pytest.mark.parametrize("sharpness", [1, 2, 8])
def test_frank_wolfe_climbs_and_never_beats_the_best(name, seed, sharpness):
    """f never falls; it starts at x = k/n; at t = 0 it is top-k, at k = n everything; F ≤ brute force."""
    X, r = make.ALL[name](seed=seed)
    n = len(r)
    for t, k in itertools.product(DIVERSITIES, (1, 2, 5, n)):
        S, iterations, history = frank_wolfe(X, r, k, t, sharpness)
        assert len(set(S.tolist())) == k
        assert len(history) == iterations + 1
        assert (np.diff(history) >= -1e-10).all()
        if k > 1:
            start = ccbqp_relaxed_value(X, r, np.full(n, k / n), k, t, sharpness)
            assert np.isclose(history[0], start, atol=1e-12)
        if t == 0 or k == 1:
            assert np.array_equal(S if k == 1 else np.sort(S), np.sort(top_k(r, k)))
        value = max_sum_value(X, r, S, t, sharpness)[0]
        assert value <= best_subset(X, r, k, t, sharpness)[0] + 1e-12


@pytest.mark.parametrize("seed", range(5))
def test_frank_wolfe_converges_to_a_set(seed):
    """CCBQP Theorem 3.1: it ends at an integral x in finitely many steps, with no better top-k."""
    X, r = make.clustered(n=40, d=8, seed=seed, clusters=5)
    for t, k in itertools.product([0.1, 0.5, 0.9], (5, 10)):
        S, iterations, history = frank_wolfe(X, r, k, t)
        assert iterations < 200
        x = indicator(S, 40)
        assert np.isclose(history[-1], ccbqp_relaxed_value(X, r, x, k, t))
        gradient = (1 - t) * (k - 1) * r + 2 * t * (2 * x - cosine_matrix(X) @ x)
        assert gradient[S].min() >= np.delete(gradient, S).max() - 1e-9


# --- the best set -------------------------------------------------------------------------------------------


@data
@measures
def test_brute_force_is_every_set(name, seed, metric, sharpness):
    """The fast sums of best_subset against max_sum_value of each set, ties to the first."""
    X, r = make.ALL[name](n=8, seed=seed)
    for t, k in [(0.0, 3), (0.4, 1), (0.4, 3), (1.0, 4)]:
        values = {
            S: max_sum_value(X, r, S, t, sharpness, metric)[0] for S in itertools.combinations(range(8), k)
        }
        best, S = best_subset(X, r, k, t, sharpness, metric)
        assert np.isclose(best, max(values.values()), atol=1e-12)
        assert tuple(S) == next(T for T, value in values.items() if value >= max(values.values()) - 1e-12)


@pytest.mark.parametrize("name", make.ALL)
@measures
def test_brute_force_is_milp(name, metric, sharpness):
    """Two ways to the optimum, plain and under constraints."""
    X, r = make.ALL[name](n=10, seed=7)
    groups = make.group_labels(10, 5)
    cap = {"include": [9], "groups": groups, "max_per_group": 1}
    for t, k, options in [(0.3, 4, {}), (0.8, 3, {}), (0.5, 4, cap), (0.4, 1, {})]:
        best, S = best_subset(X, r, k, t, sharpness, metric, **options)
        value, T = best_value_milp(X, r, k, t, sharpness, metric, **options)
        assert np.isclose(best, value, atol=1e-7)
        assert np.isclose(best, max_sum_value(X, r, S, t, sharpness, metric)[0], atol=1e-12)
        if options:
            assert len(set(groups[S])) == len(set(groups[T])) == 4
            assert 9 in S
            assert 9 in T


def test_milp_beyond_brute_force():
    """n = 18: no method finds better."""
    X, r = make.clustered(n=18, seed=3)
    best, S = best_value_milp(X, r, 5, 0.5)
    assert len(S) == 5
    for T in (max_sum_greedy(X, r, 5, 0.5)[0], frank_wolfe(X, r, 5, 0.5)[0], top_k(r, 5)):
        assert max_sum_value(X, r, T, 0.5)[0] <= best + 1e-7


# --- greedy's guarantee -------------------------------------------------------------------------------------


@data
def test_greedy_reaches_half_of_the_best(name, seed):
    """Max-sum with relevance ≥ 0 and a metric: at least half of the best on every instance here.

    Borodin's bound is proven for greedy on (1-t) r / 2 + 2t/(k-1) * Σ d. For MUSS's mean, Σ d / |S|, it
    can fail from k = 4 on (the next test), so this one is about these instances.
    """
    X, r = make.ALL[name](seed=seed)
    r = np.abs(r)
    for t, k in itertools.product(DIVERSITIES, (2, 3, 4, 6)):
        S, _ = max_sum_greedy(X, r, k, t, metric="euclidean")
        best, _ = best_subset(X, r, k, t, metric="euclidean")
        assert 0.5 * best - 1e-12 <= max_sum_value(X, r, S, t, metric="euclidean")[0] <= best + 1e-12


def worst_ratio(k, weight):
    """The least F(greedy) / F(best) over all metrics and r ≥ 0, the best set disjoint from greedy's: an LP.

    Items 0 … k-1 are greedy's in order, the rest the other set, whose F is 1; 1-t and t are absorbed in
    r and d. The score is r + weight(|S|) * Σ_{u∈S} d.
    """
    n = 2 * k
    pair = {}
    for column, (i, j) in enumerate(itertools.combinations(range(n), 2), start=n):
        pair[i, j] = pair[j, i] = column
    size = n + n * (n - 1) // 2

    def vector(entries):
        row = np.zeros(size)
        for column, coefficient in entries:
            row[column] += coefficient
        return row

    def F(S):
        distances = [(pair[i, j], 2 / (k * (k - 1))) for i, j in itertools.combinations(S, 2)]
        return vector([(i, 1 / k) for i in S] + distances)

    def score(j, step):
        return vector([(j, 1)] + [(pair[j, u], weight(step)) for u in range(step)])

    rows = [score(j, i) - score(i, i) for i in range(k) for j in range(i + 1, n)]
    for i, j, via in itertools.permutations(range(n), 3):
        if i < j:
            rows.append(vector([(pair[i, j], 1), (pair[i, via], -1), (pair[j, via], -1)]))
    result = linprog(F(range(k)), np.array(rows), np.zeros(len(rows)), [F(range(k, n))], [1])
    return result.fun


def test_half_is_not_a_theorem_for_the_mean():
    """MUSS's 'in practice' (Σ d / |S|) can fall below half of the best at k = 4; the true marginal cannot."""
    assert np.isclose(worst_ratio(3, lambda size: 1 / size), 1 / 2)
    assert np.isclose(worst_ratio(4, lambda size: 1 / size), 23 / 48)
    assert np.isclose(worst_ratio(4, lambda size: 2 / (4 - 1)), 1 / 2)
