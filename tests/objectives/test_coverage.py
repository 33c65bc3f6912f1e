"""Coverage against its definition, its gains against its values, and `setwise.select` on it."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import setwise
from helpers import assert_feasible, distances_to
from optional import needs
from reference import make
from setwise.objectives import Coverage
from setwise.objectives.coverage import reward_weights
from setwise.solvers.k_medoids import chosen
from setwise.vectors import Vectors


def value_of(X, r, S, t, metric="cosine", weights=None):
    """(1 - t) mean r - t Σ w_i min_j d_ij / Σ w_i, by its definition."""
    w = np.ones(len(X)) if weights is None else np.asarray(weights, float)
    nearest = distances_to(X, S, 1, metric).min(axis=1)
    return (1 - t) * np.mean([r[j] for j in S]) - t * sum(w * nearest) / w.sum()


def best_of(X, r, k, t, metric="cosine", weights=None, allowed=lambda _: True):
    """The best value of all sets."""
    D = distances_to(X, np.arange(len(X)), 1, metric)
    w = np.ones(len(X)) if weights is None else np.asarray(weights, float)
    sets = [list(S) for S in itertools.combinations(range(len(X)), k) if allowed(S)]
    return max((1 - t) * r[S].mean() - t * (w @ D[:, S].min(axis=1)) / w.sum() for S in sets)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_value_and_gains_are_the_definition(metric, weighted):
    X, r = make.clustered(n=40, d=6, seed=3)
    w = np.random.default_rng(0).random(40) if weighted else None
    objective = Coverage(0.6, metric=metric, weights=w).fitted(Vectors(X, metric))
    S = [7, 3, 30, 21]
    terms = objective.terms(X[S], r[S])
    assert terms.value == pytest.approx(value_of(X, r, S, 0.6, metric, w), abs=1e-12)
    assert terms.relevance == pytest.approx(r[S].mean())
    assert terms.value == pytest.approx(0.4 * terms.relevance + 0.6 * terms.spread)
    # A gain is a difference of values, for a set that will have k members.
    for size in range(4):
        gains = objective.gains(X, r, X[S[:size]], k=4)
        for j in (0, 11, 39):
            before = 0.0 if size == 0 else (value_of(X, 0 * r, S[:size], 0.6, metric, w))
            after = value_of(X, 0 * r, [*S[:size], j], 0.6, metric, w)
            assert gains[j] == pytest.approx(after - before + 0.4 * r[j] / 4, abs=1e-12)


def test_a_selections_gains_sum_up_to_its_value_and_are_those_of_its_prefixes():
    X, r = make.clustered(n=60, d=5, seed=1)
    sel = setwise.select(X, 6, relevance=r, objective="coverage", diversity=0.7)
    assert sel.gains.sum() == pytest.approx(sel.value, abs=1e-12)
    assert sel.value == pytest.approx(value_of(X, r, sel.indices, 0.7), abs=1e-12)
    objective = Coverage(0.7).fitted(Vectors(X))
    for size in range(6):
        gains = objective.gains(X, r, X[sel.indices[:size]], k=6)
        assert sel.gains[size] == pytest.approx(gains[sel.indices[size]], abs=1e-12)
        # In order: no member later in the set would have done better.
        assert sel.gains[size] >= gains[sel.indices[size:]].max() - 1e-12


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("t", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("kind", list(make.ALL))
def test_the_exact_solver_is_brute_force(metric, t, kind):
    X, r = make.ALL[kind](n=11, d=4, seed=2)
    sel = setwise.select(X, 3, relevance=r, objective="coverage", diversity=t, metric=metric, solver="exact")
    assert sel.value == pytest.approx(best_of(X, r, 3, t, metric), abs=1e-9)
    assert sel.certificate.optimal
    assert sel.certificate.upper_bound >= sel.value


@needs("faiss")
@pytest.mark.parametrize("solver", ["auto", "greedy", "swap", "k-means", "top-k", "random"])
@pytest.mark.parametrize("certify", [True, "full"])
def test_no_set_beats_the_bound(solver, certify):
    best_sets = 0
    for seed in range(6):
        X, r = make.clustered(n=13, d=4, seed=seed)
        sel = setwise.select(
            X, 4, relevance=r, objective="coverage", diversity=0.7, solver=solver, certify=certify
        )
        best = best_of(X, r, 4, 0.7)
        assert sel.value <= best + 1e-12
        assert sel.certificate.upper_bound >= best - 1e-12
        is_best = sel.value > best - 1e-9
        best_sets += is_best
        # What is called the best possible is; with full effort all that is, is called so.
        assert sel.certificate.optimal <= is_best
        assert sel.certificate.optimal >= (is_best and certify == "full")
        assert sel.certificate.upper_bound <= (best + 1e-7 if certify == "full" else np.inf)
    assert best_sets == 6 or (solver, certify) != ("auto", "full")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1), st.integers(1, 5))
def test_constraints_are_kept_and_the_best_feasible_set_is_found(seed, t, k):
    rng = np.random.default_rng(seed)
    X, r = make.clustered(n=11, d=3, seed=seed)
    labels = make.group_labels(11, 4, seed)
    include = rng.choice(11, size=min(k, 1), replace=False).tolist()
    options = {"include": include, "groups": labels, "max_per_group": 2}

    def allowed(S):
        return set(include) <= set(S) and np.bincount(labels[list(S)]).max() <= 2

    best = best_of(X, r, k, t, allowed=allowed)
    for solver in ("exact", "swap", "greedy"):
        sel = setwise.select(X, k, relevance=r, objective="coverage", diversity=t, solver=solver, **options)
        assert_feasible(sel.indices, 11, k, **options)
        assert sel.value <= best + 1e-9
        assert sel.certificate.upper_bound >= best - 1e-9
        assert sel.value >= (best - 1e-9 if solver == "exact" else -np.inf)


def test_weights_pull_the_members_to_where_they_are():
    X, _ = make.clustered(n=50, d=8, seed=4)
    rewards = np.random.default_rng(1).random(50)
    w = reward_weights(rewards)
    assert w == pytest.approx(np.exp(rewards.mean() - rewards))
    goal = Coverage(1.0, metric="euclidean", weights=w)
    sel = setwise.select(X, 5, objective=goal, solver="exact")
    plain = setwise.select(X, 5, objective="coverage", diversity=1.0, metric="euclidean", solver="exact")
    mine, other = (
        goal.fitted(Vectors(X, "euclidean")).terms(X[s.indices], np.zeros(5)) for s in (sel, plain)
    )
    assert sel.value == pytest.approx(mine.value, abs=1e-12)
    assert mine.value >= other.value
    only = np.zeros(50)
    only[[4, 9]] = 1.0
    two = setwise.select(X, 2, objective=Coverage(1.0, weights=only))
    assert set(two.indices.tolist()) == {4, 9}
    assert two.value == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_many_candidates_are_measured_against_a_sample(metric, monkeypatch):
    for name, size in (("DENSE", 300), ("FEWEST", 128), ("MOST", 256)):
        monkeypatch.setattr(chosen, name, size)
    X, r = make.clustered(n=900, d=8, seed=0, clusters=15, cone=1.0)
    X = X.astype(np.float32)
    call = {"relevance": r, "objective": "coverage", "diversity": 0.8, "metric": metric}
    whole = setwise.select(X[:300], 12, **{**call, "relevance": r[:300]})
    assert whole.stats["points"] == 300
    sel = setwise.select(X, 12, **call)
    assert sel.stats["points"] == 256
    order = np.random.default_rng(0).permutation(900)
    moved = setwise.select(X[order], 12, **{**call, "relevance": r[order]})
    assert set(order[moved.indices].tolist()) == set(sel.indices.tolist())
    copies = setwise.select(np.repeat(X[:3], 300, axis=0), 12, objective="coverage", metric=metric)
    assert copies.stats["points"] == 256
    assert copies.diversity == pytest.approx(0.0, abs=1e-6)
    assert sel.value == pytest.approx(value_of(X, r, sel.indices, 0.8, metric), abs=1e-6)
    assert sel.certificate.upper_bound >= sel.value
    values = {
        name: setwise.select(X, 12, **call, solver=name).value for name in ("greedy", "random", "top-k")
    }
    assert sel.value >= values["greedy"] - 1e-3 * abs(values["greedy"])
    assert values["greedy"] > max(values["random"], values["top-k"])
    constrained = setwise.select(X, 12, **call, include=[17], groups=np.arange(900) % 6, max_per_group=2)
    assert_feasible(constrained.indices, 900, 12, [17], np.arange(900) % 6, 2)
    alone = setwise.select(X, 12, objective="coverage", diversity=1.0, metric=metric)
    assert alone.certificate.upper_bound is None
    assert np.array_equal(
        alone.indices, setwise.select(X, 12, objective="coverage", diversity=1.0, metric=metric).indices
    )


def test_more_than_half_a_thousand_candidates_reach_a_local_optimum():
    X, r = make.clustered(n=700, d=6, seed=5)
    sel = setwise.select(X, 9, relevance=r, objective="coverage", diversity=0.8, solver="swap", certify=False)
    D = distances_to(X, np.arange(700))
    S = sel.indices.tolist()
    for place in range(9):
        rest = S[:place] + S[place + 1 :]
        cost = np.minimum(D, D[:, rest].min(axis=1)[:, None]).mean(axis=0)
        values = 0.2 * (r[rest].sum() + r) / 9 - 0.8 * cost
        values[rest] = -np.inf
        assert values.max() <= sel.value + 1e-9


def test_a_query_and_many_pools():
    X, _ = make.clustered(n=60, d=6, seed=8)
    sel = setwise.select(X, 5, query=X[3], objective="coverage", diversity=0.4)
    assert sel.relevance == pytest.approx(
        (X[sel.indices] @ X[3] / np.linalg.norm(X[sel.indices], axis=1) / np.linalg.norm(X[3])).mean()
    )
    many = setwise.select_many(X, 5, queries=X[[3, 9]], objective="coverage", diversity=0.4)
    assert np.array_equal(many[0].indices, sel.indices)
    assert many[0].value == pytest.approx(sel.value, abs=1e-12)
    pools = setwise.select_many(
        X.reshape(3, 20, 6), 4, relevance=np.ones((3, 20)), objective="coverage", certify=False, diversity=0.9
    )
    for place, pool in enumerate(pools):
        part = X.reshape(3, 20, 6)[place]
        one = setwise.select(
            part, 4, relevance=np.ones(20), objective="coverage", certify=False, diversity=0.9
        )
        assert np.array_equal(pool.indices, one.indices)


def test_identical_candidates_cost_nothing():
    X = np.ones((9, 3))
    sel = setwise.select(X, 3, relevance=np.arange(9.0) / 9, objective="coverage", diversity=0.5)
    assert sorted(sel.indices.tolist()) == [6, 7, 8]
    assert sel.diversity == pytest.approx(0.0, abs=1e-12)
    assert sel.certificate.optimal
    alone = setwise.select(X, 3, objective="coverage", diversity=1.0)
    assert len(set(alone.indices.tolist())) == 3
    assert alone.certificate.optimal


@pytest.mark.parametrize(
    ("weights", "kind", "match"),
    [
        ([1, 2], ValueError, "weights: expected 4 numbers, one a candidate, got 2"),
        ([1, -1, 1, 1], ValueError, "weights: row 1 is -1.0; weights are finite and at least 0"),
        ([1, 1, np.nan, 1], ValueError, "weights: row 2 is nan"),
        ([0, 0, 0, 0], ValueError, "weights: all are 0"),
        (["a"] * 4, TypeError, r"weights: row 0 has 'a' \(str\)"),
        ([[1, 1, 1, 1]], TypeError, "weights: expected one number a candidate"),
    ],
)
def test_bad_weights(weights, kind, match):
    with pytest.raises(kind, match=match):
        setwise.select(np.eye(4), 2, objective=Coverage(weights=weights))


def test_coverage_of_nothing_yet():
    with pytest.raises(ValueError, match="candidates: coverage is of something"):
        Coverage().terms(np.eye(3), np.zeros(3))


def test_the_exact_solver_says_when_it_is_too_much():
    with pytest.raises(ValueError, match="solver: 'exact' can search 1024 candidates, got 1100"):
        setwise.select(
            np.random.default_rng(0).standard_normal((1100, 3)), 3, objective="coverage", solver="exact"
        )


def test_a_search_cannot_cover():
    index = setwise.Index.from_array(np.eye(5))
    with pytest.raises(ValueError, match="objective: coverage is of all candidates"):
        setwise.retrieve(np.ones(5), index, 2, objective="coverage")
