"""A few of the cases that ``python -m tests.fuzz.exact`` makes without end."""

from collections import Counter

import exact
import numpy as np
import pytest

import setwise


def test_no_certificate_is_false_by_more_than_rounding():
    told = Counter(map(exact.run, range(100)))
    assert set(told) <= {"optimal", "bounded", "nothing"}
    assert told["optimal"] > 85


@pytest.mark.parametrize("seed", [594, 713, 1759, 1810])
@pytest.mark.parametrize("solver", ["auto", "exact"])
def test_the_best_is_found_at_any_scale(seed, solver):
    """Searches that stop at absolute differences find nothing among distances of 1e-24."""
    rng = np.random.default_rng(seed)
    X, relevance = rng.standard_normal((9, 3)), rng.standard_normal(9)
    options = {"diversity": 0.7, "objective": "max-min", "metric": "euclidean", "solver": solver}
    plain = setwise.select(X, 4, relevance=relevance, **options)
    for scale in (2.0**-300, 2.0**-80, 2.0**80, 2.0**300):
        scaled = setwise.select(scale * X, 4, relevance=scale * relevance, **options)
        assert sorted(scaled) == sorted(plain)
        assert scaled.value == scale * plain.value
        assert scaled.certificate.upper_bound == scale * plain.certificate.upper_bound
