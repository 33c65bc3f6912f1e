"""Greedy selection: the picks of the plain full scan, index by index, lazily and not."""

import warnings

import numpy as np
import pytest

import setwise
from helpers import MEASURES, assert_greedy, full_scan
from reference import make
from reference.greedy import check, dpp, max_sum_greedy, mmr

REFERENCE = {"max-sum": max_sum_greedy, "mmr": mmr, "log-det": dpp}
CASES = [("max-sum", metric, sharpness) for metric, sharpness in MEASURES] + [
    (name, metric, 1) for name in ("mmr", "log-det") for metric in ("cosine", "euclidean")
]
cases = pytest.mark.parametrize(("name", "metric", "sharpness"), CASES)


def reference(name, X, r, k, t, sharpness, metric, **options):
    """The plain full scan by its own keywords."""
    power = {"sharpness": sharpness} if name == "max-sum" else {}
    return REFERENCE[name](X, r, k, t, metric=metric, **power, **options)


def greedy(name, X, r, k, t, sharpness, metric, **options):
    """The solver under test; what it warns of is another test's affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return setwise.select(
            X,
            k,
            relevance=r,
            objective=name,
            diversity=t,
            sharpness=sharpness,
            metric=metric,
            solver="greedy",
            certify=False,
            **options,
        )


def constraints_of(n, k, seed, include, groups):
    """Must-have rows and labels of a kind, feasible."""
    options = {}
    rng = np.random.default_rng(seed)
    labels = make.group_labels(n, 5, seed)
    if include:
        options["include"] = rng.permutation(n)[: min(k, 2)].tolist()
        if groups and len(options["include"]) == 2:
            first = options["include"][0]
            options["include"][1] = int(np.flatnonzero(labels != labels[first])[0])
    if groups:
        options |= {"groups": labels, "max_per_group": max(1, -(-k // 5))}
    check(n, k, **options)
    return options


@cases
@pytest.mark.parametrize("kind", list(make.ALL))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_small_index_by_index(name, metric, sharpness, kind, dtype):
    """All data, duplicates and exact ties too; without and with constraints.

    Where sums are equal but for rounding (integer coordinates), any of the equal picks will do.
    """
    for seed in range(2) if dtype == "float32" else (2,):
        X, r = make.ALL[kind](n=40, seed=seed)
        X = X.astype(dtype)
        for t in (0.0, 0.3, 0.9, 1.0):
            for include, groups in ((False, False), (True, False), (False, True), (True, True)):
                options = constraints_of(40, 7, seed, include, groups)
                S, gains = reference(name, X, r, 7, t, sharpness, metric, **options)
                sel = greedy(name, X, r, 7, t, sharpness, metric, **options)
                assert_greedy(sel.indices, name, X, r, 7, t, sharpness, metric, **options)
                if kind != "integers" and (kind, name, metric) != ("ties", "log-det", "euclidean"):
                    assert np.array_equal(sel.indices, S), (seed, t, options)
                    fine = np.isfinite(gains)
                    assert np.allclose(sel.gains[fine], gains[fine], rtol=1e-8, atol=1e-6)


@cases
def test_every_size(name, metric, sharpness):
    X, r = make.clustered(n=12, d=12, seed=3)
    for k in range(1, 13):
        S, _ = reference(name, X, r, k, 0.4, sharpness, metric)
        assert np.array_equal(greedy(name, X, r, k, 0.4, sharpness, metric).indices, S)


@cases
@pytest.mark.parametrize("t", [0.05, 0.3, 0.7, 1.0])
def test_lazily_among_twenty_thousand(many, name, metric, sharpness, t):
    """float32 rows against a float64 scan of all of them at every step."""
    X, r = many
    k = 20
    S, gains = full_scan(name, X, r, k, t, sharpness, metric)
    sel = greedy(name, X, r, k, t, sharpness, metric)
    assert np.array_equal(sel.indices, S)
    assert np.allclose(sel.gains, gains, rtol=1e-9, atol=1e-7)


@cases
def test_lazily_with_constraints(many, name, metric, sharpness):
    X, r = many
    order = np.argsort(-r)
    labels = np.zeros(len(r), int)  # the best 8,000 are of one group
    labels[order[8000:]] = 1 + np.arange(len(r) - 8000) % 37
    for options in (
        {"include": [19_999, 4, int(order[0])]},
        {"groups": labels, "max_per_group": 2},
        {"include": [int(order[9000])], "groups": labels, "max_per_group": 1},
    ):
        S, _ = full_scan(name, X, r, 12, 0.3, sharpness, metric, **options)
        assert np.array_equal(greedy(name, X, r, 12, 0.3, sharpness, metric, **options).indices, S)


@cases
def test_lazily_with_duplicates(many, name, metric, sharpness):
    """Each row three times, far apart: the lowest of equal rows is taken."""
    X, r = many[0][:8000], many[1][:8000]
    X, r = np.concatenate([X, X[::-1], X]), np.concatenate([r, r[::-1], r])
    S, _ = full_scan(name, X, r, 15, 0.4, sharpness, metric)
    assert np.array_equal(greedy(name, X, r, 15, 0.4, sharpness, metric).indices, S)


@cases
@pytest.mark.parametrize("kind", ["negative", "no relevance", "wide", "float64", "opposed", "line"])
def test_lazily_on_awkward_data(many, name, metric, sharpness, kind):
    X, r = many[0][:9000], many[1][:9000]
    rng = np.random.default_rng(0)
    t, k = 0.3, 12
    if kind == "negative":
        r = r - 5.0
    elif kind == "no relevance":
        r = np.zeros(9000)
    elif kind == "wide":
        r, t = r * 1e6, 0.999
    elif kind == "float64":
        X = X.astype(np.float64)
    elif kind == "opposed":
        X = rng.standard_normal((9000, 3)).astype(np.float32)
        k = 3
    elif kind == "line":
        X = rng.standard_normal((9000, 1)).astype(np.float32)
        k = 1 if name == "log-det" else 6
    S, _ = full_scan(name, X, r, k, t, sharpness, metric)
    assert np.array_equal(greedy(name, X, r, k, t, sharpness, metric).indices, S)


@cases
@pytest.mark.parametrize("t", [0.3, 0.5, 0.8])
def test_lazily_from_one_crowd_to_another(name, metric, sharpness, t):
    """Each pick makes members of another crowd the better ones, most of which the pool does not hold."""
    rng = np.random.default_rng(0)
    centers = np.linalg.qr(rng.standard_normal((24, 3)))[0].T
    for sizes in ((2500, 2500, 2500), (3500, 1000, 1000)):
        crowd = np.repeat(np.arange(3), sizes)
        X = (centers[crowd] + 0.05 * rng.standard_normal((len(crowd), 24))).astype(np.float32)
        r = np.array([0.5, 0.45, 0.4])[crowd] + 0.002 * rng.random(len(crowd))
        S, _ = full_scan(name, X, r, 12, t, sharpness, metric)
        assert np.array_equal(greedy(name, X, r, 12, t, sharpness, metric).indices, S)


@cases
def test_near_ties_in_float32_are_settled_in_float64(name, metric, sharpness):
    """Rows that differ by less than float32 scores can tell."""
    rng = np.random.default_rng(0)
    for n, d in ((300, 16), (4500, 16), (300, 768), (4500, 768)):
        base = rng.standard_normal((n // 20, d))
        X = (np.repeat(base, 20, axis=0) + 2e-7 * rng.standard_normal((n, d))).astype(np.float32)
        r = np.repeat(rng.random(n // 20), 20)
        sel = greedy(name, X, r, 10, 0.4, sharpness, metric)
        assert_greedy(sel.indices, name, X, r, 10, 0.4, sharpness, metric)


@pytest.mark.parametrize("name", list(REFERENCE))
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_relevance_to_a_query_in_float32_is_settled_too(many, name, metric):
    X, _ = many
    query = X[123].astype(np.float64)
    wide = X.astype(np.float64)
    if metric == "cosine":
        r = wide @ query / np.linalg.norm(wide, axis=1) / np.linalg.norm(query)
    else:
        r = -np.linalg.norm(wide - query, axis=1)
    for t in (0.0, 0.3):
        S, _ = full_scan(name, X, r, 15, t, 1, metric)
        sel = setwise.select(X, 15, query=query, objective=name, metric=metric, diversity=t, solver="greedy")
        assert np.array_equal(sel.indices, S)
        assert sel.relevance == pytest.approx(r[S].sum() if name == "log-det" else r[S].mean(), rel=1e-12)


@pytest.mark.parametrize("name", list(REFERENCE))
@pytest.mark.parametrize("solver", ["auto", "greedy", "top-k"])
@pytest.mark.parametrize("must", [[], [3000]])
def test_a_query_amid_near_duplicates(name, solver, must):
    """Cosines to the query that float32 cannot tell apart, and no diversity to decide."""
    rng = np.random.default_rng(0)
    query = rng.standard_normal(32)
    X = (query + 1e-3 * rng.standard_normal((6000, 32))).astype(np.float32)
    wide = X.astype(np.float64)
    r = wide @ query / np.linalg.norm(wide, axis=1) / np.linalg.norm(query)
    order = np.argsort(-r, kind="stable")
    include = order[must].tolist()
    sel = setwise.select(X, 5, query=query, objective=name, diversity=0.0, solver=solver, include=include)
    assert np.array_equal(sel.indices, [*include, *order[: 5 - len(must)]])


# --- the rank of log-det ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [40, 9000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_det_stops_at_the_rank_and_says_so(n, dtype):
    X, r = make.low_rank(n=n, d=16, rank=5, seed=1)
    X = X.astype(dtype)
    with pytest.warns(
        UserWarning, match="only 5 of the 9 asked for are selected, the kernel's rank.*ask for fewer"
    ):
        sel = setwise.select(X, 9, relevance=r, objective="log-det", diversity=0.5)
    assert np.array_equal(sel.indices, full_scan("log-det", X, r, 9, 0.5)[0])
    assert len(sel) == len(sel.gains) == 5
    assert np.isfinite(sel.value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(setwise.select(X, 5, relevance=r, objective="log-det", diversity=0.5)) == 5
        assert len(setwise.select(X, 9, relevance=r, objective="log-det", diversity=0.0)) == 9


def test_the_warning_of_the_rank_points_at_the_caller():
    with pytest.warns(UserWarning, match="kernel's rank") as caught:
        setwise.select(np.ones((5, 2)), 3, objective="log-det")
    assert [warning.filename for warning in caught] == [__file__]


def test_log_det_keeps_to_the_groups_near_the_rank():
    """Where what is left is nearly noise, a full group stays full."""
    for seed in range(120):
        rng = np.random.default_rng(seed)
        spread = rng.standard_normal((20, 8))
        flat = np.zeros((20, 8))
        flat[:, :2] = rng.standard_normal((20, 2))
        flat /= np.linalg.norm(flat, axis=1)[:, None]
        flat[:, 2:] += rng.choice([3e-4, 1e-3, 2e-3]) * rng.standard_normal((20, 6))
        X = np.concatenate([spread, flat]).astype(np.float32)
        labels = np.concatenate([np.zeros(20, int), 1 + np.arange(20)])
        r = rng.random(40)
        options = {"groups": labels, "max_per_group": 1}
        sel = greedy("log-det", X, r, 4, 0.5, 1, "cosine", **options)
        assert np.bincount(labels[sel.indices]).max() == 1, seed
        assert np.array_equal(sel.indices, dpp(X, r, 4, 0.5, **options)[0])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_log_det_with_dependent_must_have_rows(metric):
    """They come in whatever they add; what follows is chosen as if the duplicate were not there."""
    X, r = make.clustered(n=30, d=8, seed=2)
    X[7] = X[3]
    for t in (0.2, 0.8):
        S, _ = dpp(X, r, 6, t, metric, include=[3, 7])
        assert np.array_equal(greedy("log-det", X, r, 6, t, 1, metric, include=[3, 7]).indices, S)


# --- gains --------------------------------------------------------------------------------------------------


@cases
def test_gains_are_the_objectives_own(name, metric, sharpness):
    X, r = make.clustered(n=200, d=12, seed=5)
    options = {"sharpness": sharpness} if name == "max-sum" else {}
    objective = setwise.objectives.make(name, diversity=0.4, metric=metric, **options)
    objective = objective.fitted(setwise.vectors.Vectors(X, metric))
    sel = greedy(name, X, r, 8, 0.4, sharpness, metric)
    for step, row in enumerate(sel.indices):
        scores = objective.gains(X, r, X[sel.indices[:step]])
        assert sel.gains[step] == pytest.approx(scores[row], abs=1e-9)
        scores[sel.indices[:step]] = -np.inf
        assert scores.max() <= sel.gains[step] + 1e-9
