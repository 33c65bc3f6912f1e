"""Wishes over more candidates than are held: none outside the pool improves a set; the pool stays small."""

import numpy as np
import pytest

import setwise
from reference import make
from reference.objectives import unit_rows
from setwise.constraints import Constraints
from setwise.relevance import Relevance
from setwise.request import Request
from setwise.solvers.held import Held
from setwise.solvers.item_moves import ItemForm
from setwise.solvers.problem import Problem
from setwise.vectors import Vectors

N = 4000
X, R = make.clustered(n=N, d=10, seed=4, clusters=40)
DOCUMENT, KIND = np.arange(N) // 3, np.arange(N) % 4
COSTS = np.random.default_rng(0).integers(20, 90, N).astype(float)
LIMITS = {"groups": {"document": DOCUMENT, "kind": KIND}, "limits": {"document": 1, "kind": (1, 5)}}


@pytest.mark.parametrize("t", [0.3, 0.7])
def test_no_exchange_with_any_candidate_improves_a_set_with_limits(t):
    sel = setwise.select(X, 12, relevance=R, diversity=t, **LIMITS)
    assert sel.stats["pool_size"] < N
    E, chosen = unit_rows(X), sel.indices
    near = E @ E[chosen].T
    worth = (1 - t) * R + t - 2 * t / 11 * near.sum(axis=1)
    own = worth[chosen] + 2 * t / 11
    change = worth[:, None] - own + 2 * t / 11 * near  # of each candidate in place of each member
    change[chosen] = -np.inf
    for place, member in enumerate(chosen.tolist()):
        others = np.delete(chosen, place)
        barred = np.isin(DOCUMENT, DOCUMENT[others])
        counts = np.bincount(KIND[others], minlength=4)
        barred |= (counts >= 5)[KIND]
        if counts[KIND[member]] < 1:
            barred |= KIND[member] != KIND
        change[barred, place] = -np.inf
    assert change.max() <= 1e-9


def test_what_a_budget_holds_is_small_whatever_the_labels():
    limits = {"groups": {"own": np.arange(N)}, "limits": {"own": 1}}
    sel = setwise.select(X, relevance=R, diversity=0.3, costs=COSTS, budget=400.0, **limits)
    assert COSTS[sel.indices].sum() <= 400
    assert sel.stats["pool_size"] < 3300  # and not the leader of each label
    assert sel.certificate.gap < 0.05


@pytest.mark.parametrize("sharpness", [1, 8])
def test_pairs_of_a_form_that_grows_are_those_of_a_new_one(sharpness):
    request = Request(k=8, diversity=0.4, sharpness=sharpness, max_similarity=0.9)
    vectors = Vectors(X, "cosine")
    problem = Problem(vectors, Relevance(R, vectors), request, Constraints(N, request))
    small, large = np.arange(0, 600, 3), np.arange(0, 600, 2)
    grown = ItemForm(Held(problem, np.union1d(small, large), False), ItemForm(Held(problem, small, False)))
    fresh = ItemForm(Held(problem, np.union1d(small, large), False))
    assert grown.held.ids.tolist() == fresh.held.ids.tolist()
    np.testing.assert_allclose(grown.near, fresh.near, atol=1e-14)
    assert np.array_equal(grown.near, grown.near.T)
    x = np.zeros(len(grown.held))
    x[[3, 50, 120]] = 1.0, 0.5, 0.25
    np.testing.assert_allclose(grown.pull(x), fresh.near @ x, atol=1e-13)
