"""Proofs hold at any offset and scale of the input: against every set, in the digits that are left."""

import itertools

import numpy as np
import pytest

import setwise
from helpers import MEASURES, quiet
from optional import needs
from reference.objectives import distance_matrix
from setwise.objectives.base import Objective, Terms

OFFSETS = [0.0, 1e3, -1e6, 1e8, 1.7e9, -1.7e9]

#: What a sum of a few terms of size 1 may be off by.
ULPS = 1e-14

measures = pytest.mark.parametrize(("metric", "sharpness"), MEASURES)


def values_of_all(D, r, k, t):
    """Every set of k with its value, relevance counted from the least there is."""
    r = r - r.min()
    sets = np.array(list(itertools.combinations(range(len(r)), k)))
    among = D[sets[:, :, None], sets[:, None, :]].sum(axis=(1, 2)) / max(k * (k - 1), 1)
    values = (1 - t) * r[sets].mean(axis=1) + t * among
    return dict(zip(map(tuple, sets.tolist()), values, strict=True))


def costs_of_all(D, r, k, t):
    """As `values_of_all`, for coverage; D has a zero diagonal."""
    r = r - r.min()
    sets = np.array(list(itertools.combinations(range(len(r)), k)))
    cost = D[:, sets].min(axis=2).mean(axis=0)
    values = (1 - t) * r[sets].mean(axis=1) - t * cost
    return dict(zip(map(tuple, sets.tolist()), values, strict=True))


def assert_sound(sel, every, offset, t, largest):
    """The bound is above every set's value, and only a best set is proven best.

    `largest` is that of the terms; told values have lost what an offset takes of their digits.
    """
    best, own = max(every.values()), every[tuple(sorted(sel.indices.tolist()))]
    certificate, lost = sel.certificate, 4 * np.spacing(abs(offset) + largest)
    moved = sel.value - own
    assert certificate.upper_bound - moved >= best - ULPS * largest - lost
    assert own <= best
    assert certificate.gap >= 0
    if certificate.optimal:
        assert own >= best - ULPS * largest
        assert certificate.gap == 0
    else:
        assert certificate.gap > 0
        # What the gap says holds without the offset.
        assert own + certificate.gap * max(abs(own), 1e-6 * largest) >= best - ULPS * largest
    return own, best, certificate.optimal


def instance(seed, n=9):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, int(rng.choice([2, 4, 12]))))
    if seed % 3 == 0:
        X += 3 * rng.standard_normal((3, X.shape[1]))[rng.integers(3, size=n)]
    return X.astype(np.float32 if seed % 2 else np.float64), rng.random(n), int(rng.integers(1, 5))


def distances(X, metric, sharpness=1):
    D = distance_matrix(X.astype(np.float64), sharpness, metric)
    np.fill_diagonal(D, 0.0)
    return D


@measures
def test_max_sum(metric, sharpness):
    optimal = 0
    for seed, (offset, t) in enumerate(itertools.product(OFFSETS, (0.0, 0.2, 0.7, 1.0))):
        X, r, k = instance(seed)
        r = r + offset
        every = values_of_all(distances(X, metric, sharpness), r, k, t)
        options = {"relevance": r, "diversity": t, "metric": metric, "sharpness": sharpness}
        for solver, certify in (("auto", True), ("auto", "full"), ("exact", True), ("random", "full")):
            sel = quiet(setwise.select, X, k, **options, solver=solver, certify=certify, seed=seed)
            largest = max(1.0, max(every.values()))
            own, best, proven = assert_sound(sel, every, offset, t, largest)
            optimal += proven
            if solver != "random":
                plain = quiet(setwise.select, X, k, **{**options, "relevance": r - r.min()}, solver=solver)
                assert own >= every[tuple(sorted(plain.indices.tolist()))] - 1e-6 * abs(best)
            if solver == "exact":
                assert proven
    assert optimal > 48


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_coverage(metric):
    optimal = 0
    for seed, (offset, t) in enumerate(itertools.product(OFFSETS, (0.2, 0.7, 1.0))):
        X, r, k = instance(seed)
        r = r + offset
        every = costs_of_all(distances(X, metric), r, k, t)
        options = {"relevance": r, "diversity": t, "metric": metric, "objective": "coverage"}
        for solver, certify in (("auto", True), ("auto", "full"), ("random", True)):
            sel = quiet(setwise.select, X, k, **options, solver=solver, certify=certify, seed=seed)
            _, _, proven = assert_sound(sel, every, offset, t, max(1.0, -min(every.values())))
            optimal += proven
    assert optimal > 18


