"""Bounds: how far from the best possible set a selection can be, and what cannot be in a better one.

ARCHITECTURE.md, section 1, certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise.kernels.pools import Alone, Proof
from setwise.objectives import MaxSum
from setwise.rounding import dot_error
from setwise.solvers.pools import Whole
from setwise.solvers.problem import Problem

#: Sums of terms in float64 are off by at most so many units of the largest.
UNITS = 16

EPSILON, SUBNORMAL = float(np.finfo(np.float64).eps), float(np.finfo(np.float64).smallest_subnormal)


@dataclass
class Bound:
    """A bound on the summed form f over all feasible sets, and what proves it.

    Attributes
    ----------
    upper : float
        No feasible set has a larger f.
    gradient : ndarray of shape (n,), float64
        The relaxation's gradient at the point that proves it (or an upper bound of it).
    threshold : float
        The k-th largest of it.
    margin : float
        Rounding allowed for in an entry of the gradient.
    point : (ids, weights), optional
        The relaxation's point that proves it; None at sight.
    """

    upper: float
    gradient: NDArray[np.float64]
    threshold: float
    margin: float
    point: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None

    def survivors(self, best: float) -> NDArray[np.int64]:
        """Return the candidates that may be in a set better than one with f = best (reduced-cost fixing).

        By concavity a set that holds j instead of one of the k candidates of largest gradient has
        f <= upper - (threshold - gradient_j).
        """
        return np.flatnonzero(self.may_be_better(best))

    def may_be_better(self, best: float) -> NDArray[np.bool_]:
        """Return `survivors` as a mask of shape (n,)."""
        return np.asarray(self.gradient >= self.threshold - (self.upper - best) - self.margin)


def reach_of(problem: Problem) -> float:
    """Return an upper bound on the distance of any two candidates."""
    objective = problem.max_sum()
    if objective.metric == "euclidean":
        return 2.0 * problem.vectors.radius()
    if problem.vectors.dtype != np.float64:
        return objective.reach
    # 1 - cos = ½|e - e'|², and 1 - cos^p is at most p times that.
    return min(objective.reach, objective.sharpness * 2.0 * problem.vectors.radius() ** 2)


def rounding_margin(problem: Problem) -> float:
    """Return how far an entry of the gradient, computed in the working precision, may be off."""
    objective, vectors, error = problem.max_sum(), problem.vectors, problem.relevance.error
    if objective.metric == "cosine":
        return gradient_error(objective, problem.k, vectors.d, error, vectors.dtype)
    t, off = objective.diversity, _distance_error(problem, vectors.dtype)
    return (1 - t) * (problem.k - 1) * error + 2 * t * problem.k * off


def gradient_error(objective: MaxSum, k: int, d: int, error: float, dtype: Any = np.float32) -> float:
    """Return `rounding_margin` under cosine, for relevance that may be off by an error.

    A pass multiplies, and takes no differences where rows are close.
    """
    t, off = objective.diversity, objective.sharpness * dot_error(d, dtype)
    return (1 - t) * (k - 1) * error + 2 * t * k * off


def rounding(problem: Problem) -> float:
    """Return how far the value of a set, computed in float64, may be off: a few units of its largest terms.

    A bound that is computed in float64 may be off by as much.
    """
    if problem.rounding is None:
        t, largest, far = problem.objective.diversity, problem.relevance.largest, 0.0
        if problem.k > 1:  # else relevance alone counts
            far = t * (UNITS * EPSILON * reach_of(problem) + _distance_error(problem, np.float64))
        problem.rounding = (1 - t) * UNITS * EPSILON * largest + far + 64 * SUBNORMAL
    return problem.rounding


def _distance_error(problem: Problem, dtype: Any) -> float:
    """Return how far a distance computed in a precision may be off."""
    return problem.max_sum().distance_error(problem.vectors.d, dtype, reach_of(problem))


def concave_bound(
    whole: Whole,
    ids: NDArray[np.int64],
    weights: NDArray[np.float64],
    gradient: NDArray[np.float64],
    leaders: NDArray[np.int64] | None = None,
) -> Bound:
    """Return the bound that one point of the concave relaxation proves: f(x) + max_s ∇f(x)·(s - x).

    Parameters
    ----------
    whole : Whole
        All candidates.
    ids, weights : ndarrays
        The point: where x is not zero, and x there; Σx = k.
    gradient : ndarray of shape (n,)
        f's gradient at x for every candidate, in working precision (or an upper bound of it).
    leaders : ndarray of int64, optional
        The candidates of largest gradient in descending order, more than k of them, where at hand.

    Returns
    -------
    Bound
        Accumulated in float64; what float32 may hide is added to it.
    """
    problem = whole.problem
    stretch = problem.k / float(weights.sum())  # f is concave where Σx = k alone, to the last digit
    if stretch != 1.0:
        weights, gradient = weights * stretch, whole.linear + (gradient - whole.linear) * stretch
    exact = whole.gradient_at(ids, ids, weights)
    # f(x) = linear·x + t xᵀWx and ∇f(x)·x = linear·x + 2t xᵀWx
    linear = (1 - whole.weight) * (problem.k - 1) * problem.relevance.at(ids)
    along = float(exact @ weights)
    here = 0.5 * (along + float(linear @ weights)) + rounding(problem) * problem.scale()
    margin = rounding_margin(problem)
    if leaders is None or problem.constraints.any:
        leaders = None
        chosen = problem.constraints.best(gradient)
    else:
        chosen = leaders[: problem.k]
    threshold = float(gradient[chosen].min())
    # The vertex's sum again in float64, over the few candidates that rounding might have put among its k.
    if problem.constraints.codes is None:
        least = threshold - 2 * margin
        if leaders is not None and gradient[leaders[-1]] < least:
            front = leaders[gradient[leaders] >= least]
        else:
            front = np.flatnonzero(gradient >= least)
        if problem.constraints.any:  # must-have rows may have less than the rest
            front = np.union1d(front, chosen)
        if len(front) <= 4 * problem.k + 4096:
            refined = whole.gradient_at(front, ids, weights)
            chosen_here = problem.constraints.best(refined, front)
            ahead = float(refined[chosen_here].sum())
            return Bound(here + ahead - along, gradient, threshold, 2 * margin, (ids, weights))
    ahead = float(gradient[chosen].sum()) + problem.k * margin
    return Bound(here + ahead - along, gradient, threshold, 2 * margin, (ids, weights))


def of_proof(problem: Problem, proof: Proof) -> Bound:
    """Return the bound that compiled kernels prove; as `concave_bound`."""
    here = 0.5 * (proof.along + proof.linear) + rounding(problem) * problem.scale()
    upper = here + proof.ahead - proof.along
    point = proof.ids, proof.weights
    return Bound(upper, proof.gradient, proof.threshold, 2 * rounding_margin(problem), point)


def bound_at_sight(problem: Problem) -> Bound | None:
    """Return the bound that takes no look at distances, where there is one.

    With an even sharpness they are at most 1: a set is worth at most (1-t) times the mean of the k largest
    relevances, plus t. For small sets of sharp distances this is far tighter than the relaxation.

    With sharpness 1, where relevance is the cosine to a query q, f = (1-t)(k-1) q·Σ + t (k² - |Σ|²), with Σ
    the sum of a set's rows: at most t k² + ((1-t)(k-1))² / 4t, whatever Σ is. As the relaxation has the hull
    of the rows to choose Σ from, it is no tighter where that holds the best of all; but it is never looser.
    """
    objective = problem.max_sum()
    if objective.reach != 1.0:
        return _bound_of_total(problem) if objective.low_rank else None
    gradient = (1 - objective.diversity) * (problem.k - 1) * problem.relevance.values
    ahead = gradient[problem.constraints.best(gradient)]
    upper, margin = _above(problem, float(ahead.sum()))
    return Bound(upper, gradient, float(ahead.min()), margin)


def _bound_of_total(problem: Problem) -> Bound | None:
    """See `bound_at_sight`: with sharpness 1."""
    t, k, query = problem.objective.diversity, problem.k, problem.relevance.query
    if query is None or t == 0.0:
        return None
    part = (1 - t) * (k - 1)
    off = (part + 2 * t * k) * k * dot_error(problem.vectors.d, np.float64)
    upper = t * k * k + part * part * float(query @ query) / (4 * t)
    level = np.broadcast_to(0.0, problem.n)  # the gradient there is the same for all
    return Bound(upper + off + rounding(problem) * problem.scale(), level, 0.0, 2 * rounding_margin(problem))


def relevance_alone(problem: Problem, found: Alone, value: float) -> float | None:
    """Return the bound on values of `bound_at_sight` where it leaves k candidates for a set above this one.

    None where it leaves more.
    """
    upper, margin = _above(problem, found.ahead)
    left = found.beyond >= found.threshold - (upper - value * problem.scale()) - margin
    return None if left else upper / problem.scale()


def _above(problem: Problem, ahead: float) -> tuple[float, float]:
    """Return the bound that the k largest entries of the linear part prove, and its margin."""
    t, k = problem.objective.diversity, problem.k
    margin = float((1 - t) * (k - 1) * problem.relevance.error)
    return ahead + k * margin + (t + rounding(problem)) * problem.scale(), 2 * margin
