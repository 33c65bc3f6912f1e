"""From a max-sum value and a bound to a certificate."""

import numpy as np
import pytest

from helpers import problem_of
from setwise.solvers import bounds, max_sum


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_of_a_value_next_to_nothing_the_gap_is_relative_to_the_terms(t):
    """(1-t) times the span of relevance, plus t times twice the squared radius of the rows."""
    problem = problem_of(np.eye(4), [-7.0, 1.0, 2.0, 0.5], 2, t)
    size = (1 - t) * 9.0 + t * 1.5
    found = max_sum.certificate_of(problem, 1e-8 * size, 0.1, 4, True)
    assert found.gap == pytest.approx((0.1 - 1e-8 * size) / size, rel=1e-12)
    assert not found.optimal
    rounding = max_sum.ROUNDINGS * bounds.rounding(problem)
    assert 1e-15 * size < rounding < 1e-13 * size
    for value in (0.0, 5.0):
        assert max_sum.certificate_of(problem, value, value + 0.9 * rounding, 4, True).optimal
        assert not max_sum.certificate_of(problem, value, value + 1.1 * rounding, 4, True).optimal
