"""The front door: every keyword, and what holds of any selection."""

import copy
import itertools
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import setwise
from helpers import MEASURES, assert_feasible, quiet, value_of
from optional import installed, needs
from reference import make
from reference.greedy import dpp, max_sum_greedy, mmr
from reference.objectives import log_det_value, mmr_value
from setwise.solvers import PROOFS, SOLVERS, solver_of
from setwise.vectors import Vectors

OBJECTIVES = ["max-sum", "mmr", "log-det"]
CASES = [("max-sum", metric, sharpness) for metric, sharpness in MEASURES] + [
    (name, metric, 1) for name in ("mmr", "log-det") for metric in ("cosine", "euclidean")
]
cases = pytest.mark.parametrize(("objective", "metric", "sharpness"), CASES)
TRADE = [0.0, 0.1, 0.3, 0.5, 0.8, 1.0]


def generic(seed, n=60, d=12):
    """Data without ties, and a relevance that has none either."""
    X, r = make.clustered(n=n, d=d, seed=seed, clusters=5)
    return X, r + 0.01 * np.random.default_rng(seed).random(n)


select = partial(quiet, setwise.select)


def members(sel):
    return set(sel.indices.tolist())


# --- every keyword ------------------------------------------------------------------------------------------


@cases
@pytest.mark.parametrize("t", TRADE)
def test_values_are_the_definitions(objective, metric, sharpness, t):
    """Value and both terms recomputed from the rows by tests/reference."""
    X, r = generic(1)
    sel = select(X, 7, relevance=r, diversity=t, objective=objective, metric=metric, sharpness=sharpness)
    S = sel.indices
    if objective == "max-sum":
        expected = value_of(X, r, S, t, sharpness, metric)
    elif objective == "mmr":
        expected = mmr_value(X, r, S, t, metric)
    else:
        expected = log_det_value(X, r, S, t, metric)
    assert sel.value == pytest.approx(expected, abs=1e-8)
    assert sel.relevance == pytest.approx(r[S].sum() if objective == "log-det" else r[S].mean())
    if t < 1 or np.isfinite(sel.diversity):
        assert sel.value == pytest.approx((1 - t) * sel.relevance + t * sel.diversity, abs=1e-12)


def test_the_default_trade_off_and_objective():
    X, r = generic(2)
    plain = setwise.select(X, 6, relevance=r)
    named = setwise.select(
        X, 6, relevance=r, diversity=0.2, objective="max-sum", sharpness=1, solver="auto", metric="cosine"
    )
    assert np.array_equal(plain.indices, named.indices)
    assert plain.solver == "frank-wolfe+swap"
    assert plain.certificate is not None


def test_without_relevance_all_are_alike():
    X, _ = generic(3)
    for objective in OBJECTIVES:
        none = setwise.select(X, 5, objective=objective, diversity=0.5)
        same = setwise.select(X, 5, objective=objective, diversity=0.5, relevance=np.zeros(60))
        assert np.array_equal(none.indices, same.indices)
        assert none.relevance == 0
        assert setwise.select(X, 5, objective=objective, diversity=0).indices.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_query_is_its_similarity(metric, objective):
    X, _ = generic(4)
    query = np.random.default_rng(0).standard_normal(12)
    cosine = X @ query / np.linalg.norm(query)
    r = cosine if metric == "cosine" else -np.linalg.norm(X - query, axis=1)
    by_query = select(X, 6, query=query, metric=metric, objective=objective)
    by_number = select(X, 6, relevance=r, metric=metric, objective=objective)
    assert np.array_equal(by_query.indices, by_number.indices)
    assert by_query.value == pytest.approx(by_number.value, abs=1e-12)
    if metric == "cosine":
        longer = select(X, 6, query=7 * query, metric=metric, objective=objective)
        assert np.array_equal(by_query.indices, longer.indices)


def test_progress_is_told_to_a_function_alone(capfd):
    X, r = generic(5, n=300)
    told = []
    for solver in ("auto", "greedy", "frank-wolfe", "exact"):
        select(X, 3, relevance=r, diversity=0.05, solver=solver, progress=told.append)
    select(X, 3, relevance=r, objective="mmr", progress=told.append)
    assert told
    assert all(isinstance(text, str) for text in told)
    select(X, 3, relevance=r, progress=True)
    out, err = capfd.readouterr()
    assert out == err == ""
    with pytest.raises(TypeError, match="progress: expected True, False or a function of a text, got 3"):
        select(X, 3, relevance=r, progress=3)


