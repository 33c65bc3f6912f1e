"""max-min against every set there is, GIST's guarantee, and the peer that has GIST."""

import itertools

import numpy as np
import pytest

import setwise
from optional import lazily, needs
from reference import make
from setwise.api import pose
from setwise.objectives import MaxMin
from setwise.request import Request
from setwise.solvers.held import hold
from setwise.solvers.max_min.moves import MaxMinForm, pick_apart

divsel = lazily("divsel")


def distances(X, metric):
    """Distances of every two rows by their definition."""
    if metric == "cosine":
        E = X / np.linalg.norm(X, axis=1)[:, None]
        return 1.0 - E @ E.T
    return np.sqrt(np.square(X[:, None] - X).sum(axis=2))


def value_of(D, r, t, S):
    """(1 - t) * mean relevance + t * the least distance of two members."""
    least = min((D[i, j] for i, j in itertools.combinations(S, 2)), default=0.0)
    return (1 - t) * np.mean(r[list(S)]) + t * least


def instance(seed):
    """Few candidates, some of them alike, with what is asked of them."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(2, 13)), int(rng.integers(2, 6))
    X, r = rng.standard_normal((n, d)), np.round(rng.random(n), 3) - 0.2 * (seed % 3 == 0)
    if seed % 4 == 0:
        X[rng.integers(n, size=n // 2)] = X[0]
    k, t = int(rng.integers(1, n + 1)), float(rng.choice([0.0, 0.1, 0.3, 0.5, 0.8, 1.0]))
    return X, r, k, t, ("cosine", "euclidean")[seed % 2]


@pytest.mark.parametrize("solver", ["auto", "greedy", "exact", "swap"])
def test_no_bound_is_below_the_best_of_every_set(solver):
    optimal = 0
    for seed in range(30):
        X, r, k, t, metric = instance(seed)
        D = distances(X, metric)
        best = max(value_of(D, r, t, S) for S in itertools.combinations(range(len(X)), k))
        sel = setwise.select(
            X, k, relevance=r, diversity=t, metric=metric, objective="max-min", solver=solver
        )
        value = value_of(D, r, t, sel.indices)
        assert sel.value == pytest.approx(value, abs=1e-9)
        assert sel.value == pytest.approx((1 - t) * sel.relevance + t * sel.diversity, abs=1e-12)
        assert sel.certificate.upper_bound >= best - 1e-9, seed
        assert not sel.certificate.optimal or value >= best - 1e-9, seed
        assert solver != "exact" or sel.certificate.optimal, seed
        optimal += sel.certificate.optimal
    assert optimal >= 15


def picks_of_the_sweep(X, r, k, t, metric):
    """Return the sets that the sweep over thresholds takes, before anything improves them."""
    goal = MaxMin(t, metric=metric)
    request = Request(k=k, objective=goal)
    form = MaxMinForm(hold(pose(request, X, relevance=r)))
    every = [pick_apart(form, level * goal.metric_part) for level in form.levels]
    return [form.held.ids[chosen].tolist() for chosen in every if chosen is not None]


def test_a_threshold_takes_the_most_relevant_that_are_as_far_apart():
    kept, failed = 0, 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        X, r, k = rng.standard_normal((30, 3)), rng.random(30), int(rng.integers(2, 9))
        include = rng.choice(30, size=seed % 3, replace=False).tolist()
        form = MaxMinForm(hold(pose(Request(k=k, objective=MaxMin(0.5), include=include), X, relevance=r)))
        for level in form.levels[::4].tolist():
            taken = form.held.feasible.include.tolist()
            for j in np.argsort(-form.scores).tolist():
                if len(taken) < k and j not in taken and (form.apart[j, taken] >= level).all():
                    taken.append(j)
            apart = form.reach(np.array(taken)) >= level and len(taken) == k
            found = pick_apart(form, level)
            assert (found.tolist() if apart else found) == (taken if apart else None)
            kept, failed = kept + bool(apart), failed + (not apart)
    assert kept > 300
    assert failed > 300


@pytest.mark.parametrize(("metric", "part"), [("euclidean", 0.5), ("cosine", 0.25)])
def test_the_sweep_is_worth_half_the_best(metric, part):
    """GIST Theorem 3.1 against enumeration; 1 - cos is half a square, so a half of it is a quarter."""
    worst = 1.0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        n, k, t = int(rng.integers(4, 10)), int(rng.integers(2, 5)), float(rng.choice([0.3, 0.7, 0.95, 1.0]))
        X, r = rng.standard_normal((n, 2 + seed % 3)), rng.random(n) ** 3
        D = distances(X, metric)
        best = max(itertools.combinations(range(n), k), key=lambda S: value_of(D, r, t, S))
        value = max(value_of(D, r, t, S) for S in picks_of_the_sweep(X, r, k, t, metric))
        apart = min(D[i, j] for i, j in itertools.combinations(best, 2))
        assert value >= (1 - t) * r[list(best)].mean() + t * part * apart - 1e-9
        assert value >= part * value_of(D, r, t, best) - 1e-9
        worst = min(worst, value / value_of(D, r, t, best))
    assert worst < 0.97  # the sweep alone is not the best of all: the test can see a difference


def test_farthest_first_is_half_of_the_largest_least_distance():
    """Gonzalez (1985): at diversity 1 greedy selection takes the farthest each time."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        X, k = rng.standard_normal((9, 2)), int(rng.integers(2, 6))
        D = distances(X, "euclidean")
        best = max(value_of(D, np.zeros(9), 1.0, S) for S in itertools.combinations(range(9), k))
        sel = setwise.select(X, k, diversity=1.0, metric="euclidean", objective="max-min", solver="greedy")
        taken = [0]
        while len(taken) < k:
            taken.append(int(D[:, taken].min(axis=1).argmax()))
        assert sel.indices.tolist() == taken
        assert sel.value >= best / 2 - 1e-12


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_many_candidates_of_which_a_pool_is_held(metric):
    X, r = make.clustered(n=3000, d=6, seed=3, clusters=40)
    sel = setwise.select(X, 6, relevance=r, diversity=0.6, objective="max-min", metric=metric)
    few = np.argsort(-r)[:40].tolist() + sel.indices.tolist()
    part = setwise.select(
        X[few], 6, relevance=r[few], diversity=0.6, objective="max-min", metric=metric, solver="exact"
    )
    assert part.certificate.optimal
    assert sel.value >= 0.97 * part.value
    assert sel.certificate.upper_bound >= part.value - 1e-9
    assert sel.certificate.pool_size < 3000


