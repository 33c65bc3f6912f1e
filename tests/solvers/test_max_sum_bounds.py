"""From a max-sum value and a bound to a certificate."""

import numpy as np
import pytest

from helpers import problem_of
from setwise.solvers import max_sum


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_of_a_value_next_to_nothing_the_gap_is_relative_to_the_terms(t):
    """(1-t) times the largest relevance, plus t for distances."""
    problem = problem_of(np.eye(4), [-7.0, 1.0, 2.0, 0.5], 2, t)
    size = (1 - t) * 7.0 + t
    found = max_sum.certificate_of(problem, 1e-8 * size, 0.1, 4, True)
    assert found.gap == pytest.approx((0.1 - 1e-8 * size) / size, rel=1e-12)
    assert not found.optimal
    for value, upper in [(0.0, 0.9e-12 * size), (5.0, 5.0 + 4.9e-9)]:
        assert max_sum.certificate_of(problem, value, upper, 4, True).optimal
    for value, upper in [(0.0, 1.1e-12 * size), (5.0, 5.0 + 5.1e-9)]:
        assert not max_sum.certificate_of(problem, value, upper, 4, True).optimal
