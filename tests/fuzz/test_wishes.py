"""A few hundred of the requests that ``python -m tests.fuzz.wishes`` makes without end."""

import pytest
import wishes

from optional import needs


@pytest.mark.parametrize("first", range(0, 240, 40))
def test_wishes_are_kept_and_no_bound_is_false(first):
    kinds = [wishes.check(seed) for seed in range(first, first + 40)]
    assert kinds.count("optimal") > 15
    assert kinds.count("refused") > 3


@pytest.mark.parametrize("objective", ["max-min", "facets"])
def test_wishes_of_other_objectives_are_kept_and_no_bound_is_false(objective):
    kinds = [wishes.check(seed, objective) for seed in range(40)]
    assert kinds.count("optimal") > 10
    assert kinds.count("refused") > 3


@pytest.mark.parametrize("objective", ["max-min", "facets"])
def test_no_bound_of_other_objectives_over_an_index_is_false(objective):
    kinds = [wishes.check_retrieved(seed, objective) for seed in range(40)]
    assert sum(kind in ("optimal", "best", "short") for kind in kinds) > 12


def test_what_is_barred_is_barred_by_the_bound_that_goes_with_it():
    assert wishes.check(71910) == "optimal"  # a bound from above, with prices from below, barred the best set


def test_places_that_no_seen_candidate_fills_are_free_for_others():
    assert (
        wishes.check_retrieved(1578) != "optimal"
    )  # seven may come, six were seen: the seventh costs no place


def test_no_bound_over_an_index_of_which_a_few_were_seen_is_false():
    kinds = [wishes.check_retrieved(seed) for seed in range(150)]
    assert sum(kind in ("optimal", "best", "short") for kind in kinds) > 70


CATALOG = ("catalog", "shelves")


@pytest.mark.parametrize(
    "door", [pytest.param(one, marks=needs("faiss") if one in CATALOG else ()) for one in wishes.DOORS[1:]]
)
def test_every_call_keeps_wishes(door):
    kinds = [wishes.check(seed, ("max-sum", "max-min", "facets")[seed % 3], door) for seed in range(900, 904)]
    assert kinds.count("optimal") > 0
