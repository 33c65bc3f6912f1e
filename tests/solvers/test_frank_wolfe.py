"""Frank-Wolfe against the paper's algorithm written plainly, and what it promises."""

import itertools

import numpy as np
import pytest

import setwise
from helpers import MEASURES, assert_feasible, problem_of, value_of
from reference import make
from reference.frank_wolfe import frank_wolfe
from setwise.solver_options import FrankWolfe
from setwise.solvers.frank_wolfe import ascend
from setwise.solvers.pools import Pool, Whole

measures = pytest.mark.parametrize(("metric", "sharpness"), MEASURES)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_is_ccbqp_algorithm_1(seed, dtype):
    """The same set as dense matrices and a gap of 1e-9 give, on data without ties."""
    X, r = make.clustered(n=300, d=16, seed=seed, clusters=12)
    for t, k in itertools.product([0.1, 0.3, 0.5, 0.7, 0.9, 1.0], (2, 5, 20, 60)):
        S, iterations, _ = frank_wolfe(X, r, k, t)
        assert iterations < 200
        sel = setwise.select(
            X.astype(dtype), k, relevance=r, diversity=t, solver="frank-wolfe", certify=False
        )
        assert set(sel.indices.tolist()) == set(S.tolist()), (t, k)
        assert sel.stats["frank_wolfe_steps"] <= iterations + 2


@pytest.mark.parametrize("penalty", [2.5, 4.0])
def test_its_penalty_and_its_steps_are_the_papers(penalty):
    X, r = make.clustered(n=300, d=16, seed=2, clusters=12)
    differ = 0
    for t, k in itertools.product([0.3, 0.7], (5, 20)):
        plain, *_ = frank_wolfe(X, r, k, t)
        for steps in (1, 2, 200):
            S, *_ = frank_wolfe(X, r, k, t, penalty=penalty, max_iter=steps)
            options = {"penalty": penalty, "steps": steps}
            call = {"relevance": r, "diversity": t, "solver": "frank-wolfe", "certify": False}
            sel = setwise.select(X, k, **call, solver_options=options)
            assert set(sel.indices.tolist()) == set(S.tolist()), (t, k, steps)
            assert sel.stats["frank_wolfe_steps"] <= steps
            differ += set(S) != set(plain)
    assert differ


def test_it_is_ccbqp_algorithm_1_without_holding_the_rows():
    X, r = make.clustered(n=1500, d=8, seed=1, clusters=30)
    S, *_ = frank_wolfe(X, r, 25, 0.4)
    found = ascend(Whole(problem_of(X.astype(np.float32), r, 25, 0.4)))
    assert set(found.tolist()) == set(S.tolist())


@measures
@pytest.mark.parametrize("seed", range(4))
def test_it_never_ends_below_the_set_it_starts_from(seed, metric, sharpness):
    """Each step's line search is exact, so f never falls, and at a set f is its value."""
    X, r = make.clustered(n=60, d=8, seed=seed)
    rng = np.random.default_rng(seed)
    for t, k in itertools.product([0.2, 0.6, 1.0], (2, 6, 15)):
        pool = Pool(problem_of(X, r, k, t, sharpness, metric))
        for start in (np.sort(rng.permutation(60)[:k]), np.argsort(-r)[:k]):
            found = pool.ids[ascend(pool, start=pool.locate(start))]
            before = value_of(X, r, start, t, sharpness, metric)
            assert value_of(X, r, found, t, sharpness, metric) >= before - 1e-9


