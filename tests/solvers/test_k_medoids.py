"""k-medoids: each solver against brute force, the plain loop, the linear and the integer program."""

import itertools
import json
import os
import subprocess
import sys

import equal_costs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from helpers import constraints_of
from reference import ampo
from setwise.solvers.k_medoids import dual, exact, large, means, search
from setwise.solvers.k_medoids.search import arrange
from setwise.solvers.k_medoids.stack import Stack, first_least, first_of_copies


def problems(count=6, n=12, d=4, seed=0, positives=1):
    """A stack of AMPO's problems, and the plain (distances, weights) of each."""
    rng = np.random.default_rng(seed)
    plain = []
    for _ in range(count):
        _, w, distances = ampo.scaled(rng.standard_normal((n + 1, d)), rng.random(n + 1), positives)
        plain.append((distances, w))
    cost = np.stack([w[:, None] * distances for distances, w in plain])
    return Stack(cost, np.ones((count, n), bool)), plain


def padded(stack, more, seed=0):
    """The same problems with points that do not count and candidates that are not free, shuffled in."""
    rng = np.random.default_rng(seed)
    count, n, _ = stack.cost.shape
    cost, free = np.zeros((count, n + more, n + more)), np.zeros((count, n + more), bool)
    where = np.stack([np.sort(rng.choice(n + more, n, replace=False)) for _ in range(count)])
    for row in range(count):
        cost[row][np.ix_(where[row], where[row])] = stack.cost[row]
        free[row, where[row]] = True
    return Stack(cost, free), where


@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_greedy_is_the_plain_greedy_and_its_order_is_kept(k):
    stack, plain = problems()
    places = search.greedy(stack, k)
    for row, (distances, w) in enumerate(plain):
        assert places[row].tolist() == ampo.greedy(w[:, None] * distances, k)
        assert stack.totals(places)[row] == pytest.approx(ampo.coverage_cost(distances, w, places[row]))
    assert np.array_equal(arrange(stack, np.sort(places, axis=1)), places)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 12))
def test_swap_ends_where_the_plain_loop_ends(seed, k, d):
    """From the same start, the same exchanges: the same set and cost as Appendix E's loop."""
    stack, plain = problems(count=3, n=13, d=d, seed=seed)
    rng = np.random.default_rng(seed)
    start = np.stack([rng.choice(13, k, replace=False) for _ in range(3)])
    found, swaps = search.swap(stack, start)
    made = 0
    for row, (distances, w) in enumerate(plain):
        theirs, cost, exchanges = ampo.local_search(distances, w, start[row])
        assert sorted(found[row].tolist()) == theirs
        assert stack.totals(found)[row] == pytest.approx(cost, abs=1e-12)
        made += exchanges
    assert swaps == made


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(0, 6))
def test_a_stack_is_its_problems_one_by_one(seed, k, more):
    """Padding, and which problems stand beside one, change nothing."""
    stack, _ = problems(count=5, n=11, d=3, seed=seed)
    wide, where = padded(stack, more, seed)
    start = search.greedy(wide, k)
    found, _ = search.swap(wide, start)
    climbed = dual.ascend(wide, found, steps=40)
    for row in range(5):
        one = stack.some(np.array([row]))
        own = search.greedy(one, k)
        assert np.array_equal(where[row][own[0]], start[row])
        own, _ = search.swap(one, own)
        assert np.array_equal(where[row][own[0]], found[row])
        assert dual.ascend(one, own, steps=40).lower[0] == pytest.approx(climbed.lower[row], rel=1e-9)
        assert np.array_equal(
            where[row][arrange(one, own)[0]], arrange(wide.some(np.array([row])), found[row : row + 1])[0]
        )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.booleans())
def test_bounds_and_the_exact_solver_against_brute_force(seed, k, costs):
    stack, plain = problems(count=4, n=9, d=2, seed=seed)
    if costs:
        stack.fixed = np.random.default_rng(seed).normal(scale=0.3, size=(4, 9))
    found, _ = search.swap(stack, search.greedy(stack, k))
    climbed = dual.ascend(stack, found, steps=60)
    for row, (distances, w) in enumerate(plain):
        fixed = None if stack.fixed is None else stack.fixed[row]
        chosen, least = ampo.brute_force(distances, w, k, fixed)
        assert climbed.lower[row] <= least + 1e-9
        assert stack.totals(found)[row] >= least - 1e-9
        one = stack.some(np.array([row]))
        best = exact.best_set(one, k)
        assert one.totals(best.places[None])[0] == pytest.approx(least, abs=1e-8)
        assert best.lower == pytest.approx(least, abs=1e-6)
        assert best.lower <= least + 1e-9
        assert one.totals(np.array([chosen]))[0] == pytest.approx(least, abs=1e-12)


