"""A few hundred of the cases that ``python -m tests.fuzz.certificates`` makes without end."""

import certificates


def test_nothing_that_a_selection_says_of_itself_is_false():
    outcomes = [one for one in map(certificates.run, range(300)) if one is not None]
    assert [one.wrong for one in outcomes if one.wrong] == []
    assert len(outcomes) > 220
    assert sum(one.bounded for one in outcomes) > 100
    assert sum(one.optimal for one in outcomes) > 75
