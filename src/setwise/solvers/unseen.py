"""Candidates that no search has returned: what they can be worth at most, and the certificate with them.

A search by w for the m largest w·e says of every unit vector e it did not return that w·e is at most the
m-th score, its floor. For another w' and any a >= 0, w'·e = a w·e + (w' - a w)·e <= a·floor + |w' - a w| by
Cauchy-Schwarz. With an even sharpness, where distances are at most 1, the relevance search alone bounds the
gradient (ARCHITECTURE.md, section 1, sharpness).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from setwise.objectives.wished import MaxSumWished
from setwise.solvers import auto, bounds, items, max_sum
from setwise.solvers.bounds import Bound, rounding_margin
from setwise.solvers.item_moves import ItemForm
from setwise.solvers.pools import Whole
from setwise.solvers.problem import Problem, Solved

Vector = NDArray[np.float64]


@dataclass
class Unseen:
    """What is known about candidates that no search has returned.

    Attributes
    ----------
    query : ndarray of shape (d,)
        What relevance is the similarity to: of unit length under cosine.
    metric : {"cosine", "euclidean"}
    floors : list of (w, score)
        For each search: what was searched for, and the score that no unseen candidate exceeds.
    exhausted : bool
        Whether a search returned all there is.
    exact : bool
        Whether searches that return less than asked for have returned all there is.
    size : int
        How many candidates there are in all.
    """

    query: Vector
    metric: str
    exact: bool = True
    size: int = 2**62
    floors: list[tuple[Vector, float]] = field(default_factory=list)
    exhausted: bool = False

    def note(self, weights: Vector, floor: float, found: int, asked: int) -> None:
        """Take in one search: what nothing it left out scores more than, and how many it found."""
        if found == 0 or (found < asked if self.exact else found >= self.size):
            self.exhausted = True
        else:
            self.floors.append((weights, floor))

    def most_similar(self, weights: Vector) -> float:
        """Return an upper bound on w·e over all unseen unit vectors e."""
        if self.exhausted:
            return -np.inf
        length = float(np.sqrt(weights @ weights))
        least = length
        for known, floor in self.floors:
            square = float(known @ known)
            if square <= 0.0:
                continue
            # The best a has no closed form: the search's own weights, the projection, and halfway between.
            along = float(weights @ known) / square
            for share in (1.0, along, along + 0.5 * (1.0 - along)):
                if share < 0.0:
                    continue
                rest = weights - share * known
                least = min(least, share * floor + float(np.sqrt(rest @ rest)))
        return least

    def relevance(self, problem: Problem) -> float:
        """Return an upper bound on the relevance of any unseen candidate, counted as a problem's is."""
        if self.metric == "cosine":
            return self.most_similar(self.query) - problem.relevance.least
        if self.exhausted:
            return -np.inf
        return min((floor for _, floor in self.floors), default=0.0) - problem.relevance.least

    def gradient(self, problem: Problem, ids: NDArray[np.int64], weights: Vector) -> float:
        """Return an upper bound on an unseen candidate's gradient of max-sum at a point of seen ones.

        Parameters
        ----------
        problem : Problem
            The seen candidates.
        ids, weights : ndarrays
            The point: its support and its weights there.
        """
        if self.exhausted:
            return -np.inf
        objective = problem.max_sum()
        t, k = objective.diversity, problem.k
        part = (1 - t) * (k - 1)
        total = float(weights.sum())
        # ∇f at e is part·r(e) + 2t Σ_i x_i d(e_i, e).
        if objective.low_rank:  # d = 1 - e_i·e: an inner product with e, and a constant
            return 2 * t * total + self.most_similar(self.direction(problem, ids, weights))
        if objective.reach < np.inf:
            return part * self.relevance(problem) + 2 * t * total * objective.reach
        # d(e_i, e) <= D_i + D, the distances to the query, and r(e) = -D: what is far away is irrelevant, but
        # also diverse. Bounded where relevance outweighs that, by the least D.
        slope = 2 * t * total - part
        if slope > 0.0:
            return np.inf
        least = problem.relevance.least
        near, far = -(problem.relevance.values[ids] + least), -(self.relevance(problem) + least)
        return slope * far + 2 * t * float(weights @ near) - part * least

    def direction(self, problem: Problem, ids: NDArray[np.int64], weights: Vector) -> Vector:
        """Return w at a point, sharpness 1: a candidate e's gradient of max-sum is w·e + 2t Σx.

        w = (1-t)(k-1) q - 2t Σ_i x_i e_i (ARCHITECTURE.md, section 1, Frank-Wolfe).
        """
        t = problem.objective.diversity
        pulled = weights @ problem.vectors.rows(ids, np.float64)
        return np.asarray((1 - t) * (problem.k - 1) * self.query - 2 * t * pulled)

    def best_exchange(self, problem: Problem, chosen: NDArray[np.int64]) -> float:
        """Return an upper bound on what exchanging a member for an unseen candidate gains."""
        if self.exhausted:
            return -np.inf
        objective = problem.max_sum()
        ones = np.ones(len(chosen))
        inside = Whole(problem).gradient_at(chosen, chosen, ones)
        movable = ~np.isin(chosen, problem.constraints.include)
        if not movable.any():
            return -np.inf
        # Exchanging i for e changes f by ∇_e - ∇_i - 2t d(e, e_i); where ∇_e was bounded by the largest
        # distance to every member, that to the one that leaves goes with it.
        outside = self.gradient(problem, chosen, ones)
        if objective.reach == 1.0:
            outside -= 2 * objective.diversity
        return outside - float(inside[movable].min())


