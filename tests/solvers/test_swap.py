"""Exchanges: no single one is left that improves the set, which plain float64 sums confirm."""

import itertools

import numpy as np
import pytest

import setwise
from helpers import MEASURES, assert_feasible, best_exchange, problem_of, value_of
from reference import make
from setwise.solvers import swap
from setwise.solvers.pools import Pool
from setwise.solvers.swap import polish

measures = pytest.mark.parametrize(("metric", "sharpness"), MEASURES)


def tolerance(X, r, S, t, sharpness, metric):
    """What an exchange must gain to count: 1e-7 of the gradients at the members, as a value."""
    k = len(S)
    scale = (1 - t) * np.abs(np.asarray(r)[S]).sum() / k
    spread = 2 * t * abs(value_of(X, np.zeros(len(r)), S, 1.0, sharpness, metric))
    return 3e-7 * (scale + spread) + 1e-12


@measures
@pytest.mark.parametrize("kind", list(make.ALL))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_polished_sets_are_local_maxima(kind, metric, sharpness, dtype):
    X, r = make.ALL[kind](n=40, seed=1)
    X = X.astype(dtype)
    rng = np.random.default_rng(0)
    for t, k in itertools.product([0.1, 0.5, 1.0], (2, 7, 20, 39)):
        pool = Pool(problem_of(X, r, k, t, sharpness, metric))
        start = rng.permutation(40)[:k]
        kept = start.copy()
        found = polish(pool, start)
        assert np.array_equal(start, kept)
        start, found = pool.ids[start], pool.ids[found]
        assert len(set(found.tolist())) == k
        before = value_of(X, r, start, t, sharpness, metric)
        assert value_of(X, r, found, t, sharpness, metric) >= before - 1e-7 * max(1, abs(before))
        allowed = tolerance(X, r, found, t, sharpness, metric) + (1e-6 if dtype == "float32" else 0)
        assert best_exchange(X, r, found, t, sharpness, metric) <= allowed


@measures
@pytest.mark.parametrize("seed", range(3))
def test_with_must_have_rows_and_groups(metric, sharpness, seed):
    X, r = make.clustered(n=50, d=6, seed=seed)
    labels = make.group_labels(50, 6, seed)
    include = [int(np.argmin(r)), int(np.flatnonzero(labels != labels[np.argmin(r)])[0])]
    for t, k in itertools.product([0.2, 0.8], (4, 11)):
        for options in (
            {"include": include},
            {"groups": labels, "max_per_group": 2},
            {"include": include, "groups": labels, "max_per_group": 2},
        ):
            problem = problem_of(X, r, k, t, sharpness, metric, **options)
            pool = Pool(problem)
            start = pool.locate(problem.constraints.best(np.random.default_rng(seed).random(50)))
            kept = pool.locate(np.array(options.get("include", []), np.int64))
            found = pool.ids[polish(pool, start, kept=kept)]
            assert problem.constraints.feasible(found)
            allowed = tolerance(X, r, found, t, sharpness, metric)
            assert best_exchange(X, r, found, t, sharpness, metric, **options) <= allowed


def test_nothing_to_exchange():
    X, r = make.clustered(n=9, seed=0)
    everything = np.arange(9)[::-1]
    assert np.array_equal(polish(Pool(problem_of(X, r, 9, 0.5)), everything), everything)
    pool = Pool(problem_of(X, r, 3, 0.5, include=[4, 2, 0]))
    assert np.array_equal(polish(pool, np.array([4, 2, 0]), kept=np.array([4, 2, 0])), [4, 2, 0])


def test_at_most_so_many():
    X, r = make.clustered(n=60, d=8, seed=0)
    problem = problem_of(X, r, 10, 0.5)
    worst = np.argsort(r)[:10]
    pool = Pool(problem)
    assert np.array_equal(pool.ids[polish(pool, pool.locate(worst), most=0)], worst)
    once = pool.ids[polish(pool, pool.locate(worst), most=1)]
    assert len(np.setdiff1d(once, worst)) == 1
    gain = value_of(X, r, once, 0.5) - value_of(X, r, worst, 0.5)
    assert gain == pytest.approx(best_exchange(X, r, worst, 0.5), rel=1e-9)


@measures
@pytest.mark.parametrize("n", [14, 300])
def test_the_swap_solver_ends_at_a_local_maximum(n, metric, sharpness):
    X, r = make.clustered(n=n, d=8, seed=n, clusters=6)
    for t, k in itertools.product([0.1, 0.5, 0.9], (2, 5, 12)):
        options = {"relevance": r, "diversity": t, "sharpness": sharpness, "metric": metric, "certify": False}
        sel = setwise.select(X, k, solver="swap", **options)
        S = sel.indices
        assert best_exchange(X, r, S, t, sharpness, metric) <= tolerance(X, r, S, t, sharpness, metric)
        assert sel.value >= setwise.select(X, k, solver="greedy", **options).value - 1e-12


@measures
def test_the_swap_solver_among_twenty_thousand(many, metric, sharpness):
    X, r = many
    sel = setwise.select(
        X, 15, relevance=r, diversity=0.4, sharpness=sharpness, metric=metric, solver="swap", certify=False
    )
    allowed = tolerance(X, r, sel.indices, 0.4, sharpness, metric) + 1e-6
    assert best_exchange(X, r, sel.indices, 0.4, sharpness, metric) <= allowed


@measures
@pytest.mark.parametrize("solver", ["swap", "auto"])
def test_among_twenty_thousand_with_constraints(many, metric, sharpness, solver):
    """The most relevant 8,000 share a group: no pool of the most relevant alone is feasible."""
    X, r = many
    labels = np.zeros(len(r), int)
    order = np.argsort(-r)
    labels[order[8000:]] = 1 + np.arange(len(r) - 8000) % 37
    judged = 0
    for options, trades in (
        ({"include": [int(order[15_000]), 3]}, (0.1,)),
        ({"groups": labels, "max_per_group": 1}, (0.1, 0.5)),
        ({"include": [int(order[15_000]), 3], "groups": labels, "max_per_group": 2}, (0.5,)),
    ):
        for t in trades:
            sel = setwise.select(
                X,
                12,
                relevance=r,
                diversity=t,
                sharpness=sharpness,
                metric=metric,
                solver=solver,
                certify=solver == "auto",
                **options,
            )
            assert_feasible(sel.indices, len(r), 12, **options)
            if solver == "swap" or sel.certificate.pool_sufficient:
                judged += 1
                S = sel.indices
                allowed = tolerance(X, r, S, t, sharpness, metric) + 1e-6
                assert best_exchange(X, r, S, t, sharpness, metric, **options) <= allowed
    assert judged > 1


@measures
def test_the_best_exchange_is_found_whatever_is_tried_first(metric, sharpness, monkeypatch):
    """Those of largest gradient are tried before others, which may gain more as they lie further away."""
    for seed, limits in itertools.product(range(4), ({}, {"groups": np.arange(300) % 7, "max_per_group": 2})):
        X, r = make.clustered(n=300, d=5, seed=seed)
        pool = Pool(problem_of(X, r, 9, (0.2, 0.8)[seed % 2], sharpness, metric, **limits))
        start = pool.best(np.random.default_rng(seed).random(300))
        found = []
        for front in (1, 5, 10_000):
            monkeypatch.setattr(swap, "FRONT", front)
            found.append(polish(pool, start).tolist())
        assert found[0] == found[1] == found[2]