def test_dual_ascent_climbs_to_the_linear_relaxation():
    stack, plain = problems(count=12, n=24, d=2, seed=3)
    found, _ = search.swap(stack, search.greedy(stack, 5))
    few, many = (dual.ascend(stack, found, steps=steps).lower for steps in (20, 800))
    totals = stack.totals(found)
    loose = 0
    for row, (distances, w) in enumerate(plain):
        relaxed = ampo.relaxation(w[:, None] * distances, 5)
        least = ampo.program(w[:, None] * distances, 5)[1]
        assert few[row] <= least + 1e-9
        assert many[row] <= least + 1e-9
        # What exceeds the relaxation is a set proven best by reduced costs.
        assert many[row] <= relaxed + 1e-7 or many[row] == pytest.approx(least, rel=1e-9)
        assert many[row] >= relaxed * (1 - 1e-3)
        assert totals[row] >= least - 1e-9
        loose += relaxed < least - 1e-6
    assert 0 < loose < 12, "the instances are meant to have gaps, some of them"
    assert (many >= few - 1e-12).all()


def test_sets_are_not_proven_best_that_are_not():
    """From a poor set, the bound stays below the least cost."""
    stack, plain = problems(count=20, n=10, d=2, seed=1)
    poor = np.tile(np.arange(3), (20, 1))
    climbed = dual.ascend(stack, poor, steps=300)
    better = dual.improved(stack, poor, climbed)
    for row, (distances, w) in enumerate(plain):
        least = ampo.brute_force(distances, w, 3)[1]
        assert climbed.lower[row] <= least + 1e-9
        assert least - 1e-9 <= stack.totals(better)[row] <= stack.totals(poor)[row] + 1e-12