@needs("faiss")
def test_the_same_seed_gives_the_same_set():
    X, r = generic(6, n=400)
    for solver, seed in itertools.product(("auto", "random", "clustering"), (0, 5, 2**40)):
        one = select(X, 6, relevance=r, solver=solver, seed=seed)
        two = select(X, 6, relevance=r, solver=solver, seed=seed)
        assert np.array_equal(one.indices, two.indices)
        assert one.value == two.value
    auto = [select(X, 6, relevance=r, seed=seed).indices.tolist() for seed in range(3)]
    assert auto[0] == auto[1] == auto[2]


# --- order and gains ----------------------------------------------------------------------------------------


@cases
@pytest.mark.parametrize("solver", ["auto", "greedy", "top-k", "random", "frank-wolfe"])
def test_every_prefix_is_sensible(objective, metric, sharpness, solver):
    """Each member is the set's best next one given those before it, and its gain is its score then."""
    if solver_of(objective, solver) is None:
        return
    X, r = generic(7)
    for t, include in itertools.product((0.1, 0.5, 1.0), ([], [50, 3])):
        made = setwise.objectives.make(
            objective,
            diversity=t,
            metric=metric,
            **({"sharpness": sharpness} if objective == "max-sum" else {}),
        ).fitted(Vectors(X, metric))
        sel = select(X, 8, relevance=r, objective=copy.copy(made), solver=solver, include=include)
        S = sel.indices
        assert S[: len(include)].tolist() == include
        for step in range(len(S)):
            scores = made.gains(X[S], r[S], X[S[:step]])
            assert sel.gains[step] == pytest.approx(scores[step], abs=1e-8)
            lead = r[S] if step == 0 and objective != "log-det" else scores
            if step >= len(include):
                assert lead[step] >= lead[step:].max() - 1e-8


@cases
def test_greedy_gains_are_the_references(objective, metric, sharpness):
    X, r = generic(8)
    method = {"max-sum": max_sum_greedy, "mmr": mmr, "log-det": dpp}[objective]
    power = {"sharpness": sharpness} if objective == "max-sum" else {}
    S, gains = method(X, r, 8, 0.4, metric=metric, **power)
    sel = select(
        X, 8, relevance=r, objective=objective, metric=metric, diversity=0.4, solver="greedy", **power
    )
    assert np.array_equal(sel.indices, S)
    assert np.allclose(sel.gains, gains, atol=1e-8)


# --- invariants ---------------------------------------------------------------------------------------------

seeds = st.integers(0, 2**20)
pairs = st.sampled_from(CASES)
trades = st.sampled_from(TRADE)


@settings(max_examples=120)
@given(seeds, pairs, trades, st.integers(1, 12), st.sampled_from(["auto", "greedy", "frank-wolfe", "swap"]))
def test_the_order_of_the_rows_does_not_matter(seed, case, t, k, solver):
    objective, metric, sharpness = case
    if solver_of(objective, solver) is None:
        return
    X, r = generic(seed % 500)
    order = np.random.default_rng(seed).permutation(60)
    options = {
        "diversity": t,
        "objective": objective,
        "metric": metric,
        "sharpness": sharpness,
        "solver": solver,
    }
    here = select(X, k, relevance=r, **options)
    there = select(X[order], k, relevance=r[order], **options)
    if objective == "log-det" and t == 1.0:  # the first is row 0, whichever that is
        return
    assert members(here) == set(order[there.indices].tolist())
    assert here.value == pytest.approx(there.value, abs=1e-9)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("options", [{}, {"sharpness": 8}, {"objective": "mmr"}, {"objective": "log-det"}])
def test_the_order_of_many_rows_does_not_matter(many, metric, options):
    if metric == "euclidean" and "sharpness" in options:
        return
    X, r = many
    order = np.random.default_rng(0).permutation(len(r))
    for t in (0.2, 0.6):
        here = select(X, 12, relevance=r, diversity=t, metric=metric, **options)
        there = select(X[order], 12, relevance=r[order], diversity=t, metric=metric, **options)
        assert members(here) == set(order[there.indices].tolist())


@settings(max_examples=80)
@given(seeds, pairs, trades, st.integers(1, 12))
def test_lengths_of_rows_do_not_matter_under_cosine(seed, case, t, k):
    objective, _, sharpness = case
    X, r = generic(seed % 500)
    options = {"relevance": r, "diversity": t, "objective": objective}
    options["sharpness"] = sharpness if objective == "max-sum" else 1
    scale = np.exp(np.random.default_rng(seed).uniform(-9, 9, (60, 1)))
    assert members(select(X, k, **options)) == members(select(X * scale, k, **options))
    powers = 2.0 ** np.random.default_rng(seed).integers(-9, 9, (60, 1))
    assert np.array_equal(select(X, k, **options).indices, select(X * powers, k, **options).indices)


