"""max-sum for many relevances over the same vectors: as good as one by one, and truly bounded."""

import numpy as np
import pytest

import setwise
from reference import make
from reference.brute import best_subset
from setwise import kernels
from setwise.batch import one_matrix
from setwise.solvers import shared

#: More candidates than are ever pooled whole.
N, M, K = 8400, 4, 8


@pytest.fixture(scope="module")
def shop():
    """Items, and users' relevance: a few items count, as for real users, some less than nothing."""
    X, _ = make.clustered(n=N, d=16, seed=1, clusters=60)
    rng = np.random.default_rng(0)
    return X.astype(np.float32), rng.random((M, N)) ** 12 - 0.1


@pytest.mark.parametrize("certify", [False, True])
@pytest.mark.parametrize(("sharpness", "t"), [(1, 0.2), (1, 0.6), (8, 0.2)])
def test_sets_are_as_good_as_one_by_one(shop, sharpness, t, certify, monkeypatch):
    X, scores = shop
    searched = []
    search = shared.search
    monkeypatch.setattr(
        shared, "search", lambda problems, base: searched.append(len(problems)) or search(problems, base)
    )
    options = {"sharpness": sharpness, "diversity": t, "certify": certify}
    many = setwise.select_many(X, K, relevance=scores, **options)
    assert searched == [M]
    for one, own in zip(many, scores, strict=True):
        alone = setwise.select(X, K, relevance=own, **options)
        assert one.value >= alone.value * (1 - 8e-3)  # local maxima, both of them
        assert len(set(one.indices.tolist())) == K
        assert one.relevance == pytest.approx(own[one.indices].mean())
        if certify:
            assert one.certificate.upper_bound >= max(one.value, alone.value) - 1e-9
            assert one.certificate.gap < 0.03
            assert one.certificate.pool_sufficient
            assert one.certificate.pool_size < 1000


def test_barred_rows_of_each_are_as_if_not_there(shop):
    X, scores = shop
    barred = [np.argsort(-own)[: 3 + user].tolist() for user, own in enumerate(scores)]
    never = scores.copy()
    for user, rows in enumerate(barred):
        never[user, rows] = -np.inf
    for certify in (False, True):
        first = setwise.select_many(X, K, relevance=scores, exclude=barred, certify=certify)
        second = setwise.select_many(X, K, relevance=never, certify=certify)
        for user, (one, other) in enumerate(zip(first, second, strict=True)):
            assert one.indices.tolist() == other.indices.tolist()
            assert not set(one.indices.tolist()) & set(barred[user])
            alone = setwise.select(X, K, relevance=scores[user], exclude=barred[user], certify=certify)
            assert one.value >= alone.value * (1 - 2e-3)


@pytest.mark.parametrize("by", ["queries", "relevance"])
def test_one_pass_serves_all(shop, by):
    X, scores = shop
    given = {"queries": X[:M]} if by == "queries" else {"relevance": scores}
    for one in setwise.select_many(X, K, certify=False, **given):
        assert one.stats["passes"] == 1


@pytest.mark.parametrize("sharpness", [1, 2, 8])
def test_no_set_is_better_than_is_proven(sharpness, monkeypatch):
    """Against every set: pools of six of fourteen, most of what matters outside at first."""
    monkeypatch.setattr(shared, "POOLED", 8)
    monkeypatch.setattr(shared, "SIZE", 6)
    monkeypatch.setattr(shared, "TIMES", 1)
    monkeypatch.setattr(one_matrix, "FEW", 1)
    rng = np.random.default_rng(sharpness)
    optimal = 0
    for turn in range(25):
        X, k, t = rng.standard_normal((14, 4)), int(rng.integers(2, 5)), float(rng.uniform(0.05, 0.95))
        X = X.astype(np.float32 if turn % 2 else np.float64)  # what compiled kernels know, and do not
        scores = rng.standard_normal((5, 14)) * rng.choice([0.1, 1.0])
        many = setwise.select_many(X, k, relevance=scores, sharpness=sharpness, diversity=t)
        for one, own in zip(many, scores, strict=True):
            best, _ = best_subset(X, own, k, t, sharpness, "cosine")
            assert one.certificate.upper_bound >= best - 1e-9 * (1 + abs(best))
            optimal += one.certificate.optimal
            if one.certificate.optimal:
                assert one.value == pytest.approx(best, abs=1e-9)
    assert optimal > 0


@pytest.mark.skipif(not kernels.available(), reason="no compiled kernels")
@pytest.mark.parametrize("sharpness", [1, 8])
def test_sets_and_bounds_are_those_without_kernels(shop, sharpness):
    X, scores = shop
    barred = [np.arange(user, N, 97) for user in range(M)]

    def found():
        return setwise.select_many(X, K, relevance=scores, exclude=barred, sharpness=sharpness, diversity=0.4)

    compiled, before = found(), kernels.instructions()
    kernels.use("0")
    try:
        plain = found()
    finally:
        kernels.use(before)
    for one, other in zip(compiled, plain, strict=True):
        assert one.indices.tolist() == other.indices.tolist()
        assert one.certificate.upper_bound == pytest.approx(other.certificate.upper_bound, rel=1e-12)


def test_what_pools_would_not_settle_is_solved_one_by_one(shop, monkeypatch):
    X, scores = shop
    monkeypatch.setattr(shared, "search", lambda *_: pytest.fail("solved together"))
    coarse = np.round(scores)
    for given, options in [
        (scores[:2], {}),
        (coarse, {}),
        (scores, {"include": [3]}),
        (scores, {"objective": "mmr"}),
        (scores, {"solver": "greedy"}),
        (scores, {"certify": "full", "diversity": 0.05}),
    ]:
        many = setwise.select_many(X, 3, relevance=given, **options)
        alone = [setwise.select(X, 3, relevance=own, **options) for own in given]
        assert [one.indices.tolist() for one in many] == [one.indices.tolist() for one in alone]