def test_an_index_is_searched_until_no_other_can_matter():
    X, _ = make.clustered(n=4000, d=16, seed=1, clusters=60)
    X = X.astype(np.float32)
    index = setwise.Index.from_array(X)
    hits = setwise.retrieve(X[7], index, 5, objective="max-min", diversity=0.05)
    assert hits.certificate.pool_sufficient
    assert hits.certificate.pool_size < 4000
    every = setwise.select(X, 5, query=X[7], objective="max-min", diversity=0.05)
    assert hits.value == pytest.approx(every.value, rel=1e-5)
    wide = setwise.retrieve(X[7], index, 5, objective="max-min", diversity=0.9)
    assert (
        wide.certificate.upper_bound
        >= setwise.select(X, 5, query=X[7], objective="max-min", diversity=0.9).value - 1e-5
    )


@pytest.mark.slow
@needs("divsel")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_as_good_as_the_peer_that_has_gist(metric):
    """divsel's GIST on the same value: its set of k is no better on the whole, and never above the bound."""
    ours_of, theirs_of = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        X, r = rng.standard_normal((200, 8)).astype(np.float32), rng.random(200).astype(np.float32)
        t, k = float(rng.choice([0.02, 0.05, 0.1])), int(rng.integers(3, 12))
        theirs = divsel.gist_select(
            X, np.ascontiguousarray((1 - t) / k * r, np.float64), k=k, lam=t, eps=0.05, metric=metric
        )
        D = distances(X.astype(np.float64), metric)
        ours = setwise.select(X, k, relevance=r, diversity=t, objective="max-min", metric=metric)
        if len(theirs) < k:  # GIST may end with fewer; a set of k is asked for here
            continue
        value = value_of(D, r, t, theirs)
        assert ours.certificate.upper_bound >= value - 1e-6
        assert ours.value >= 0.98 * value
        ours_of.append(ours.value)
        theirs_of.append(value)
    assert len(ours_of) > 20
    assert np.mean(ours_of) > np.mean(theirs_of)


def test_no_bound_is_below_the_best_of_all_pairs():
    rng = np.random.default_rng(8)
    X, r = rng.standard_normal((600, 20)).astype(np.float32), rng.random(600)
    D = distances(X.astype(np.float64), "cosine")
    index, pairs = setwise.Index.from_array(X), np.triu_indices(600, 1)
    for t in (0.2, 0.6, 1.0):
        best = ((1 - t) * (r[:, None] + r) / 2 + t * D)[pairs].max()
        found = setwise.select(X, 2, relevance=r, diversity=t, objective="max-min")
        assert found.value - 1e-12 <= best <= found.certificate.upper_bound + 1e-12
        near = 1 - D[0]
        best = ((1 - t) * (near[:, None] + near) / 2 + t * D)[pairs].max()
        for pool in (40, "auto"):
            seen = setwise.retrieve(X[0], index, 2, diversity=t, objective="max-min", pool=pool)
            assert seen.value - 1e-6 <= best <= seen.certificate.upper_bound + 1e-6


def test_least_distances_are_bounded_by_mean_ones():
    """Cliques alone leave 45 % here: thresholds of few dimensions, each of which allows much relevance."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 16))
    found = setwise.select(X, 5, query=X[0], diversity=0.8, objective="max-min")
    assert found.certificate.gap < 0.15
    with_wishes = setwise.select(X, 5, query=X[0], diversity=0.8, objective="max-min", max_similarity=0.5)
    assert with_wishes.certificate.upper_bound <= found.certificate.upper_bound + 1e-9