@settings(max_examples=80)
@given(seeds, pairs, trades, st.integers(1, 12))
def test_turning_and_moving_all_rows_does_not_matter(seed, case, t, k):
    """Only angles, or distances, count."""
    objective, metric, sharpness = case
    X, r = generic(seed % 500)
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    Y = X @ turn + (rng.standard_normal(12) if metric == "euclidean" else 0.0)
    options = {
        "relevance": r,
        "diversity": t,
        "objective": objective,
        "metric": metric,
        "sharpness": sharpness,
    }
    assert members(select(X, k, **options)) == members(select(Y, k, **options))


@settings(max_examples=80)
@given(seeds, pairs, trades, st.integers(1, 12))
def test_single_precision_gives_the_same_set(seed, case, t, k):
    objective, metric, sharpness = case
    X, r = generic(seed % 500)
    X = X.astype(np.float32)
    options = {"diversity": t, "objective": objective, "metric": metric, "sharpness": sharpness}
    for given_ in ({"relevance": r}, {"query": X[seed % 60]}):
        single = select(X, k, **given_, **options)
        double = select(X.astype(np.float64), k, **given_, **options)
        assert members(single) == members(double)
        assert single.value == pytest.approx(double.value, abs=1e-12)


#: What draws, and what takes so many of each part and no more (DGDS without its top-up).
OF_PARTS = ("k-dpp", "random", "clustering", "distributed")


@settings(max_examples=80)
@given(seeds, pairs, st.sampled_from(SOLVERS), st.integers(1, 20), st.booleans())
def test_diversity_0_is_top_k(seed, case, solver, k, ties):
    objective, metric, sharpness = case
    clustered = solver == "multilevel" and not installed("faiss")
    if solver_of(objective, solver) is None or solver in OF_PARTS or clustered:
        return
    X, r = generic(seed % 500)
    if ties:
        r = np.round(r * 4) / 4
    sel = select(
        X, k, relevance=r, diversity=0, objective=objective, metric=metric, sharpness=sharpness, solver=solver
    )
    assert np.array_equal(sel.indices, np.argsort(-r, kind="stable")[:k])
    assert sel.certificate.optimal == (objective in PROOFS)


@cases
@pytest.mark.parametrize("t", TRADE)
def test_k_1_is_the_most_relevant_and_k_n_is_all(objective, metric, sharpness, t):
    X, r = generic(9, n=12, d=20)
    options = {
        "relevance": r,
        "diversity": t,
        "objective": objective,
        "metric": metric,
        "sharpness": sharpness,
    }
    one = select(X, 1, **options)
    if objective != "log-det" or t < 1:
        assert one.indices.tolist() == [int(np.argmax(r))]
    assert one.value == pytest.approx((1 - t) * r[one.indices[0]])
    everything = select(X, 12, **options)
    assert members(everything) == set(range(12))
    if objective == "max-sum":
        assert one.certificate.optimal
        assert everything.certificate.optimal


@cases
def test_one_candidate(objective, metric, sharpness):
    for t in (0.0, 0.5, 1.0):
        sel = select([[1.0, 2.0]], 1, diversity=t, objective=objective, metric=metric, sharpness=sharpness)
        assert sel.indices.tolist() == [0]
        assert sel.value == 0
        sel = select(
            [[3.0]], 1, query=[2.0], diversity=t, objective=objective, metric=metric, sharpness=sharpness
        )
        assert sel.relevance == pytest.approx(1.0 if metric == "cosine" else -1.0)


@cases
def test_one_dimension(objective, metric, sharpness):
    rng = np.random.default_rng(0)
    X, r = rng.standard_normal((50, 1)), rng.random(50)
    for t in (0.1, 0.9):
        sel = select(X, 5, relevance=r, diversity=t, objective=objective, metric=metric, sharpness=sharpness)
        if objective != "log-det":
            assert_feasible(sel.indices, 50, 5)
            assert np.isfinite(sel.value)


