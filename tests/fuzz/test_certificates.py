"""A few hundred of the cases that ``python -m tests.fuzz.certificates`` makes without end."""

import certificates
import pytest

from optional import needs


def test_nothing_that_a_selection_says_of_itself_is_false():
    outcomes = [one for one in map(certificates.run, range(300)) if one is not None]
    assert [one.wrong for one in outcomes if one.wrong] == []
    assert len(outcomes) > 220
    assert sum(one.bounded for one in outcomes) > 100
    assert sum(one.optimal for one in outcomes) > 75


@pytest.mark.parametrize(
    "seed",
    [
        # Rows 1e-12 apart in two places 5 apart: more was put down to rounding than it takes.
        pytest.param(718, marks=needs("faiss")),
        22386,  # cosines that differ in the fourteenth digit, summed beside 1
        32844,  # distances of 1e-33 among candidates of equal relevance
        35371,  # equal rows of length 1e99: their mean is 1e83 away, and they reach nowhere
    ],
)
def test_what_is_next_to_rounding_is_told_from_it(seed):
    outcome = certificates.run(seed)
    assert outcome is not None
    assert outcome.wrong == ""
