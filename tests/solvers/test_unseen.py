"""Bounds on candidates that no search has returned, against such candidates: reached where they can be."""

import itertools
from unittest.mock import patch

import numpy as np
import pytest

from reference.objectives import unit_rows
from setwise.constraints import Constraints
from setwise.objectives import MaxSum
from setwise.relevance import Relevance
from setwise.request import Request
from setwise.solvers import auto, bounds, unseen
from setwise.solvers.bounds import Bound
from setwise.solvers.pools import Whole
from setwise.solvers.problem import Problem, Solved
from setwise.solvers.unseen import Unseen
from setwise.vectors import Vectors

T, K, IDS, WEIGHTS = 0.3, 3, np.array([1, 4, 6]), np.array([1.0, 0.7, 1.3])


def posed(X, query, metric="cosine", include=()):
    """A problem of the seen rows, whose relevance is the similarity to a query."""
    request = Request(k=K, objective=MaxSum(T, metric=metric), include=include)
    vectors = Vectors(X, metric)
    r = X @ query if metric == "cosine" else -np.linalg.norm(X - query, axis=1)
    return Problem(vectors, Relevance(r, vectors, query), request, Constraints(len(X), request))


def found_last(row, direction, query):
    """What is known after a search by a direction whose last hit is this row."""
    known = Unseen(query, "cosine")
    known.note(direction, float(row @ direction), 5, 5)
    return known


@pytest.fixture
def data(rng):
    return unit_rows(rng.standard_normal((9, 4))), unit_rows(rng.standard_normal((1, 4)))[0]


def summed(X, query, chosen):
    """(1-t)(k-1) Σ q·e + t Σ d, over members given as rows."""
    rows = np.asarray([X[one] if isinstance(one, int) else one for one in chosen])
    return (1 - T) * (K - 1) * float((rows @ query).sum()) + T * float((1 - rows @ rows.T).sum())


def test_a_gradient_is_that_of_the_row_that_a_search_came_to_last(data, rng):
    X, query = data
    problem = posed(X, query)
    for row in unit_rows(rng.standard_normal((20, 4))):
        exact = (1 - T) * (K - 1) * query @ row + 2 * T * WEIGHTS @ (1 - X[IDS] @ row)
        own = Unseen(query, "cosine").direction(problem, IDS, WEIGHTS)
        known = found_last(row, own, query)
        assert known.gradient(problem, IDS, WEIGHTS) == pytest.approx(exact, abs=1e-12)
        by_relevance = found_last(row, query, query)
        assert by_relevance.gradient(problem, IDS, WEIGHTS) >= exact - 1e-12
        assert by_relevance.relevance(problem) == pytest.approx(query @ row, abs=1e-12)


@pytest.mark.parametrize("include", [(), (4,)])
def test_no_exchange_gains_more_than_is_bounded(data, rng, include):
    X, query = data
    problem = posed(X, query, include=include)
    movable = [row for row in IDS.tolist() if row not in include]
    own = Unseen(query, "cosine").direction(problem, IDS, np.ones(3))
    gains = []
    for row in [*unit_rows(rng.standard_normal((40, 4))), *X[movable]]:
        bound = found_last(row, own, query).best_exchange(problem, IDS)
        sets = [[*(other for other in IDS.tolist() if other != left), row] for left in movable]
        gain = max(summed(X, query, one) for one in sets) - summed(X, query, IDS.tolist())
        assert bound >= gain - 1e-12
        gains.append(bound - gain)
    assert min(gains) == pytest.approx(0.0, abs=1e-12)  # of the copy of the member that is worth least
    fixed = posed(X, query, include=IDS.tolist())
    assert found_last(X[0], own, query).best_exchange(fixed, IDS) == -np.inf


def test_a_euclidean_gradient_is_reached_on_the_other_side_of_the_query(rng):
    X, query = rng.uniform(1, 9, (9, 1)), np.zeros(1)
    problem = posed(X, query, "euclidean")
    least = -X.max()
    for far in (0.5, 4.0, 20.0):
        known = Unseen(query, "euclidean")
        known.note(query, -far, 5, 5)
        exact = (1 - T) * (K - 1) * (-far - least) + 2 * T * WEIGHTS[:2] @ (X[IDS[:2], 0] + far)
        assert known.gradient(problem, IDS[:2], WEIGHTS[:2]) == pytest.approx(exact)
    assert known.gradient(problem, IDS, 9 * WEIGHTS) == np.inf


def test_a_set_with_unseen_candidates_is_worth_the_best_exchange_of_their_gradient(data, rng):
    problem = posed(*data)
    for limit in np.linspace(-2, 2, 21):
        gradient = rng.standard_normal(9)
        leading = np.sort(gradient)[::-1]
        bound = Bound(float(leading[:K].sum()), gradient, float(leading[K - 1]), 0.0)
        best = max(leading[: K - count].sum() + count * limit for count in range(1, K + 1))
        assert unseen._with(problem, bound, limit) == pytest.approx(best)


def test_a_search_that_found_all_leaves_none(data):
    X, query = data
    for exact, found in itertools.product((True, False), (0, 4, 5, 9)):
        known = Unseen(query, "cosine", exact=exact, size=9)
        known.note(query, 0.1, found, 5)
        exhausted = found == 0 or (found < 5 if exact else found == 9)
        assert known.exhausted == exhausted
        assert (known.most_similar(query) == -np.inf) == exhausted
        assert exhausted or known.relevance(posed(X, query)) == pytest.approx(0.1)


def test_a_bound_prices_what_is_unseen_where_it_is_proven(data, rng):
    """Wherever the relaxation has gone on to since: what no search has returned is priced there alone."""
    X, query = data
    problem = posed(X, query)
    chosen = np.argsort(-(X @ query))[:K]
    at = bounds.concave_bound(Whole(problem), IDS, WEIGHTS, Whole(problem).gradient(IDS, WEIGHTS))
    for later in ((IDS, WEIGHTS), (chosen, np.ones(K)), (np.arange(9), np.full(9, K / 9))):
        known = auto.Incumbent(chosen, 9, True, bound=at, point=later)
        rest = Unseen(query, "cosine")
        rest.note(query, float((X @ query).min()), 9, 20)
        solved = Solved(chosen, ordered=True, known=known)
        with patch.object(Unseen, "gradient", autospec=True, side_effect=Unseen.gradient) as priced:
            unseen.certify(problem, solved, rest, improve=False, scope="all")
        ids, weights = priced.call_args_list[0].args[2:]
        np.testing.assert_array_equal(ids, IDS)
        np.testing.assert_allclose(weights, WEIGHTS)