@cases
@pytest.mark.parametrize("n", [7, 3000, 9000])
def test_rows_all_alike(objective, metric, sharpness, n):
    """The most relevant; without relevance, the first."""
    X = np.tile(np.float32([3.0, 1.0, 2.0]), (n, 1))
    r = np.random.default_rng(0).random(n)
    if objective == "log-det":
        X = X + 0.0
        sel = select(X, 3, relevance=r, diversity=0.5, objective=objective, metric=metric)
        assert sel.indices.tolist() == [int(np.argmax(r))]
        return
    for t in (0.3, 0.9):
        options = {"diversity": t, "objective": objective, "metric": metric, "sharpness": sharpness}
        options["certify"] = sharpness == 1 or n == 7
        assert members(select(X, 5, relevance=r, **options)) == set(np.argsort(-r)[:5].tolist())
        assert select(X, 5, **options).indices.tolist() == [0, 1, 2, 3, 4]


@cases
@pytest.mark.parametrize("solver", ["auto", "greedy", "frank-wolfe", "swap"])
@pytest.mark.parametrize("n", [20, 700, 4200])
def test_of_equal_rows_the_first_is_taken(objective, metric, sharpness, solver, n):
    """Every row is there twice: no second copy without the first."""
    if solver_of(objective, solver) is None:
        return
    for seed in range({20: 3, 700: 2}.get(n, 1)):
        X, r = generic(seed, n=n)
        X, r = np.concatenate([X, X]), np.concatenate([r, r])
        for t, k in ((0.1, 6), (0.5, 15)):
            sel = select(
                X,
                k,
                relevance=r,
                diversity=t,
                objective=objective,
                metric=metric,
                sharpness=sharpness,
                solver=solver,
                certify=False,
            )
            second = sel.indices[sel.indices >= n]
            assert set((second - n).tolist()) <= members(sel), (seed, t, k)


@cases
def test_relevance_moved_by_a_constant_changes_nothing_but_the_value(objective, metric, sharpness):
    X, r = generic(10)
    options = {"diversity": 0.4, "objective": objective, "metric": metric, "sharpness": sharpness}
    here = select(X, 7, relevance=r, **options)
    there = select(X, 7, relevance=r - 3.5, **options)
    assert members(here) == members(there)
    assert np.array_equal(here.indices, there.indices)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_euclidean_selections_do_not_depend_on_the_unit(factor):
    """Distances and relevance in another unit, the same set; log-det takes its bandwidth from the data."""
    X, r = generic(11)
    for objective in ("max-sum", "mmr"):
        here = select(X, 7, relevance=r, metric="euclidean", objective=objective, diversity=0.4)
        there = select(
            X * factor, 7, relevance=r * factor, metric="euclidean", objective=objective, diversity=0.4
        )
        assert np.array_equal(here.indices, there.indices)
        assert there.value == pytest.approx(here.value * factor)
    here = select(X, 7, relevance=r, metric="euclidean", objective="log-det", diversity=0.4)
    there = select(X * factor, 7, relevance=r, metric="euclidean", objective="log-det", diversity=0.4)
    assert np.array_equal(here.indices, there.indices)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("offset", [1e3, 1e6])
def test_euclidean_far_from_the_origin_in_single_precision(objective, offset):
    """What float32 stores of the rows decides, exactly."""
    X, r = generic(12, n=300)
    X = (X + offset).astype(np.float32)
    single = select(X, 8, relevance=r, metric="euclidean", objective=objective, diversity=0.3)
    double = select(
        X.astype(np.float64), 8, relevance=r, metric="euclidean", objective=objective, diversity=0.3
    )
    assert members(single) == members(double)
    assert single.value == pytest.approx(double.value, abs=1e-12)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_include_in_full(objective):
    """The must-have rows are the set."""
    X, r = generic(13)
    sel = select(X, 3, relevance=r, objective=objective, include=[40, 2, 17])
    assert sel.indices.tolist() == [40, 2, 17]
    if objective == "max-sum":
        assert sel.certificate.optimal


@settings(max_examples=40)
@given(seeds, st.sampled_from(OBJECTIVES), trades)
def test_including_what_is_taken_anyway_changes_nothing(seed, objective, t):
    X, r = generic(seed % 500)
    free = select(X, 7, relevance=r, objective=objective, diversity=t, solver="greedy")
    again = select(
        X, 7, relevance=r, objective=objective, diversity=t, solver="greedy", include=free.indices[:3]
    )
    assert np.array_equal(free.indices, again.indices)
    if objective == "max-sum":
        full = select(X, 4, relevance=r, diversity=t, certify="full")
        held = select(X, 4, relevance=r, diversity=t, certify="full", include=full.indices[1:3])
        assert full.certificate.optimal
        assert held.value == pytest.approx(full.value, abs=1e-9)
