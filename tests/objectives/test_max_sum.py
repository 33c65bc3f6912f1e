"""max-sum against the plain definition: value, gains, both metrics, every sharpness."""

import itertools

import numpy as np
import pytest

from helpers import MEASURES
from reference import make
from reference.greedy import max_sum_greedy
from reference.objectives import distance_matrix, max_sum_value
from setwise.objectives import MaxSum

TRADE = [0.0, 0.1, 0.5, 0.9, 1.0]
data = pytest.mark.parametrize("name", list(make.ALL))
measures = pytest.mark.parametrize(("metric", "sharpness"), MEASURES)


@data
@measures
def test_terms_are_the_definition(name, metric, sharpness):
    X, r = make.ALL[name](seed=1)
    for t, k in itertools.product(TRADE, (1, 2, 5, len(r))):
        S = np.random.default_rng(k).permutation(len(r))[:k]
        value, relevance, spread = max_sum_value(X, r, S, t, sharpness, metric)
        objective = MaxSum(t, sharpness=sharpness, metric=metric)
        terms = objective.terms(X[S], r[S])
        assert np.allclose(terms, (value, relevance, spread), rtol=1e-12, atol=1e-12)
        assert objective.terms(X[S][::-1], r[S][::-1]).value == pytest.approx(terms.value, abs=1e-12)


@data
@measures
def test_gains_are_muss_algorithm_1(name, metric, sharpness):
    X, r = make.ALL[name](seed=2)
    D = distance_matrix(X, sharpness, metric)
    for t in TRADE:
        objective = MaxSum(t, sharpness=sharpness, metric=metric)
        S, gains = max_sum_greedy(X, r, 5, t, sharpness, metric)
        for step in range(6):
            found = objective.gains(X, r, X[S[:step]])
            expected = (1 - t) * r + (t * D[:, S[:step]].mean(axis=1) if step else 0.0)
            assert np.allclose(found, expected, rtol=1e-9, atol=1e-9)
            if step < 5:
                assert found[S[step]] == pytest.approx(gains[step], abs=1e-9)


@pytest.mark.parametrize("power", [1, 2, 4, 6, 8, 10, 16, 32])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_similarity_is_a_power(power, dtype):
    cosines = np.random.default_rng(0).uniform(-1, 1, (7, 5)).astype(dtype)
    expected = cosines.astype(np.float64) ** power
    found = MaxSum(0.5, sharpness=power).similarity(cosines.copy())
    assert found.dtype == dtype
    assert np.allclose(found, expected, rtol=1e-5 if dtype == "float32" else 1e-13, atol=1e-12)


@measures
def test_distances_between_any_rows(metric, sharpness):
    X, _ = make.clustered(seed=5)
    expected = distance_matrix(X, sharpness, metric)
    objective = MaxSum(0.5, sharpness=sharpness, metric=metric)
    assert np.allclose(objective.distances(X, X[:4]), expected[:, :4], atol=1e-7)
    assert np.allclose(objective.distances(X[:1], X), expected[:1], atol=1e-12)
    kept = X.copy()
    objective.distances(X, X)
    assert np.array_equal(X, kept)


def test_euclidean_distances_far_from_the_origin():
    rng = np.random.default_rng(0)
    near = rng.standard_normal((9, 4))
    expected = distance_matrix(near, metric="euclidean")
    far = near + 1e6
    assert np.allclose(MaxSum(0.5, metric="euclidean").distances(far, far), expected, atol=1e-6)
    sel = max_sum_value(far, np.zeros(9), range(9), 1.0, metric="euclidean")[0]
    assert MaxSum(1.0, metric="euclidean").terms(far, np.zeros(9)).value == pytest.approx(sel, abs=1e-8)


def test_euclidean_distances_within_clusters_that_are_far_apart():
    """Duplicates at zero distance, near ones at theirs, whichever row comes first."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 4))
    X[6:] += 1e7
    X[9:] = X[6:9]
    expected = distance_matrix(X, metric="euclidean")
    found = MaxSum(1.0, metric="euclidean").distances(X, X)
    assert np.allclose(found, expected, rtol=1e-7, atol=1e-6)
    S = [6, 7, 9, 10]
    value = max_sum_value(X, np.zeros(12), S, 1.0, metric="euclidean")[0]
    far_first = [0, *S]
    five = max_sum_value(X, np.zeros(12), far_first, 1.0, metric="euclidean")[0]
    goal = MaxSum(1.0, metric="euclidean")
    assert goal.terms(X[S], np.zeros(4)).value == pytest.approx(value, rel=1e-9)
    assert goal.terms(X[far_first], np.zeros(5)).value == pytest.approx(five, rel=1e-9)


def test_low_rank_is_cosine_with_sharpness_1():
    assert MaxSum().low_rank
    assert not MaxSum(sharpness=2).low_rank
    assert not MaxSum(metric="euclidean").low_rank
    assert (MaxSum().diversity, MaxSum().sharpness, MaxSum().metric) == (0.2, 1, "cosine")
    assert repr(MaxSum(0.5, sharpness=8)) == "MaxSum(diversity=0.5, sharpness=8, metric='cosine')"


BAD = [
    ({"sharpness": 3}, ValueError, "sharpness: 3 is neither 1 nor an even integer"),
    ({"sharpness": 0}, ValueError, "sharpness: 0 is neither 1 nor an even integer"),
    ({"sharpness": -2}, ValueError, "sharpness: -2 is neither 1 nor an even integer"),
    ({"sharpness": 2.5}, TypeError, "sharpness: expected 1 or an even integer, got 2.5"),
    ({"sharpness": 2.0}, TypeError, "sharpness: expected 1 or an even integer, got 2.0"),
    ({"sharpness": True}, TypeError, "sharpness: expected 1 or an even integer, got True"),
    ({"sharpness": "8"}, TypeError, "sharpness: expected 1 or an even integer, got '8'"),
    (
        {"sharpness": 8, "metric": "euclidean"},
        ValueError,
        "sharpness: .*; pass metric='cosine' or sharpness=1",
    ),
    ({"diversity": 1.5}, ValueError, r"diversity: 1.5 is outside \[0, 1\]"),
    ({"diversity": float("nan")}, ValueError, r"diversity: nan is outside \[0, 1\]"),
    ({"diversity": None}, TypeError, r"diversity: expected a number in \[0, 1\], got NoneType"),
    ({"metric": "dot"}, ValueError, "metric: 'dot' is unknown"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD)
def test_parameters_out_of_range(options, error, message):
    with pytest.raises(error, match=message):
        MaxSum(**options)


def test_numpy_integers_are_integers():
    assert MaxSum(0.5, sharpness=np.int64(8)).sharpness == 8
    assert type(MaxSum(0.5, sharpness=np.int64(8)).sharpness) is int
    assert MaxSum(np.float32(0.5)).diversity == 0.5