def test_no_poor_set_of_many_is_proven_best():
    """1500 small problems from sets drawn at random: bounds, and proofs by reduced costs, all hold."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1500, 10, 2))
    distances = np.sqrt(np.square(X[:, :, None] - X[:, None]).sum(axis=3))
    w = np.exp(rng.random((1500, 10)) - 0.5)
    stack = Stack(distances * w[:, :, None], np.ones((1500, 10), bool))
    sets = np.array(list(itertools.combinations(range(10), 3)))
    least = np.min([stack.totals(np.tile(one, (1500, 1))) for one in sets], axis=0)
    drawn = np.argsort(rng.random((1500, 10)), axis=1)[:, :3]
    for places in (drawn, search.swap(stack, drawn)[0]):
        climbed = dual.ascend(stack, places, steps=10)
        assert (climbed.lower <= least + 1e-9).all()
        proven = climbed.lower >= stack.totals(places) - 1e-9
        assert 0 < proven.sum() < 1500


@pytest.mark.parametrize(("n", "d", "k"), [(40, 8, 6), (40, 2, 6), (64, 3, 8)])
def test_the_exact_solver_is_the_whole_program(n, d, k):
    stack, plain = problems(count=2, n=n, d=d, seed=5)
    gaps = []
    for row, (distances, w) in enumerate(plain):
        one = stack.some(np.array([row]))
        found = exact.best_set(one, k)
        total = one.totals(found.places[None])[0]
        assert total == pytest.approx(ampo.program(w[:, None] * distances, k)[1], rel=1e-7)
        assert found.lower == pytest.approx(total, rel=1e-6)
        gaps.append(one.totals(search.swap(one, search.greedy(one, k))[0])[0] / total - 1)
    assert np.mean(gaps) < 0.05


@pytest.mark.slow
def test_swap_is_within_a_percent_of_the_best_on_average():
    gaps = []
    for seed, (n, d, k) in enumerate([(31, 384, 7), (31, 16, 7), (31, 3, 7), (63, 16, 8)] * 3):
        stack, _ = problems(count=4, n=n, d=d, seed=seed)
        found, _ = search.swap(stack, search.greedy(stack, k))
        for row in range(4):
            one = stack.some(np.array([row]))
            best = exact.best_set(one, k)
            least = one.totals(best.places[None])[0]
            assert best.lower == pytest.approx(least, rel=1e-6)
            gaps.append(one.totals(found[row : row + 1])[0] / least - 1)
    assert min(gaps) > -1e-9
    assert np.mean(gaps) < 0.01


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.booleans())
def test_the_large_solvers_are_the_small_ones(seed, k, constrained):
    stack, _ = problems(count=1, n=40, d=3, seed=seed)
    stack.fixed = np.random.default_rng(seed).normal(scale=0.2, size=(1, 40))
    labels = np.arange(40) % 5
    options = {"include": [4], "groups": labels, "max_per_group": 2} if constrained else {}
    stack.constraints = constraints_of(40, k, **options)
    table = large.CostTable(np.ascontiguousarray(stack.cost[0].T), stack.fixed[0], stack.constraints)
    first = search.greedy(stack, k)
    assert np.array_equal(large.greedy(table, k), first[0])
    places, swaps = large.swap(table, first[0])
    # A local minimum: the search for best exchanges has nothing to add, and it has not got worse.
    again, more = search.swap(stack, places[None])
    assert more == 0
    assert np.array_equal(again[0], places)
    assert stack.totals(places[None])[0] <= stack.totals(first)[0] + 1e-12
    assert (swaps > 0) >= (set(places.tolist()) != set(first[0].tolist()))
    assert set(options.get("include", [])) <= set(places.tolist())
    assert np.bincount(labels[places]).max() <= (2 if constrained else k)


def test_large_ties_go_to_the_first():
    """More equal candidates than a front holds."""
    table = large.CostTable(np.zeros((300, 40), np.float32), np.zeros(300), constraints_of(300, 5))
    assert large.greedy(table, 5).tolist() == [0, 1, 2, 3, 4]
    assert large.swap(table, np.arange(5))[1] == 0


def test_several_blocks_of_candidates():
    stack, _ = problems(count=1, n=600, d=3, seed=2)
    table = large.CostTable(np.ascontiguousarray(stack.cost[0].T), np.zeros(600), constraints_of(600, 8))
    first = large.greedy(table, 8)
    assert np.array_equal(first, search.greedy(stack, 8)[0])
    rng = np.random.default_rng(0)
    for start in (first, rng.choice(600, 8, replace=False)):
        places, _ = large.swap(table, start)
        assert search.swap(stack, places[None])[1] == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 9))
def test_k_means_settles_where_each_point_is_nearest_its_own_mean(seed, k, d):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((3, 14, d))
    free = np.ones((3, 14), bool)
    free[1, [0, 5]] = free[2, 13] = False
    labels = means.cluster(X @ X.transpose(0, 2, 1), free, k, rng.random(k))
    for row in range(3):
        assert (labels[row] >= 0).tolist() == free[row].tolist()
        assert set(labels[row][free[row]].tolist()) == set(range(k))
        points, own = X[row][free[row]], labels[row][free[row]]
        centers = np.stack([points[own == number].mean(axis=0) for number in range(k)])
        apart = np.linalg.norm(points[:, None] - centers, axis=2)
        assert (apart[np.arange(len(own)), own] <= apart.min(axis=1) + 1e-9).all()
    scores = np.where(free, rng.random((3, 14)), np.inf)
    places = means.lowest_of_each(labels, scores, k)
    for row in range(3):
        for number in range(k):
            members = np.flatnonzero(labels[row] == number)
            assert places[row, number] == members[scores[row][members].argmin()]


def test_k_means_of_copies_still_gives_distinct_points():
    """Two distinct vectors, five clusters: the empty ones are made up by the lowest scores left."""
    X = np.repeat(np.array([[1.0, 0.0], [0.0, 3.0]]), 4, axis=0)[None]
    free = np.ones((1, 8), bool)
    scores = np.array([[5.0, 4, 3, 2, 9, 8, 7, 6]])
    for seed in range(5):
        draws = np.random.default_rng(seed).random(5)
        labels = means.cluster(X @ X.transpose(0, 2, 1), free, 5, draws)
        assert len(set(labels[0, :4].tolist())) == len(set(labels[0, 4:].tolist())) == 1
        places = means.lowest_of_each(labels, scores, 5)[0]
        assert len(set(places.tolist())) == 5
        assert {3, 7} <= set(places.tolist())
        assert set(places.tolist()) == {3, 7, 2, 1, 0}


def test_zero_costs_are_proven_at_once():
    stack = Stack(np.zeros((2, 6, 6)), np.ones((2, 6), bool))
    places, swaps = search.swap(stack, search.greedy(stack, 3))
    assert swaps == 0
    assert places.tolist() == [[0, 1, 2]] * 2
    assert dual.ascend(stack, places, steps=40).lower.tolist() == [0.0, 0.0]
    assert exact.best_set(stack.some(np.array([0])), 3).lower == 0.0


def test_no_bound_is_below_that_of_no_prices():
    """Where the cost is 0 or all of it fixed, ascent started between two members can end below that."""
    rng = np.random.default_rng(0)
    below, said = 0, []
    for _ in range(60):
        points = rng.integers(0, 2, size=(7, 2)).astype(float)
        cost = cdist(points, points)[None] * rng.uniform(0.5, 2, size=(1, 7, 1))
        fixed = rng.integers(0, 2, size=(1, 7)) * 0.25
        stack = Stack(cost, np.ones((1, 7), bool), fixed)
        places = search.swap(stack, search.greedy(stack, 3))[0]
        found = dual.ascend(stack, places, steps=2)
        floor = np.sort(fixed[0])[:3].sum()
        least = min(stack.totals(np.array([chosen]))[0] for chosen in itertools.combinations(range(7), 3))
        assert floor - 1e-12 <= found.lower[0] <= least + 1e-9
        # The prices prove what is said, for whoever goes on from them.
        terms = np.sort(dual.terms(stack, found.prices)[0])[:3].sum() + found.prices.sum()
        said += [(terms, found.lower[0])] * int(found.lower[0] < stack.totals(places)[0])
        below += found.lower[0] == floor
    assert below
    assert len(said) > 10
    assert [terms for terms, _ in said] == pytest.approx([lower for _, lower in said], abs=1e-9)


def test_a_cluster_that_runs_empty_is_refilled():
    """Lloyd's rounds from these centers leave a cluster without points, though all are distinct."""
    rng = np.random.default_rng(2)
    X = np.cumsum(rng.exponential(size=(3000, 14, 1)) ** 2, axis=1)[[1442]]
    labels = means.cluster(X @ X.transpose(0, 2, 1), np.ones((1, 14), bool), 6, rng.random(6))
    assert set(labels[0].tolist()) == set(range(6))