@measures
def test_f_rises_at_every_step(metric, sharpness, monkeypatch):
    """f(x) follows from the gradients that the vertices are chosen by: f = (∇f·x + linear·x) / 2."""
    from setwise.solvers import frank_wolfe as module

    X, r = make.clustered(n=80, d=8, seed=7)
    k, t = 8, 0.5
    pool = Pool(problem_of(X, r, k, t, sharpness, metric))
    start = np.arange(10, 10 + k)
    ridge = module._largest_distance(pool)
    W = pool.distances(np.arange(80)).astype(np.float64)
    assert ridge >= W.max()
    assert ridge <= 4 * W.max()
    gradients = []
    picked = pool.best

    def note(scores):
        gradients.append(np.array(scores, np.float64))
        return picked(scores)

    monkeypatch.setattr(pool, "best", note)
    ascend(pool, start=start)
    del gradients[-1]  # that is the point itself, whose set is returned
    assert len(gradients) >= 3
    operator = 2 * t * (W + ridge * np.eye(80))
    points = [np.linalg.solve(operator, gradient - pool.linear) for gradient in gradients]
    for x in points:
        assert np.isclose(x.sum(), k, atol=1e-6)
        assert x.min() > -1e-6
        assert x.max() < 1 + 1e-6
    values = [float(pool.linear @ x + x @ operator @ x / 2) for x in points]
    assert (np.diff(values) >= -1e-9).all()
    assert values[-1] > values[0]


@measures
def test_it_stops_where_no_vertex_is_better(metric, sharpness):
    X, r = make.clustered(n=60, d=8, seed=2)
    for t, k in itertools.product([0.3, 0.8], (3, 10)):
        problem = problem_of(X, r, k, t, sharpness, metric)
        found = ascend(Pool(problem))
        assert problem.stats["frank_wolfe_steps"] < 200
        again = ascend(Pool(problem), start=found)
        assert set(again.tolist()) == set(found.tolist())


@measures
def test_a_pool_of_all_is_all(metric, sharpness):
    """Scanning the data and holding it are the same algorithm."""
    X, r = make.clustered(n=200, d=8, seed=3)
    for options in ({}, {"include": [7, 100]}, {"groups": np.arange(200) % 9, "max_per_group": 2}):
        problem = problem_of(X, r, 9, 0.4, sharpness, metric, **options)
        pool = Pool(problem)
        assert np.array_equal(np.sort(pool.ids[ascend(pool)]), np.sort(ascend(Whole(problem))))


@measures
@pytest.mark.parametrize("seed", range(3))
def test_constraints_are_kept(seed, metric, sharpness):
    X, r = make.clustered(n=50, d=6, seed=seed)
    labels = make.group_labels(50, 6, seed)
    include = [int(np.argmin(r)), 3 if np.argmin(r) != 3 else 4]
    for t in (0.1, 0.5, 1.0):
        for options in (
            {"include": include},
            {"groups": labels, "max_per_group": 2},
            {"include": include, "groups": labels, "max_per_group": 2},
        ):
            for k in (2, 5, 12):
                sel = setwise.select(
                    X,
                    k,
                    relevance=r,
                    diversity=t,
                    sharpness=sharpness,
                    metric=metric,
                    solver="frank-wolfe",
                    **options,
                )
                assert_feasible(sel.indices, 50, k, **options)


@measures
def test_ends_of_the_range(metric, sharpness):
    X, r = make.clustered(n=12, seed=1)
    everything = setwise.select(X, 12, relevance=r, solver="frank-wolfe", metric=metric, sharpness=sharpness)
    assert set(everything.indices.tolist()) == set(range(12))
    one = setwise.select(X, 1, relevance=r, diversity=0.9, solver="frank-wolfe", metric=metric)
    assert one.indices.tolist() == [int(np.argmax(r))]
    top = setwise.select(X, 5, relevance=r, diversity=0.0, solver="frank-wolfe", metric=metric)
    assert np.array_equal(top.indices, np.argsort(-r)[:5])


def test_steps_are_told_and_limited():
    X, r = make.clustered(n=300, d=16, seed=0, clusters=12)
    told = []
    setwise.select(
        X, 20, relevance=r, diversity=0.5, solver="frank-wolfe", certify=False, progress=told.append
    )
    assert told
    assert all(text.startswith("Frank-Wolfe step") for text in told)
    gaps = [float(text.rpartition(" ")[2]) for text in told]
    assert gaps[-1] < gaps[0]
    problem = problem_of(X, r, 20, 0.5)
    assert len(set(ascend(Whole(problem), asked=FrankWolfe(steps=1)).tolist())) == 20
    assert problem.stats["frank_wolfe_steps"] == 1
