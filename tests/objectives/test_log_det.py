"""log-det against the plain definition: the determinant, the residuals, the Gaussian kernel's bandwidth."""

import itertools

import numpy as np
import pytest

import setwise
from reference import make
from reference.greedy import dpp
from reference.objectives import kernel_matrix, log_det_value
from setwise.objectives import LogDet
from setwise.vectors import Vectors

TRADE = [0.0, 0.1, 0.5, 0.9, 1.0]


def fitted(t, X, metric):
    """The objective with the bandwidth of all candidates."""
    return LogDet(t, metric=metric).fitted(Vectors(X, metric))


@pytest.mark.parametrize("name", ["clustered", "integers"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_terms_and_gains_are_the_definition(name, metric):
    X, r = make.ALL[name](d=8, seed=1)
    K = kernel_matrix(X, metric)
    for t, k in itertools.product(TRADE, (1, 2, 5)):
        objective = fitted(t, X, metric)
        S, gains = dpp(X, r, k, t, metric)
        assert np.allclose(objective.kernel(objective.rows(X), objective.rows(X)), K, atol=1e-9)
        value, relevance, spread = objective.terms(X[S], r[S])
        assert value == pytest.approx(log_det_value(X, r, S, t, metric), abs=1e-8)
        assert relevance == pytest.approx(r[S].sum())
        assert spread == pytest.approx(np.linalg.slogdet(K[np.ix_(S, S)])[1], abs=1e-8)
        if t > 0:
            assert value == pytest.approx(gains.sum(), abs=1e-7)
        for step in range(len(S)):
            assert objective.gains(X, r, X[S[:step]])[S[step]] == pytest.approx(gains[step], abs=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_nothing_is_left_of_a_duplicate(metric):
    X, r = make.clustered(d=8, seed=1)
    X[5] = X[2]
    objective = fitted(0.5, X, metric)
    gains = objective.gains(X, r, X[[2, 3]])
    assert gains[5] == gains[2] == gains[3] == -np.inf
    assert np.isfinite(np.delete(gains, [2, 3, 5])).all()
    for length in np.linspace(0.1, 9, 50):  # rounding leaves something of some, differently by processor
        X[[2, 5]] *= length if metric == "cosine" else 1.0
        assert objective.terms(X[[2, 5]], r[[2, 5]]).value == -np.inf
        assert objective.terms(X[[2, 3, 4, 5]], r[[2, 3, 4, 5]]).value == -np.inf
    assert fitted(0.0, X, metric).terms(X[[2, 5]], r[[2, 5]]).value == pytest.approx(r[2] + r[5])


def test_bandwidth_is_the_mean_squared_distance():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((5000, 3)) + 1e4
    found = fitted(0.5, X, "euclidean").bandwidth
    assert found == pytest.approx(2 * X.var(axis=0).sum(), rel=1e-9)
    assert fitted(0.5, np.ones((5, 2)), "euclidean").bandwidth > 0
    given = LogDet(0.5, metric="euclidean", bandwidth=3.0)
    assert given.fitted(Vectors(X, "euclidean")).bandwidth == 3.0
    assert fitted(0.5, X, "cosine").bandwidth is None


def test_an_objective_object_serves_many_candidates():
    """Its bandwidth is each call's own: selecting once must not change what it selects next."""
    rng = np.random.default_rng(0)
    X, r = rng.standard_normal((50, 4)), rng.random(50)
    objective = LogDet(0.5, metric="euclidean")
    for factor in (1.0, 100.0, 0.01):
        found = setwise.select(X * factor, 6, relevance=r, objective=objective)
        same = setwise.select(
            X * factor, 6, relevance=r, objective="log-det", diversity=0.5, metric="euclidean"
        )
        assert np.array_equal(found.indices, same.indices)
        assert found.value == pytest.approx(same.value)
    assert objective.bandwidth is None


def test_a_given_bandwidth_counts():
    rng = np.random.default_rng(0)
    X, r = rng.standard_normal((50, 4)), rng.random(50)
    sel = setwise.select(X, 6, relevance=r, objective=LogDet(0.5, metric="euclidean", bandwidth=0.7))
    squares = ((X[sel.indices][:, None] - X[sel.indices]) ** 2).sum(axis=2)
    assert sel.diversity == pytest.approx(np.linalg.slogdet(np.exp(-squares / 0.7))[1])


@pytest.mark.parametrize(
    ("bandwidth", "error"),
    [(0, ValueError), (-1.0, ValueError), (np.nan, ValueError), (np.inf, ValueError), ("wide", TypeError)],
)
def test_bandwidths_that_cannot_be(bandwidth, error):
    with pytest.raises(error, match=r"^bandwidth: "):
        LogDet(0.5, metric="euclidean", bandwidth=bandwidth)


def test_a_bandwidth_is_asked_for():
    with pytest.raises(ValueError, match="bandwidth: needed for the Gaussian kernel; pass one, or call fit"):
        LogDet(0.5, metric="euclidean").terms(np.eye(3), np.zeros(3))