# ---------------------------------------------------------------- of equal candidates the first


def test_of_least_scores_equal_but_for_rounding_the_first_counts():
    scores = np.array([[3.0, 1.0 + 1e-13, 1.0, 2.0], [5.0, 5.0, np.inf, 4.0]])
    assert first_least(scores, np.ones(2)).tolist() == [1, 3]
    assert first_least(scores, np.zeros(2)).tolist() == [2, 3]
    assert first_least(np.full((1, 3), -np.inf), 1.0).tolist() == [0]


def test_of_copies_the_first_are_taken_and_come_first():
    rows = np.array([[0.0], [5.0], [0.0], [9.0], [5.0], [0.0], [9.0]])
    free = np.array([True, True, True, False, True, True, True])
    cost = cdist(rows, rows) * free[:, None] * free
    stack = Stack(np.stack([cost, cost]), np.stack([free, free]))
    places = np.array([[5, 4, 2, 6], [0, 1, 2, 6]])
    assert first_of_copies(stack, places).tolist() == [[0, 1, 2, 6], [0, 1, 2, 6]]


@pytest.mark.parametrize(
    ("solver", "n"),
    [("exact", 12), *((solver, n) for solver in ("auto", "greedy", "swap") for n in (12, 600, 2100))],
)
def test_of_equal_rows_the_first_is_taken(n, solver):
    rows = np.random.default_rng(n).standard_normal((n // 3, 8)).astype(np.float32)
    chosen = equal_costs.coverage(np.tile(rows, (3, 1)), np.zeros(n), 3, solver)
    assert max(chosen) < n // 3


NAMES = {"Nehalem": "SSE42", "Haswell": "AVX2", "SkylakeX": "AVX512_SKX"}


@pytest.mark.parametrize(
    "kernel",
    [
        "Nehalem",
        "NumPy's baseline",
        *(pytest.param(one, marks=pytest.mark.slow) for one in NAMES if one != "Nehalem"),
    ],
)
def test_equal_costs_are_settled_alike_on_every_processor(kernel):
    features = np._core._multiarray_umath.__cpu_features__
    if kernel in NAMES and not features.get(NAMES[kernel]):
        pytest.skip(f"the processor lacks {NAMES[kernel]}")
    environment = {"NPY_DISABLE_CPU_FEATURES": " ".join(np._core._multiarray_umath.__cpu_dispatch__)}
    if kernel in NAMES:
        environment = {"OPENBLAS_CORETYPE": kernel, "OPENBLAS_NUM_THREADS": "2"}
    ran = subprocess.run(
        [sys.executable, equal_costs.__file__],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(ran.stdout)
    if kernel in NAMES and not any(kernel.lower() in name.lower() for name in found["kernels"]):
        pytest.skip(f"the BLAS has no {kernel} kernels, but {found['kernels']}")
    assert found["choices"] == equal_costs.choices()
