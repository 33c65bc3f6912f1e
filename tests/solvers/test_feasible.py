"""The bound on the summed scores of a feasible set: at the linear program's value, above every set."""

from __future__ import annotations

import math
from itertools import chain, combinations

import numpy as np
import pytest
from scipy import optimize

import setwise
from setwise.feasible import Feasible
from setwise.limits import Limit


def some_case(rng, labels, budget):
    """Return a family of feasible sets, scores, and what x is held between."""
    m = int(rng.integers(1, 9))
    most = int(rng.integers(1, m + 1))
    include = np.sort(rng.choice(m, int(rng.integers(0, min(2, most) + 1)), replace=False))
    least = int(rng.integers(len(include), most + 1)) if rng.random() < 0.4 else len(include)
    codes = rng.integers(0, 3, m)
    limits = [Limit("label", [0, 1, 2], codes, np.zeros(3, np.int64), rng.integers(0, 4, 3))]
    whole = rng.random() < 0.5  # many ties
    costs = rng.integers(1, 9, m).astype(float) if whole else rng.random(m) + 0.01
    scores = np.round(3 * rng.standard_normal(m)) if whole else rng.standard_normal(m)
    most_cost = float(rng.random() * costs.sum()) if budget else np.inf
    feasible = Feasible(
        m, least, most, include, limits if labels else (), costs if budget else None, most_cost
    )
    lower = np.isin(np.arange(m), include).astype(float)
    upper = np.maximum(lower, rng.random(m) < 0.85)
    return feasible, scores * 10.0 ** rng.integers(-6, 7), lower, upper


def by_program(feasible, scores, lower, upper):
    """Return the linear program's value by its definition, -inf where nothing is feasible."""
    matrix, low, high = feasible.system()
    rows = optimize.LinearConstraint(matrix.toarray(), low, high)
    size = np.abs(scores).max() or 1.0
    solved = optimize.milp(-scores / size, constraints=rows, bounds=optimize.Bounds(lower, upper))
    return -size * solved.fun if solved.status == 0 else -np.inf


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("budget", [False, True])
def test_a_bound_by_sorting_is_the_linear_programs(labels, budget):
    rng = np.random.default_rng([labels, budget])
    empty = 0
    for _ in range(100):
        feasible, scores, lower, upper = some_case(rng, labels, budget)
        assert feasible.plain
        size = np.abs(scores).max() or 1.0
        bound, program = feasible.bound(scores, lower, upper), by_program(feasible, scores, lower, upper)
        sets = chain.from_iterable(combinations(range(feasible.m), size) for size in range(feasible.m + 1))
        kept = [np.array(one, np.int64) for one in sets]
        kept = [one for one in kept if feasible.keeps(one) and (upper[one] > 0.5).all()]
        assert (bound.upper == -np.inf) == (program == -np.inf)
        if program == -np.inf:
            assert not kept
            empty += 1
            continue
        assert bound.upper == pytest.approx(program, abs=1e-9 * size)
        # Its point is one of the program's best.
        assert (bound.x >= lower - 1e-9).all()
        assert (bound.x <= upper + 1e-9).all()
        assert scores @ bound.x == pytest.approx(program, abs=1e-9 * size)
        matrix, low, high = feasible.system()
        assert (matrix @ bound.x <= high + 1e-9).all()
        assert (matrix @ bound.x >= low - 1e-9).all()
        # The prices speak for none that is out, and against none that is in.
        assert (bound.reduced[(bound.x < 1e-9) & (upper > 0.5)] <= 1e-9 * size).all()
        assert (bound.reduced[(bound.x > 1 - 1e-9) & (lower < 0.5)] >= -1e-9 * size).all()
        # Members that the prices speak against lower the bound, each by as much.
        for one in kept:
            against = np.minimum(bound.reduced[one], 0.0)[lower[one] < 0.5].sum()
            assert scores[one].sum() <= bound.upper + against + 1e-9 * size
    assert empty < 50


@pytest.mark.parametrize("seed", range(40))
def test_sets_that_cost_the_budget_in_decimals_are_those_of_trying_all(seed):
    """Prices in tenths: what is above a budget by rounding alone hangs on no order, and bars no other set."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 8))
    costs, labels = np.round(2 * rng.random(n) + 0.1, 1), rng.integers(0, 2, n)
    budget = float(np.round(rng.random() * costs.sum() + 0.2, 1))
    sets = chain.from_iterable(combinations(range(n), size) for size in range(1, 5))
    kept = {
        one for one in sets if math.fsum(costs[list(one)]) <= budget and set(labels[list(one)]) == set(labels)
    }
    asked = {"groups": {"a": labels}, "limits": {"a": (1, 4)}, "costs": costs, "budget": budget}
    vectors, relevance = rng.standard_normal((n, 4)), rng.random(n)
    if not kept:
        with pytest.raises(ValueError, match="budget"):
            setwise.select(vectors, 4, relevance=relevance, **asked)
    else:
        found = setwise.select(vectors, 4, relevance=relevance, **asked)
        assert tuple(sorted(found.indices.tolist())) in kept
