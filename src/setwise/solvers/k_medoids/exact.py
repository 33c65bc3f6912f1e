"""The best set of one problem by mixed-integer programming, over what the dual bound leaves open.

AMPO's Problem P (Eq. 9, Algorithm 3; ARCHITECTURE.md, section 4).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from setwise.solvers.k_medoids import dual
from setwise.solvers.k_medoids.search import greedy, swap
from setwise.solvers.k_medoids.stack import Stack

#: Most candidates.
LARGEST = 1024

#: Steps of dual ascent before the program is written: they decide how small it is.
STEPS = 600

#: What would exceed the cost known by no more than this part of it stays in the program.
SLACK = 1e-9

#: Costs are scaled to this before HiGHS sees them: its absolute tolerance is then far below what counts.
SCALE = 1e4


class Exact(NamedTuple):
    """The best set found, a bound on any set's cost, and the size of the program (0: none was needed)."""

    places: NDArray[np.int64]
    lower: float
    variables: int


def best_set(stack: Stack, k: int, start: NDArray[np.int64] | None = None, *, limit: float = 60.0) -> Exact:
    """Find the cheapest set of a stack of one, and prove it.

        min Σ fixed_j x_j + Σ cost_ij z_ij,  Σ_j z_ij = 1,  z_ij <= x_j,  Σ x_j = k,  x binary

    This is AMPO's Problem P with cost_ij = w_i A_ij in its objective: y and its big-M rows (Eq. 10) are not
    needed then, and z is whole by itself where x is.

    A set found by exchanges and a dual bound come first. What the bound says cannot be in a cheaper set,
    a candidate or a point's being served by one, is left out of the program: mostly nearly everything.

    Parameters
    ----------
    stack : Stack of one
    start : ndarray of shape (k,), int64, optional
        A set known already.
    limit : float
        Seconds for HiGHS, after which the best set found is returned with the bound proven so far.

    Returns
    -------
    Exact
        `places` (k,) in no order.
    """
    places = swap(stack, greedy(stack, k))[0]
    if start is not None:
        given = swap(stack, start[None])[0]
        places = given if stack.cheaper(given, places)[0] else places
    climbed = dual.ascend(stack, places, steps=STEPS)
    upper, lower = float(stack.totals(places)[0]), float(climbed.lower[0])
    if upper - lower <= dual.PROVEN * abs(upper):
        return Exact(places[0], lower, 0)
    found, proven, size = _program(stack, places, climbed.prices, upper, lower, limit)
    if found is not None:
        # x within HiGHS's tolerance of a set is that set; what is left to gain is rounding.
        better = swap(stack, found[None])[0]
        if stack.cheaper(better, places)[0]:
            places, upper = better, float(stack.totals(better)[0])
    return Exact(places[0], min(max(lower, proven), upper), size)


def _program(
    stack: Stack,
    places: NDArray[np.int64],
    prices: NDArray[np.float64],
    upper: float,
    lower: float,
    limit: float,
) -> tuple[NDArray[np.int64] | None, float, int]:
    """Solve the program over what may be in a cheaper set, beside the set known.

    Returns
    -------
    chosen : the best set, or None where HiGHS ended without one
    proven : no set is cheaper than this
    size : variables
    """
    from scipy import sparse
    from scipy.optimize import Bounds, LinearConstraint, milp

    k = places.shape[1]
    cost = stack.cost[0]
    # Reduced-cost fixing: L(λ) counts the k least terms (see `dual.ascend`), so a set with candidate j, or
    # with point i served by j at more than its price, costs at least L(λ) plus what that adds. What would
    # exceed the cost known is left out.
    terms = dual.terms(stack, prices)[0]
    missing = (upper - lower) * (1 + 1e-6) + SLACK * abs(upper)
    # What a candidate, and a point served by it, add to the bound at least; infinite where not allowed.
    extra = np.where(stack.free[0], 0.0, np.inf)
    if stack.constraints is None or not stack.constraints.any:
        extra += np.maximum(terms - np.partition(terms, k - 1)[k - 1], 0.0)
    open_ = extra <= missing
    open_[places[0]] = True
    ids = np.flatnonzero(open_)
    points = np.flatnonzero(cost.any(axis=1))
    served = np.maximum(cost[np.ix_(points, ids)] - prices[0, points, None], 0.0) + extra[ids] <= missing
    own = np.searchsorted(ids, places[0])
    mine = own[cost[np.ix_(points, ids[own])].argmin(axis=1)]
    served[np.arange(len(points)), mine] = True
    # Variables: x of the candidates left, then z of each point and candidate left ("links").
    row, column = served.nonzero()
    links, width = len(row), len(ids)
    size = width + links
    fixed = np.zeros(width) if stack.fixed is None else stack.fixed[0, ids]
    ones = np.ones(links)
    # Σ_j z_ij = 1, z_ij - x_j <= 0 and Σ_j x_j = k (AMPO Eq. 19).
    serve = sparse.csr_array((ones, (row, width + np.arange(links))), shape=(len(points), size))
    lines = np.arange(links)
    link = sparse.csr_array(
        (np.r_[ones, -ones], (np.r_[lines, lines], np.r_[width + lines, column])), shape=(links, size)
    )
    count = sparse.csr_array(np.r_[np.ones(width), np.zeros(links)][None])
    rules = [LinearConstraint(serve, 1, 1), LinearConstraint(link, -np.inf, 0), LinearConstraint(count, k, k)]
    if stack.codes is not None and stack.constraints is not None:
        codes = stack.codes[ids]
        quota = sparse.csr_array(
            (np.ones(width), (codes, np.arange(width))), shape=(int(stack.codes.max()) + 1, size)
        )
        rules.append(LinearConstraint(quota, -np.inf, stack.constraints.quota))
    least = np.zeros(size)
    least[np.searchsorted(ids, stack.include)] = 1.0
    scale = SCALE / max(upper - lower, 1e-3 * abs(upper), 1e-300)
    answer = milp(
        scale * np.r_[fixed, cost[points[row], ids[column]]],
        constraints=rules,
        bounds=Bounds(least, 1.0),
        integrality=np.r_[np.ones(width), np.zeros(links)],
        options={"time_limit": limit, "mip_rel_gap": 0.0},
    )
    bound = getattr(answer, "mip_dual_bound", None)
    proven = lower if bound is None or not np.isfinite(bound) else bound / scale
    if answer.status == 0 and answer.fun is not None:
        proven = max(proven, answer.fun / scale)
    proven = min(proven, upper)
    if answer.x is None:
        return None, proven, size
    return ids[np.sort(np.argsort(-answer.x[:width], kind="stable")[:k])], proven, size
