"""Proofs without another end give up when their time is over: the best so far, and a bound that holds."""

from __future__ import annotations

import itertools
import time
import warnings

import numpy as np
import pytest

import setwise
from reference.brute import best_subset
from setwise.solvers import exact, problem


def hard(n, seed=0):
    """Candidates whose relaxation is loose: small k, large diversity, nothing alike."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 12)), rng.random(n)


#: What each objective is called with, and what its best value is found by.
CASES = {
    "max-sum": {"diversity": 0.6},
    "coverage": {"objective": "coverage", "diversity": 0.9},
    "with a budget": {"diversity": 0.6, "budget": 3.0},
}


def asked(name, n):
    options = dict(CASES[name])
    if "budget" in options:
        options["costs"] = 0.5 + np.random.default_rng(1).random(n)
    return options


@pytest.mark.parametrize("name", ["max-sum", "coverage", "with a budget"])
@pytest.mark.parametrize("how", [{"solver": "exact"}, {"certify": "full"}])
@pytest.mark.filterwarnings("ignore:.*(gave up|stopped) after")
def test_no_time_at_all_gives_a_set_and_a_bound_that_holds(name, how):
    X, r = hard(40)
    options = asked(name, 40)
    with_time = setwise.select(X, 4, relevance=r, **options, **how)
    assert with_time.certificate.optimal
    without = setwise.select(X, 4, relevance=r, time_limit=0, **options, **how)
    assert len(without) == len(with_time)
    assert without.value <= with_time.value + 1e-9
    assert without.certificate.upper_bound >= with_time.value - 1e-9
    close = without.value >= with_time.value - 1e-9
    assert close or not without.certificate.optimal


@pytest.mark.parametrize("solver", ["exact", "auto"])
def test_a_search_that_is_cut_anywhere_proves_nothing_false(monkeypatch, solver):
    """A clock that runs out at the nth look at it, for every n: the bound is above the best value by
    enumeration, and a set is called best only if it is."""
    X, r = hard(14, seed=3)
    best, _ = best_subset(X, r, 4, 0.7, 1, "cosine")
    outcomes = set()
    for looks in itertools.count(1):
        left = iter([0.0] * looks)
        clock = lambda left=left: next(left, 1e9)  # noqa: E731
        for module in (exact, problem):
            monkeypatch.setattr(module.time, "monotonic", clock)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = setwise.select(
                X, 4, relevance=r, diversity=0.7, solver=solver, certify="full", time_limit=1
            )
        assert found.certificate.upper_bound >= best - 1e-9
        assert not found.certificate.optimal or found.value >= best - 1e-9
        outcomes.add(found.certificate.optimal)
        if next(left, None) is not None:  # there was time left
            break
    assert found.certificate.optimal
    assert outcomes == {False, True}
    assert looks > 5


def test_a_long_proof_ends_in_time():
    """Branch and bound that would take hours."""
    X, r = hard(400)
    began = time.monotonic()
    found = setwise.select(X, 12, relevance=r, diversity=0.8, certify="full", time_limit=0.2)
    assert not found.certificate.optimal
    assert found.certificate.upper_bound > found.value
    assert found.stats["nodes"] < 4000
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (-1, "time_limit: -1 is no number"),
        (float("nan"), "time_limit: nan"),
        ("5", "time_limit: expected a number"),
    ],
)
def test_what_is_no_time(value, told):
    X, r = hard(10)
    with pytest.raises((TypeError, ValueError), match=told):
        setwise.select(X, 2, relevance=r, time_limit=value)
    with pytest.raises((TypeError, ValueError), match=told):
        setwise.preference.select_responses(X, r, 2, time_limit=value)


@pytest.mark.filterwarnings("ignore:.*(gave up|stopped) after")
def test_the_time_is_one_for_all_that_a_retrieval_solves(monkeypatch):
    """However often the pool grows, on however many pages, for however many queries."""
    from setwise.retrieval import seen

    made, ends = [], []

    class Kept(seen.Problem):
        def __post_init__(self):
            super().__post_init__()
            made.append(self)

    monkeypatch.setattr(seen, "Problem", Kept)
    X = np.random.default_rng(0).standard_normal((3000, 8))
    index = setwise.Index.from_array(X)
    for certify in ("full", True):
        made.clear()
        options = {"certify": certify, "time_limit": 30, "diversity": 0.6, "sharpness": 1}
        setwise.retrieve(X[:3], index, 6, **options)
        setwise.retrieve(X[0], index, 3, offset=3, **options)
        assert len(made) > 4
        ends.append(sorted({one.ends for one in made}))
    assert len(ends[0]) == 2  # a time for each call
    assert ends[1] == [np.inf]


def test_the_time_is_each_prompts_own():
    X, r = hard(30)
    found = setwise.preference.select_responses(X, r, 5, solver="exact", time_limit=0)
    proven = setwise.preference.select_responses(X, r, 5, solver="exact")
    assert found.lower_bound <= proven.cost + 1e-9
    assert found.cost >= proven.cost - 1e-9