@needs("faiss")
@pytest.mark.parametrize("offset", OFFSETS)
def test_many_and_catalogs(offset):
    """The same numbers through the other doors."""
    for seed in range(3):
        X, r, _ = instance(seed)
        k, r = 3, r + offset
        every = values_of_all(distances(X, "cosine"), r, k, 0.3)
        rows = np.stack([r, r])
        many = quiet(setwise.select_many, X, k, relevance=rows, diversity=0.3)
        pools = quiet(setwise.select_many, np.stack([X, X]), k, relevance=rows, diversity=0.3)
        quality = r - min(offset, 0.0)  # a catalog takes none below 0
        catalog = setwise.Catalog.build(X, quality, clusters=2)
        whole = quiet(catalog.select, k, diversity=0.3, certify=True)
        assert_sound(whole, values_of_all(distances(X, "cosine"), quality, k, 0.3), offset, 0.3, 1.0)
        for sel in (*many, *pools):
            assert_sound(sel, every, offset, 0.3, 1.0)
        alone = setwise.select(X, k, relevance=r - r.min(), diversity=0.3)
        batch = quiet(setwise.select_many, np.stack([X, X]), k, relevance=rows, diversity=0.3, certify=False)
        for sel in (*many, *batch):
            assert sorted(sel.indices.tolist()) == sorted(alone.indices.tolist())


