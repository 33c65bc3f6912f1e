"""mmr against the plain definition, in selection order."""

import itertools

import numpy as np
import pytest

from reference import make
from reference.greedy import mmr
from reference.objectives import mmr_similarity_matrix, mmr_value
from setwise.objectives import MaxMarginal

TRADE = [0.0, 0.1, 0.5, 0.9, 1.0]


@pytest.mark.parametrize("name", list(make.ALL))
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_terms_and_gains_are_the_definition(name, metric):
    X, r = make.ALL[name](seed=1)
    similar = mmr_similarity_matrix(X, metric)
    for t, k in itertools.product(TRADE, (1, 2, 6)):
        objective = MaxMarginal(t, metric=metric)
        S, gains = mmr(X, r, k, t, metric)
        value, relevance, spread = objective.terms(X[S], r[S])
        assert value == pytest.approx(mmr_value(X, r, S, t, metric), abs=1e-9)
        assert value == pytest.approx(np.mean(gains), abs=1e-9)
        assert value == pytest.approx((1 - t) * relevance + t * spread, abs=1e-12)
        assert relevance == pytest.approx(r[S].mean())
        for step in range(k):
            found = objective.gains(X, r, X[S[:step]])
            expected = (1 - t) * r - (t * similar[:, S[:step]].max(axis=1) if step else 0.0)
            assert np.allclose(found, expected, atol=1e-7)


def test_the_value_depends_on_the_order_and_every_member_counts():
    """Not on the last one alone: the third equals the first."""
    X, r = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), np.zeros(3)
    assert np.allclose(MaxMarginal(1.0).gains(X, r, X[:2]), [-1.0, -1.0, -1.0])
    assert MaxMarginal(1.0).terms(X, r).value == pytest.approx(-1 / 3)
    X, r = np.array([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0]]), np.array([1.0, 0.5, 0.0])
    other = MaxMarginal(0.5).terms(X[[0, 2, 1]], r[[0, 2, 1]]).value
    assert MaxMarginal(0.5).terms(X, r).value != pytest.approx(other)


def test_similarities_leave_their_arguments_alone():
    X, _ = make.clustered(seed=5)
    kept = X.copy()
    for metric in ("cosine", "euclidean"):
        objective = MaxMarginal(0.5, metric=metric)
        assert np.allclose(
            objective.similarities(X, X[:3]), mmr_similarity_matrix(X, metric)[:, :3], atol=1e-7
        )
        objective.terms(X, np.zeros(len(X)))
    assert np.array_equal(X, kept)


def test_repr_and_range():
    assert repr(MaxMarginal(0.5)) == "MaxMarginal(diversity=0.5, metric='cosine')"
    with pytest.raises(ValueError, match=r"diversity: -0\.1 is outside"):
        MaxMarginal(-0.1)
