"""Upper bounds on the summed scores of feasible sets, and what shows them; by sorting where that suffices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from setwise.limits import Limit
from setwise.top import top_k

Vector = NDArray[np.float64]

#: At most so many prices of a unit of cost are tried; each gives a bound.
PRICES = 64


class Bounded(NamedTuple):
    """An upper bound on the summed scores of any feasible set, and what shows it.

    Attributes
    ----------
    upper : float
        -inf where no point is within the bounds.
    x : ndarray of shape (m,) or None
        The linear program's solution; None where it was not solved.
    reduced : ndarray of shape (m,)
        Scores less the prices of the rows: holding a candidate of negative one lowers the bound by as much.
    place, coin : float
        What a place in the set is priced at (at least, whatever the label), and a unit of cost.
    """

    upper: float
    x: Vector | None
    reduced: Vector
    place: float = 0.0
    coin: float = 0.0


class Sizes(NamedTuple):
    """Sets of a size, with at most so many of a label.

    Attributes
    ----------
    least, most : int
        Members that a set may have.
    limit : Limit or None
        Without a least.
    """

    least: int
    most: int
    limit: Limit | None

    def bound(self, scores: Vector, lower: Vector, upper: Vector) -> Bounded:
        """Return the largest sum of scores, of members and of the leaders that the labels allow.

        A place is priced at the least of these leaders' scores, at 0 where there is room for more, and where
        there is no place at the most that one would bring; a label that has more than may be, at what its
        last leader is above that.

        Parameters
        ----------
        scores : ndarray of shape (m,)
        lower, upper : ndarray of shape (m,), 0 or 1
            What x is held between.
        """
        held, free = lower > 0.5, (upper > 0.5) & (lower < 0.5)
        room, needed = self.most - int(held.sum()), self.least - int(held.sum())
        able, ranks = free, None
        if self.limit is not None:
            ranks = _Ranks(self.limit, scores, held, free)
            able = free & (ranks.rank < ranks.left[self.limit.codes])
        count = int(able.sum())
        if room < 0 or needed > count or (ranks is not None and (ranks.left < 0).any()):
            return Bounded(-np.inf, None, scores)
        x = held.astype(np.float64)
        masked = np.where(able, scores, -np.inf)
        leaders = top_k(masked, min(room, count)) if room and count else np.empty(0, np.int64)
        worth = scores[leaders] > 0
        worth[: max(0, needed)] = True
        chosen = leaders[worth]
        x[chosen] = 1.0
        price = float(scores[chosen].min()) if len(chosen) else 0.0
        if room == 0:
            price = float(masked.max(initial=0.0))
        elif len(chosen) < room:
            price = min(price, 0.0)
        reduced = scores - price
        if ranks is not None:
            reduced = reduced - ranks.prices(reduced)
        total = float(scores[x > 0.5].sum())
        total += 1e-13 * float(np.abs(scores[x > 0.5]).sum())
        return Bounded(total, x, reduced, price)


class _Ranks:
    """Places of free candidates among those of their label by score, and how many each label has room for."""

    def __init__(
        self, limit: Limit, scores: Vector, held: NDArray[np.bool_], free: NDArray[np.bool_]
    ) -> None:
        self.codes, self.free = limit.codes, free
        self.left = limit.most - np.bincount(self.codes[held], minlength=len(limit.most))
        order = np.lexsort((-scores, ~free, self.codes))
        sorted_codes = self.codes[order]
        self.rank = np.empty(len(scores), np.int64)
        self.rank[order] = np.arange(len(scores)) - np.searchsorted(sorted_codes, sorted_codes)

    def prices(self, reduced: Vector) -> Vector:
        """Return the price of each candidate's label, given the scores above a place's, shape (m,)."""
        more = np.bincount(self.codes[self.free], minlength=len(self.left)) > self.left
        last = self.free & more[self.codes] & (self.rank == np.maximum(self.left - 1, 0)[self.codes])
        prices = np.zeros(len(self.left))
        prices[self.codes[last]] = np.maximum(reduced[last], 0.0)
        return np.asarray(prices[self.codes])


def bound_of_budget(
    sizes: Sizes, costs: Vector, budget: float, scores: Vector, lower: Vector, upper: Vector
) -> Bounded:
    """Return the linear program's bound with a budget: the least over the price of a unit of cost.

    At a price λ the costs are a part of the scores, s - λc, and what they sum to in the best set of the size
    is a bound with λ times the budget. It is convex in λ and, between two prices whose sets
    cost more and less than the budget, no lower than where the lines of these sets meet: that price is the
    next, until the bound is no higher there. The mixture of the two sets that costs the budget is the
    program's point.

    Parameters
    ----------
    costs : ndarray of shape (m,), float64
        Positive.
    budget : float
        Finite.
    scores : ndarray of shape (m,)
    lower, upper : ndarray of shape (m,), 0 or 1
        What x is held between.
    """
    best, price, meeting = Bounded(np.inf, None, scores), 0.0, np.inf
    dear: tuple[float, float, Vector] | None = None
    fits: tuple[float, float, Vector] | None = None
    for _ in range(PRICES):
        found = sizes.bound(scores - price * costs, lower, upper)
        if found.x is None:
            return found
        total = found.upper + price * budget * (1 + 1e-13)
        if total < best.upper:
            best = Bounded(total, None, found.reduced, found.place, price)
        if dear is not None and fits is not None and total <= meeting + 1e-12 * abs(meeting):
            break
        end = float(scores @ found.x), float(costs @ found.x), found.x
        dear, fits = (dear, end) if end[1] <= budget else (end, fits)
        if dear is None:
            break
        if fits is None:  # first a price at which every candidate is a loss, then higher ones
            price = 2 * price or 2 * float((np.abs(scores) / costs).max()) or 1.0
        else:
            price = (dear[0] - fits[0]) / (dear[1] - fits[1])
            meeting = fits[0] + price * (budget - fits[1])
    if fits is None:
        cheapest = sizes.bound(-costs, lower, upper).x
        none = cheapest is None or float(costs @ cheapest) > budget * (1 + 1e-9)
        return best._replace(upper=-np.inf) if none else best
    share = 0.0 if dear is None else (budget - fits[1]) / (dear[1] - fits[1])
    return best._replace(x=fits[2] if dear is None else share * dear[2] + (1 - share) * fits[2])