@pytest.mark.parametrize("objective", ["max-sum", "mmr", "log-det", "coverage"])
@pytest.mark.parametrize("solver", ["auto", "greedy", "swap", "top-k"])
def test_an_offset_changes_no_set_of_many(objective, solver):
    """1.7e9 leaves seven digits of [0, 1]: the set is that of those digits."""
    rng = np.random.default_rng(0)
    X, r = rng.standard_normal((400, 8)), rng.random(400)
    for offset in OFFSETS[1:]:
        moved = r + offset
        left = moved - moved.min()
        options = {"objective": objective, "solver": solver, "diversity": 0.4}
        here = quiet(setwise.select, X, 10, relevance=moved, **options)
        there = quiet(setwise.select, X, 10, relevance=left, **options)
        assert np.array_equal(here.indices, there.indices)
        count = len(here) if objective == "log-det" else 1
        assert here.relevance == pytest.approx(moved[here.indices].sum() * count / len(here), rel=1e-12)
        assert here.value == pytest.approx(there.value + 0.6 * count * moved.min(), rel=1e-9)
        if here.certificate.gap is not None:
            assert here.certificate.gap == pytest.approx(there.certificate.gap, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("objective", ["max-sum", "coverage"])
def test_a_random_set_is_never_the_best(objective):
    """Unix times: no digit of the gap is lost beside them."""
    rng = np.random.default_rng(1)
    X, r = rng.standard_normal((300, 6)), rng.random(300)
    for offset in OFFSETS:
        sel = quiet(setwise.select, X, 5, relevance=r + offset, solver="random", objective=objective)
        assert not sel.certificate.optimal
        assert sel.certificate.gap > 0.1


def test_an_objective_of_ones_own_gets_relevance_as_it_is():
    class Squares(Objective):
        name = "squares"

        def gains(self, vectors, relevance, chosen):
            return np.square(np.asarray(relevance, np.float64))

        def terms(self, vectors, relevance):
            value = float(np.square(relevance).mean())
            return Terms(value, value, 0.0)

    X = np.eye(4)
    sel = setwise.select(X, 2, relevance=[-3.0, 1.0, 2.0, 0.0], objective=Squares(0.5))
    assert sel.indices.tolist() == [0, 2]
    assert sel.value == 6.5


# --- float64 stays float64 ----------------------------------------------------------------------------------


def test_retrieval_of_coordinates_in_meters():
    """UTM: single precision would round to half a meter."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = np.array([5e5, 5.2e6]) + rng.standard_normal((10, 2)) * [0.3, 3.0][seed % 2]
        query, k = X[0] + rng.standard_normal(2), 3
        r = -np.linalg.norm(X - query, axis=1)
        for t in (0.0, 0.3, 0.6):
            every = values_of_all(distances(X, "euclidean"), r, k, t)
            index = setwise.Index.from_array(X, metric="euclidean")
            hits = setwise.retrieve(query, index, k, diversity=t, certify="full")
            own, best, proven = assert_sound(hits, every, r.min(), t, 10.0)
            assert proven
            assert own >= best - 1e-9
            sel = setwise.select(X, k, query=query, metric="euclidean", diversity=t, certify="full")
            assert set(sel.indices.tolist()) == set(hits.ids.tolist())
            assert hits.value == pytest.approx(sel.value, rel=1e-12)
        one = setwise.retrieve(query, index, 1)
        assert one.ids.tolist() == [int(np.argmax(r))]


@pytest.mark.parametrize("apart", [1e-3, 1e-5, 1e-7])
@measures
def test_rows_next_to_each_other(metric, sharpness, apart):
    """Distances come from differences: 1 - cos has no digits left where the cosine is next to 1."""
    for seed, t in itertools.product(range(8), (0.5, 1.0)):
        rng = np.random.default_rng(seed)
        X = rng.standard_normal(5) + apart * rng.standard_normal((9, 5))
        k = int(rng.integers(2, 5))
        E = X / np.linalg.norm(X, axis=1, keepdims=True) if metric == "cosine" else X
        D = np.linalg.norm(E[:, None] - E, axis=2)
        if metric == "cosine":
            D = -np.expm1(sharpness * np.log1p(-D * D / 2))
        r = rng.random(9) * D.max()
        every = values_of_all(D, r, k, t)
        # Rows of unit length are off by rounding, and their distances by that beside the root of those.
        largest = D.max() * (1 + 0.1 / apart) if metric == "cosine" else max(D.max(), 1.0)
        for certify in (True, "full"):
            options = {"metric": metric, "sharpness": sharpness, "diversity": t, "certify": certify}
            sel = quiet(setwise.select, X, k, relevance=r, **options)
            own, best, _ = assert_sound(sel, every, 0.0, t, largest)
            assert own >= 0.9 * best
        assert sel.certificate.optimal


@pytest.mark.parametrize("scale", ["minmax", "zscore", "rank"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_one_direction_are_equally_relevant(scale, dtype):
    """What rounding sets apart is no relevance."""
    rng = np.random.default_rng(2)
    X = (rng.standard_normal(40)[None] * rng.uniform(0.1, 9, (30, 1))).astype(dtype)
    if dtype == "float32":
        X = X[0] * 2.0 ** rng.integers(-3, 4, (30, 1)).astype(np.float32)
    sel = setwise.select(X, 5, query=rng.standard_normal(40), relevance_scale=scale, diversity=0.0)
    assert sel.relevance == 0.0
    assert sel.indices.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("scale", ["minmax", "zscore", "rank"])
def test_scales_of_a_similarity_are_those_of_its_exact_numbers(scale):
    rng = np.random.default_rng(3)
    for spread in (1.0, 1e-2, 1e-4):
        X = (rng.standard_normal(16) + spread * rng.standard_normal((200, 16))).astype(np.float32)
        query = rng.standard_normal(16)
        wide = X.astype(np.float64)
        r = wide @ query / np.linalg.norm(wide, axis=1) / np.linalg.norm(query)
        here = setwise.select(X, 5, query=query, relevance_scale=scale, diversity=0.2)
        there = setwise.select(X, 5, relevance=r, relevance_scale=scale, diversity=0.2)
        assert np.array_equal(here.indices, there.indices)
        assert here.value == pytest.approx(there.value, rel=1e-9)
        many = setwise.select_many(X, 5, queries=query[None], relevance_scale=scale, diversity=0.2)
        assert np.array_equal(many[0].indices, there.indices)


def test_the_smallest_numbers_there_are():
    """Subnormal relevance: half of every product is rounding, and the bound allows for it."""
    rng = np.random.default_rng(4)
    for seed in range(20):
        X = np.tile(rng.standard_normal(3), (7, 1))
        r = rng.integers(0, 9, 7) * 5e-324
        every = values_of_all(np.zeros((7, 7)), r, 3, 0.3)
        sel = quiet(setwise.select, X, 3, relevance=r, diversity=0.3, certify="full", seed=seed)
        assert sel.certificate.upper_bound >= max(every.values())