def sufficient(problem: Problem, chosen: NDArray[np.int64], unseen: Unseen) -> bool:
    """Return whether no exchange of a member for an unseen candidate can improve a set."""
    margin = rounding_margin(problem)
    return unseen.best_exchange(problem, chosen) <= margin


def certify(
    problem: Problem,
    solved: Solved,
    unseen: Unseen,
    *,
    improve: bool,
    scope: str,
    searched: tuple[NDArray[np.int64], Vector] | None = None,
) -> Solved:
    """Certify a set of seen candidates against all sets, unseen candidates included.

    Parameters
    ----------
    problem : Problem
        The seen candidates; its objective is max-sum.
    solved : Solved
        The set; with an `Incumbent` where the default solver knows more of the relaxation.
    improve : bool
        Whether a better set that the proof comes across replaces the given one.
    scope : str
        See `Certificate`.
    searched : (ids, weights), optional
        The point whose gradient was searched for last: what is unseen is bounded most tightly there.

    """
    whole, chosen, effort = Whole(problem), solved.chosen, problem.effort
    found = solved.known or auto.Incumbent(chosen, problem.n, True)
    known = max_sum.known_bounds(problem, found, effort)
    scale = problem.scale()
    if searched is not None:
        known.insert(0, bounds.concave_bound(whole, *searched, whole.gradient(*searched)))
    # A bound at sight: with an even sharpness relevance is the gradient, and else that is the same for all.
    part = (1 - whole.weight) * (problem.k - 1)
    at_sight = 0.0 if problem.max_sum().low_rank else part * unseen.relevance(problem)
    limits = [at_sight if one.point is None else unseen.gradient(problem, *one.point) for one in known]
    # A set with an unseen candidate has the bound of the best set, less what that candidate is short of.
    beyond = min(_with(problem, bound, limit) for bound, limit in zip(known, limits, strict=True)) / scale
    value = problem.value(chosen)
    upper = min(bound.upper for bound in known) / scale  # on sets of seen candidates
    if max(upper, beyond) - value > max_sum.ROUNDINGS * bounds.rounding(problem):
        better, best, upper = max_sum.prove(problem, known, chosen, value, effort)
        if improve and best > value:
            chosen, value = better, best
    enough = beyond <= value or sufficient(problem, chosen, unseen)
    certificate = max_sum.certificate_of(problem, value, max(upper, beyond), problem.n, enough, scope=scope)
    return replace(solved.with_set(chosen), certificate=certificate)


def _with(problem: Problem, bound: Bound, limit: float) -> float:
    """Return a bound on the summed form of every set that holds candidates with at most this gradient.

    One such candidate replaces the least of the set that proves the bound; where they may be better than
    several of its members, as many of them do.
    """
    if limit <= bound.threshold - bound.margin:
        return bound.upper - (bound.threshold - bound.margin - limit)
    leading = bound.gradient[problem.constraints.best(bound.gradient)]
    return bound.upper + float(np.maximum(limit - leading, 0.0).sum()) + problem.k * bound.margin


def certify_wished(problem: Problem, solved: Solved, unseen: Unseen) -> Solved:
    """Certify a set of seen candidates, chosen with wishes, against all sets, unseen candidates included.

    The objective is max-sum, and the set is certified among the seen, with what proves that.
    """
    # The gradient at the point that bounds the seen ones; an unseen one is priced as the cheapest place is.
    known = cast(items.ItemsKnown, solved.known)
    form, point, proof = known.form, known.point, solved.certificate
    assert point is not None
    assert proof is not None
    short = gradient_wished(problem, form, point.x, unseen) - point.ahead.place
    most = problem.constraints.k if problem.request.k is not None else np.inf
    beyond = point.upper + (short if short <= 0.0 else most * short)
    value = form.value(known.chosen)
    enough = proof.pool_sufficient and beyond <= value + 1e-12 * abs(value)
    return replace(solved, certificate=items.certificate_of(form, value, max(known.upper, beyond), enough))


def gradient_wished(problem: Problem, form: ItemForm, x: Vector, unseen: Unseen) -> float:
    """Return an upper bound on an unseen candidate's gradient of the per-item form at a point."""
    objective = cast(MaxSumWished, problem.objective)
    t, wishes = objective.diversity, objective.wishes
    worth = t * objective.apart - wishes.min_gain + objective.pair
    if objective.of.reach == 1.0:  # an even sharpness: no similarity is below 0
        return float((1 - t) * unseen.relevance(problem) + worth)
    # u + q - 2q Σ x_i e_i·e, and what was shown is at least -1 similar.
    shown = min(len(wishes.shown), max(1, round(wishes.size) - 1))
    worth += 2 * t / max(1.0, wishes.size - 1) * wishes.weight * shown
    toward = (1 - t) * unseen.query - 2 * objective.pair * (x @ form.held.rows)
    return float(worth - (1 - t) * problem.relevance.least + unseen.most_similar(toward))
