"""The default solver: never behind the published ones, and its pool proven to suffice."""

import itertools
import tracemalloc

import numpy as np
import pytest

import setwise
from helpers import MEASURES, best_exchange, distances_to, value_of
from optional import needs
from reference import make
from reference.frank_wolfe import frank_wolfe
from reference.greedy import check, max_sum_greedy

measures = pytest.mark.parametrize(("metric", "sharpness"), MEASURES)


def instance(seed):
    """A random small instance: data, k, trade-off, measure, constraints; None where infeasible."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([30, 100, 300, 1000, 2000], p=[0.3, 0.3, 0.2, 0.15, 0.05]))
    d = int(rng.choice([2, 4, 16, 64]))
    k = int(min(n - 1, rng.choice([2, 3, 5, 10, 20, 40, 60])))
    metric, sharpness = MEASURES[rng.integers(4)]
    X, r = make.clustered(n, d, seed, clusters=int(rng.integers(2, 9)), cone=float(rng.choice([0, 0.5, 2])))
    if rng.random() < 0.3:
        r = rng.random(n)
    options = {}
    if rng.random() < 0.25:
        options["include"] = rng.choice(n, min(k, 2), replace=False).tolist()
    if rng.random() < 0.25:
        labels = rng.integers(0, max(k, 4), n)
        options |= {"groups": labels, "max_per_group": max(2, 1 + k // len(set(labels.tolist())))}
    try:
        check(n, k, **options)
    except ValueError:
        return None
    t = float(rng.choice([0.1, 0.3, 0.5, 0.7, 0.9, 1.0]))
    options |= {"diversity": t, "metric": metric, "sharpness": sharpness}
    return X.astype(rng.choice(["f4", "f8"])), r, k, options


@pytest.mark.parametrize("part", range(6))
def test_never_behind_the_published_solvers(part):
    """Greedy and Frank-Wolfe, 300 random instances of up to 2,000 candidates."""
    for seed in range(part * 50, part * 50 + 50):
        made = instance(seed)
        if made is None:
            continue
        X, r, k, options = made
        best = setwise.select(X, k, relevance=r, certify=False, **options)
        for solver in ("greedy", "frank-wolfe", "top-k"):
            other = setwise.select(X, k, relevance=r, solver=solver, certify=False, **options)
            # Single precision sees an exchange's gain to about this much.
            assert best.value >= other.value - 1e-6 * max(1, abs(other.value)), (seed, solver)


@measures
def test_a_pair_is_the_best_of_all_and_proven_so(metric, sharpness):
    """Exchanges of one for one end at pairs up to 9 % short."""
    X, r = make.clustered(300, 4, seed=5, clusters=20)
    labels = np.arange(300) % 7
    for t, barred in itertools.product((0.3, 0.7, 1.0), (False, True)):
        options = {"relevance": r, "diversity": t, "metric": metric, "sharpness": sharpness}
        groups = {"groups": labels, "max_per_group": 1} if barred else {}
        apart = distances_to(X, np.arange(300), sharpness, metric)
        worth = (1 - t) * (r[:, None] + r) / 2 + t * apart
        worth[labels[:, None] == labels if barred else np.eye(300, dtype=bool)] = -np.inf
        for certify in (False, True):
            sel = setwise.select(X, 2, certify=certify, **options, **groups)
            assert sel.value == pytest.approx(worth.max(), abs=1e-9)
            assert not certify or sel.certificate.optimal
        one = setwise.select(X, 2, include=[9], **options, **groups)
        assert one.value == pytest.approx(worth[9].max(), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_never_behind_the_plain_references(seed):
    X, r = make.clustered(n=250, d=12, seed=seed, clusters=9)
    for t, k in itertools.product([0.1, 0.5, 0.9], (3, 10, 40)):
        value = setwise.select(X, k, relevance=r, diversity=t).value
        assert value >= value_of(X, r, frank_wolfe(X, r, k, t)[0], t) - 1e-9
        assert value >= value_of(X, r, max_sum_greedy(X, r, k, t)[0], t) - 1e-9


@pytest.mark.parametrize("n", [3000, 20_000])
@pytest.mark.parametrize("k", [5, 25, 60])
@measures
def test_never_behind_among_many(many, n, k, metric, sharpness):
    X, r = many[0][:n], many[1][:n]
    for t in (0.1, 0.5) if k != 25 else (0.3, 0.7):
        options = {"relevance": r, "diversity": t, "metric": metric, "sharpness": sharpness, "certify": False}
        best = setwise.select(X, k, **options)
        for solver in ("greedy", "frank-wolfe"):
            other = setwise.select(X, k, solver=solver, **options)
            assert best.value >= other.value - 1e-9, (solver, t)


@measures
@pytest.mark.parametrize("certify", [True, pytest.param("full", marks=pytest.mark.slow)])
def test_a_sufficient_pool_leaves_no_exchange(many, metric, sharpness, certify):
    """`pool_sufficient` is a proof: float64 sums over all 20,000 find no single exchange that improves."""
    X, r = many
    proven = 0
    for t, k in [(0.1, 10), (0.3, 25), (0.6, 10), (0.3, 100)]:
        sel = setwise.select(
            X, k, relevance=r, diversity=t, metric=metric, sharpness=sharpness, certify=certify
        )
        certificate = sel.certificate
        assert certificate.pool_size <= len(r)
        if certificate.pool_sufficient:
            proven += 1
            gain = best_exchange(X, r, sel.indices, t, sharpness, metric)
            assert gain <= 1e-6 * max(1, abs(sel.value)), (t, k)
        assert certificate.upper_bound >= sel.value - 1e-12
    assert proven


@measures
def test_a_sufficient_pool_of_few(metric, sharpness):
    for n, seed in ((40, 1), (700, 2), (3000, 3)):
        X, r = make.clustered(n=n, d=8, seed=seed, clusters=6)
        for t, k in ((0.2, 5), (0.8, 12)):
            sel = setwise.select(X, k, relevance=r, diversity=t, metric=metric, sharpness=sharpness)
            assert sel.certificate.pool_sufficient
            assert best_exchange(X, r, sel.indices, t, sharpness, metric) <= 1e-6


@needs("faiss")
@pytest.mark.parametrize("solver", ["greedy", "top-k", "random", "clustering"])
@pytest.mark.parametrize("n", [300, 20_000])
def test_a_pool_is_called_sufficient_of_the_set_it_is_said_of(many, solver, n):
    """A set that one exchange with a candidate improves is not proven to need none."""
    X, r = many[0][:n], many[1][:n]
    sel = setwise.select(X, 10, relevance=r, diversity=0.5, solver=solver)
    gain = best_exchange(X, r, sel.indices, 0.5)
    assert gain > 1e-6
    assert not sel.certificate.pool_sufficient or sel.certificate.pool_size == n


@measures
def test_proving_never_worsens_the_set(many, metric, sharpness):
    X, r = many[0][:6000], many[1][:6000]
    for t, k in ((0.2, 8), (0.6, 20)):
        options = {"relevance": r, "diversity": t, "metric": metric, "sharpness": sharpness}
        plain = setwise.select(X, k, certify=False, **options)
        proven = setwise.select(X, k, certify=True, **options)
        assert proven.value >= plain.value - 1e-3 * abs(plain.value)
        assert plain.certificate is None
        assert proven.certificate.upper_bound >= max(plain.value, proven.value) - 1e-12


def test_where_the_hull_holds_the_best_total_nothing_is_solved_exactly():
    """Rows in all directions: the bound is the one at sight, and passes at the set look for exchanges."""
    k, t = 6, 0.8
    rng = np.random.default_rng(1)
    X, query = rng.standard_normal((20_000, 8)).astype(np.float32), rng.standard_normal(8)
    sel = setwise.select(X, k, query=query, diversity=t)
    at_sight = t * k / (k - 1) + (1 - t) ** 2 * (k - 1) / (4 * t * k)
    assert sel.certificate.upper_bound == pytest.approx(at_sight, rel=1e-12)
    assert sel.certificate.gap < 0.005
    assert (sel.stats["relaxations"], sel.stats["passes"]) == (2, 3)
    assert sel.value >= setwise.select(X, k, query=query, diversity=t, certify=False).value
    wider = setwise.select(X, k, query=query, diversity=0.1)
    assert wider.certificate.upper_bound < 0.9 * (0.1 * k / (k - 1) + 0.81 * (k - 1) / (0.4 * k))


def test_more_than_a_thousand():
    """k = 1,200: the set, its certificate, in seconds."""
    X, r = make.clustered(n=3000, d=16, seed=0, clusters=20)
    for options in ({}, {"sharpness": 8}, {"metric": "euclidean"}):
        sel = setwise.select(X.astype(np.float32), 1200, relevance=r, diversity=0.4, **options)
        assert len(set(sel.indices.tolist())) == 1200
        other = setwise.select(
            X.astype(np.float32), 1200, relevance=r, diversity=0.4, solver="greedy", certify=False, **options
        )
        assert sel.value >= other.value - 1e-9
        assert sel.certificate.gap < 0.01


def test_wide_relevance():
    """A span of 1e6 leaves distances their say among candidates of equal relevance."""
    X, r = make.clustered(n=400, d=12, seed=0, clusters=9)
    r = np.round(r * 4) * 1e6
    with pytest.warns(UserWarning, match="relevance spans"):
        sel = setwise.select(X, 10, relevance=r, diversity=0.5)
    top = np.sort(r)[::-1][:10]
    assert np.sort(r[sel.indices])[::-1] == pytest.approx(top)
    with pytest.warns(UserWarning, match="relevance spans"):
        other = setwise.select(X, 10, relevance=r, diversity=0.5, solver="greedy")
    assert sel.value >= other.value - 1e-9 * abs(other.value)
    assert sel.certificate.upper_bound >= sel.value


def degenerate(seed):
    """Duplicates everywhere, exact ties, low rank, one dimension, no relevance."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([100, 400, 1500, 3000]))
    kind = rng.choice(["duplicates", "ties", "low-rank", "integers", "line", "ball"])
    if kind == "duplicates":
        X, r = make.clustered(int(rng.choice([10, 50, 300])), 12, seed)
        rows = rng.integers(len(r), size=n)
        X, r = X[rows], r[rows]
    elif kind in ("line", "ball"):
        X, r = rng.standard_normal((n, 1 if kind == "line" else 3)), rng.random(n)
    else:
        X, r = make.ALL[kind](n=n, seed=seed)
    k = int(min(rng.choice([2, 5, 12, 25, 40, 80]), n // 2))
    t = float(rng.choice([0.1, 0.3, 0.5, 0.9, 1.0]))
    return X.astype(rng.choice(["f4", "f8"])), r / 5 * rng.integers(0, 4), k, t


@pytest.mark.filterwarnings("ignore:relevance spans")
@measures
@pytest.mark.parametrize("part", range(2))
def test_never_behind_on_degenerate_data(part, metric, sharpness):
    for seed in range(part * 12, part * 12 + 6):
        X, r, k, t = degenerate(seed)
        options = {"relevance": r, "diversity": t, "metric": metric, "sharpness": sharpness, "certify": False}
        best = setwise.select(X, k, **options)
        for solver in ("greedy", "frank-wolfe", "top-k"):
            other = setwise.select(X, k, solver=solver, **options)
            # Single precision sees an exchange's gain to about this much.
            assert best.value >= other.value - 1e-6 * max(1, abs(other.value)), (seed, solver)


def test_never_behind_with_ties_and_k_above_greedys():
    X, r = make.with_ties(400, 6, 247)
    best = setwise.select(X, 40, relevance=r, diversity=0.9)
    assert best.value >= setwise.select(X, 40, relevance=r, diversity=0.9, solver="greedy").value - 1e-9


@pytest.mark.parametrize("sharpness", [1, 2, 8])
@pytest.mark.parametrize("t", [0.3, 1.0])
def test_never_behind_among_many_duplicates(sharpness, t):
    """20,000 candidates, 50 of them distinct: a pool by gradient alone holds few of those."""
    X, r = make.clustered(50, 16, 2)
    rows = np.random.default_rng(0).integers(50, size=20_000)
    X, r = X[rows].astype(np.float32), r[rows]
    for certify in (False, True) if sharpness == 8 else (False,):
        options = {"relevance": r, "diversity": t, "sharpness": sharpness}
        best = setwise.select(X, 20, certify=certify, **options)
        for solver in ("greedy", "frank-wolfe"):
            other = setwise.select(X, 20, solver=solver, certify=False, **options)
            assert best.value >= other.value - 1e-9, solver


@pytest.mark.slow
def test_memory_is_never_that_of_all_pairs():
    """k = 1,000 of 4,000: the relaxation works on about 1,500 candidates at a time."""
    X, r = make.clustered(n=4000, d=16, seed=1, clusters=20)
    tracemalloc.start()
    setwise.select(X.astype(np.float32), 1000, relevance=r, diversity=0.4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * 4000 * 4000 * 8


@pytest.mark.parametrize(
    ("seed", "n", "d", "clusters", "cone", "spread", "k", "t", "sharpness"),
    [
        (51, 15_000, 64, 5, 0.5, 0.2, 100, 0.9, 8),
        (55, 25_000, 64, 100, 0.0, 0.2, 40, 0.7, 2),
        (45, 25_000, 24, 30, 1.0, 0.8, 40, 0.7, 2),
        (24, 15_000, 8, 30, 2.0, 0.5, 60, 0.5, 2),
    ],
)
@pytest.mark.parametrize("certify", [False, True])
def test_never_behind_with_sharp_distances_and_large_sets(
    seed, n, d, clusters, cone, spread, k, t, sharpness, certify
):
    """Where relevance says little of what a good set holds."""
    X, r = make.clustered(n, d, seed, clusters=clusters, cone=cone, spread=spread)
    options = {"relevance": r, "diversity": t, "sharpness": sharpness}
    best = setwise.select(X.astype(np.float32), k, certify=certify, **options)
    for solver in ("greedy", "frank-wolfe"):
        other = setwise.select(X.astype(np.float32), k, solver=solver, certify=False, **options)
        assert best.value >= other.value - 1e-9, solver
