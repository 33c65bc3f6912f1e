"""Branch and bound finds the best set there is, says so, and says when it gave up."""

import itertools

import numpy as np
import pytest

import setwise
from helpers import MEASURES, assert_feasible, constraints_of, value_of
from reference import make
from reference.brute import best_subset, best_value_milp
from reference.greedy import check
from reference.objectives import distance_matrix
from setwise.solvers import exact, max_sum

measures = pytest.mark.parametrize(("metric", "sharpness"), MEASURES)


@measures
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [*((kind, "float64") for kind in make.ALL), ("clustered", "float32"), ("ties", "float32")],
)
def test_it_is_the_best_of_every_set(kind, metric, sharpness, dtype):
    X, r = make.ALL[kind](seed=2)
    X = X.astype(dtype)
    ends = [(0.0, 5), (0.5, 1), (0.5, 12)] if kind == "clustered" else []
    for t, k in [*itertools.product([0.1, 0.5, 1.0], (3, 7)), *ends]:
        best, _ = best_subset(X, r, k, t, sharpness, metric)
        sel = setwise.select(
            X, k, relevance=r, diversity=t, sharpness=sharpness, metric=metric, solver="exact"
        )
        assert sel.value == pytest.approx(best, rel=1e-9, abs=1e-9)
        assert sel.value == pytest.approx(value_of(X, r, sel.indices, t, sharpness, metric), abs=1e-9)
        assert sel.certificate.optimal
        assert sel.certificate.gap == 0
        assert sel.certificate.upper_bound == pytest.approx(best, rel=1e-9, abs=1e-9)


@measures
@pytest.mark.parametrize("seed", range(2))
def test_under_constraints(metric, sharpness, seed):
    X, r = make.clustered(n=13, d=5, seed=seed)
    labels = make.group_labels(13, 4, seed)
    first = int(np.argmin(r))
    include = [first, int(np.flatnonzero(labels != labels[first])[seed])]
    for t, k in [(0.1, 4), (0.5, 2), (0.5, 4), (1.0, 4)]:
        for options in (
            {"include": include},
            {"groups": labels, "max_per_group": 1},
            {"include": include, "groups": labels, "max_per_group": 1},
            {"include": [first], "groups": labels, "max_per_group": 2},
        ):
            check(13, k, **options)
            best, _ = best_subset(X, r, k, t, sharpness, metric, **options)
            sel = setwise.select(
                X, k, relevance=r, diversity=t, sharpness=sharpness, metric=metric, solver="exact", **options
            )
            assert_feasible(sel.indices, 13, k, **options)
            assert sel.value == pytest.approx(best, rel=1e-9, abs=1e-9)
            assert sel.certificate.optimal


@pytest.mark.parametrize(("metric", "sharpness"), [("cosine", 1), ("euclidean", 1)])
def test_beyond_brute_force(metric, sharpness):
    """n = 18 by HiGHS."""
    X, r = make.clustered(n=18, seed=3)
    best, _ = best_value_milp(X, r, 5, 0.5, sharpness, metric)
    sel = setwise.select(X, 5, relevance=r, diversity=0.5, sharpness=sharpness, metric=metric, solver="exact")
    assert sel.value == pytest.approx(best, abs=1e-7)


@pytest.mark.parametrize("options", [{"diversity": 0.1}, {"diversity": 0.02, "sharpness": 8}])
def test_among_many_where_few_can_matter(options):
    """Reduced-cost fixing leaves a handful of 5,000; nothing else finds better."""
    X, r = make.clustered(n=5000, d=16, seed=1, clusters=40, cone=1.0)
    sel = setwise.select(X, 8, relevance=r, solver="exact", **options)
    assert sel.certificate.optimal
    for solver in ("auto", "swap", "greedy", "frank-wolfe"):
        other = setwise.select(X, 8, relevance=r, solver=solver, certify=False, **options)
        assert other.value <= sel.value + 1e-9


def test_too_many_to_search_is_refused_with_the_alternative():
    X = np.random.default_rng(0).standard_normal((3000, 64)).astype(np.float32)
    with pytest.raises(
        ValueError, match=r"solver: 'exact' can search 1024 candidates, but \d+ of the 3000 .*'auto'"
    ):
        setwise.select(X, 5, diversity=1.0, solver="exact")


def test_giving_up_is_said_and_the_bound_still_holds(monkeypatch):
    monkeypatch.setattr(max_sum, "EXACT_NODES", 2)
    X, r = np.random.default_rng(0).standard_normal((14, 10)), np.zeros(14)
    best, _ = best_subset(X, r, 4, 1.0)
    with pytest.warns(
        UserWarning, match="exact: gave up after .* nodes; the set is the best found"
    ) as caught:
        sel = setwise.select(X, 4, diversity=1.0, solver="exact")
    assert [warning.filename for warning in caught] == [__file__]
    assert not sel.certificate.optimal
    assert sel.certificate.gap > 0
    assert sel.value <= best + 1e-9 <= sel.certificate.upper_bound + 2e-9


@measures
@pytest.mark.parametrize("seed", range(3))
def test_the_tree_from_the_worst_start(metric, sharpness, seed):
    """It need not be handed a good set: every node limit gives a true bound, and the end is the best."""
    X, r = make.clustered(n=12, seed=seed)
    k, t = 4, 0.6
    best, _ = best_subset(X, r, k, t, sharpness, metric)
    linear = (1 - t) * (k - 1) * r
    D = distance_matrix(X, sharpness, metric)
    np.fill_diagonal(D, 0.0)
    rows = np.arange(12)
    for limit in (1, 3, 10, 30, 100_000):
        for tune in (0, 8):
            worst = np.sort(np.argsort(r)[:k])
            tree = exact.tree_of(linear, D, t, constraints_of(12, k), rows, worst, 1e-14 * k * k)
            done = tree.search(np.empty(0, np.int64), rows, limit, tune=tune)
            assert tree.upper >= best * k * (k - 1) - 1e-9
            assert tree.value <= best * k * (k - 1) + 1e-9
            assert len(set(tree.best.tolist())) == k
            among = D[np.ix_(tree.best, tree.best)]
            assert tree.value == pytest.approx(linear[tree.best].sum() + t * among.sum())
            if done:
                assert tree.value == pytest.approx(best * k * (k - 1), rel=1e-9)
            assert done or tree.nodes >= limit
    assert done


@pytest.mark.parametrize("tune", [0, 8])
@pytest.mark.parametrize("free", [0, 1, 2, 3])
@pytest.mark.parametrize("spare", [0, 1, 4])
def test_the_tree_below_a_node(tune, free, spare):
    """With some members held and few candidates left: the best of the sets that this leaves."""
    for seed in range(4):
        X, r = make.clustered(n=12, seed=seed)
        k, t = 4, 0.6
        linear, D = (1 - t) * (k - 1) * r, distance_matrix(X)
        np.fill_diagonal(D, 0.0)
        rows = np.random.default_rng(seed).permutation(12)
        held, left = rows[: k - free], rows[k - free : k + spare]
        sets = [[*held, *some] for some in itertools.combinations(left, free)]
        values = [linear[s].sum() + t * D[np.ix_(s, s)].sum() for s in sets]
        tree = exact.MaxSumTree(linear, D, t, k, np.arange(k), value=-1e6)
        assert tree.search(held, left, 10_000, tune=tune)
        assert tree.value == tree.upper == pytest.approx(max(values), rel=1e-9)
        assert sorted(tree.best) == sorted(sets[int(np.argmax(values))])
